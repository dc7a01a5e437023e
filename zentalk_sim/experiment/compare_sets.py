"""What is compared with what: folders read into sets of runs, and the sets of two sources matched.

A set is a combination of a sweep, or run folders of one experiment, which are pooled. The combinations of two sweeps
are matched where their parameters are the same, or where they come to the same experiment, or to the same values of
all that varies in either: `nodes=2` of a file with 100 devices and `nodes=2, devices=100` are one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.experiment.identity import identity_bytes
from zentalk_sim.experiment.keys import key_of
from zentalk_sim.files import yaml
from zentalk_sim.report.run import Run, load
from zentalk_sim.report.sweep_results import FIXED, Sweep, combination_text, make_columns, numbers

SIMULATION: Final = "simulation"
_PROSE: Final = ("seed", "description", "question", "expectation")
"""Keys of an experiment that make no two sets differ."""
_NOWHERE: Final = object()


class CompareError(Exception):
    """Runs that cannot be compared; the text says why and what to do."""


class Group(Struct, kw_only=True):
    """Runs that differ in their seed alone."""

    label: str
    parameters: dict[str, Any]
    seeds: list[int]
    values: Mapping[str, Sequence[float | None]]
    """Measure → a value per run, in the order of the seeds; None where a run has none."""
    metrics: list[str]
    digests: list[str] = []
    """Of each run, in the order of the seeds."""
    experiment: dict[str, Any] | None = None
    """What was run, resolved, without its seed; None where that is not known."""
    source: str = ""
    """The folder, or the folders in words."""

    def at(self, measure: str) -> Sequence[float | None]:
        """A value per run; None where a run has none."""
        return self.values.get(measure) or [None] * len(self.seeds)

    def numbers(self, measure: str) -> list[float]:
        """The values there are."""
        return numbers(self.values.get(measure, ()))

    def of(self, seeds: Collection[int]) -> Group:
        """The runs of these seeds, in their order."""
        places = [self.seeds.index(seed) for seed in seeds]
        return msgspec.structs.replace(
            self,
            seeds=list(seeds),
            values={name: [found[place] for place in places] for name, found in self.values.items() if found},
            digests=[self.digests[place] for place in places] if self.digests else [],
        )

    @property
    def is_simulated(self) -> bool:
        """Whether its runs are known to be simulated, so that a seed names the same draws wherever it stands."""
        return self.experiment is not None and self.experiment.get("source") == SIMULATION


class Unmatched(Struct, frozen=True):
    """The combinations of two sweeps without a counterpart in the other."""

    baseline: str
    other: str
    only_baseline: list[dict[str, Any]]
    only_other: list[dict[str, Any]]


def sources(paths: Sequence[Path]) -> list[list[Group]]:
    """Each sweep's combinations, and the runs, those of one experiment pooled. Raises CompareError, RunFolderError."""
    seen: dict[Path, Path] = {}
    found: list[list[Group] | str] = []
    pools: dict[str, list[tuple[Path, Run]]] = {}
    for path in paths:
        before = seen.setdefault(path.resolve(), path)
        if before is not path:
            raise CompareError(f"{path}: given twice")
        loaded = load(path)
        if isinstance(loaded, Sweep):
            found.append(_sweep_groups(path, loaded))
            continue
        experiment = {key: value for key, value in loaded.results.experiment.items() if key != "seed"}
        key = identity_bytes(experiment).decode()
        if key not in pools:
            found.append(key)
        pools.setdefault(key, []).append((path, loaded))
    if len(found) == 1 and isinstance(found[0], str):
        # Runs of a single experiment: then each is compared for itself.
        return [[_pool([entry])] for entry in pools[found[0]]]
    return [[_pool(pools[source])] if isinstance(source, str) else source for source in found]


