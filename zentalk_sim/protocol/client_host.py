"""What the parts of a client ask of the whole: frames sent, requests made, waits drawn.

Outbox, receipts, signals and inbox own one concern each and know each other only through this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from zentalk_sim.protocol.client_effects import Effects
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig, FrameConfig, Limits, TokenConfig, TopicConfig, TypingConfig
from zentalk_sim.protocol.frames import ErrorPayload, Payload

# The relay's numbers that a client must know to keep to them; they are the specification's.
FRAMES: Final = FrameConfig()
TOPICS: Final = TopicConfig()
TYPING: Final = TypingConfig()
TOKENS: Final = TokenConfig()
_TYPING_LIMIT: Final = Limits().typing
TYPING_THROTTLE_US: Final = 0 if _TYPING_LIMIT == "off" else _TYPING_LIMIT.window_s * 1_000_000
TRANSIENT: Final = frozenset({"INTERNAL_ERROR", "SERVICE_UNAVAILABLE"})
"""Error codes that are retried with backoff (R-11.5)."""
MAX_TIME_MS: Final = 1 << 53
"""Times beyond what JSON numbers carry exactly are no times."""
MAX_RETRY_AFTER_S: Final = 86_400


class Host(ABC):
    """The client, as its parts see it."""

    __slots__ = ("config", "state")

    config: ClientConfig
    state: ClientState

    @abstractmethod
    def emit(
        self, kind: str, payload: Payload, now: int, out: Effects, frame_id: str | None = None, binary: bool = False
    ) -> str:
        """Send a frame on the connection; returns its id."""

    @abstractmethod
    def fetch(self, purpose: str, key: str, method: str, path: str, body: bytes | None, now: int, out: Effects) -> None:
        """Make a REST request whose answer comes back to the part that ``purpose`` names."""

    @abstractmethod
    def backoff_us(self, attempt: int) -> int:
        """A wait by the client's backoff policy before retry 0, 1, … of something."""

    @abstractmethod
    def public_key(self) -> bytes:
        """The client's own identity key."""

    @abstractmethod
    def confirm(self, message_id: str, now: int, out: Effects) -> None:
        """Send MESSAGE_RECEIVED."""


def retry_after_us(error: ErrorPayload, config: ClientConfig) -> int:
    """``details.retry_after`` (whole seconds) in µs; the cool-down setting where there is none to be read."""
    value = error.details.get("retry_after")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_RETRY_AFTER_S:
        return config.rate_limited_cooldown_ms * 1000
    return int(value * 1_000_000)
