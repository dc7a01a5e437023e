"""Recordings: every input of a relay core in the order it was processed, and every output it gave.

JSONL. The header holds what a fresh core needs: configuration and a snapshot. Then one event a line,
``{"e": kind, "t": µs, "c": connection, …}``: an input, followed by the outputs it led to, at the same instant.
Driver and replay hand inputs to the core through the one function ``feed`` and turn effects into lines through
``unfold`` and ``output_line``, so that a recording and its replay cannot differ by their own doing.

A recording contains the signing key and every token: it is a secret of the relay's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.effects import Effect
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace.recording_outputs import OUTPUT_KINDS, Output, Sent, output_line, unfold

FORMAT: Final = 1
Direction = Literal["in", "out"]
"""As the relay sees it."""


class RecordingError(Exception):
    """A file that is no recording, or one that cannot be read on; the message begins with ``file:line:``."""


class Header(Struct, frozen=True, omit_defaults=True):
    """The first line. ``seed`` is the number given, or the 32 bytes drawn from the system in base64."""

    zentalk_trace: int
    seed: int | str
    boot: int
    config: RelayConfig
    snapshot: bytes
    versions: dict[str, str]
    started: int
    """Unix time in µs, of the snapshot."""
    redacted: bool = False
    ws_url: str = ""
    """Where clients reached this relay, such as ``wss://127.0.0.1:8765/ws/v1``; empty where that is not known."""
    http_url: str = ""
    """What stood before the paths of its REST calls."""


# --- inputs ------------------------------------------------------------------------------------------


class _Input(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="e"):
    t: int
    """The relay's time in µs."""


class Upgrade(_Input, frozen=True, kw_only=True, tag="upgrade"):
    """A WebSocket upgrade request. ``real``: the real time, where a test clock was moved (R-13.2)."""

    c: int
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    ip: str
    real: int | None = None


class Text(_Input, frozen=True, tag="text"):
    """A text message."""

    c: int
    data: str
    real: int | None = None


class BadText(_Input, frozen=True, tag="bad_text"):
    """A text message that is not UTF-8, in base64."""

    c: int
    data: bytes
    real: int | None = None


class Binary(_Input, frozen=True, tag="binary"):
    """A binary message, in base64."""

    c: int
    data: bytes
    real: int | None = None


class Oversized(_Input, frozen=True, tag="oversized"):
    """A message began that exceeds ``frames.max_bytes``."""

    c: int


class Arrival(_Input, frozen=True, tag="arrival"):
    """Bytes had arrived by the instant ``at`` and were read only now (R-4.3)."""

    c: int
    at: int


class Lost(_Input, frozen=True, tag="lost"):
    """The transport of a connection is gone."""

    c: int
    cause: str


class Timer(_Input, frozen=True, tag="timer"):
    """The face's timer came up."""


class Asked(_Input, frozen=True, kw_only=True, tag="request"):
    """A REST request; ``body64`` in the place of ``body`` where it is not UTF-8."""

    r: int
    method: str
    path: str
    query: dict[str, str]
    bearer: str | None
    ip: str
    body: str | None = None
    body64: bytes | None = None
    real: int | None = None


class Commanded(_Input, frozen=True, tag="control"):
    """A command of the relay's tools."""

    command: Command


class Configured(_Input, frozen=True, tag="config"):
    """New settings."""

    config: RelayConfig


class Restarted(_Input, frozen=True, tag="restart"):
    """Another core took over, without connections: its settings, and ``snapshot``, all that it had."""

    config: RelayConfig
    snapshot: bytes


class Crashed(_Input, frozen=True, tag="crash"):
    """The input before raised inside the core; ``c`` is its connection, if it had one (R-12.2)."""

    c: int | None = None


class End(_Input, frozen=True, tag="end"):
    """The recording was ended in order."""


Input = (
    Upgrade
    | Text
    | BadText
    | Binary
    | Oversized
    | Arrival
    | Lost
    | Timer
    | Asked
    | Commanded
    | Configured
    | Restarted
    | Crashed
    | End
)


