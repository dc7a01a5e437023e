"""The first difference of a replay, in words: the input, what came before, and where the two outputs part."""

from __future__ import annotations

from zentalk_sim import __version__
from zentalk_sim.trace.replay import Difference

_AROUND = 60
_WIDE = 180


def described(difference: Difference, name: str) -> str:
    """Lines for a terminal. ``name`` is the recording's."""
    lines = []
    if difference.version not in ("", __version__):
        lines.append(f"recorded with zentalk-sim {difference.version}, replayed with {__version__}")
    if difference.context:
        lines.append("before it:")
        first = difference.line - len(difference.context)
        for number, text in enumerate(difference.context, first):
            mark = ">" if number == difference.event else " "
            lines.append(f"  {mark} {number:>6}  {_short(text)}")
        if difference.event is not None and difference.event < first:
            lines.append(f"  (the input that led to it is line {difference.event})")
    lines.append(f"{name}:{difference.line}:")
    recorded, replayed = difference.recorded, difference.replayed
    if recorded is None or replayed is None:
        lines.append(f"  recorded: {'nothing more' if recorded is None else _short(recorded)}")
        lines.append(f"  replayed: {'nothing' if replayed is None else _short(replayed)}")
        return "\n".join(lines) + "\n"
    at = next((i for i, (a, b) in enumerate(zip(recorded, replayed, strict=False)) if a != b), None)
    if at is None:
        at = min(len(recorded), len(replayed))
    lines.append(f"  recorded: {_window(recorded, at)}")
    lines.append(f"  replayed: {_window(replayed, at)}")
    lead = len("  recorded: ") + (at if at <= _AROUND else _AROUND + 1)
    lines.append(" " * lead + f"^ differs from character {at + 1} on")
    return "\n".join(lines) + "\n"


def _window(text: str, at: int) -> str:
    """So much of a line as shows the place; both lines are equal up to there, so they stay aligned."""
    start = max(0, at - _AROUND)
    shown = text[start : at + 2 * _AROUND]
    return ("…" if start else "") + shown + ("…" if len(text) > at + 2 * _AROUND else "")


def _short(text: str) -> str:
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
