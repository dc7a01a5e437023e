"""A sweep as Python sees it: a row per cell, intervals per combination, and how it shows itself in a notebook.

``sweep.parquet`` holds a row per cell: the varied parameters by their paths, ``seed``, ``digest``, ``held``, every
count by its name and every statistic as ``metric.statistic``. Intervals are computed from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from zentalk_sim.experiment.metrics import CENSORED, STATISTICS
from zentalk_sim.report.metrics import metric_order, unit_of
from zentalk_sim.report.results import RunFolderError
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

    def __init__(self, meta: SweepMeta, cells: Any, folder: Path | None = None) -> None:
        self.meta = meta
        self.cells = cells
        """A row per cell, as a ``pandas.DataFrame``."""
        self.folder = folder
        """Where it is kept; None for a sweep in memory."""

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
        return [name for name in self.cells.columns if name not in FIXED and name not in self.meta.parameters]

    @property
    def metrics(self) -> list[str]:
        """The metrics reported, in the order they are shown."""
        return metric_order({part[0]: None for name in self.measures if (part := split_measure(name))[1] != "value"})

    @property
    def seeds(self) -> int:
        """How many seeds each combination was run with."""
        return len(self.cells) // max(len(self.meta.combinations), 1)

    def groups(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Each combination of parameters with the rows of its cells."""
        size = self.seeds
        for number, combination in enumerate(self.meta.combinations):
            yield combination, self.cells.iloc[number * size : (number + 1) * size]

    def interval(self, measure: str, combination: Mapping[str, Any] | None = None) -> Interval:
        """Median and interval of a measure over the seeds of a combination (the first one by default).

        Raises KeyError for a measure or combination there is none of.
        """
        wanted = dict(combination) if combination is not None else self.meta.combinations[0]
        for number, found in enumerate(self.meta.combinations):
            if found == wanted:
                return self._intervals[number][measure]
        raise KeyError(f"no combination {wanted}; there are {self.meta.combinations}")

    @cached_property
    def _intervals(self) -> list[dict[str, Interval]]:
        return [{name: interval_of(rows[name]) for name in self.measures} for _, rows in self.groups()]

    @cached_property
    def intervals(self) -> Any:
        """Tidy: a row per combination and measure with ``metric, statistic, unit, n, median, low, high``."""
        import pandas as pd

        rows = []
        for combination, found in zip(self.meta.combinations, self._intervals, strict=True):
            for name, interval in found.items():
                metric, statistic = split_measure(name)
                unit = measure_unit(metric, statistic)
                rows.append((*combination.values(), metric, statistic, unit, *msgspec.structs.astuple(interval)))
        columns = [*self.parameters, "metric", "statistic", "unit", "n", "median", "low", "high"]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype(dict.fromkeys(("median", "low", "high"), "float64"))

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
            "cells": len(self.cells),
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
        count = len(self.meta.combinations)
        return f"<Sweep {self.name}, {len(self.cells)} cells: {count} combinations × seeds {self.meta.seeds}>"

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


def interval_of(column: Any) -> Interval:
    """The interval over a column's values; cells without a value do not count."""
    return median_interval([float(value) for value in column.dropna()])


def split_measure(name: str) -> tuple[str, str]:
    """(metric, statistic) of a column; the statistic of a count is ``value``."""
    metric, dot, statistic = name.rpartition(".")
    return (metric, statistic) if dot and statistic in (*STATISTICS, CENSORED) else (name, "value")


def measure_unit(metric: str, statistic: str) -> str:
    """The unit of a measure; empty for a plain number."""
    return "" if statistic in ("value", "count", CENSORED) else unit_of(metric).name


def combination_text(combination: Mapping[str, Any]) -> str:
    """``path=value, …`` with each path's last keys, as many as tell it apart; words where nothing varies."""
    return ", ".join(f"{short_name(path, combination)}={combination[path]}" for path in combination) or "all seeds"


def short_name(path: str, among: Iterable[str]) -> str:
    """The end of a path, from a key on, that no other of ``among`` ends in."""
    others = [f".{other}" for other in among if other != path]
    keys = path.split(".")
    for start in range(len(keys) - 1, 0, -1):
        end = ".".join(keys[start:])
        if not end.isdigit() and not any(other.endswith(f".{end}") for other in others):
            return end
    return path


def make_frame(
    parameters: Sequence[Mapping[str, Any]], seeds: Sequence[int], summaries: Sequence[Mapping[str, Any]]
) -> Any:
    """The table of a sweep, a row per cell, from the parameters, seed and ``summary.json`` of each."""
    import pandas as pd

    counts = sorted({name for summary in summaries for name in summary["counts"]})
    metrics = metric_order({name: None for summary in summaries for name in summary["metrics"]})
    columns: dict[str, Any] = {}
    for path in parameters[0] if parameters else ():
        columns[path] = _parameter_column([found[path] for found in parameters])
    columns["seed"] = pd.array(list(seeds), dtype="int64")
    columns["digest"] = [summary["digest"] for summary in summaries]
    columns["held"] = [all(e["held"] for e in (*s["thresholds"], *s["checks"])) for s in summaries]
    for name in counts:
        columns[name] = pd.array([summary["counts"].get(name, 0) for summary in summaries], dtype="int64")
    for metric in metrics:
        entries = [summary["metrics"].get(metric, {}) for summary in summaries]
        for statistic in (*STATISTICS, CENSORED):
            if statistic == CENSORED and not any(statistic in entry for entry in entries):
                continue
            values = [entry.get(statistic) for entry in entries]
            if statistic in ("count", CENSORED):
                columns[f"{metric}.{statistic}"] = pd.array([value or 0 for value in values], dtype="int64")
            else:
                columns[f"{metric}.{statistic}"] = pd.array(
                    [float("nan") if value is None else float(value) for value in values], dtype="float64"
                )
    return pd.DataFrame(columns)


def _parameter_column(values: list[Any]) -> Any:
    """Numbers as numbers, booleans as booleans, and a mixture as text."""
    import pandas as pd

    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return pd.array(values, dtype="bool")
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values):
        return pd.array(values, dtype="int64")
    if kinds <= {int, float}:
        return pd.array([float(value) for value in values], dtype="float64")
    return [str(value) for value in values]


def write_frame(frame: Any, path: Path) -> None:
    """A table as Parquet, whole or not at all; the same bytes for the same values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = path.with_name(path.name + ".part")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, part, compression="zstd")
    os.replace(part, path)


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep, finished or not."""
    return (folder / META).is_file()


def load_sweep(folder: Path) -> Sweep:
    """The sweep kept in a folder. Raises RunFolderError where it is unfinished or damaged."""
    import pandas as pd
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
        cells = pd.read_parquet(folder / TABLE)
    except (msgspec.ValidationError, pa.ArrowException, OSError) as error:
        raise RunFolderError(f"{folder}: damaged: {error}; run the sweep again") from None
    if len(cells) % max(len(meta.combinations), 1) or any(name not in cells for name in (*FIXED, *meta.parameters)):
        raise RunFolderError(f"{folder / TABLE}: does not fit {META}; run the sweep again")
    return Sweep(meta, cells, folder)
