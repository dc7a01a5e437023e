"""R-10.1: a limit admits where a token bucket has a token *and* fewer than N were admitted in the last window.

All arithmetic is in integers, so that the instants of ``reset_at`` are exact: credit is counted in units in
which the bucket gains N a microsecond and one admission costs W (the window in µs).
"""

from __future__ import annotations

from typing import Any, Final

from zentalk_sim.protocol.config import Limit
from zentalk_sim.protocol.limit_records import LimitState as LimitState
from zentalk_sim.protocol.limit_records import Refusal as Refusal

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_LimitState: Final[type[LimitState]] = LimitState


def fresh(limit: Limit, now_us: int) -> LimitState:
    """A limiter that has admitted nothing: its bucket is full."""
    return _LimitState(_full(limit), now_us, (), limit)


def _full(limit: Limit) -> int:
    return (limit.burst or limit.limit) * limit.window_s * 1_000_000


def _settle(state: LimitState, limit: Limit, most: int, window_us: int, now_us: int) -> tuple[int, ...]:
    """Refill the bucket up to now and forget admissions that left the window (now − W, now]; those that did not."""
    if state.limit is not limit:
        if state.limit != limit:
            # The setting was changed: the new limit begins with a full bucket, what was admitted still counts.
            state.credit, state.refilled_us = _full(limit), now_us
        state.limit = limit
    refilled_us = state.refilled_us
    if now_us > refilled_us:
        credit = state.credit + (now_us - refilled_us) * most
        full = _full(limit)
        state.credit = credit if credit < full else full
        state.refilled_us = now_us
    admitted = state.admitted_us
    if not admitted or admitted[0] > now_us - window_us:
        return admitted
    stale = 1
    while stale < len(admitted) and admitted[stale] <= now_us - window_us:
        stale += 1
    left = state.admitted_us = admitted[stale:]
    return left


def check(state: LimitState, limit: Limit, now_us: int) -> Refusal | None:
    """Whether a frame now would be refused; takes nothing."""
    # What a limit says is read once: attributes of records cost compiled code a look-up each.
    most: int = limit.limit
    window_us: int = limit.window_s * 1_000_000
    return _refusal(state, limit, most, window_us, now_us)


def _refusal(state: LimitState, limit: Limit, most: int, window_us: int, now_us: int) -> Refusal | None:
    admitted = _settle(state, limit, most, window_us, now_us)
    credit = state.credit
    if credit >= window_us and len(admitted) < most:
        return None
    bucket_ready_us = now_us
    if credit < window_us:
        bucket_ready_us = now_us - (credit - window_us) // most
    window_ready_us = now_us
    if len(admitted) >= most:
        window_ready_us = admitted[-most] + window_us
    if bucket_ready_us == window_ready_us == now_us:
        return None
    return Refusal(
        most,
        limit.window_s,
        len(admitted),
        max(bucket_ready_us, window_ready_us),
        "window" if window_ready_us > now_us else "burst",
        now_us,
    )


def take(state: LimitState, limit: Limit, now_us: int) -> None:
    """Count an admission that ``check`` allowed at the same instant."""
    _count(state, limit.window_s * 1_000_000, now_us)


def _count(state: LimitState, window_us: int, now_us: int) -> None:
    state.credit -= window_us
    # The object that the instant is already: of another each, compiled code would make one more a limiter.
    at_us: Any = state.refilled_us
    state.admitted_us += (at_us if at_us == now_us else now_us,)


def admit(state: LimitState, limit: Limit, now_us: int) -> Refusal | None:
    """Check and, where nothing refuses, count."""
    most: int = limit.limit
    window_us: int = limit.window_s * 1_000_000
    refusal = _refusal(state, limit, most, window_us, now_us)
    if refusal is None:
        _count(state, window_us, now_us)
    return refusal
