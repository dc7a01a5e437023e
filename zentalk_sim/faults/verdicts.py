"""What a face must do at an event: one class per action, named in rules by ``do``.

A rule's action *is* a verdict, but for what is left to chance: ``drawn`` settles that. The face carries a verdict out
and decides nothing. "Direction" is that of the frame at which the rule fired; order within a direction is kept by all
verdicts but Reorder, as TCP keeps it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from zentalk_sim.protocol.streams import Stream


class Verdict(Struct, frozen=True, tag_field="do", omit_defaults=True):
    """One thing to do at an event."""


class Pass(Verdict, frozen=True, tag="pass"):
    """Nothing: an exception from the rules that follow."""


class Drop(Verdict, frozen=True, tag="drop"):
    """The frame is lost. Its ``seq`` is used up all the same (R-1.3)."""


class Delay(Verdict, frozen=True, tag="delay"):
    """Go on ``ms`` later by the space's clock. What follows in that direction waits behind it.

    In a rule, ``jitter_ms`` is the width of a uniform addition in [0, ``jitter_ms``]; once drawn it is in ``ms``.
    """

    ms: int
    jitter_ms: int = 0


class Duplicate(Verdict, frozen=True, tag="duplicate"):
    """The frame goes twice, the second time the same bytes right behind the first."""


class Reorder(Verdict, frozen=True, tag="reorder"):
    """Hold the frame until the next of that connection and direction has passed."""


class Corrupt(Verdict, frozen=True, tag="corrupt"):
    """Spoil the frame's bytes with ``corruption.corrupt(kind, …)`` and ``Firing.stream``."""

    kind: str


class Replace(Verdict, frozen=True, tag="replace"):
    """This frame in place of the one that came: an object (see ``completed``), or a text sent as it stands."""

    frame: Any


class Inject(Verdict, frozen=True, tag="inject"):
    """This frame besides: in that direction, behind the one that came; at ``connected``, to the client."""

    frame: Any


class CloseWith(Verdict, frozen=True, tag="close"):
    """Close with this code; the frame itself is not passed on."""

    code: int
    reason: str = ""


class Abort(Verdict, frozen=True, tag="abort"):
    """Drop the transport without a closing handshake (the client sees 1006); the frame is not passed on."""


class Blackhole(Verdict, frozen=True, tag="blackhole"):
    """Half-open silence: the socket stands, and from now on nothing passes in either direction."""


class SlowClose(Verdict, frozen=True, tag="slow_close"):
    """From now on the connection ends slowly: whoever begins, answer and end ``ms`` later. The frame passes."""

    ms: int


class Throttle(Verdict, frozen=True, tag="throttle"):
    """From now on at most this many bytes a second in each direction. The frame passes, at that rate."""

    bytes_per_s: int


class Refuse(Verdict, frozen=True, tag="refuse"):
    """Answer the upgrade or the REST call with this HTTP status."""

    status: int


class Stall(Verdict, frozen=True, tag="stall"):
    """Never answer the upgrade or the REST call, and keep the socket open."""


class ErrorAnswer(Verdict, frozen=True, tag="error"):
    """Answer with this error in place of processing: an ERROR frame, or over HTTP the code's status.

    ``retry_after``, in seconds, stands in ``details`` and, over HTTP, in ``Retry-After`` too.
    """

    error_code: str
    retry_after: int | None = None


Action = (
    Pass
    | Drop
    | Delay
    | Duplicate
    | Reorder
    | Corrupt
    | Replace
    | Inject
    | CloseWith
    | Abort
    | Blackhole
    | SlowClose
    | Throttle
    | Refuse
    | Stall
    | ErrorAnswer
)

ACTIONS: Final[dict[str, type[Action]]] = {str(action.__struct_config__.tag): action for action in Action.__args__}
"""By their name in ``do``, in the order in which messages list them."""


def name_of(verdict: Verdict) -> str:
    """The verdict's name in ``do``."""
    return str(verdict.__struct_config__.tag)


def drawn(action: Action, stream: Stream) -> Action:
    """The action with everything that is left to chance settled by the stream."""
    if isinstance(action, Delay) and action.jitter_ms:
        return replace(action, ms=action.ms + stream.between(0, action.jitter_ms), jitter_ms=0)
    return action


def completed(frame: Any, now_us: int, stream: Stream) -> Any:
    """A Replace's or Inject's frame as it is to be encoded.

    An object that leaves out ``id``, ``timestamp`` or ``payload`` gets a fresh UUID, the relay's time in ms and ``{}``;
    what it says itself, right or wrong, stays. A text stays as it is.
    """
    if not isinstance(frame, dict):
        return frame
    fresh_id = stream.uuid4()
    envelope = {"type": frame["type"]} if "type" in frame else {}
    return {**envelope, "id": fresh_id, "timestamp": now_us // 1000, "payload": {}, **frame}
