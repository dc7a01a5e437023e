"""A sweep as Python sees it: a row per cell, intervals per combination, and how it shows itself in a notebook.

``sweep.parquet`` holds a row per cell: the varied parameters by their paths, ``seed``, ``digest``, ``held``, every
count by its name and every statistic as ``metric.statistic``. Intervals are computed from it. A ``pandas.DataFrame``
is made of it when somebody asks for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from zentalk_sim.experiment.metrics import CENSORED, STATISTICS
from zentalk_sim.report.metrics import metric_order, unit_of
from zentalk_sim.report.results import RunFolderError
from zentalk_sim.report.sweep_columns import Column, Columns, column_of, floats, read_columns, to_frame
from zentalk_sim.report.sweep_statistics import Interval, median_interval

FORMAT = 1
META = "sweep.json"
TABLE = "sweep.parquet"
INTERVALS = "intervals.parquet"
FIXED = ("seed", "digest", "held")
"""Columns that are neither parameter nor measure."""


class Bound(Struct, frozen=True):
    """In how many cells of a combination a threshold or check held."""

    combination: int
    id: str
    held: int
    cells: int


class SweepMeta(Struct, kw_only=True):
    """What a sweep is, beside its table. ``parameters`` are the varied paths with their values, in order."""

    name: str
    seeds: str
    parameters: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """Settings of every cell beyond the file, as given."""
    description: str = ""
    question: str = ""
    expectation: str = ""
    simulated_s: float = 0.0
    combinations: list[dict[str, Any]] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    code: str = ""

    @property
    def held(self) -> bool:
        """Whether every threshold and check held in every cell."""
        return all(bound.held == bound.cells for bound in self.bounds)


class Sweep:
    """A finished sweep."""

    def __init__(self, meta: SweepMeta, columns: Columns, folder: Path | None = None) -> None:
        self.meta = meta
        self.columns = columns
        """A row per cell: parameters, ``FIXED``, measures."""
        self.folder = folder
        """Where it is kept; None for a sweep in memory."""

    @cached_property
    def cells(self) -> Any:
        """A row per cell, as a ``pandas.DataFrame``."""
        return to_frame(self.columns)

    @property
    def name(self) -> str:
        return self.meta.name

    @property
    def parameters(self) -> tuple[str, ...]:
        """The paths that vary."""
        return tuple(self.meta.parameters)

    @property
    def measures(self) -> list[str]:
        """The columns that hold results: counts, and ``metric.statistic``."""
        return [name for name in self.columns if name not in FIXED and name not in self.meta.parameters]

    @property
    def metrics(self) -> list[str]:
        """The metrics reported, in the order they are shown."""
        return metric_order({part[0]: None for name in self.measures if (part := split_measure(name))[1] != "value"})

    @property
    def runs(self) -> int:
        """How many cells there are."""
        return len(self.columns["seed"].values)

    @property
    def seeds(self) -> int:
        """How many seeds each combination was run with."""
        return self.runs // max(len(self.meta.combinations), 1)

    @property
    def seeds_text(self) -> str:
        """The seeds as a reader has them: ``seed 1``, ``seeds 1-20``."""
        return f"seed{'s' if self.seeds > 1 else ''} {self.meta.seeds}"

    @property
    def size_text(self) -> str:
        """What was run: ``4 cells: 2 combinations × seeds 1-2``."""
        count = len(self.meta.combinations)
        cells = f"{self.runs:,} cell{'s' if self.runs != 1 else ''}"
        return f"{cells}: {f'{count:,} combinations × ' if count != 1 else ''}{self.seeds_text}"

    def label(self, combination: Mapping[str, Any]) -> str:
        """What a row over the seeds of a combination is called; where nothing varies, by the seeds themselves."""
        return combination_text(combination) or ("all seeds" if self.seeds > 1 else self.seeds_text)

    def is_any(self, measure: str) -> bool:
        """Whether there is a measure, and any cell has a value of it other than zero."""
        return measure in self.columns and self.columns[measure].is_any

    def column(self, name: str, combination: int) -> list[Any]:
        """A column's values in the cells of a combination, which is given by its number; None where one has none."""
        size = self.seeds
        return self.columns[name].values[combination * size : (combination + 1) * size]

    def number(self, combination: Mapping[str, Any] | None = None) -> int:
        """The number of a combination, of the first by default. Raises KeyError where there is no such combination."""
        wanted = self.meta.combinations[0] if combination is None else dict(combination)
        if wanted not in self.meta.combinations:
            raise KeyError(f"no combination {wanted}; there are {self.meta.combinations}")
        return self.meta.combinations.index(wanted)

    def values(self, measure: str, combination: Mapping[str, Any] | None = None) -> list[float]:
        """What the cells of a combination have of a measure; those without a value are left out. Raises KeyError."""
        return numbers(self.column(measure, self.number(combination)))

    def interval(self, measure: str, combination: Mapping[str, Any] | None = None) -> Interval:
        """Median and interval of a measure over the seeds of a combination (the first one by default).

        Raises KeyError for a measure or combination there is none of.
        """
        return self._intervals[self.number(combination)][measure]

    @cached_property
    def _intervals(self) -> list[dict[str, Interval]]:
        numbered = range(len(self.meta.combinations))
        return [
            {name: median_interval(numbers(self.column(name, number))) for name in self.measures} for number in numbered
        ]

    @property
    def interval_columns(self) -> Columns:
        """``intervals`` as plain columns."""
        split = {name: split_measure(name) for name in self.measures}
        units = [measure_unit(metric, statistic) for metric, statistic in split.values()]
        count = len(self.meta.combinations)
        columns: Columns = {}
        for path in self.parameters:
            values = [found[path] for found in self.meta.combinations for _ in split]
            columns[path] = column_of(values)
        columns["metric"] = Column("text", [metric for metric, _ in split.values()] * count)
        columns["statistic"] = Column("text", [statistic for _, statistic in split.values()] * count)
        columns["unit"] = Column("text", units * count)
        intervals = [found[name] for found in self._intervals for name in split]
        columns["n"] = Column("int", [interval.n for interval in intervals])
        columns["median"] = floats([interval.median for interval in intervals])
        columns["low"] = floats([interval.low for interval in intervals])
        columns["high"] = floats([interval.high for interval in intervals])
        return columns

    @cached_property
    def intervals(self) -> Any:
        """Tidy: a row per combination and measure with ``metric, statistic, unit, n, median, low, high``."""
        return to_frame(self.interval_columns)

    def tidy(self) -> Any:
        """A row per cell and measure: parameters, ``seed``, ``metric``, ``statistic``, ``value``."""
        keys = [*self.parameters, "seed"]
        long = self.cells.melt(id_vars=keys, value_vars=self.measures, var_name="measure", value_name="value")
        parts = [split_measure(name) for name in long.pop("measure")]
        long.insert(len(keys), "metric", [metric for metric, _ in parts])
        long.insert(len(keys) + 1, "statistic", [statistic for _, statistic in parts])
        return long.astype({"value": "float64"})

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: what the sweep is, its medians with intervals, thresholds and checks."""
        medians = []
        for combination, found in zip(self.meta.combinations, self._intervals, strict=True):
            measures = {name: msgspec.to_builtins(interval) for name, interval in found.items()}
            medians.append({"parameters": combination, "measures": measures})
        return {
            "name": self.name,
            "seeds": self.meta.seeds,
            "parameters": self.meta.parameters,
            "cells": self.runs,
            "combinations": medians,
            "thresholds": [msgspec.to_builtins(bound) for bound in self.meta.bounds],
        }

    @property
    def messages(self) -> Any:
        """None to give. Raises AttributeError saying where a message's row is to be had; so do the next two."""
        raise _no_table("messages")

    @property
    def connections(self) -> Any:
        """See ``messages``."""
        raise _no_table("connections")

    @property
    def timeseries(self) -> Any:
        """See ``messages``."""
        raise _no_table("timeseries")

    def __repr__(self) -> str:
        return f"<Sweep {self.name}, {self.size_text}>"

    def __str__(self) -> str:
        from zentalk_sim.report.sweep_table import sweep_table

        return sweep_table(self)

    def _repr_html_(self) -> str:
        from zentalk_sim.report.sweep_html import fragment

        return fragment(self)


