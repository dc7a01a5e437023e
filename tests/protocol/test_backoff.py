"""Backoff policies: bounds of the specification's table, and the shapes of the others (R-11.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.backoff import delay_us, exponential_us
from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.protocol.streams import Streams

S = 1_000_000


@pytest.mark.requirement("R-11.2")
@pytest.mark.parametrize(
    ("attempt", "least_us", "most_us"),
    [
        (0, 1_000_000, 1_100_000),
        (1, 2_000_000, 2_200_000),
        (2, 4_000_000, 4_400_000),
        (3, 8_000_000, 8_800_000),
        (4, 16_000_000, 17_600_000),
        (5, 30_000_000, 33_000_000),
        (9, 30_000_000, 33_000_000),
        (1000, 30_000_000, 33_000_000),
    ],
)
def test_spec_waits_keep_to_the_tables_bounds_and_fill_them(attempt: int, least_us: int, most_us: int) -> None:
    """Specification, "Reconnection Strategy": delay, and with jitter at most a tenth more."""
    stream = Streams("backoff").stream(f"attempt {attempt}")
    waits = [delay_us(BackoffConfig(), attempt, 0, stream) for _ in range(2000)]
    assert min(waits) >= least_us
    assert max(waits) <= most_us
    spread = most_us - least_us
    assert min(waits) < least_us + spread // 50
    assert max(waits) > most_us - spread // 50
    mean = sum(waits) / len(waits)
    assert abs(mean - (least_us + spread / 2)) < spread * 0.03


@pytest.mark.parametrize(
    ("policy", "least_us", "most_us"),
    [
        ("none", 0, 0),
        ("equal", 4 * S, 8 * S),
        ("full", 0, 8 * S),
    ],
)
def test_the_other_policies_range_over_their_own_interval(policy: str, least_us: int, most_us: int) -> None:
    stream = Streams("backoff").stream(policy)
    settings = BackoffConfig(policy=policy)  # type: ignore[arg-type]
    waits = [delay_us(settings, 3, 0, stream) for _ in range(2000)]
    assert min(waits) >= least_us
    assert max(waits) <= most_us
    spread = most_us - least_us
    assert max(waits) - min(waits) >= spread * 0.98


def test_decorrelated_waits_grow_from_the_one_before_and_stay_below_the_cap() -> None:
    stream = Streams("backoff").stream("decorrelated")
    settings = BackoffConfig(policy="decorrelated")
    firsts = [delay_us(settings, 0, 0, stream) for _ in range(2000)]
    assert 1 * S <= min(firsts) < 1.05 * S
    assert 2.95 * S < max(firsts) <= 3 * S
    laters = [delay_us(settings, 5, 8 * S, stream) for _ in range(2000)]
    assert 1 * S <= min(laters) < 1.5 * S
    assert 23 * S < max(laters) <= 24 * S
    assert max(delay_us(settings, 5, 30 * S, stream) for _ in range(200)) == 30 * S


def test_without_jitter_spec_is_plain_exponential_backoff() -> None:
    stream = Streams("backoff").stream("plain")
    settings = BackoffConfig(jitter=0)
    assert [delay_us(settings, k, 0, stream) for k in range(7)] == [d * S for d in (1, 2, 4, 8, 16, 30, 30)]


def test_policy_none_must_draw_nothing() -> None:
    stream = Streams("backoff").stream("untouched")
    delay_us(BackoffConfig(policy="none"), 0, 0, stream)
    assert stream.counter == 0


@given(
    policy=st.sampled_from(["spec", "none", "equal", "full", "decorrelated"]),
    attempt=st.integers(0, 10**6),
    base_ms=st.integers(1, 10**5),
    cap_ms=st.integers(1, 10**6),
    previous_us=st.integers(0, 10**10),
    jitter=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_every_wait_is_a_whole_number_of_us_between_zero_and_twice_the_cap(
    policy: str, attempt: int, base_ms: int, cap_ms: int, previous_us: int, jitter: float, seed: int
) -> None:
    settings = BackoffConfig(policy=policy, base_ms=base_ms, cap_ms=cap_ms, jitter=jitter)  # type: ignore[arg-type]
    wait = delay_us(settings, attempt, previous_us, Streams(seed).stream("x"))
    assert type(wait) is int
    ceiling = cap_ms * 1000
    assert 0 <= wait <= (2 * ceiling if policy == "spec" else ceiling)
    assert exponential_us(settings, attempt) <= ceiling
