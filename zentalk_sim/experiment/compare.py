"""Two or more runs or sweeps set beside each other: medians, intervals, ratio, and a verdict that respects the spread.

What is compared are sets of runs that differ in nothing but their seed: a combination of a sweep, or run folders of
one experiment, which are pooled. The first is the baseline. A verdict of `lower` or `higher` needs a difference that
chance does not make (``report.sweep_statistics``); where the seeds are too few to tell, none is given. Beside it stands
what differs in what was run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from zentalk_sim.experiment.differences import differences
from zentalk_sim.experiment.identity import identity_bytes
from zentalk_sim.experiment.metrics import CENSORED
from zentalk_sim.files import yaml
from zentalk_sim.report.metrics import metric_order
from zentalk_sim.report.run import Run, load
from zentalk_sim.report.summary import shown_counts
from zentalk_sim.report.sweep_results import Sweep, combination_text, make_frame, measure_unit, split_measure
from zentalk_sim.report.sweep_statistics import (
    FALSE_DISCOVERY,
    Interval,
    discoveries,
    median_interval,
    rank_sum_p,
    ratio_interval,
)

STATISTICS: Final = ("p50", "p99", CENSORED)
"""What is compared of each metric; fewer measures make a stronger test."""

_PROSE: Final = ("seed", "description", "question", "expectation")
"""Keys of an experiment that make no two sets differ."""
_ENOUGH: Final = range(2, 13)
"""Where a number of seeds that suffices is looked for: beyond, the test that is drawn grows no finer."""

Verdict = Literal["not distinguishable", "lower", "higher"]


class CompareError(Exception):
    """Runs that cannot be compared; the text says why and what to do."""


class Group(Struct, kw_only=True):
    """Runs that differ in their seed alone."""

    label: str
    parameters: dict[str, Any]
    seeds: list[int]
    values: dict[str, list[float]]
    """Measure → one value per run that has one."""
    metrics: list[str]
    digests: list[str] = []
    """Of each run, in the order of the seeds."""
    experiment: dict[str, Any] | None = None
    """What was run, resolved, without its seed; None where that is not known."""


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
    ratio_low: float | None
    ratio_high: float | None
    p: float
    """How likely a difference like this is by chance alone (rank-sum test)."""
    verdict: Verdict


class Pair(Struct, kw_only=True):
    """A set of runs against its baseline."""

    baseline: Group
    other: Group
    comparisons: list[Comparison]

    asked: int
    """How many of them were judged together: those that are not the same in every run."""

    @property
    def can_differ(self) -> bool:
        """Whether so many seeds could show the difference of a measure that alone differs, among so many judged."""
        return _least_p(len(self.baseline.seeds), len(self.other.seeds)) <= FALSE_DISCOVERY / max(self.asked, 1)

    @property
    def seeds_needed(self) -> int | None:
        """Seeds a side that could, whichever of the measures are judged; None where there are too many measures."""
        bound = FALSE_DISCOVERY / max(len(self.comparisons), 1)
        return next((n for n in _ENOUGH if _least_p(n, n) <= bound), None)

    @property
    def differences(self) -> list[Difference] | None:
        """What differs in what was run; None where it is not known."""
        mine, theirs = self.baseline.experiment, self.other.experiment
        if mine is None or theirs is None:
            return None
        return [Difference(*found) for found in differences(mine, theirs)]

    @property
    def shared(self) -> list[int]:
        """Seeds whose run is one and the same on both sides."""
        theirs = set(zip(self.other.seeds, self.other.digests, strict=False))
        mine = zip(self.baseline.seeds, self.baseline.digests, strict=False)
        return [seed for seed, digest in mine if (seed, digest) in theirs]

    @property
    def is_one_set(self) -> bool:
        """Whether one side has no run that the other has not."""
        return len(self.shared) == min(len(self.baseline.seeds), len(self.other.seeds))


@cache
def _least_p(n: int, m: int) -> float:
    """The p-value of sets as far apart as sets can be, by the very test that judges."""
    return rank_sum_p(range(n), range(n, n + m))


def compare(paths: Sequence[str | PathLike[str]]) -> list[Pair]:
    """Compare the runs and sweeps kept in folders. Raises CompareError, ``report.RunFolderError``."""
    sources = _sources([Path(path) for path in paths])
    pairs = [compare_groups(baseline, other) for baseline, other in _pairs(sources)]
    if all(pair.is_one_set for pair in pairs):
        a, b = pairs[0].baseline.label, pairs[0].other.label
        same = f"seed {pairs[0].shared[0]} is the same run in both"
        raise CompareError(f"{a} and {b}: {same}; give runs of other seeds or of another experiment")
    return pairs


def compare_groups(baseline: Group, other: Group) -> Pair:
    """One set of runs against another. Raises CompareError where they report different metrics."""
    _check_metrics(baseline, other)
    rows = []
    for measure in _measures(baseline, other):
        a, b = baseline.values.get(measure, []), other.values.get(measure, [])
        rows.append((measure, a, b, rank_sum_p(a, b)))
    # A measure that is the same in every run asks no question; it must not make the test of the others stricter.
    asked = [number for number, (_, a, b, _) in enumerate(rows) if len({*a, *b}) > 1]
    told = dict(zip(asked, discoveries([rows[number][3] for number in asked]), strict=True))
    verdicts = [told.get(number, False) for number in range(len(rows))]
    comparisons = []
    for (measure, a, b, p), differs in zip(rows, verdicts, strict=True):
        metric, statistic = split_measure(measure)
        ratio, low, high = ratio_interval(a, b)
        comparisons.append(
            Comparison(
                measure=measure,
                metric=metric,
                statistic=statistic,
                unit=measure_unit(metric, statistic),
                baseline=median_interval(a),
                other=median_interval(b),
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
                p=p,
                verdict=_verdict(a, b) if differs else "not distinguishable",
            )
        )
    return Pair(baseline=baseline, other=other, comparisons=comparisons, asked=len(asked))


def _verdict(a: Sequence[float], b: Sequence[float]) -> Verdict:
    """Which way two sets that differ do so: by how often one of ``b`` exceeds one of ``a``, as the test counts."""
    above = sum((y > x) - (y < x) for x in a for y in b)
    return "higher" if above > 0 else "lower"


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
            values = [*baseline.values.get(measure, ()), *other.values.get(measure, ())]
            if values and (statistic != CENSORED or any(values)):
                shown.append(measure)
    most = {
        measure: int(max([*baseline.values.get(measure, [0]), *other.values.get(measure, [0])]))
        for measure in {**baseline.values, **other.values}
        if split_measure(measure)[1] == "value"
    }
    return shown + [name for name, _, count in shown_counts(most) if count]


# --- reading -----------------------------------------------------------------------------------------------------


def _sources(paths: Sequence[Path]) -> list[list[Group]]:
    """Each sweep's combinations, and the runs, those of one experiment pooled."""
    seen: dict[Path, Path] = {}
    sources: list[list[Group] | str] = []
    pools: dict[str, list[tuple[Path, Run]]] = {}
    for path in paths:
        before = seen.setdefault(path.resolve(), path)
        if before is not path:
            raise CompareError(f"{path}: given twice")
        found = load(path)
        if isinstance(found, Sweep):
            sources.append(_sweep_groups(path, found))
            continue
        experiment = {key: value for key, value in found.results.experiment.items() if key != "seed"}
        key = identity_bytes(experiment).decode()
        if key not in pools:
            sources.append(key)
        pools.setdefault(key, []).append((path, found))
    if len(sources) == 1 and isinstance(sources[0], str):
        # Runs of a single experiment: then each is compared for itself.
        return [[_pool([entry])] for entry in pools[sources[0]]]
    return [[_pool(pools[source])] if isinstance(source, str) else source for source in sources]


