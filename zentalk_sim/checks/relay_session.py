"""The relay at the beginning of a connection, and the numbers on what it sends (R-1, R-3.4, R-4)."""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.protocol import control
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.trace import events as ev

_BEFORE = ("AUTH_CHALLENGE", "AUTH_FAILED", "ERROR")


@check("relay.first_frames", "R-4.2")
class FirstFrames(Check):
    """Before AUTH_SUCCESS a relay sends one AUTH_CHALLENGE, AUTH_FAILED or ERROR and nothing else."""

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if not conn.known or event.type == "AUTH_SUCCESS":
            return
        if conn.state == "open":
            self.judge(event.type in _BEFORE, f"{event.type} before the challenge", event)
        elif conn.state == "challenged":
            self.judge(event.type in _BEFORE[1:], f"{event.type} before AUTH_SUCCESS", event)


@check("relay.start_order", "R-4.6")
class StartOrder(Check):
    """After AUTH_SUCCESS comes SYNC_REQUIRED, if at all, before anything else."""

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if conn.state == "ready" and event.type == "AUTH_SUCCESS":
            self.broken("AUTH_SUCCESS a second time", event)
        elif event.type == "AUTH_SUCCESS":
            self.after[event.c] = event
        elif event.c in self.after:
            success = self.after.pop(event.c)
            self.done[event.c] = success
            self.seen()
        elif event.type == "SYNC_REQUIRED" and event.c in self.done:
            self.broken("SYNC_REQUIRED after other frames", self.done[event.c], event)

    def begin(self) -> None:
        self.after: dict[int, Any] = {}
        self.done: dict[int, Any] = {}

    def on_lost(self, event: ev.Lost) -> None:
        self.after.pop(event.c, None)
        self.done.pop(event.c, None)


@check("relay.seq", "R-1.3")
class SeqOut(Check):
    """AUTH_SUCCESS takes seq 1, or resumed the next one, and each later text frame one more."""

    def begin(self) -> None:
        self.last: Recent[str, int] = Recent(200_000)

    def on_begin(self, event: ev.Begin) -> None:
        for conn in event.image.connections if event.image is not None else ():
            if conn.session is not None:
                self.last[conn.session.session_id] = conn.session.seq_out
        for _, _, session in event.image.store.sessions if event.image is not None else ():
            self.last[session.session_id] = session.seq_out

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if event.partial or conn.state == "ended":
            return
        if event.binary or (conn.state in ("open", "challenged") and event.type != "AUTH_SUCCESS"):
            self.judge(event.seq is None, f"{event.type} must carry no seq", event)
            return
        session = conn.session_id
        if event.type == "AUTH_SUCCESS":
            if event.payload is None:
                return
            session = event.payload.session_id
            if not event.payload.resumed:
                self.last[session] = 0
        last = self.last.get(session)
        if not session or last is None:
            if session and event.seq is not None:
                self.last[session] = event.seq
            return
        if event.seq == last + 1:
            self.exercised += 1
        else:
            self.broken(f"{event.type}: seq {event.seq} after {last}", event)
        self.last[session] = last + 1 if event.seq is None else event.seq


@check("relay.envelope", "R-1.2")
class Envelope(Check):
    """Every frame has an id of its own but MESSAGE_NEW, carries no message_mac and has the form of its type."""

    def begin(self) -> None:
        self.ids: Recent[tuple[int, str], int] = Recent()

    def out_any(self, event: ev.FrameOut) -> None:
        if event.fault is not None:
            self.broken(f"{event.type or 'a frame'}: {event.fault}", event)
        elif event.mac is not None:
            self.broken(f"{event.type} carries a message_mac", event)
        elif event.partial:
            return
        elif event.type != "MESSAGE_NEW":
            before = self.ids.get((event.c, event.id))
            self.ids[event.c, event.id] = event.line
            if before is None:
                self.exercised += 1
            else:
                self.broken(f"{event.type}: the id of line {before} again", event)


@check("relay.text_payload", "R-2.2")
class TextPayload(Check):
    """MESSAGE_NEW is binary where its payload exceeds 16 384 bytes, and text where not."""

    def out_message_new(self, event: ev.FrameOut) -> None:
        if self.world.redacted:
            # Pseudonyms are of another length than what they stand for.
            return
        large = len(event.raw) > self.world.config.frames.max_text_payload_bytes
        self.judge(large == event.binary, f"{len(event.raw)} bytes as {'binary' if event.binary else 'text'}", event)


