"""Latency distributions against their closed forms, from a fixed seed.

Tolerances are five standard errors of the estimate, so that a right sampler fails once in two million draws of
the seed and a wrong one fails at once.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt
from statistics import NormalDist, fmean

import msgspec
import pytest

from zentalk_sim.network.latency import Constant, Empirical, Gamma, Latency, Lognormal, Normal, Uniform
from zentalk_sim.network.samplers import normal_quantile
from zentalk_sim.protocol.streams import Streams

DRAWS = 20_000

SPREAD: list[Latency] = [
    Uniform(10.0, 40.0),
    Normal(mean_ms=30.0, sd_ms=5.0),
    Normal(mean_ms=5.0, sd_ms=10.0),
    Lognormal(median_ms=40.0, sigma=0.5, min_ms=10.0),
    Gamma(mean_ms=25.0, shape=3.0, min_ms=10.0),
    Gamma(mean_ms=25.0, shape=0.5),
    Empirical(((0.0, 10.0), (0.5, 20.0), (0.9, 60.0), (1.0, 200.0))),
]


def draws(latency: Latency, count: int = DRAWS) -> list[int]:
    stream = Streams(7).fresh("latency")
    draw = latency.sampler().draw
    return [draw(stream) for _ in range(count)]


def fraction_below(latency: Latency, ms: float) -> float:
    return sum(us <= ms * 1000 for us in draws(latency)) / DRAWS


@pytest.mark.parametrize("latency", SPREAD, ids=repr)
def test_mean_and_variance_are_the_closed_forms(latency: Latency) -> None:
    sample_ms = [us / 1000 for us in draws(latency)]
    mean_ms = fmean(sample_ms)
    assert mean_ms == pytest.approx(latency.expected_ms, abs=5 * sqrt(latency.variance_ms2 / DRAWS))
    squares = [(ms - latency.expected_ms) ** 2 for ms in sample_ms]
    spread = sqrt(fmean([(square - latency.variance_ms2) ** 2 for square in squares]) / DRAWS)
    assert fmean(squares) == pytest.approx(latency.variance_ms2, abs=5 * spread)


@pytest.mark.parametrize(
    ("latency", "quantile_ms", "fraction"),
    [
        (Uniform(10.0, 40.0), 17.5, 0.25),
        (Normal(mean_ms=30.0, sd_ms=5.0), 35.0, 0.841345),
        (Normal(mean_ms=5.0, sd_ms=10.0), 5.0, (0.5 - 0.308538) / (1 - 0.308538)),
        (Lognormal(median_ms=40.0, sigma=0.5, min_ms=10.0), 40.0, 0.5),
        (Lognormal(median_ms=40.0, sigma=0.5, min_ms=10.0), 10.0 + 30.0 * exp(0.5), 0.841345),
        # Gamma of shape 1/2 and scale 50 is 25 χ² of one degree: P(X ≤ x) = erf(√(x/50)).
        (Gamma(mean_ms=25.0, shape=0.5), 25.0, erf(sqrt(0.5))),
        # Gamma of shape 3 and scale 5: 1 − e^(−x) (1 + x + x²/2) at x = (20 − 10) / 5.
        (Gamma(mean_ms=25.0, shape=3.0, min_ms=10.0), 20.0, 1 - exp(-2) * 5),
        (Empirical(((0.0, 10.0), (0.5, 20.0), (0.9, 60.0), (1.0, 200.0))), 60.0, 0.9),
        (Empirical(((0.0, 10.0), (0.5, 20.0), (0.9, 60.0), (1.0, 200.0))), 15.0, 0.25),
    ],
)
def test_quantiles_are_the_closed_forms(latency: Latency, quantile_ms: float, fraction: float) -> None:
    assert fraction_below(latency, quantile_ms) == pytest.approx(fraction, abs=5 * 0.5 / sqrt(DRAWS))


def test_a_truncated_normal_is_never_negative_and_has_no_heap_at_zero() -> None:
    sample = draws(Normal(mean_ms=5.0, sd_ms=10.0))
    assert min(sample) >= 0
    assert sum(us == 0 for us in sample) <= 2, "clipped rather than conditioned"


def test_a_constant_needs_no_draw() -> None:
    latency = Constant(12.5)
    assert latency.constant_us == 12_500
    assert latency.expected_ms == 12.5
    assert draws(latency, 3) == [12_500] * 3


@pytest.mark.parametrize("p", [1e-12, 1e-5, 0.01, 0.075, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9])
def test_the_normal_quantile_is_that_of_the_standard_library(p: float) -> None:
    assert normal_quantile(p) == pytest.approx(NormalDist().inv_cdf(p), rel=1e-12, abs=1e-15)


def test_every_distribution_but_gamma_takes_one_word_per_draw() -> None:
    for latency in SPREAD:
        if isinstance(latency, Gamma):
            continue
        drawn, counted = Streams(1).fresh("x"), Streams(1).fresh("x")
        latency.sampler().draw(drawn)
        counted.word()
        assert drawn.word() == counted.word(), latency


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"dist": "uniform", "min_ms": 9, "max_ms": 3}, "min_ms 9.0 is above max_ms 3.0"),
        ({"dist": "normal", "mean_ms": 9, "sd_ms": 0}, "sd_ms|> 0"),
        ({"dist": "lognormal", "median_ms": 9, "sigma": 1, "min_ms": 9}, "median_ms 9.0 must be above min_ms 9.0"),
        ({"dist": "gamma", "mean_ms": 1, "shape": 2, "min_ms": 5}, "mean_ms 1.0 must be above min_ms 5.0"),
        ({"dist": "constant", "delay_ms": -1}, ">= 0"),
        ({"dist": "constant", "delay": 1}, "unknown field `delay`|missing required field"),
        ({"dist": "pareto"}, "pareto"),
        ({"dist": "empirical", "quantiles_ms": [[0, 1]]}, "at least two points"),
        ({"dist": "empirical", "quantiles_ms": [[0, 1], [0.5, 2]]}, "end at fraction 1"),
        ({"dist": "empirical", "quantiles_ms": [[0, 5], [1, 2]]}, "2.0 ms at 1.0 lies below 5.0 ms"),
        ({"dist": "empirical", "quantiles_ms": [[0, 1], [0, 1], [1, 2]]}, "does not lie above"),
        ({"dist": "empirical", "quantiles_ms": [[0, 1, 2], [1, 2]]}, "pair"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_reason(settings: object, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(settings, Latency)


@pytest.mark.parametrize("ms", [float("nan"), float("inf"), -1.0])
def test_code_cannot_build_what_a_file_cannot(ms: float) -> None:
    with pytest.raises(ValueError, match="delay_ms"):
        Constant(ms)


def test_the_logarithm_of_a_lognormal_is_normal_with_its_sigma() -> None:
    logs = [log(us / 1000 - 10) for us in draws(Lognormal(median_ms=40.0, sigma=0.5, min_ms=10.0))]
    assert fmean(logs) == pytest.approx(log(30), abs=5 * 0.5 / sqrt(DRAWS))
