"""A session's token and what it permits: warnings, refreshes, capabilities; removed devices (R-4.5, R-7.1, R-9).

All of it is worked out from the expiry that AUTH_SUCCESS and TOKEN_REFRESHED tell.
"""

from __future__ import annotations

from typing import Any, Final

from zentalk_sim.checks.registry import Check, check
from zentalk_sim.checks.relay_closing import Owing
from zentalk_sim.checks.world import DEVICE_PATH, claims_of
from zentalk_sim.protocol import control
from zentalk_sim.trace import events as ev

_SLACK_US: Final = 1_000_000
"""A face may run a timer late."""
_FEWEST_S: Final = 5
"""A window so short that a late timer may fall out of it is not judged."""


@check("relay.capabilities", "R-4.5")
class Capabilities(Check):
    """A session without send_message is acknowledged no message, and one without receive_message is sent none."""

    def on_accepted(self, send: ev.FrameIn, ack: ev.FrameOut) -> None:
        self._judge(ack, "send_message")

    def out_message_new(self, event: ev.FrameOut) -> None:
        self._judge(event, "receive_message")

    def _judge(self, event: ev.FrameOut, capability: str) -> None:
        conn = self.world.conn(event.c)
        if conn.known and conn.state == "ready":
            if capability in conn.capabilities:
                self.exercised += 1
            else:
                self.broken(f"{event.type} without the capability {capability}", event)


@check("relay.token_claims", "R-3.3")
class TokenClaims(Check):
    """A session token names its user, device and session, lives as long as it should, and expires when it is said."""

    def out_auth_success(self, event: ev.FrameOut) -> None:
        self._judge(event, event.payload.session_id)

    def out_token_refreshed(self, event: ev.FrameOut) -> None:
        self._judge(event, self.world.conn(event.c).session_id)

    def _judge(self, event: ev.FrameOut, session_id: str) -> None:
        conn, payload = self.world.conn(event.c), event.payload
        claims = claims_of(payload.session_token)
        if claims is None or not conn.known or conn.user is None:
            return
        whose = (claims.sub, claims.device_id, claims.session_id)
        if whose != (conn.user, conn.device, session_id):
            self.broken(f"the token is of {claims.sub}, device {claims.device_id}, {claims.session_id!r}", event)
        elif claims.exp * 1000 != payload.expires_at:
            self.broken(f"expires_at is {payload.expires_at}, the token says {claims.exp} s", event)
        else:
            lives_s = claims.exp - claims.iat
            self.judge(lives_s == self.world.config.token.lifetime_s, f"the token lives for {lives_s} s", event)


@check("relay.close_removed", "R-7.1")
class CloseRemoved(Owing):
    """Removing a device closes its connection with 1000."""

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.RemoveDevice):
            self._removed(event.command.address.lower(), event.command.device_id.lower(), event)

    def on_request(self, event: ev.Request) -> None:
        found = DEVICE_PATH.match(event.path) if event.method == "DELETE" else None
        claims = claims_of(event.bearer) if found is not None else None
        if found is not None and claims is not None:
            self._removed(claims.sub, found.group(1).lower(), event)

    def _removed(self, user: str, device: str, event: Any) -> None:
        c = self.world.places.get(user, {}).get(device)
        if c is not None and device in self.world.person(user).devices:
            self.owe(c, 1000, event)

    def on_response(self, event: ev.Response) -> None:
        if not 200 <= event.status < 300:
            self.owed.clear()


