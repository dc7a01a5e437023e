"""R-10.1 against a model that remembers everything and looks at every instant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.config import Limit, Limits
from zentalk_sim.protocol.ratelimit import Refusal, admit, check, fresh

SECOND = 1_000_000


class Model:
    """The rule as it is written, in exact fractions of a token and with every admission kept."""

    def __init__(self, limit: Limit, now: int) -> None:
        self.n, self.window_us = limit.limit, limit.window_s * SECOND
        self.capacity = (limit.burst or limit.limit) * self.window_us
        self.tokens, self.at = self.capacity, now
        self.admitted: list[int] = []

    def level(self, now: int) -> int:
        """Tokens times W."""
        return min(self.capacity, self.tokens + (now - self.at) * self.n)

    def in_window(self, now: int) -> int:
        return sum(1 for at in self.admitted if now - self.window_us < at <= now)

    def admits(self, now: int) -> bool:
        return self.level(now) >= self.window_us and self.in_window(now) < self.n

    def take(self, now: int) -> None:
        self.tokens, self.at = self.level(now) - self.window_us, now
        self.admitted.append(now)


limits = st.builds(Limit, limit=st.integers(1, 12), window_s=st.integers(1, 9), burst=st.none() | st.integers(1, 15))
steps = st.lists(
    st.one_of(st.integers(0, 3), st.integers(0, 12 * SECOND), st.sampled_from([0, 1, SECOND, SECOND // 3, 333_334])),
    max_size=60,
)


@pytest.mark.requirement("R-10.1")
@given(limit=limits, steps=steps)
def test_the_limiter_must_agree_with_the_rule_and_name_the_exact_instant(limit: Limit, steps: list[int]) -> None:
    now = 1_704_067_200_000_000
    state, model = fresh(limit, now), Model(limit, now)
    for step in steps:
        now += step
        refusal = admit(state, limit, now)
        assert (refusal is None) is model.admits(now)
        if refusal is None:
            model.take(now)
            continue
        # The earliest instant: nothing is admitted a microsecond before, and at it, something is.
        assert not model.admits(refusal.ready_us - 1)
        assert model.admits(refusal.ready_us)
        details = refusal.details()
        assert details["limit"] == limit.limit
        assert details["window_seconds"] == limit.window_s
        assert details["current_count"] == model.in_window(now)
        assert details["retry_after"] == max(1, -((now - refusal.ready_us) // SECOND))
        assert (details["reset_at"] - 1) * 1000 < refusal.ready_us <= details["reset_at"] * 1000
        blocked_by_window = model.in_window(now) >= limit.limit
        assert details["reason"] == ("window" if blocked_by_window else "burst")


@pytest.mark.requirement("R-10.1")
@given(limit=limits, steps=steps)
def test_waiting_for_reset_at_must_always_suffice(limit: Limit, steps: list[int]) -> None:
    now = SECOND
    state = fresh(limit, now)
    for step in steps:
        now += step
        refusal = admit(state, limit, now)
        if refusal is not None:
            now = refusal.details()["reset_at"] * 1000
            assert admit(state, limit, now) is None


def test_a_check_must_take_nothing() -> None:
    limit = Limit(limit=1, window_s=60)
    state = fresh(limit, 0)
    assert all(check(state, limit, 0) is None for _ in range(5))
    assert admit(state, limit, 0) is None
    assert admit(state, limit, 0) is not None


def test_a_refused_frame_must_prolong_nothing() -> None:
    limit = Limit(limit=2, window_s=10)
    state = fresh(limit, 0)
    assert admit(state, limit, 0) is None
    assert admit(state, limit, 0) is None
    ready = []
    for now in range(0, 10 * SECOND, SECOND // 2):
        refusal = admit(state, limit, now)
        assert refusal is not None
        ready.append(refusal.ready_us)
    assert set(ready) == {10 * SECOND}
    assert admit(state, limit, 10 * SECOND) is None


@pytest.mark.requirement("R-10.1")
def test_an_admission_must_leave_the_window_exactly_one_window_later() -> None:
    """The window is (now − W, now]: what was admitted W ago to the microsecond is out of it."""
    limit = Limit(limit=3, window_s=3, burst=1)
    state = fresh(limit, 0)
    assert [admit(state, limit, k * SECOND) for k in range(4)] == [None] * 4
    refused = admit(state, limit, 3 * SECOND)
    assert refused is not None
    assert refused.current_count == 3
    assert (refused.reason, refused.ready_us) == ("window", 4 * SECOND)


TABLE = {
    "Message Rate Limits/Send message": ("send_message", 60, 60, 10),
    "Message Rate Limits/Typing indicator": ("typing", 1, 3, 1),
    "Message Rate Limits/Presence update": ("presence", 1, 60, 1),
    "Message Rate Limits/Read receipt": ("read_receipt", 100, 60, 20),
    "Message Rate Limits/Subscribe": ("subscribe", 10, 60, 5),
    "Connection Limits/Connection rate": ("connection_rate", 10, 60, None),
    "Connection Limits/Auth attempts": ("auth_attempts", 5, 60, None),
    "Token Refresh/Max refresh attempts": ("token_refresh", 3, 3600, None),
}


@pytest.mark.parametrize(
    ("name", "limit", "window_s", "burst"),
    [
        pytest.param(*row, marks=pytest.mark.requirement("table:" + where, "R-10.4"), id=row[0])
        for where, row in TABLE.items()
    ],
)
def test_the_default_must_be_the_tables(name: str, limit: int, window_s: int, burst: int | None) -> None:
    assert getattr(Limits(), name) == Limit(limit=limit, window_s=window_s, burst=burst)


@pytest.mark.requirement("R-10.4")
def test_a_limit_that_is_changed_must_begin_with_a_full_bucket_while_its_window_still_counts() -> None:
    small, large = Limit(limit=2, window_s=10, burst=1), Limit(limit=100, window_s=3600, burst=50)
    state = fresh(small, 0)
    assert admit(state, small, 0) is None
    assert isinstance(admit(state, small, 0), Refusal)
    assert [admit(state, large, 0) for _ in range(50)] == [None] * 50
    refused = admit(state, large, 0)
    assert refused is not None
    assert (refused.reason, refused.current_count) == ("burst", 51)
    again = admit(state, small, 0)
    assert again is not None
    assert (again.reason, again.current_count) == ("window", 51)
    # An equal limit, as a reloaded configuration has it, is no change.
    before = state.credit
    assert check(state, Limit(limit=2, window_s=10, burst=1), 0) is not None
    assert state.credit == before
