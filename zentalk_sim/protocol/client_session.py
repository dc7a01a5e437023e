"""One client's session with the relay: the answer to its challenge, the envelope's numbers, the token's life.

Sources: R-4.1 (what is signed), R-3.4 (resumption), R-5.1, R-5.2 and R-5.4 (MAC and seq), R-9.3 and R-11.7 (refresh),
R-11.8 (clock).
"""

from __future__ import annotations

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client_effects import Identity
from zentalk_sim.protocol.client_host import TOKENS
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.crypto import Crypto
from zentalk_sim.protocol.frames import AuthChallenge, AuthResponse, AuthSuccess, Payload, TokenRefresh
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.streams import Stream
from zentalk_sim.protocol.timers import NEVER

_FIRST_HOUR_US = 3_600_000_000


class Session:
    """What lasts from AUTH_CHALLENGE to the end of a connection, and beyond it what a resumption needs."""

    __slots__ = (
        "_key",
        "challenge",
        "expires_us",
        "offset_us",
        "ready",
        "refresh_id",
        "refresh_paused_us",
        "refresh_us",
        "refreshes_later",
        "resume_token",
        "seq",
        "session_id",
        "token",
    )

    def __init__(self) -> None:
        self._key: bytes | None = None
        self.ready = False
        """Whether AUTH_SUCCESS has come on this connection."""
        self.seq = 0
        self.offset_us = 0
        """The relay's clock less ours (R-11.8)."""
        self.refreshes_later = False
        """``refresh_us`` is only the earliest instant that may be drawn; ``draw_refresh`` says which it is."""
        self.refresh_us = NEVER
        """When to send TOKEN_REFRESH."""
        self.challenge: bytes | None = None
        self.token = ""
        """The session's current token, which TOKEN_REFRESH must name (R-9.3)."""
        self.session_id: str | None = None
        self.resume_token: str | None = None
        self.expires_us = 0
        """When the token expires, by the client's own clock."""
        self.refresh_id: str | None = None
        self.refresh_paused_us = 0
        """No refresh before this instant: the relay's limit counts on over connections (R-11.5)."""

    def open(self) -> None:
        """A new connection: nothing of the old one's keys holds."""
        self.challenge = None
        self._key = None
        self.ready = False
        self.refreshes_later = False
        self.refresh_us = NEVER
        self.refresh_id = None

    def answer(
        self, challenge: AuthChallenge, identity: Identity, crypto: Crypto, trust_server_time: bool, now: int
    ) -> AuthResponse:
        """Learn the relay's clock and sign its challenge (R-4.1)."""
        self.challenge = challenge.challenge
        self.offset_us = challenge.server_time * 1000 - now if trust_server_time else 0
        client_time = self.time_ms(now)
        secret = identity.identity_secret
        data = auth_signed_data(challenge.challenge, challenge.server_time, identity.device_id, client_time)
        return AuthResponse(
            identity_key=crypto.public_key(secret),
            device_id=identity.device_id,
            signature=crypto.sign(secret, data),
            client_time=client_time,
        )

    def succeed(self, success: AuthSuccess, crypto: Crypto, with_mac: bool) -> None:
        """AUTH_SUCCESS: the key lasts as long as the connection (R-5.1), ``seq`` goes on if resumed (R-3.4)."""
        assert self.challenge is not None
        self.ready = True
        self._key = crypto.session_key(success.session_token, self.challenge) if with_mac else None
        self.challenge = None
        self.session_id = success.session_id
        self.resume_token = success.resume_token
        if not success.resumed:
            self.seq = 0

    def take_token(self, token: str, expires_at_ms: int) -> None:
        """The session's new current token."""
        self.token = token
        self.expires_us = expires_at_ms * 1000 - self.offset_us
        self.refresh_id = None

    def time_ms(self, now: int) -> int:
        """Our time as the relay is told it, in ms (R-11.8)."""
        return max(0, (now + self.offset_us) // 1000)

    def mac(
        self, crypto: Crypto, kind: str, frame_id: str, timestamp: int, payload: Payload, wire: bool
    ) -> bytes | None:
        """R-5.2, over the payload's exact bytes; over none where frames travel by reference. None without a key."""
        if self._key is None:
            return None
        raw = codec.encode_payload(payload) if wire else b""
        return crypto.message_mac(self._key, kind, frame_id, timestamp, raw)

    # --- token refresh ----------------------------------------------------------------------------

    def plan_refresh(self, config: ClientConfig, now: int) -> None:
        """R-11.7: refresh at an instant uniform over the first hour of the window, or as the policy says.

        The instant is drawn when it may be near: most connections end long before.
        """
        policy: str = config.token_refresh
        self.refreshes_later = policy == "uniform_first_hour"
        if policy == "never":
            self.refresh_us = NEVER
        else:
            self.refresh_us = max(now, self._window_opens_us(), self.refresh_paused_us)

    def _window_opens_us(self) -> int:
        return self.expires_us - TOKENS.refresh_window_s * 1_000_000

    def draw_refresh(self, stream: Stream) -> None:
        """Draw the instant from its stream."""
        self.refreshes_later = False
        self.refresh_us = max(self.refresh_us, self._window_opens_us() + stream.between(0, _FIRST_HOUR_US))

    def warned(self, seconds_remaining: int, config: ClientConfig, now: int) -> None:
        """TOKEN_EXPIRING: refresh by the end of the window's first hour, which the relay's clock tells better."""
        if config.token_refresh == "never" or self.refresh_id is not None:
            return
        latest = max(now + max(0, seconds_remaining * 1_000_000 - _FIRST_HOUR_US), self.refresh_paused_us)
        assert not self.refreshes_later
        self.refresh_us = min(self.refresh_us, latest)

    def refresh(self, identity: Identity, crypto: Crypto, config: ClientConfig, now: int) -> TokenRefresh:
        """TOKEN_REFRESH (R-9.3); asked again later unless TOKEN_REFRESHED comes first."""
        self.refresh_us = now + config.refresh_retry_ms * 1000
        return TokenRefresh(
            session_token=self.token, signature=crypto.sign(identity.identity_secret, self.token.encode("ascii"))
        )

    def refresh_refused(self, config: ClientConfig, now: int, pause_us: int) -> None:
        """R-11.7: after a refusal again in 20 minutes, or when a limit's ``retry_after`` is over (R-11.5)."""
        self.refresh_id = None
        self.refreshes_later = False
        self.refresh_paused_us = now + pause_us
        self.refresh_us = now + max(config.refresh_retry_ms * 1000, pause_us)
