"""Journal entries and failed verifications as text for people: short, one idea a line, no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]
_MAX_LINE: Final = 160
_MAX_VALUE: Final = 200
_SECRETS: Final = frozenset({"session_token", "resume_token", "current_token", "token", "push_token"})
_COLUMNS: Final = frozenset({"n", "t_ms", "event", "type", "user", "device", "connection", "direction", "frame"})


def failure_text(how: str, wanted: Json, count: int, found: Json, waited: str = "") -> str:
    """Why a wait or a verification failed. ``how``: ``exactly`` or ``at least``."""
    noun = "entry" if count == 1 else "entries"
    asked = json.dumps(wanted, ensure_ascii=False)
    when = f" {waited}" if waited else ""
    lines = [f"expected {how} {count} journal {noun} matching {asked}{when}, found {found.get('found', 0)}"]
    return "\n".join(lines + _why(found))


def order_text(order: list[Json], found: Json) -> str:
    """Why an order was not met."""
    asked = json.dumps(order, ensure_ascii=False)
    return "\n".join([f"expected journal entries in the order {asked}: {found.get('message', '')}", *_why(found)])


def _why(found: Json) -> list[str]:
    lines: list[str] = []
    if found.get("journal_truncated"):
        lines.append("journal_truncated: entries that would count are gone over the journal's bound")
    nearest = found.get("nearest", ())
    if nearest:
        lines.append("nearest:")
    elif not found.get("found"):
        lines.append("no entry comes near it")
    for miss in nearest:
        lines.append(f"  {entry_line(miss['entry'])}")
        lines += [
            f"      {one['path']}: wanted {_value(one['wanted'])}, got {_value(one['got'])}"
            for one in miss["differences"]
        ]
    return lines


def journal_text(entries: Sequence[Json], names: Mapping[str, str], last: int) -> str:
    """The newest ``last`` entries, a line each; times count from the journal's first entry."""
    if not entries:
        return "the journal is empty: nothing reached this relay"
    shown = entries[-last:] if last else entries
    begin_ms = entries[0]["t_ms"]
    lines = [] if len(shown) == len(entries) else [f"({len(entries) - len(shown)} earlier entries left out)"]
    lines += [entry_line(entry, names, begin_ms) for entry in shown]
    return "\n".join(lines)


def entry_line(entry: Json, names: Mapping[str, str] | None = None, begin_ms: int | None = None) -> str:
    """One entry on one line."""
    user = entry.get("user") or ""
    user = (names or {}).get(user, user)
    if user.startswith("0x") and len(user) > 12:
        user = f"{user[:10]}…"
    when = "" if begin_ms is None else f"{(entry['t_ms'] - begin_ms) / 1000:+9.3f}s "
    about = f"{entry['event']} {entry.get('type') or ''}".rstrip()
    line = f"#{entry['n']:<4} {when}{about:<28} {user:<11} {_rest(entry)}".rstrip()
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"


def _rest(entry: Json) -> str:
    frame = entry.get("frame")
    parts: list[str] = []
    if "rule" in entry:
        parts.append(f"rule={_value(_without_secrets(entry['rule']))}")
    parts += [f"{key}={_value(_without_secrets(value))}" for key, value in _facts(entry)]
    if isinstance(frame, dict) and "payload" in frame:
        parts.append(_value(_without_secrets(frame["payload"])))
    return " ".join(parts)


def _facts(entry: Json) -> Iterable[tuple[str, Any]]:
    return ((key, value) for key, value in entry.items() if key not in _COLUMNS and key != "rule")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "…" if key in _SECRETS else _without_secrets(inner) for key, inner in value.items()}
    return value


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"
