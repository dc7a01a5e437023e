"""The client's handshake: what it sends before AUTH_SUCCESS, and what it signs (R-3, R-4)."""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Recent, check, mark
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.trace import events as ev


@check("client.upgrade_form", "R-3.1")
class UpgradeForm(Check):
    """An upgrade request has the path, sub-protocol, device and version that the relay asks for."""

    def on_accept(self, event: ev.Accept) -> None:
        self.seen()

    def on_refuse(self, event: ev.Refuse) -> None:
        upgrade = self.world.conn(event.c).upgraded
        if upgrade is not None and event.status in (400, 404):
            self.broken(f"refused with {event.status}: {event.message}", upgrade, event)


@check("client.auth_first", "R-4.2")
class AuthFirst(Check):
    """Nothing but one AUTH_RESPONSE is sent before AUTH_SUCCESS."""

    def in_any(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        if conn.state not in ("open", "challenged"):
            return
        if event.type == "AUTH_RESPONSE" and conn.state == "open":
            self.broken("AUTH_RESPONSE before there was a challenge", event)
        else:
            self.judge(event.type == "AUTH_RESPONSE", f"{event.type or 'a frame'} before AUTH_SUCCESS", event)


@check("client.auth_form", "R-4.1")
class AuthForm(Check):
    """AUTH_RESPONSE has its fields and lengths, and names the device of the upgrade."""

    in_types = frozenset(("AUTH_RESPONSE",))

    def in_any(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        if event.partial or conn.state not in ("open", "challenged"):
            return
        if event.payload is None:
            self.broken("AUTH_RESPONSE is malformed", event)
        else:
            same = event.payload.device_id.lower() == conn.device
            self.judge(same, f"device_id {event.payload.device_id} is not the upgrade's {conn.device}", event)


@check("client.auth_signature", "R-4.1")
class AuthSignature(Check):
    """The signature covers challenge, server_time, device_id and client_time, and verifies."""

    def in_auth_response(self, event: ev.FrameIn) -> None:
        conn = self.world.conn(event.c)
        payload = event.payload
        begin = self.world.begin
        if not conn.challenge_bytes or conn.state != "challenged" or (begin is not None and begin.redacted):
            return
        if not 0 <= conn.server_time < 2**63:
            return
        signed = auth_signed_data(conn.challenge_bytes, conn.server_time, payload.device_id, payload.client_time)
        held = self.world.crypto.verify(payload.identity_key, signed, payload.signature)
        self.judge(held, "the signature does not verify", *_those(conn.challenge, event))


@check("client.auth_time", "R-4.2")
class AuthTime(Check):
    """client_time lies within the time window of the relay's clock."""

    def in_auth_response(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "challenged":
            off_s = (event.payload.client_time * 1000 - event.t) // 1_000_000
            self.judge(self.world.near(event, event.payload.client_time), f"client_time is off by {off_s} s", event)


@check("client.auth_in_time", "R-4.3", "should")
class AuthInTime(Check):
    """The challenge is answered before the relay's time-out."""

    def in_auth_response(self, event: ev.FrameIn) -> None:
        if self.world.conn(event.c).state == "challenged":
            self.seen()

    def on_close(self, event: ev.Close) -> None:
        conn = self.world.conn(event.c)
        if event.reason == "auth_timeout" and conn.challenge is not None and not conn.faulted:
            self.broken("the challenge was not answered in time", conn.challenge, event)


@check("client.resume_once", "R-3.4")
class ResumeOnce(Check):
    """A resume token is presented for one reconnection: not again once a newer one was taken."""

    def begin(self) -> None:
        self.used: Recent[str, Any] = Recent(10_000)
        self.pending: dict[int, tuple[str, Any]] = {}

    def on_upgrade(self, event: ev.Upgrade) -> None:
        token = event.query.get("resume_token")
        if token and not self.world.conn(event.c).faulted:
            used = self.used.get(token)
            self.judge(used is None, "this resume token was used up before", *_those(used, event))

    def out_auth_success(self, event: ev.FrameOut) -> None:
        token = self.world.conn(event.c).resume_token
        if token:
            self.pending[event.c] = (token, mark(event))

    def in_any(self, event: ev.FrameIn) -> None:
        # A frame after AUTH_SUCCESS shows that the client has read it, and with it the newer token.
        used = self.pending.pop(event.c, None) if self.pending else None
        if used is not None:
            self.used[used[0]] = used[1]

    def on_lost(self, event: ev.Lost) -> None:
        self.pending.pop(event.c, None)


def _those(*events: Any) -> tuple[Any, ...]:
    return tuple(event for event in events if event is not None)
