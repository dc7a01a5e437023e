"""A relay core on tape: what goes in and what comes out, written as a recording's lines, for faces without a driver.

``Tape(relay, write)`` stands in the relay's place; everything else of the relay is reached through it. Frames that
travel as objects are written as the bytes they would have. The header is the holder's: ``full_header``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.effects import BusEvent, Effect
from zentalk_sim.protocol.frames import BinaryFrame, Frame
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace import recording as rec


def full_header(
    name: str, seed: int, config: RelayConfig, client: ClientConfig, *, modelled: bool, nodes: int, version: str
) -> bytes:
    """The header of a simulation's trace that holds all that its relays heard and said, newline included."""
    header = {
        "zentalk_trace": rec.FORMAT,
        "name": name,
        "seed": seed,
        "extent": "full",
        "config": config,
        "client": client,
        "modelled": modelled,
        "nodes": nodes,
        "versions": {"zentalk-sim": version},
    }
    return msgspec.json.encode(header) + b"\n"


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

    def receive_frame(self, conn: int, frame: Frame, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        event: rec.Input
        if type(frame) is BinaryFrame:
            event = rec.Binary(now, conn, codec.encode(frame), real_us)  # type: ignore[arg-type]
        else:
            event = rec.Text(now, conn, codec.encode_text(frame).decode(), real_us)
        return self._keep(event, self._relay.receive_frame(conn, frame, now, real_us))

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