def _pool(runs: Sequence[tuple[Path, Run]]) -> Group:
    seeds = [run.results.seed for _, run in runs]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        where = ", ".join(str(path) for path, run in runs if run.results.seed == twice)
        raise CompareError(f"{where}: the same experiment with the same seed; give one of them")
    frame = make_frame([{}] * len(runs), seeds, [run.summary for _, run in runs])
    label = str(runs[0][0]) + (f" and {len(runs) - 1} more of {runs[0][1].results.name}" if len(runs) > 1 else "")
    sweep_like = [name for name in frame.columns if name not in ("seed", "digest", "held")]
    return Group(
        label=label,
        parameters={},
        seeds=seeds,
        values=_values(frame, sweep_like),
        metrics=list(dict.fromkeys(name for _, run in runs for name in run.summary["metrics"])),
        digests=[run.results.digest for _, run in runs],
        experiment=_what_ran(runs[0][1].results.experiment, runs[0][1].results.source),
    )


def _sweep_groups(path: Path, sweep: Sweep) -> list[Group]:
    groups = []
    experiments = _experiments(path, sweep)
    for number, (combination, rows) in enumerate(sweep.groups()):
        label = f"{path}" + (f" ({combination_text(combination)})" if combination else "")
        groups.append(
            Group(
                label=label,
                parameters=combination,
                seeds=[int(seed) for seed in rows["seed"]],
                values=_values(rows, sweep.measures),
                metrics=sweep.metrics,
                digests=list(rows["digest"]),
                experiment=experiments[number] if experiments else None,
            )
        )
    return groups


def _experiments(path: Path, sweep: Sweep) -> list[dict[str, Any]] | None:
    """What each combination of a sweep ran, resolved anew; None where this version cannot read it."""
    from zentalk_sim.experiment import loader, writer

    found = []
    try:
        tree = yaml.load(path / "experiment.yaml")
        for combination in sweep.meta.combinations:
            values = {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in combination.items()
            }
            texts = [f"{name}={text}" for name, text in {**sweep.meta.settings, **values}.items()]
            built = loader.read(copy.deepcopy(tree), [*texts, "seed=1"])
            found.append(_what_ran(writer.to_mapping(built), "simulation"))
    except yaml.FileFaults:
        return None
    return found


def _what_ran(experiment: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {"source": source} | {key: value for key, value in experiment.items() if key not in _PROSE}


def _values(frame: Any, measures: Sequence[str]) -> dict[str, list[float]]:
    return {name: [float(value) for value in frame[name].dropna()] for name in measures}


def _pairs(sources: Sequence[Sequence[Group]]) -> list[tuple[Group, Group]]:
    """What is compared with what: sets with the same parameters, or all with the one there is on the other side."""
    first, *others = sources
    if not others:
        if len(first) < 2:
            raise CompareError(f"{first[0].label}: nothing to compare it with; give a second run or sweep")
        return [(first[0], group) for group in first[1:]]
    pairs: list[tuple[Group, Group]] = []
    for source in others:
        if len(first) == 1 or len(source) == 1:
            found = [(a, b) for a in first for b in source]
        else:
            found = [(a, b) for a in first for b in source if _same(a.parameters, b.parameters)]
        if not found:
            raise CompareError(
                f"{first[0].label} and {source[0].label}: no combination of parameters is in both sweeps; "
                "give sweeps with the same -S values"
            )
        pairs += found
    return pairs


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return dict(a) == dict(b)