def matched(found: Sequence[Sequence[Group]]) -> tuple[list[tuple[Group, Group]], list[Unmatched]]:
    """What is compared with what, and what of two sweeps has no counterpart.

    A source of one set is compared with every set of the other. Raises CompareError where nothing is matched.
    """
    first, *others = found
    if not others:
        if len(first) < 2:
            raise CompareError(f"{first[0].label}: nothing to compare it with; give a second run or sweep")
        return [(first[0], group) for group in first[1:]], []
    pairs: list[tuple[Group, Group]] = []
    unmatched = []
    for source in others:
        if len(first) == 1 or len(source) == 1:
            pairs += [(a, b) for a in first for b in source]
            continue
        here = [(a, b) for a in first for b in _counterparts(a, source)]
        if not here:
            raise CompareError(
                f"{first[0].label} and {source[0].label}: no combination of parameters is in both sweeps; "
                "give sweeps with the same -S values"
            )
        pairs += here
        mine = [a.parameters for a in first if not any(a is x for x, _ in here)]
        theirs = [b.parameters for b in source if not any(b is y for _, y in here)]
        if mine or theirs:
            unmatched.append(Unmatched(first[0].source, source[0].source, mine, theirs))
    return pairs, unmatched


def _counterparts(group: Group, others: Sequence[Group]) -> list[Group]:
    """What ``group`` is compared with, by the first of the ways that finds anything."""
    for is_same in (_same_parameters, _same_experiment, _same_values):
        found = [other for other in others if is_same(group, other)]
        if found:
            return found
    return []


def _same_parameters(a: Group, b: Group) -> bool:
    return a.parameters == b.parameters


def _same_experiment(a: Group, b: Group) -> bool:
    return a.experiment is not None and a.experiment == b.experiment


def _same_values(a: Group, b: Group) -> bool:
    """Whether all that varies in either has one value, which the other may have from its file or by default."""
    paths = {**a.parameters, **b.parameters}
    found = [(_value(a.experiment, path), _value(b.experiment, path)) for path in paths]
    return all(mine is not _NOWHERE and mine == theirs for mine, theirs in found)


def _value(experiment: Any, path: str) -> Any:
    """What stands at a path of a resolved experiment, or ``_NOWHERE``."""
    at = experiment
    for part in path.split("."):
        if isinstance(at, list) and part.isdigit() and int(part) < len(at):
            at = at[int(part)]
        elif isinstance(at, dict) and (part in at or key_of(part) in at):
            at = at[part if part in at else key_of(part)]
        else:
            return _NOWHERE
    return at


# --- reading -----------------------------------------------------------------------------------------------------


def _pool(runs: Sequence[tuple[Path, Run]]) -> Group:
    seeds = [run.results.seed for _, run in runs]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        where = ", ".join(str(path) for path, run in runs if run.results.seed == twice)
        raise CompareError(f"{where}: the same experiment with the same seed; give one of them")
    columns = make_columns([{}] * len(runs), seeds, [run.summary for _, run in runs])
    label = str(runs[0][0]) + (f" and {len(runs) - 1} more of {runs[0][1].results.name}" if len(runs) > 1 else "")
    return Group(
        label=label,
        parameters={},
        seeds=seeds,
        values={name: _floats(column.values) for name, column in columns.items() if name not in FIXED},
        metrics=list(dict.fromkeys(name for _, run in runs for name in run.summary["metrics"])),
        digests=[run.results.digest for _, run in runs],
        experiment=_what_ran(runs[0][1].results.experiment, runs[0][1].results.source),
        source=label,
    )


def _sweep_groups(path: Path, sweep: Sweep) -> list[Group]:
    groups = []
    experiments = _experiments(path, sweep)
    for number, combination in enumerate(sweep.meta.combinations):
        label = f"{path}" + (f" ({combination_text(combination)})" if combination else "")
        groups.append(
            Group(
                label=label,
                parameters=combination,
                seeds=sweep.column("seed", number),
                values={name: _floats(sweep.column(name, number)) for name in sweep.measures},
                metrics=sweep.metrics,
                digests=sweep.column("digest", number),
                experiment=experiments[number] if experiments else None,
                source=str(path),
            )
        )
    return groups


def _floats(values: Sequence[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


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
            found.append(_what_ran(writer.to_mapping(built), SIMULATION))
    except yaml.FileFaults:
        return None
    return found


def _what_ran(experiment: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {"source": source} | {key: value for key, value in experiment.items() if key not in _PROSE}