def _no_table(name: str) -> AttributeError:
    return AttributeError(
        f"a sweep keeps a row per cell (.cells) and no .{name}: run one of its cells with "
        "zentalk_sim.experiment.run(file, seed=…), or `zsim run`"
    )


def numbers(values: Iterable[Any]) -> list[float]:
    """A column's values as numbers, without those that are missing."""
    return [float(value) for value in values if value is not None]


def split_measure(name: str) -> tuple[str, str]:
    """(metric, statistic) of a column; the statistic of a count is ``value``."""
    metric, dot, statistic = name.rpartition(".")
    return (metric, statistic) if dot and statistic in (*STATISTICS, CENSORED) else (name, "value")


def measure_unit(metric: str, statistic: str) -> str:
    """The unit of a measure; empty for a plain number."""
    return "" if statistic in ("value", "count", CENSORED) else unit_of(metric).name


def combination_text(combination: Mapping[str, Any]) -> str:
    """``path=value, …`` with each path's last keys, as many as tell it apart; empty where nothing varies."""
    return ", ".join(f"{short_name(path, combination)}={combination[path]}" for path in combination)


def short_name(path: str, among: Iterable[str]) -> str:
    """The end of a path, from a key on, that no other of ``among`` ends in."""
    others = [f".{other}" for other in among if other != path]
    keys = path.split(".")
    for start in range(len(keys) - 1, 0, -1):
        end = ".".join(keys[start:])
        if not end.isdigit() and not any(other.endswith(f".{end}") for other in others):
            return end
    return path


