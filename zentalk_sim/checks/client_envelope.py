"""What every frame of a client must be like: form, size, id, time, seq, MAC (R-1, R-5)."""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.protocol.errors import MALFORMED_REASONS
from zentalk_sim.trace import events as ev

_BYTES_FAULTS = {
    "bad_utf8": "a text frame that is not UTF-8",
    "bad_length": "a binary frame whose length does not match",
    "bad_code": "a binary frame of an unknown type code",
}


@check("client.well_formed", "R-1.5", "should")
class WellFormed(Check):
    """Every frame is one a client may send, with its fields as they must be."""

    def in_any(self, event: ev.FrameIn) -> None:
        if event.partial:
            return
        if event.fault is None:
            self.exercised += 1
            return
        held = event.fault not in MALFORMED_REASONS and event.fault not in _BYTES_FAULTS
        text = _BYTES_FAULTS.get(event.fault or "") or f"{event.type or 'a frame'}: {event.fault}"
        self.judge(held, text, event)


@check("client.malformed_run", "R-1.5")
class MalformedRun(Check):
    """Never ten malformed frames in a row."""

    def begin(self) -> None:
        self.runs: dict[int, int] = {}

    def in_any(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state != "ready" or event.partial:
            return
        if event.fault not in MALFORMED_REASONS:
            if event.type != "PONG":
                self.runs.pop(event.c, None)
            self.seen()
            return
        run = self.runs[event.c] = self.runs.get(event.c, 0) + 1
        self.judge(run != self.world.config.frames.max_malformed_in_a_row, f"{run} malformed frames in a row", event)

    def on_lost(self, event: ev.Lost) -> None:
        self.runs.pop(event.c, None)


@check("client.unique_ids", "R-1.2")
class UniqueIds(Check):
    """Every frame has an id of its own; only a message sent again keeps its own."""

    def begin(self) -> None:
        self.ids: Recent[str, tuple[str, int]] = Recent()

    def in_any(self, event: ev.FrameIn) -> None:
        if not event.id or event.fault is not None:
            return
        before = self.ids.get(event.id)
        self.ids[event.id] = (event.type, event.line)
        if before is None or before[0] == event.type == "MESSAGE_SEND":
            self.exercised += 1
        else:
            self.broken(f"the id of line {before[1]} again", event)


@check("client.timestamp", "R-1.4")
class Timestamp(Check):
    """Every timestamp but a PONG's lies within the time window of the relay's clock."""

    def in_any(self, event: ev.FrameIn) -> None:
        if event.fault is None and event.type != "PONG" and not event.partial:
            if self.world.near(event, event.timestamp):
                self.exercised += 1
            else:
                off_s = (event.timestamp * 1000 - event.t) // 1_000_000
                self.broken(f"{event.type}: off by {off_s} s", event)


@check("client.payload_size", "R-1.6")
class PayloadSize(Check):
    """No text frame has a payload above 16 384 bytes, and no frame is above 1 MiB."""

    def in_any(self, event: ev.FrameIn) -> None:
        if not event.partial and not self.world.redacted:
            if event.fault != "payload_requires_binary":
                self.exercised += 1
            else:
                self.broken(f"{event.type}: its payload must travel as a binary frame", event)

    def on_oversized(self, event: ev.Oversized) -> None:
        self.broken("a message above the largest frame", event)


@check("client.seq", "R-5.4")
class Seq(Check):
    """Where frames carry a seq it rises throughout a session."""

    def begin(self) -> None:
        self.last: Recent[str, tuple[int, Any]] = Recent(200_000)
        self.newest: Recent[str, int] = Recent(200_000)
        """Session → the connection that has it now."""

    def out_auth_success(self, event: ev.FrameOut) -> None:
        self.newest[event.payload.session_id] = event.c

    def on_begin(self, event: ev.Begin) -> None:
        for conn in event.image.connections if event.image is not None else ():
            if conn.session is not None:
                self.last[conn.session.session_id] = (conn.session.seq_in, None)

    def in_any(self, event: ev.FrameIn) -> None:
        session = self.world.conn(event.c).session_id
        if event.seq is None or not session or self.world.conn(event.c).state != "ready":
            return
        if self.newest.get(session) not in (None, event.c):
            # What an older connection brings late was numbered before the session was resumed.
            return
        before = self.last.get(session)
        if before is None or event.seq > before[0]:
            self.exercised += 1
            self.last[session] = (event.seq, mark(event))
        else:
            shown = [] if before[1] is None else [before[1]]
            self.broken(f"seq {event.seq} after {before[0]}", *shown, event)


@check("client.mac", "R-5.2")
class Mac(Check):
    """Where frames carry a message_mac it is right."""

    def in_any(self, event: ev.FrameIn) -> None:
        world = self.world
        conn = world.conn(event.c)
        if event.mac is None or conn.state != "ready" or (world.begin is not None and world.begin.redacted):
            return
        key = world.session_key(conn)
        if key is None:
            return
        # A frame that travelled as an object has no bytes: its modelled MAC covers none.
        raw = b"" if world.begin is not None and world.begin.modelled else event.raw
        expected = world.crypto.message_mac(key, event.type, event.id_as_sent, event.timestamp, raw)
        if expected == event.mac:
            self.exercised += 1
        else:
            self.broken(f"{event.type}: the message_mac does not verify", event)


@check("client.nonce", "R-5.5")
class Nonce(Check):
    """A nonce is never used for a second message."""

    def begin(self) -> None:
        self.used: Recent[tuple[str, bytes], tuple[str, Any]] = Recent()

    def in_message_send(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        key = (conn.user or conn.device, event.payload.nonce)
        before = self.used.get(key)
        if before is None:
            self.used[key] = (event.id, event.line)
            self.seen()
        else:
            self.judge(before[0] == event.id, f"the nonce of line {before[1]} under another id", event)
