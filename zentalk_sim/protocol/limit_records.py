"""What a rate limiter remembers, and what it says where it refuses (R-10.1)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol.config import Limit


class LimitState(Struct, gc=False):
    """What one limiter remembers: bucket credit, when it was refilled, and the admissions still in the window."""

    credit: int
    refilled_us: int
    admitted_us: tuple[int, ...]
    limit: Limit
    """The limit that ``credit`` is counted for."""


class Refusal(Struct, frozen=True):
    """Why a frame was refused, and the instant when both conditions would admit it."""

    limit: int
    window_s: int
    current_count: int
    ready_us: int
    reason: str
    now_us: int

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until then, at least one."""
        return max(1, -(-(self.ready_us - self.now_us) // 1_000_000))

    def details(self) -> dict[str, Any]:
        """``details`` of the ERROR frame (R-10.1)."""
        return {
            "limit": self.limit,
            "window_seconds": self.window_s,
            "current_count": self.current_count,
            "retry_after": self.retry_after_s,
            "reset_at": -(-self.ready_us // 1000),
            "reason": self.reason,
        }