@check("relay.token_expiring", "R-9.2")
class TokenExpiring(Check):
    """TOKEN_EXPIRING is sent once when the token's refresh window opens, and no sooner; in its grace once more."""

    always_at_group_end = True

    def begin(self) -> None:
        self.due: dict[int, tuple[int, Any]] = {}
        self.next_us = 1 << 62
        self.warned: dict[int, tuple[int, int]] = {}
        """Connection → expiry of the token last warned of, and how many seconds it had left."""

    def _opens_us(self, expires_ms: int) -> int:
        return expires_ms * 1000 - self.world.config.token.refresh_window_s * 1_000_000

    def _given(self, event: ev.FrameOut) -> None:
        begin = self.world.begin
        self.warned.pop(event.c, None)
        if begin is None or not begin.whole or begin.nodes > 1 or len(self.due) >= 100_000:
            return
        due_us = max(event.t, self._opens_us(event.payload.expires_at))
        self.due[event.c] = (due_us, event)
        self.next_us = min(self.next_us, due_us)

    out_auth_success = out_token_refreshed = _given

    def out_token_expiring(self, event: ev.FrameOut) -> None:
        payload, conn = event.payload, self.world.conn(event.c)
        self.due.pop(event.c, None)
        if self.world.config.token.refresh_window_s < _FEWEST_S or not conn.expires_ms:
            return
        before = self.warned.get(event.c)
        self.warned[event.c] = (payload.expires_at, payload.seconds_remaining)
        again = before is not None and before[0] == payload.expires_at
        if payload.expires_at != conn.expires_ms:
            self.broken("expires_at is not that of the session's token", event)
        elif again and before is not None and (before[1] > 0) == (payload.seconds_remaining > 0):
            self.broken("warned of the same token again", event)
        else:
            early_us = self._opens_us(payload.expires_at) - event.t
            self.judge(early_us <= 0, f"{early_us} µs before the window opens", event)

    def on_group_end(self, following: Any) -> None:
        cause = self.world.cause
        if cause is None or self.next_us + _SLACK_US > cause.t:
            return
        for c, (due_us, event) in list(self.due.items()):
            if due_us + _SLACK_US <= cause.t:
                del self.due[c]
                self.broken(f"no TOKEN_EXPIRING to connection {c}, due at {due_us} µs", event)
        self.next_us = min((due_us for due_us, _ in self.due.values()), default=1 << 62)

    def _forget(self, event: Any) -> None:
        self.due.pop(event.c, None)
        self.warned.pop(event.c, None)

    on_close = on_abort = on_lost = _forget

    def _clear(self, event: Any) -> None:
        self.due.clear()

    on_config = on_restart = _clear


@check("relay.refresh_verdict", "R-9.3")
class RefreshVerdict(Check):
    """A token is refreshed only for this session's current one, signed, within its window or grace."""

    def begin(self) -> None:
        self.rotated: dict[str, None] = {}
        """Users whose key is another than the one they have signed in with."""

    def on_control(self, event: ev.Control) -> None:
        if isinstance(event.command, control.RotateKey):
            self.rotated[event.command.address.lower()] = None

    def out_token_refreshed(self, event: ev.FrameOut) -> None:
        world, cause = self.world, self.world.cause
        conn, begin = world.conn(event.c), world.begin
        if begin is None or not begin.whole or begin.redacted or not conn.known or not conn.session_token:
            return
        if (
            type(cause) is not ev.FrameIn
            or cause.c != event.c
            or cause.type != "TOKEN_REFRESH"
            or cause.payload is None
        ):
            self.broken("TOKEN_REFRESHED without a TOKEN_REFRESH", event)
            return
        token = cause.payload.session_token
        settings = world.config.token
        opens_us = conn.expires_ms * 1000 - settings.refresh_window_s * 1_000_000
        ends_us = conn.expires_ms * 1000 + settings.grace_s * 1_000_000
        key = None if conn.user in self.rotated else conn.identity_key
        if token != conn.session_token:
            self.broken("for a token that is not the session's current one", cause, event)
        elif not opens_us <= event.t <= ends_us:
            self.broken("outside the token's window and grace", cause, event)
        elif key is not None and not world.crypto.verify(key, token.encode(), cause.payload.signature):
            self.broken("for a signature that does not verify", cause, event)
        else:
            self.judge(event.payload.expires_at >= conn.expires_ms, "the new token lives less long", cause, event)
