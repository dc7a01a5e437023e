"""A relay core on tape: what goes in and what comes out, written as a recording's lines, for faces without a driver.

``Tape(relay, write)`` stands in the relay's place; everything else of the relay is reached through it. Frames that
travel as objects are written as the bytes they would have. The header is the holder's: ``full_header``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.effects import BusEvent, Effect
from zentalk_sim.protocol.frames import BinaryFrame, Frame
from zentalk_sim.protocol.relay import Relay, RelayImage
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace import recording as rec


def full_header(
    name: str,
    seed: int,
    config: RelayConfig,
    client: ClientConfig,
    *,
    modelled: bool,
    nodes: int,
    version: str,
    started: int = 0,
    skewed: bool = False,
    store: MemoryStore | None = None,
) -> bytes:
    """The header of a simulation's trace that holds all that its relays heard and said, newline included.

    ``store``: what the cluster knows at the start, users and devices above all; without it checks that count mailboxes
    have nothing to go on. ``skewed``: node clocks are off, so that ``t`` of two nodes cannot be compared.
    """
    header: dict[str, Any] = {
        "zentalk_trace": rec.FORMAT,
        "name": name,
        "seed": seed,
        "boot": 0,
        "extent": "full",
        "config": config,
        "client": client,
        "modelled": modelled,
        "nodes": nodes,
        "snapshot": "" if store is None else b64encode(_image_of(store, started)).decode(),
        "versions": {"zentalk-sim": version},
        "started": started,
    }
    if skewed:
        header["skewed"] = True
    return msgspec.json.encode(header) + b"\n"


def _image_of(store: MemoryStore, now_us: int) -> bytes:
    """The store as the snapshot of a relay that has done nothing yet."""
    image = RelayImage("", now_us, b"", 0, {}, [], [], False, store.image())
    return msgspec.msgpack.encode(image)


def turn_line(now_us: int, node: str) -> bytes:
    """From here on a node speaks, at this true time; newline included."""
    return b'{"e":"turn","t":%d,"node":%b}\n' % (now_us, msgspec.json.encode(node))


class Tape:
    """A relay that writes down its inputs, each with its outputs."""

    def __init__(self, relay: Relay, write: Callable[[bytes], Any]) -> None:
        self._relay = relay
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    def _keep(self, event: rec.Input, effects: list[Effect]) -> list[Effect]:
        lines = [rec.input_line(event)]
        lines.extend([rec.output_line(event.t, output) for output in rec.unfold(effects)])
        self._write(b"".join(lines))
        return effects

    def connect(self, conn: int, request: UpgradeRequest, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        asked = {"path": request.path, "query": request.query, "headers": request.headers, "ip": request.ip}
        event = rec.Upgrade(now, c=conn, real=real_us, **asked)  # type: ignore[arg-type]
        return self._keep(event, self._relay.connect(conn, request, now, real_us))

    def receive_data(self, conn: int, data: str | bytes, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        kind: Any = rec.Text if isinstance(data, str) else rec.Binary
        event: rec.Input = kind(now, conn, data, real_us)
        return self._keep(event, self._relay.receive_data(conn, data, now, real_us))

    def receive_text(self, conn: int, data: bytes, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        event: rec.Input
        try:
            event = rec.Text(now, conn, data.decode(), real_us)
        except UnicodeDecodeError:
            event = rec.BadText(now, conn, data, real_us)
        return self._keep(event, self._relay.receive_text(conn, data, now, real_us))

    def receive_oversized(self, conn: int, now: int) -> list[Effect]:
        """See Relay."""
        return self._keep(rec.Oversized(now, conn), self._relay.receive_oversized(conn, now))

    def receive_frame(self, conn: int, frame: Frame, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        event: rec.Input
        if type(frame) is BinaryFrame:
            event = rec.Binary(now, conn, codec.encode(frame), real_us)  # type: ignore[arg-type]
        else:
            event = rec.Text(now, conn, codec.encode_text(frame).decode(), real_us)
        return self._keep(event, self._relay.receive_frame(conn, frame, now, real_us))

    def receive_frame_on(self, conn: Connection, frame: Frame, now: int) -> list[Effect]:
        """See Relay."""
        return self.receive_frame(conn.id, frame, now)

    def note_arrival(self, conn: int, now: int) -> None:
        """See Relay."""
        self._relay.note_arrival(conn, now)
        self._keep(rec.Arrival(now, conn, now), [])

    def disconnect(self, conn: int, cause: str, now: int) -> list[Effect]:
        """See Relay."""
        return self._keep(rec.Lost(now, conn, cause), self._relay.disconnect(conn, cause, now))

    def handle_request(self, req: int, request: Request, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        body = None if request.body is None else request.body.decode("utf-8", "replace")
        asked = {"method": request.method, "path": request.path, "query": request.query, "ip": request.ip}
        event = rec.Asked(now, r=req, bearer=request.bearer, body=body, real=real_us, **asked)  # type: ignore[arg-type]
        return self._keep(event, self._relay.handle_request(req, request, now, real_us))

    def receive_event(self, event: BusEvent, now: int) -> list[Effect]:
        """See Relay; a trace has no line of its own for the bus, so what follows stands under a timer's."""
        return self._keep(rec.Timer(now), self._relay.receive_event(event, now))

    def control(self, command: Command, now: int) -> list[Effect]:
        """See Relay."""
        return self._keep(rec.Commanded(now, command), self._relay.control(command, now))

    def handle_timeout(self, now: int) -> list[Effect]:
        """See Relay."""
        return self._keep(rec.Timer(now), self._relay.handle_timeout(now))

    def halted(self, now: int) -> None:
        """The core dies with all its connections, and is not told so."""
        for conn in self._relay.connections:
            self._keep(rec.Lost(now, conn, "node_halted"), [])