class Wire(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="e", tag="wire"):
    """What a fault rule made of a frame, where the wire and the core differ; replay passes over it.

    They may differ in time or order alone: a frame that was delayed or reordered is the same on both sides. A rule that
    struck at a connection's opening has no frame on either.

    ``of`` names the core's frame, by the first 16 hex digits of its payload's SHA-256, and is absent where the core
    knows of none. ``data`` is the frame on the wire, ``data64`` where it is no text; both are absent where the frame
    was never there. For direction ``in`` the wire's frame came in, and the core heard ``of`` or nothing.
    """

    t: int
    c: int
    dir: Direction
    rule: str
    did: str
    of: str | None = None
    data: str | None = None
    data64: bytes | None = None
    binary: bool = False

    @classmethod
    def of_frame(
        cls,
        t: int,
        conn: int,
        direction: Direction,
        rule: str,
        did: str,
        core: bytes | None,
        wire: bytes | None,
        binary: bool,
    ) -> Wire:
        """The line of a frame: ``core`` as the core said or was to hear it, ``wire`` as it passed; None: not there."""
        text, data = None, wire
        if wire is not None and not binary:
            with contextlib.suppress(UnicodeDecodeError):
                text, data = wire.decode(), None
        of = None if core is None else sha256(core).hexdigest()[:16]
        return cls(t, conn, direction, rule, did, of, text, data, binary)


def _upgrade(relay: Relay, e: Upgrade) -> list[Effect]:
    return relay.connect(e.c, UpgradeRequest(e.path, e.query, e.headers, e.ip), e.t, e.real)


def _text(relay: Relay, e: Text) -> list[Effect]:
    return relay.receive_text(e.c, e.data.encode(), e.t, e.real)


def _bad_text(relay: Relay, e: BadText) -> list[Effect]:
    return relay.receive_text(e.c, e.data, e.t, e.real)


def _binary(relay: Relay, e: Binary) -> list[Effect]:
    return relay.receive_data(e.c, e.data, e.t, e.real)


def _oversized(relay: Relay, e: Oversized) -> list[Effect]:
    return relay.receive_oversized(e.c, e.t)


def _arrival(relay: Relay, e: Arrival) -> list[Effect]:
    relay.note_arrival(e.c, e.at)
    return []


def _lost(relay: Relay, e: Lost) -> list[Effect]:
    return relay.disconnect(e.c, e.cause, e.t)


def _timer(relay: Relay, e: Timer) -> list[Effect]:
    return relay.handle_timeout(e.t)


def _asked(relay: Relay, e: Asked) -> list[Effect]:
    body = e.body64 if e.body is None else e.body.encode()
    return relay.handle_request(e.r, Request(e.method, e.path, e.query, e.bearer, body, e.ip), e.t, e.real)


def _commanded(relay: Relay, e: Commanded) -> list[Effect]:
    return relay.control(e.command, e.t)


def _configured(relay: Relay, e: Configured) -> list[Effect]:
    relay.configure(e.config)
    return []


def _restarted(relay: Relay, e: Restarted) -> list[Effect]:
    raise AssertionError("the holder of the core puts another in its place")


def _crashed(relay: Relay, e: Crashed) -> list[Effect]:
    return relay.crashed(e.c, e.t)


def _end(relay: Relay, e: End) -> list[Effect]:
    return []


_FEED: Final[dict[type, Callable[[Relay, Any], list[Effect]]]] = {
    Upgrade: _upgrade,
    Text: _text,
    BadText: _bad_text,
    Binary: _binary,
    Oversized: _oversized,
    Arrival: _arrival,
    Lost: _lost,
    Timer: _timer,
    Asked: _asked,
    Commanded: _commanded,
    Configured: _configured,
    Restarted: _restarted,
    Crashed: _crashed,
    End: _end,
}


def feed(relay: Relay, event: Input) -> list[Effect]:
    """Hand one input to the core.

    Raises ProtocolError where a command names what there is not, and whatever a broken core raises.
    """
    return _FEED[type(event)](relay, event)


def connection_of(event: Input) -> int | None:
    """The connection an input belongs to, if it belongs to one."""
    return getattr(event, "c", None)


_encode: Final = msgspec.json.Encoder().encode


# --- lines ------------------------------------------------------------------------------------------


def input_line(event: Input) -> bytes:
    """An input as its line, newline included."""
    return _encode(event) + b"\n"


def wire_line(event: Wire) -> bytes:
    """What a fault rule did, as its line, newline included."""
    return _encode(event) + b"\n"


def header_line(
    relay: Relay, seed: int | str, versions: dict[str, str], now_us: int, ws_url: str = "", http_url: str = ""
) -> bytes:
    """The header for a recording that begins now, with the relay's snapshot; call it between two inputs."""
    snapshot = relay.snapshot()
    boot = relay.store.counters.boot
    header = Header(FORMAT, seed, boot, relay.config, snapshot, versions, now_us, ws_url=ws_url, http_url=http_url)
    return _encode(header) + b"\n"


__all__ = [
    "FORMAT",
    "OUTPUT_KINDS",
    "Direction",
    "Header",
    "Input",
    "Output",
    "RecordingError",
    "Sent",
    "Wire",
    "connection_of",
    "feed",
    "header_line",
    "input_line",
    "output_line",
    "unfold",
    "wire_line",
]
