"""Loss models against their closed forms."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from statistics import fmean

import msgspec
import pytest

from zentalk_sim.network.loss import Bernoulli, BernoulliLoss, GilbertElliott, GilbertElliottLoss, Loss
from zentalk_sim.protocol.streams import Streams

SEGMENTS = 100_000


def bursts(flags: list[bool]) -> list[int]:
    """Lengths of the runs of True that end within ``flags``."""
    found, run = [], 0
    for flag in flags:
        if flag:
            run += 1
        elif run:
            found.append(run)
            run = 0
    return found


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5])
def test_bernoulli_loses_p_of_the_segments(p: float) -> None:
    model = Bernoulli(p).make(Streams(3).fresh("loss"))
    lost = sum(model.lost() for _ in range(SEGMENTS))
    assert lost / SEGMENTS == pytest.approx(p, abs=5 * sqrt(p * (1 - p) / SEGMENTS))


def test_bernoulli_gaps_are_independent() -> None:
    """After a loss the next segment is lost as often as any other."""
    p = 0.2
    model = BernoulliLoss(p, Streams(4).fresh("loss"))
    flags = [model.lost() for _ in range(SEGMENTS)]
    after = [second for first, second in pairwise(flags) if first]
    assert fmean(after) == pytest.approx(p, abs=5 * sqrt(p * (1 - p) / len(after)))


def test_bernoulli_at_its_ends() -> None:
    always, never = Bernoulli(1.0).make(Streams(1).fresh("a")), Bernoulli(0.0).make(Streams(1).fresh("b"))
    assert all(always.lost() for _ in range(100))
    assert not any(never.lost() for _ in range(100))
    assert not any(Bernoulli(1e-300).make(Streams(1).fresh("c")).lost() for _ in range(100))


def test_bernoulli_draws_once_per_loss_and_not_per_segment() -> None:
    stream = Streams(5).fresh("loss")
    model = BernoulliLoss(0.01, stream)
    lost = sum(model.lost() for _ in range(10_000))
    assert stream.counter <= (lost + 1) // 8 + 1


def test_gilbert_elliott_has_the_long_run_loss_and_stay_of_netem() -> None:
    """p = 0.01, r = 0.25: loss p / (p + r) = 0.038462, mean stay in the bad state 1 / r = 4."""
    spec = GilbertElliott(p=0.01, r=0.25)
    assert spec.mean == pytest.approx(0.038462, abs=5e-7)
    rates, stays = [], []
    for seed in range(10):
        model = GilbertElliottLoss(spec, Streams(seed).fresh("loss"))
        flags = [model.lost() for _ in range(30_000)]
        rates.append(fmean(flags))
        stays += bursts(flags)
    # Of the chain's autocorrelation (1 − p − r)ⁿ follows the standard error of its mean.
    memory = 1 - spec.p - spec.r
    error = sqrt(spec.mean * (1 - spec.mean) * (1 + memory) / (1 - memory) / 300_000)
    assert fmean(rates) == pytest.approx(0.038462, abs=4 * error)
    assert error < 0.001
    # A geometric stay of mean 4 has the variance (1 − r) / r² = 12.
    assert fmean(stays) == pytest.approx(4, abs=4 * sqrt(12 / len(stays)))


def test_gilbert_elliott_with_loss_in_both_states() -> None:
    """0.8 lost in the bad state and 0.001 in the good one: 0.031731."""
    spec = GilbertElliott(p=0.01, r=0.25, h=0.2, k=0.999)
    assert spec.mean == pytest.approx(0.031731, abs=5e-7)
    model = spec.make(Streams(11).fresh("loss"))
    rate = fmean([model.lost() for _ in range(200_000)])
    # Correlated within stays: the variance of the mean is that of independent segments times about 2/r − 1.
    assert rate == pytest.approx(spec.mean, abs=4 * sqrt(spec.mean * 7 / 200_000))


def test_gilbert_elliott_begins_in_its_stationary_distribution() -> None:
    spec = GilbertElliott(p=0.1, r=0.3)
    bad = fmean([GilbertElliottLoss(spec, Streams(i).fresh("loss")).bad for i in range(4000)])
    assert bad == pytest.approx(0.25, abs=5 * sqrt(0.25 * 0.75 / 4000))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "bernoulli", "p": 1.5}, "<= 1"),
        ({"model": "gilbert_elliott", "p": 0, "r": 0}, "not both be 0"),
        ({"model": "gilbert_elliott", "p": 0.1, "r": 0.1, "one_minus_h": 1}, "unknown field"),
        ({"model": "four_state"}, "four_state"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_reason(settings: object, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(settings, Loss)
