"""Two or more runs or sweeps set beside each other: medians, intervals, ratio, and a verdict that respects the spread.

What is compared are sets of runs that differ in nothing but their seed (``compare_sets``). The first is the baseline. A
verdict of `lower` or `higher` needs a difference that chance does not make (``report.sweep_statistics``); where the
seeds are too few to tell, none is given. Beside it stands what differs in what was run.

Simulated runs of one seed draw from the same random streams on both sides, a stream for each purpose: what chance does
to one it does to the other. So sets of the same seeds are compared seed by seed, with the signed-rank test, wherever
they are enough for it. That test holds whatever the two runs of a seed have in common; common streams make it sharp.

A run that stands on both sides, of one experiment, says nothing of a difference, and counts on neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from zentalk_sim.experiment.compare_sets import CompareError, Group, Unmatched, matched, sources
from zentalk_sim.experiment.differences import differences
from zentalk_sim.experiment.metrics import CENSORED
from zentalk_sim.report.metrics import metric_order
from zentalk_sim.report.summary import shown_counts
from zentalk_sim.report.sweep_results import measure_unit, split_measure
from zentalk_sim.report.sweep_statistics import (
    FALSE_DISCOVERY,
    Interval,
    discoveries,
    median_interval,
    paired_ratio,
    rank_sum_p,
    ratio_interval,
    signed_rank_p,
    signed_ranks,
)

STATISTICS: Final = ("p50", "p99", CENSORED)
"""What is compared of each metric; fewer measures make a stronger test."""

_JUDGING: Final = ("name", "thresholds", "checks", "plots")
"""Sections of an experiment that change nothing of what runs."""
_ENOUGH: Final = range(2, 13)
"""Where a number of seeds that suffices is looked for: beyond, the test that is drawn grows no finer."""

Verdict = Literal["not distinguishable", "lower", "higher"]
Test = Literal["rank-sum", "signed-rank"]


class Difference(Struct, frozen=True):
    """A setting in which two sets of runs differ; None where one has no such key."""

    path: str
    baseline: Any
    other: Any


class Comparison(Struct, kw_only=True):
    """One measure of a set of runs against the baseline."""

    measure: str
    metric: str
    statistic: str
    unit: str
    baseline: Interval
    other: Interval
    ratio: float | None
    """Of the medians, B / A; of sets compared seed by seed, the median of the seeds' ratios."""
    ratio_low: float | None
    ratio_high: float | None
    p: float
    """How likely a difference like this is by chance alone, by the pair's ``test``."""
    verdict: Verdict


class Pair(Struct, kw_only=True):
    """A set of runs against its baseline."""

    baseline: Group
    other: Group
    comparisons: list[Comparison]

    asked: int
    """How many of them were judged together: those that are not the same in every run, or for all seeds of a pair."""
    test: Test = "rank-sum"
    """``signed-rank`` compares the runs of each seed, ``rank-sum`` the sets."""
    shared: list[int] = []
    """Seeds whose run, of one experiment, stands on both sides: neither ``baseline`` nor ``other`` counts it."""
    alike: list[int] = []
    """Seeds at which the two experiments differ and the results do not."""

    @property
    def is_one_set(self) -> bool:
        """Whether one side has no run that the other has not: then nothing is compared."""
        return bool(self.shared) and not self.comparisons

    @property
    def can_differ(self) -> bool:
        """Whether so many seeds could show the difference of a measure that alone differs, among so many judged."""
        if self.test == "signed-rank":
            return True
        return _least_p(len(self.baseline.seeds), len(self.other.seeds)) <= FALSE_DISCOVERY / max(self.asked, 1)

    @property
    def seeds_needed(self) -> int | None:
        """Seeds a side that could, whichever of the measures are judged; None where there are too many measures."""
        bound = FALSE_DISCOVERY / max(len(self.comparisons), 1)
        return next((n for n in _ENOUGH if _least_p(n, n) <= bound), None)

    @property
    def pairs_needed(self) -> int | None:
        """Seeds from which on these sets would be compared seed by seed; None where they are, or share no seeds."""
        if self.test == "signed-rank" or not _can_pair(self.baseline, self.other):
            return None
        return next(n for n in count(1) if _least_paired_p(n) <= FALSE_DISCOVERY / max(len(self.comparisons), 1))

    @property
    def differences(self) -> list[Difference] | None:
        """What differs in what was run; None where it is not known."""
        return _what_differs(self.baseline, self.other)


