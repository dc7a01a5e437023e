"""Distributions: one uniform in, one integer out, with the moments their parameters promise."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.experiment.distributions import (
    ConstantSize,
    ConstantTime,
    ExponentialTime,
    LognormalSize,
    LognormalTime,
    UniformSize,
    UniformTime,
)

EVENLY = [(i + 0.5) / 20_000 for i in range(20_000)]


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        (ConstantTime(value_us=700), 700),
        (UniformTime(low_us=100, high_us=300), 200),
        (ExponentialTime(mean_us=5_000_000), 5_000_000),
        (LognormalTime(median_us=1_000_000, sigma=0.5), 1_000_000 * exp(0.125)),
        (ConstantSize(value_bytes=7), 7),
        (UniformSize(low_bytes=1, high_bytes=9), 5),
        (LognormalSize(median_bytes=1_000, sigma=0.5, max_bytes=10**9), 1_000 * exp(0.125)),
    ],
)
def test_the_mean_is_what_the_parameters_say(distribution: ConstantTime, mean: float) -> None:
    assert sum(map(distribution.quantile, EVENLY)) / len(EVENLY) == pytest.approx(mean, rel=2e-3)


def test_the_ends_are_reached_and_never_passed() -> None:
    last = 1 - 2.0**-53
    uniform = UniformTime(low_us=3, high_us=5)
    assert (uniform.quantile(0.0), uniform.quantile(last)) == (3, 5)
    size = LognormalSize(median_bytes=256, sigma=10, min_bytes=16, max_bytes=16_384)
    assert (size.quantile(0.0), size.quantile(last), size.largest_bytes) == (16, 16_384, 16_384)
    assert ExponentialTime(mean_us=1_000).quantile(0.0) == 0
    assert ExponentialTime(mean_us=1_000).quantile(last) < 40_000


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_larger_uniform_never_gives_a_smaller_value(a: float, b: float) -> None:
    low, high = sorted((a, b))
    for distribution in (
        UniformTime(low_us=5, high_us=5_000),
        ExponentialTime(mean_us=900),
        LognormalTime(median_us=900, sigma=2.0),
        LognormalSize(median_bytes=900, sigma=2.0),
    ):
        assert distribution.quantile(low) <= distribution.quantile(high)
