"""R-10.1: a limit admits where a token bucket has a token *and* fewer than N were admitted in the last window.

All arithmetic is in integers, so that the instants of ``reset_at`` are exact: credit is counted in units in
which the bucket gains N a microsecond and one admission costs W (the window in µs).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol.config import Limit


class LimitState(Struct):
    """What one limiter remembers: bucket credit, when it was refilled, and the admissions still in the window."""

    credit: int
    refilled_us: int
    admitted_us: list[int]
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


def fresh(limit: Limit, now_us: int) -> LimitState:
    """A limiter that has admitted nothing: its bucket is full."""
    return LimitState(_full(limit), now_us, [], limit)


def _full(limit: Limit) -> int:
    return (limit.burst or limit.limit) * limit.window_s * 1_000_000


def _settle(state: LimitState, limit: Limit, now_us: int) -> None:
    """Refill the bucket up to now and forget admissions that left the window (now − W, now]."""
    window_us = limit.window_s * 1_000_000
    if state.limit is not limit:
        if state.limit != limit:
            # The setting was changed: the new limit begins with a full bucket, what was admitted still counts.
            state.credit, state.refilled_us = _full(limit), now_us
        state.limit = limit
    if now_us > state.refilled_us:
        state.credit = min(_full(limit), state.credit + (now_us - state.refilled_us) * limit.limit)
        state.refilled_us = now_us
    admitted = state.admitted_us
    stale = 0
    while stale < len(admitted) and admitted[stale] <= now_us - window_us:
        stale += 1
    if stale:
        del admitted[:stale]


def check(state: LimitState, limit: Limit, now_us: int) -> Refusal | None:
    """Whether a frame now would be refused; takes nothing."""
    _settle(state, limit, now_us)
    window_us = limit.window_s * 1_000_000
    admitted = state.admitted_us
    bucket_ready_us = now_us
    if state.credit < window_us:
        bucket_ready_us = now_us - (state.credit - window_us) // limit.limit
    window_ready_us = now_us
    if len(admitted) >= limit.limit:
        window_ready_us = admitted[-limit.limit] + window_us
    if bucket_ready_us == window_ready_us == now_us:
        return None
    return Refusal(
        limit.limit,
        limit.window_s,
        len(admitted),
        max(bucket_ready_us, window_ready_us),
        "window" if window_ready_us > now_us else "burst",
        now_us,
    )


def take(state: LimitState, limit: Limit, now_us: int) -> None:
    """Count an admission that ``check`` allowed at the same instant."""
    state.credit -= limit.window_s * 1_000_000
    state.admitted_us.append(now_us)


def admit(state: LimitState, limit: Limit, now_us: int) -> Refusal | None:
    """Check and, where nothing refuses, count."""
    refusal = check(state, limit, now_us)
    if refusal is None:
        take(state, limit, now_us)
    return refusal
