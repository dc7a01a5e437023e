"""One vocabulary of events for recordings and traces of simulations: what checks and readers are fed.

Each frame comes decoded as far as it can be: the envelope, the typed payload, the payload's exact bytes.
Order: an input of the relay, then the outputs it led to. ``t`` is the relay's time in µs and never goes back.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.relay import RelayImage
from zentalk_sim.trace.frame_events import FrameIn as FrameIn
from zentalk_sim.trace.frame_events import FrameOut as FrameOut


class Event(Struct, frozen=True, gc=False):
    """What all events have: the line it stands on, and the relay's time in µs."""

    line: int
    t: int


class Begin(Event, frozen=True):
    """The header: what was recorded, and under which settings."""

    source: str
    """``recording`` or ``simulation``."""
    config: RelayConfig
    client: ClientConfig
    image: RelayImage | None
    """The relay's state when a recording began; None where there is none, or it was taken out."""
    modelled: bool
    """Signatures and MACs are those of fidelity ``frames``."""
    redacted: bool
    nodes: int
    whole: bool
    """All that went into the relay and came out of it is in the trace, its counted facts among it."""
    skewed: bool = False
    """Node clocks are off: the ``t`` of two nodes cannot be compared, and ``Turn`` tells the true time."""


class Upgrade(Event, frozen=True):
    """A WebSocket upgrade request."""

    c: int
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    ip: str


class Accept(Event, frozen=True):
    """The upgrade was answered with 101."""

    c: int


class Refuse(Event, frozen=True):
    """The upgrade was answered with an HTTP error."""

    c: int
    status: int
    error_code: str
    message: str


class Oversized(Event, frozen=True):
    """A message began that exceeds the largest frame (R-1.6)."""

    c: int


class Arrival(Event, frozen=True):
    """Bytes of a connection had arrived by ``at`` and were read only now (R-4.3)."""

    c: int
    at: int


class Close(Event, frozen=True):
    """The relay closes with a handshake."""

    c: int
    code: int
    reason: str


class Abort(Event, frozen=True):
    """The relay drops the connection; the peer sees 1006."""

    c: int
    cause: str


class Lost(Event, frozen=True):
    """The transport is gone, whoever ended it."""

    c: int
    cause: str


class Request(Event, frozen=True):
    """A REST request."""

    r: int
    method: str
    path: str
    query: dict[str, str]
    bearer: str | None
    body: bytes | None


class Response(Event, frozen=True):
    """Its answer; ``body`` as JSON builtins."""

    r: int
    status: int
    body: Any


class Note(Event, frozen=True):
    """A fact the relay counted."""

    name: str
    count: int = 1
    c: int | None = None
    user: str | None = None
    device: str | None = None
    message_id: str | None = None
    value_us: int | None = None


class Push(Event, frozen=True):
    """A device is woken through its push service, or with ``pending`` None its notifications are cleared."""

    user: str
    device: str
    pending: int | None


class Publish(Event, frozen=True):
    """Word sent to another node about its connection ``c``, best effort (R-12.5)."""

    node: str
    c: int


class Turn(Event, frozen=True):
    """Another node of a cluster speaks from here on, or the same one later; ``t`` is the true time."""

    node: str


class Timer(Event, frozen=True):
    """The face's timer came up."""


class Control(Event, frozen=True):
    """A command of the relay's tools; a command not known here stays as JSON has it."""

    command: Any


class Config(Event, frozen=True):
    """New settings."""

    config: RelayConfig


class Restart(Event, frozen=True):
    """Another core took over, with the store and without connections."""

    config: RelayConfig
    image: RelayImage | None


class Faulted(Event, frozen=True):
    """A fault rule changed, lost or made a frame of a connection: its wire and the relay's frames differ."""

    c: int
    direction: str
    rule: str
    did: str


class Crash(Event, frozen=True):
    """The input before raised inside the relay (R-12.2)."""

    c: int | None


class State(Event, frozen=True):
    """A simulated client changed its state."""

    device: str
    old: str
    new: str
    cause: str


class Shown(Event, frozen=True):
    """A simulated application showed a message."""

    device: str
    message_id: str


class Wrote(Event, frozen=True):
    """A simulated application handed a message to its client, which took it."""

    device: str
    message_id: str


class Transmitted(Event, frozen=True):
    """A simulated client put a MESSAGE_SEND on its connection, whether that still stands or not."""

    device: str
    message_id: str


class Other(Event, frozen=True):
    """A line of a kind this version does not know, or does not judge."""

    kind: str


class End(Event, frozen=True):
    """The trace was ended in order."""


AnyEvent = (
    Begin
    | Upgrade
    | Accept
    | Refuse
    | FrameIn
    | FrameOut
    | Oversized
    | Arrival
    | Close
    | Abort
    | Lost
    | Request
    | Response
    | Note
    | Push
    | Publish
    | Turn
    | Timer
    | Control
    | Config
    | Restart
    | Faulted
    | Crash
    | State
    | Shown
    | Wrote
    | Transmitted
    | Other
    | End
)

INPUTS: Final = (Upgrade, FrameIn, Oversized, Arrival, Lost, Request, Timer, Control, Config, Restart, Crash, End)
"""What begins a group: the outputs that follow, up to the next of these, are what it led to."""