def make_columns(
    parameters: Sequence[Mapping[str, Any]], seeds: Sequence[int], summaries: Sequence[Mapping[str, Any]]
) -> Columns:
    """The table of a sweep, a row per cell, from the parameters, seed and ``summary.json`` of each."""
    counts = sorted({name for summary in summaries for name in summary["counts"]})
    metrics = metric_order({name: None for summary in summaries for name in summary["metrics"]})
    columns: Columns = {}
    for path in parameters[0] if parameters else ():
        columns[path] = column_of([found[path] for found in parameters])
    columns["seed"] = Column("int", list(seeds))
    columns["digest"] = Column("text", [summary["digest"] for summary in summaries])
    columns["held"] = Column("bool", [all(e["held"] for e in (*s["thresholds"], *s["checks"])) for s in summaries])
    for name in counts:
        columns[name] = Column("int", [summary["counts"].get(name, 0) for summary in summaries])
    for metric in metrics:
        entries = [summary["metrics"].get(metric, {}) for summary in summaries]
        for statistic in (*STATISTICS, CENSORED):
            if statistic == CENSORED and not any(statistic in entry for entry in entries):
                continue
            values = [entry.get(statistic) for entry in entries]
            if statistic in ("count", CENSORED):
                columns[f"{metric}.{statistic}"] = Column("int", [value or 0 for value in values])
            else:
                columns[f"{metric}.{statistic}"] = floats(values)
    return columns


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep, finished or not."""
    return (folder / META).is_file()


def load_sweep(folder: Path) -> Sweep:
    """The sweep kept in a folder. Raises RunFolderError where it is unfinished or damaged."""
    import pyarrow as pa

    path = folder / META
    try:
        data = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: cannot be read: {error}; run the sweep again") from None
    if not isinstance(data, dict) or data.get("zentalk_sweep") != FORMAT:
        raise RunFolderError(f"{path}: no sweep of this version of zentalk-sim; run the sweep again")
    if data.get("meta") is None or not (folder / TABLE).is_file():
        raise RunFolderError(f"{folder}: a sweep that is not finished; run it again, it goes on where it was stopped")
    try:
        meta = msgspec.convert(data["meta"], SweepMeta)
        columns = read_columns(folder / TABLE)
    except (ValueError, pa.ArrowException, OSError) as error:
        raise RunFolderError(f"{folder}: damaged: {error}; run the sweep again") from None
    sweep = Sweep(meta, columns, folder)
    if any(name not in columns for name in (*FIXED, *meta.parameters)) or sweep.runs % max(len(meta.combinations), 1):
        raise RunFolderError(f"{folder / TABLE}: does not fit {META}; run the sweep again")
    return sweep