class Compared(Struct, kw_only=True):
    """Every pair, and the combinations of sweeps that have no counterpart."""

    pairs: list[Pair]
    unmatched: list[Unmatched]


@cache
def _least_p(n: int, m: int) -> float:
    """The p-value of sets as far apart as sets can be, by the very test that judges."""
    return rank_sum_p(range(n), range(n, n + m))


def _least_paired_p(n: int) -> float:
    """The p-value of ``n`` pairs that all differ the same way."""
    return 2.0 ** (1 - n)


def compare(paths: Sequence[str | PathLike[str]]) -> Compared:
    """Compare the runs and sweeps kept in folders. Raises CompareError, ``report.RunFolderError``."""
    found, unmatched = matched(sources([Path(path) for path in paths]))
    pairs = [compare_groups(baseline, other) for baseline, other in found]
    return Compared(pairs=pairs, unmatched=unmatched)


def compare_groups(baseline: Group, other: Group) -> Pair:
    """One set of runs against another. Raises CompareError where they report different metrics."""
    _check_metrics(baseline, other)
    alike = _same_results(baseline, other)
    shared: list[int] = []
    if _is_one_experiment(baseline, other):
        alike, shared = [], alike
        a, b = (side.of([seed for seed in side.seeds if seed not in shared]) for side in (baseline, other))
        if not a.seeds or not b.seeds:
            return Pair(baseline=baseline, other=other, comparisons=[], asked=0, shared=shared)
        baseline, other = a, b
    if _can_pair(baseline, other):
        other = other.of(baseline.seeds)
    measures = _measures(baseline, other)
    paired = _paired(baseline, other, measures)
    judged = paired or _unpaired(baseline, other, measures)
    told = discoveries([judgement.p for judgement in judged.values() if judgement.is_asked])
    differs = dict(zip([name for name, judgement in judged.items() if judgement.is_asked], told, strict=True))
    comparisons = []
    for measure, judgement in judged.items():
        metric, statistic = split_measure(measure)
        ratio, low, high = judgement.ratio
        comparisons.append(
            Comparison(
                measure=measure,
                metric=metric,
                statistic=statistic,
                unit=measure_unit(metric, statistic),
                baseline=median_interval(baseline.numbers(measure)),
                other=median_interval(other.numbers(measure)),
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
                p=judgement.p,
                verdict=judgement.direction if differs.get(measure) else "not distinguishable",
            )
        )
    return Pair(
        baseline=baseline,
        other=other,
        comparisons=comparisons,
        asked=len(differs),
        test="signed-rank" if paired else "rank-sum",
        shared=shared,
        alike=alike,
    )


class _Judgement(Struct, frozen=True):
    """What a test says of one measure, before all are judged together."""

    p: float
    direction: Verdict
    """Which way the measure differs, if it does."""
    is_asked: bool
    """Whether it differs anywhere: one that does not asks no question, and must not make the others' test stricter."""
    ratio: tuple[float | None, float | None, float | None]
    """B / A, with its interval."""


