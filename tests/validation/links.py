"""Loss and its repair against closed forms: Gilbert and Elliott's chain, and a link that has timeouts alone.

The chain is netem's (p, r, 1−h, 1−k), stepped by segments. The link without probes or fast retransmit doubles its
timer at each loss, so a segment lost n times is late by R (2ⁿ − 1), and the mean over n is R·p/(1 − 2p).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from statistics import fmean

from tests.validation.check import Check, Sample, estimated, number
from zentalk_sim.network.latency import Constant
from zentalk_sim.network.link import link_of
from zentalk_sim.network.loss import Bernoulli, GilbertElliott
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Streams

SECTION = "Links: loss and recovery"
FILE = "tests/validation/links.py"
P, R = 0.01, 0.25
TIMEOUT_MS = 200.0
LOSS = 0.05
MEAN_DELAY_MS = TIMEOUT_MS * LOSS / (1 - 2 * LOSS)
PRECISION = 0.03
"""A timer that does not double makes the mean 5 % less."""
FAR_APART_US = 3_600_000_000
"""One frame an hour: none waits for another's repair."""


@lru_cache(maxsize=8)
def flags(spec: GilbertElliott, seeds: int, segments: int) -> tuple[bytes, ...]:
    """For each seed, a byte a segment: 1 if it is lost."""
    found = []
    for seed in range(seeds):
        model = spec.make(Streams(f"validation of loss {seed}").fresh("loss"))
        found.append(bytes(model.lost() for _ in range(segments)))
    return tuple(found)


def _size(is_long: bool) -> tuple[int, int]:
    return (40, 200_000) if is_long else (20, 30_000)


def _loss_shares(spec: GilbertElliott) -> Callable[[bool], Sample]:
    def sample(is_long: bool) -> Sample:
        seeds, segments = _size(is_long)
        return Sample([fmean(row) for row in flags(spec, seeds, segments)], f"{number(segments)} segments")

    return sample


def bad_stays(row: bytes) -> list[int]:
    """Lengths of the stays in the bad state, where it loses all and the good state nothing; not those cut short."""
    runs = [(lost, sum(1 for _ in group)) for lost, group in groupby(row)]
    return [length for lost, length in runs[1:-1] if lost]


def _stay_sample(is_long: bool) -> Sample:
    seeds, segments = _size(is_long)
    rows = flags(GilbertElliott(p=P, r=R), seeds, segments)
    return Sample([fmean(bad_stays(row)) for row in rows], f"{number(segments)} segments")


@lru_cache(maxsize=4)
def timeout_delays_ms(seeds: int, frames: int) -> tuple[tuple[float, ...], ...]:
    """For each seed, by how much each frame is later than the latency of the link."""
    profile = LinkProfile(
        latency=Constant(0.0), loss=Bernoulli(LOSS), tail_loss_probe=False, fast_retransmit=False, rto_min_ms=200
    )
    assert link_of(profile).rto_us == TIMEOUT_MS * 1000
    found = []
    for seed in range(seeds):
        alice = TcpConnection(profile, Path(), Streams(f"validation of timeouts {seed}").fresh("link"), 0)
        delays = []
        for i in range(frames):
            now_us = i * FAR_APART_US
            at_us = alice.carry_up(100, now_us)
            assert at_us is not None
            delays.append((at_us - now_us) / 1000)
        found.append(tuple(delays))
    return tuple(found)


def timeout_size(is_long: bool) -> tuple[int, int]:
    """Seeds, and frames of each."""
    return (40, 50_000) if is_long else (20, 6_000)


def mean_delay_ms(delays_ms: tuple[float, ...]) -> float:
    """The mean added delay of a short sample, its share of late frames put at ``LOSS``, which it is known to be.

    The share late scatters more than the lateness of those late. An estimate free of it is half as wide for the
    same frames (a ratio estimator), so that 120 000 of them tell R·p/(1 − 2p) = 11.1 ms from the R·p/(1 − p) =
    10.5 ms of a timer that does not double.
    """
    return LOSS * fmean(delay for delay in delays_ms if delay > 0)


def _mean_delay(is_long: bool) -> Sample:
    seeds, frames = timeout_size(is_long)
    estimate = fmean if is_long else mean_delay_ms
    return Sample([estimate(row) for row in timeout_delays_ms(seeds, frames)], f"{number(frames)} frames")


def _share_late(is_long: bool) -> Sample:
    seeds, frames = timeout_size(is_long)
    rows = timeout_delays_ms(seeds, frames)
    return Sample([fmean(delay > 0 for delay in row) for row in rows], f"{number(frames)} frames")


def _twice_lost(is_long: bool) -> Sample:
    seeds, frames = timeout_size(is_long)
    rows = timeout_delays_ms(seeds, frames)
    return Sample([fmean(delay >= 3 * TIMEOUT_MS for delay in row) for row in rows], f"{number(frames)} frames")


def _row(
    what: str,
    theory: float,
    parameters: str,
    sample: Callable[[bool], Sample],
    precision: float,
    unit: str = "",
) -> Check:
    return Check(
        section=SECTION,
        what=what,
        theory=f"{theory:.6g}{unit}",
        parameters=parameters,
        file=FILE,
        run=estimated(theory, sample, precision=precision, unit=unit),
    )


CHECKS = [
    _row(
        "Gilbert–Elliott, share lost",
        P / (P + R),
        f"p = {P}, r = {R}",
        _loss_shares(GilbertElliott(p=P, r=R)),
        0.08,
    ),
    _row("Gilbert–Elliott, mean stay in the bad state", 1 / R, f"p = {P}, r = {R}", _stay_sample, 0.06, " segments"),
    _row(
        "Gilbert–Elliott with loss in both states, share lost",
        (P * 0.8 + R * 0.001) / (P + R),
        f"p = {P}, r = {R}; 0.8 lost in the bad state, 0.001 in the good",
        _loss_shares(GilbertElliott(p=P, r=R, h=0.2, k=0.999)),
        0.08,
    ),
    _row("Timeouts alone, share of frames late", LOSS, f"p = {LOSS}, R = 200 ms", _share_late, 0.08),
    _row(
        "Timeouts alone, mean added delay R·p/(1 − 2p)",
        MEAN_DELAY_MS,
        f"p = {LOSS}, R = 200 ms, no probe, no fast retransmit",
        _mean_delay,
        PRECISION,
        " ms",
    ),
    _row(
        "Timeouts alone, share of frames 3R late or more (p²)",
        LOSS**2,
        f"p = {LOSS}, R = 200 ms",
        _twice_lost,
        0.25,
    ),
]
