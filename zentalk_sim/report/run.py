"""A run as Python sees it: its summary, its tables as DataFrames, and how it shows itself in a notebook."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zentalk_sim.report.results import Results, RunFolderError, check_table, read_results
from zentalk_sim.report.summary import results_table, summarise
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, TIMESERIES, TableSchema, TableWriter, read_pandas

if TYPE_CHECKING:
    from zentalk_sim.report.sweep_results import Sweep


class Run:
    """A finished run. Tables are read when first asked for and then kept."""

    def __init__(self, results: Results, folder: Path | None, tables: dict[str, TableWriter] | None = None) -> None:
        self.results = results
        self.folder = folder
        """Where it is kept; None for a run in memory."""
        self._tables = tables or {}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return summarise(self.results)

    @property
    def start_us(self) -> int:
        """Simulated time zero in µs of Unix time: subtract it from a table's instants."""
        return self.results.start_us

    @cached_property
    def messages(self) -> Any:
        """A row per copy, as a ``pandas.DataFrame``."""
        return self._frame(MESSAGES)

    @cached_property
    def connections(self) -> Any:
        """A row per attempt to connect, as a ``pandas.DataFrame``."""
        return self._frame(CONNECTIONS)

    @cached_property
    def timeseries(self) -> Any:
        """A row per sample, as a ``pandas.DataFrame``."""
        return self._frame(TIMESERIES)

    def _frame(self, schema: TableSchema) -> Any:
        if schema.name in self._tables:
            return self._tables[schema.name].to_pandas()
        if self.folder is None:
            raise RunFolderError(f"this run was made without its table of {schema.name}")
        return read_pandas(check_table(self.folder, schema))

    def __repr__(self) -> str:
        return f"<Run {self.results.name}, seed {self.results.seed}, digest {self.results.digest[:12]}>"

    def __str__(self) -> str:
        return results_table(self.summary)

    def _repr_html_(self) -> str:
        from zentalk_sim.report.html import summary_tables

        return summary_tables(self.results, self.summary)


def load(path: str | os.PathLike[str]) -> Run | Sweep:
    """The run or the sweep kept in a folder. Raises RunFolderError where the folder holds neither."""
    from zentalk_sim.report.sweep_results import is_sweep, load_sweep

    folder = Path(path)
    if folder.is_file():
        raise RunFolderError(f"{folder}: is a file; give the folder of a run or sweep, as `zsim run` printed it")
    return load_sweep(folder) if is_sweep(folder) else Run(read_results(folder), folder)
