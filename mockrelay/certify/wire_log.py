"""The journal of a case as a report shows it: what the app did and was sent, long texts cut, of very many entries some.

The law of this file: no token and no key is in it, since reports are passed on.
"""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]
MAX_ENTRIES: Final = 160
_KEPT_FIRST: Final = 100
_MAX_CHARACTERS: Final = 120
_SHOWN_CHARACTERS: Final = 40
_SECRET: Final = frozenset({"token", "session_token", "resume_token", "signature", "push_token"})
_DROPPED: Final = frozenset({"user", "device"})


def _shown(value: Any, name: str = "", depth: int = 0) -> Any:
    if isinstance(value, str):
        if name in _SECRET:
            return f"({len(value)} characters)"
        if len(value) > _MAX_CHARACTERS:
            return f"{value[:_SHOWN_CHARACTERS]}… ({len(value)} characters)"
        return value
    if isinstance(value, dict):
        if depth > 8:
            return "…"
        return {key: _shown(item, key, depth + 1) for key, item in list(value.items())[:40]}
    if isinstance(value, list):
        if depth > 8:
            return "…"
        more = [f"… {len(value) - 20} more"] if len(value) > 20 else []
        return [_shown(item, name, depth + 1) for item in value[:20]] + more
    return value


def wire_log(entries: list[Json]) -> tuple[Json, ...]:
    """A case's log for its report."""
    left_out = len(entries) - MAX_ENTRIES
    if left_out > 0:
        gap: Json = {"event": "left_out", "count": left_out, "n": 0, "t_ms": entries[_KEPT_FIRST]["t_ms"]}
        entries = [*entries[:_KEPT_FIRST], gap, *entries[-(MAX_ENTRIES - _KEPT_FIRST) :]]
    return tuple(_shown({k: v for k, v in entry.items() if k not in _DROPPED}) for entry in entries)
