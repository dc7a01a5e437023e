"""The words of the rule language and where each has a meaning, as tables.

Names are the contract's. ``ACTIONS_AT`` and ``FIELDS_AT`` decide which rules are refused because they could never
fire.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from zentalk_sim.protocol.errors import HTTP_STATUS
from zentalk_sim.protocol.frames import CLIENT_FRAMES, RELAY_FRAMES

EVENTS: Final = ("upgrade", "connected", "frame_in", "frame_out", "rest")
"""``upgrade``: the request is read, not yet answered. ``connected``: it was answered with 101; this is the connection's
opening. ``frame_in``: from the client, before any check. ``frame_out``: from the relay, as it leaves. ``rest``: a
request under ``/api``, before any check."""

JOURNAL_EVENTS: Final = (*EVENTS, "closed", "drop", "push", "rtt")
"""What a journal may hold besides."""

FRAME_TYPES: Final = tuple(dict.fromkeys((*CLIENT_FRAMES, *RELAY_FRAMES)))
ERROR_CODES: Final = tuple(HTTP_STATUS)
CORRUPTIONS: Final = ("bit_flip", "truncate", "bad_json", "bad_utf8", "wrong_type")
DIRECTIONS: Final = ("in", "out")

_LASTING: Final = ("close", "abort", "blackhole", "slow_close", "throttle")
_ON_FRAMES: Final = ("drop", "delay", "duplicate", "reorder", "corrupt", "replace", "inject", *_LASTING)

ACTIONS_AT: Final[dict[str, tuple[str, ...]]] = {
    "upgrade": ("pass", "refuse", "stall", "delay", "error", "abort", "blackhole"),
    "connected": ("pass", "inject", *_LASTING),
    "frame_in": ("pass", "error", *_ON_FRAMES),
    "frame_out": ("pass", *_ON_FRAMES),
    "rest": ("pass", "refuse", "stall", "delay", "error", "abort"),
}
"""Event → the actions that can be carried out there."""

FIELDS_AT: Final[dict[str, tuple[str, ...]]] = {
    "type": ("frame_in", "frame_out"),
    "payload": ("frame_in", "frame_out", "rest"),
    "connection": ("upgrade", "connected", "frame_in", "frame_out"),
    "after_ms": ("connected", "frame_in", "frame_out"),
    "method": ("rest",),
    "path": ("rest",),
}
"""Match field → the events that have such a thing; a field not named here has a meaning at all of them."""


def events_of_type(kind: str) -> tuple[str, ...]:
    """The events at which a frame of that type passes: clients send some types, relays others, and some both."""
    sent = (("frame_in", kind in CLIENT_FRAMES), ("frame_out", kind in RELAY_FRAMES))
    return tuple(event for event, is_sent in sent if is_sent)


def events_of_action(do: str) -> tuple[str, ...]:
    """The events at which an action can be carried out."""
    return tuple(event for event in EVENTS if do in ACTIONS_AT[event])


def nearest(wrong: str, right: Iterable[str]) -> str | None:
    """The name in ``right`` most like ``wrong``, without regard to case, ``-`` and ``_``; None if none is like it."""
    folded = {_fold(name): name for name in right}
    found = get_close_matches(_fold(wrong[:100]), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def remedy(wrong: str, right: Iterable[str]) -> str:
    """The end of a message about a wrong name: the nearest right one, else all there are."""
    names = list(right)
    found = nearest(wrong, names)
    return f"did you mean `{found}`?" if found is not None else f"known: {', '.join(names)}"


def quoted(names: Iterable[str]) -> str:
    """Names for a message: `` `a`, `b` ``."""
    return ", ".join(f"`{name}`" for name in names)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