def _paired(baseline: Group, other: Group, measures: Sequence[str]) -> dict[str, _Judgement] | None:
    """Every measure by the differences of its pairs, in one order; None where the runs are no pairs, or too few.

    They are enough where a measure that alone differs could be told. Which measures differ at all counts for that, and
    which way they do does not, so that the choice between the tests favours neither verdict.
    """
    if not _can_pair(baseline, other):
        return None
    found = {}
    for measure in measures:
        values = zip(baseline.at(measure), other.at(measure), strict=True)
        pairs = [(x, y) for x, y in values if x is not None and y is not None]
        above = sum(signed_ranks(pairs))
        found[measure] = _Judgement(
            p=signed_rank_p(pairs),
            direction="higher" if above > 0 else "lower",
            is_asked=any(x != y for x, y in pairs),
            ratio=paired_ratio(pairs),
        )
    asked = sum(judgement.is_asked for judgement in found.values())
    enough = _least_paired_p(len(baseline.seeds)) <= FALSE_DISCOVERY / max(asked, 1)
    return found if enough else None


def _unpaired(baseline: Group, other: Group, measures: Sequence[str]) -> dict[str, _Judgement]:
    """Every measure by the ranks of both sets together."""
    found = {}
    for measure in measures:
        a, b = baseline.numbers(measure), other.numbers(measure)
        # By how often one of ``b`` exceeds one of ``a``, as the test counts.
        above = sum((y > x) - (y < x) for x in a for y in b)
        found[measure] = _Judgement(
            p=rank_sum_p(a, b),
            direction="higher" if above > 0 else "lower",
            is_asked=len({*a, *b}) > 1,
            ratio=ratio_interval(a, b),
        )
    return found


def _can_pair(baseline: Group, other: Group) -> bool:
    """Whether the runs of a seed draw from the same streams on both sides: simulated, and of the same seeds."""
    return baseline.is_simulated and other.is_simulated and set(baseline.seeds) == set(other.seeds)


def _same_results(baseline: Group, other: Group) -> list[int]:
    """Seeds whose runs on both sides came to the same, event by event."""
    theirs = set(zip(other.seeds, other.digests, strict=False))
    mine = zip(baseline.seeds, baseline.digests, strict=False)
    return [seed for seed, digest in mine if (seed, digest) in theirs]


def _is_one_experiment(baseline: Group, other: Group) -> bool:
    """Whether both ran the same, as far as is known: then runs of one seed and digest are one run."""
    found = _what_differs(baseline, other)
    return found is None or all(difference.path.partition(".")[0] in _JUDGING for difference in found)


def _what_differs(baseline: Group, other: Group) -> list[Difference] | None:
    mine, theirs = baseline.experiment, other.experiment
    if mine is None or theirs is None:
        return None
    return [Difference(*found) for found in differences(mine, theirs)]


def _check_metrics(baseline: Group, other: Group) -> None:
    # A split appears where something was split; its whole tells whether the runs measured the same.
    mine = {name.partition(".")[0] for name in baseline.metrics}
    theirs = {name.partition(".")[0] for name in other.metrics}
    if mine == theirs:
        return
    parts = [
        f"only {group.label} has {', '.join(sorted(names))}"
        for group, names in ((baseline, mine - theirs), (other, theirs - mine))
        if names
    ]
    raise CompareError(f"different metrics: {'; '.join(parts)}; run both with the same version of zentalk-sim")


def _measures(baseline: Group, other: Group) -> list[str]:
    """What is worth a line: the metrics that have values, the counts that are not zero throughout."""
    shown: list[str] = []
    names = metric_order(dict.fromkeys(name for name in (*baseline.metrics, *other.metrics) if "." not in name))
    for metric in names:
        for statistic in STATISTICS:
            measure = f"{metric}.{statistic}"
            values = [*baseline.numbers(measure), *other.numbers(measure)]
            if values and (statistic != CENSORED or any(values)):
                shown.append(measure)
    most = {
        measure: int(max([*baseline.numbers(measure), *other.numbers(measure)], default=0))
        for measure in {**baseline.values, **other.values}
        if split_measure(measure)[1] == "value"
    }
    return shown + [name for name, _, count in shown_counts(most) if count]