@check("relay.auth_verdict", "R-4.2")
class AuthVerdict(Check):
    """AUTH_SUCCESS follows an AUTH_RESPONSE that verifies, and nothing else."""

    out_types = frozenset(("AUTH_SUCCESS",))

    def begin(self) -> None:
        self.answers: dict[int, Any] = {}

    def in_auth_response(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "challenged":
            self.answers[event.c] = event

    def out_any(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        answer = self.answers.pop(event.c, None)
        begin = self.world.begin
        if not conn.known or conn.state != "challenged" or (begin is not None and begin.redacted):
            return
        if answer is None:
            # Where only types are known, so is no answer's content.
            if not event.partial:
                self.broken("AUTH_SUCCESS without an AUTH_RESPONSE", event)
            return
        payload = answer.payload
        if not conn.challenge_bytes or not 0 <= conn.server_time < 2**63:
            return
        signed = auth_signed_data(conn.challenge_bytes, conn.server_time, payload.device_id, payload.client_time)
        if not self.world.crypto.verify(payload.identity_key, signed, payload.signature):
            self.broken("AUTH_SUCCESS for a signature that does not verify", answer, event)
        elif payload.device_id.lower() != conn.device:
            self.broken("AUTH_SUCCESS for another device_id than the upgrade's", answer, event)
        else:
            self.judge(
                self.world.near(answer, payload.client_time), "AUTH_SUCCESS for a stale client_time", answer, event
            )

    def on_lost(self, event: ev.Lost) -> None:
        self.answers.pop(event.c, None)


@check("relay.auth_timeout", "R-4.3")
class AuthTimeout(Check):
    """A challenge waits five seconds for its answer: no less, and an answer later than that gets no AUTH_SUCCESS."""

    def begin(self) -> None:
        self.arrived: dict[int, int] = {}

    def on_arrival(self, event: ev.Arrival) -> None:
        self.arrived[event.c] = event.at

    def on_lost(self, event: ev.Lost) -> None:
        self.arrived.pop(event.c, None)

    def _waited_us(self, event: Any) -> int | None:
        challenge = self.world.conn(event.c).challenge
        return None if challenge is None else event.t - challenge.t

    def on_close(self, event: ev.Close) -> None:
        waited, least = self._waited_us(event), self.world.config.auth.timeout_ms * 1000
        if event.reason == "auth_timeout" and waited is not None:
            self.judge(waited >= least and event.code == 1002, f"{event.code} after {waited} µs", event)

    def out_auth_success(self, event: ev.FrameOut) -> None:
        waited, most = self._waited_us(event), self.world.config.auth.timeout_ms * 1000
        arrived = self.arrived.pop(event.c, None)
        if waited is None or (self.world.begin is not None and not self.world.begin.whole):
            return
        if arrived is not None:
            waited -= event.t - min(arrived, event.t)
        self.judge(waited <= most, f"AUTH_SUCCESS {waited} µs after the challenge", event)


@check("relay.resume", "R-3.4")
class Resume(Check):
    """A session is resumed only for the newest resume token of its device, once, within five minutes of its loss."""

    def begin(self) -> None:
        self.issued: Recent[str, tuple[str, str, int | None, Any]] = Recent(200_000)
        self.orphans: dict[str, dict[str, int]] = {}
        """Node that died → the devices it had, and their connections."""

    def out_auth_success(self, event: ev.FrameOut) -> None:
        conn = self.world.conn(event.c)
        if not conn.known or not conn.device:
            return
        held = self.issued.get(conn.device)
        payload = event.payload
        self.issued[conn.device] = (payload.resume_token, payload.session_id, None, mark(event))
        if not payload.resumed:
            return
        if held is None:
            begin = self.world.begin
            if begin is not None and begin.image is None and not begin.redacted:
                self.broken("resumed, though there was no session", event)
            return
        token, session_id, lost_us, before = held
        late_us = self.world.config.resume.window_ms * 1000
        if token != conn.resume_token:
            self.broken("resumed for a token that is not the device's newest", before, event)
        elif session_id != payload.session_id:
            self.broken("resumed under another session_id", before, event)
        else:
            in_time = lost_us is None or not self.world.comparable or event.t - lost_us <= late_us
            self.judge(in_time, f"resumed {event.t - (lost_us or 0)} µs after the loss", before, event)

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.NodeLost):
            for device, c in self.orphans.pop(event.command.node, {}).items():
                held = self.issued.get(device)
                if held is not None and held[2] is None and held[3].c == c:
                    self.issued[device] = (held[0], held[1], event.t, held[3])

    def _ended(self, event: Any) -> None:
        conn = self.world.conn(event.c)
        held = self.issued.get(conn.device)
        if type(event) is ev.Lost and event.cause == "node_halted":
            # What stood on a node that died counts as standing until another node, or itself, says that it is gone.
            self.orphans.setdefault(conn.node, {})[conn.device] = event.c
            return
        # The older connection of a session that was resumed meanwhile is not what the session lives on.
        if conn.state == "ready" and held is not None and held[3].c == event.c:
            self.issued[conn.device] = (held[0], held[1], event.t, held[3])

    on_close = on_abort = on_lost = _ended
