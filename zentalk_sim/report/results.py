"""What a run found, and the folder it is kept in.

``results.json`` holds all of it but the three tables and what the wall clock says (that is in ``manifest.json``);
``summary.json``, the pictures and ``report.html`` are drawn from it, so that they can be drawn again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, field

from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.ledgers import check_ledgers
from zentalk_sim.report.metrics import Unit, unit_of
from zentalk_sim.report.summary import results_table, summarise
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, TIMESERIES, TableSchema, TableWriter, write_table

if TYPE_CHECKING:
    from zentalk_sim.report.drawing import Drawers

__all__ = [
    "CheckResult",
    "FaultSpan",
    "Results",
    "RunFolderError",
    "ThresholdResult",
    "check_ledgers",
    "read_results",
    "redraw",
    "results_table",
    "write_run",
]

FORMAT = 1
"""The version of ``results.json``."""

Table = TableWriter | str | os.PathLike[str]


class RunFolderError(Exception):
    """A folder that is no run, or lacks a part of one; the text names the file and the remedy."""


class FaultSpan(Struct, frozen=True):
    """A fault as pictures show it, in µs of Unix time. It is an instant if it ends as it starts; None: it lasts."""

    label: str
    start_us: int
    end_us: int | None = None


class ThresholdResult(Struct, frozen=True):
    """Whether a bound was kept; ``value`` is what was found, None where there was nothing to measure."""

    id: str
    held: bool
    value: int | float | str | None = None


class CheckResult(Struct, frozen=True):
    """Whether a check held; ``value`` is how often it did not, or what was found."""

    id: str
    held: bool
    value: int | float | str | None = None


class Results(Struct, kw_only=True):
    """All that a run found, but for the rows of its tables. Times are in µs, instants in Unix time."""

    name: str
    seed: int
    start_us: int
    """Simulated time zero."""
    simulated_us: int
    """How much time was simulated."""
    description: str = ""
    question: str = ""
    """What was asked."""
    expectation: str = ""
    """The answer expected before the run."""
    experiment: dict[str, Any] = field(default_factory=dict)
    """The resolved experiment, as a mapping that JSON can hold."""
    warm_up_us: int = 0
    """What begins in this first stretch is left out of ``metrics``."""
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Histogram] = field(default_factory=dict)
    """By the contract's names and their splits; a metric of time in integer µs, whatever its name ends in."""
    units: dict[str, Unit] = field(default_factory=dict)
    """Units of metrics whose name does not tell; see ``metrics.unit_of``."""
    censored: dict[str, int] = field(default_factory=dict)
    """Per metric, how many had not come to their end when the run did."""
    thresholds: list[ThresholdResult] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    faults: list[FaultSpan] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    """What this run takes for granted beyond the model's own assumptions; shown in the report."""
    digest: str = ""
    wall_s: float = 0.0
    """How long it took to run; kept out of all that is the same for the same experiment and seed."""
    events: int = 0
    """Entries of the event queue that were run."""
    source: Literal["simulation", "live"] = "simulation"
    """live: played in real time against a relay, so that ``simulated_us`` is real time, too."""

    @property
    def time_called(self) -> str:
        """What the run's time is called."""
        return "real time" if self.source == "live" else "simulated time"

    def unit(self, metric: str) -> Unit:
        """The unit of a metric or of a split of it."""
        return self.units.get(metric) or self.units.get(metric.partition(".")[0]) or unit_of(metric)

    @property
    def held(self) -> bool:
        """Whether every threshold and check held."""
        return all(t.held for t in self.thresholds) and all(c.held for c in self.checks)


_WALL_CLOCK = ("wall_s",)


def encode_results(results: Results) -> bytes:
    """``results.json``: the same bytes for the same run."""
    mapping = {name: getattr(results, name) for name in results.__struct_fields__ if name not in _WALL_CLOCK}
    mapping["metrics"] = {name: histogram.to_dict() for name, histogram in results.metrics.items()}
    return dump_json({"zentalk_results": FORMAT} | mapping, indent=0)


def dump_json(value: Any, indent: int = 2) -> bytes:
    """JSON with sorted keys and a last line feed. Floats print as the shortest text that reads back equal."""
    data = msgspec.json.encode(value, order="deterministic")
    return (msgspec.json.format(data, indent=indent) if indent else data) + b"\n"


def read_results(folder: str | os.PathLike[str]) -> Results:
    """The results kept in a run folder. Raises RunFolderError where it holds none, or not ones this version reads."""
    path = Path(folder) / "results.json"
    try:
        data = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise RunFolderError(
            f"{folder}: no run folder (it has no results.json); give the one `zsim run` printed"
        ) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path}: cannot be read: {error}; run the experiment again") from None
    if not isinstance(data, dict) or data.get("zentalk_results") != FORMAT:
        raise RunFolderError(f"{path}: not results of this version of zentalk-sim; run the experiment again")
    try:
        metrics = {name: Histogram.from_dict(entry) for name, entry in data.pop("metrics").items()}
        results = msgspec.convert({**data, "metrics": {}}, Results)
    except (KeyError, AttributeError, ValueError, msgspec.ValidationError) as error:
        raise RunFolderError(f"{path}: damaged: {error}; run the experiment again") from None
    results.metrics = metrics
    return results


def clear_earlier(folder: Path) -> None:
    """Remove from a folder what an earlier run told there: a run with ``--no-plots``, or one that is interrupted,
    shall not leave another's pictures and figures beside its own tables. What is not a run's is left alone.
    """
    names = ("summary.json", "results.json", "manifest.json", "report.html", "live.json", "side_by_side.json")
    if not (folder / "experiment.yaml").is_file():
        return
    pictures = (path for path in (folder / "plots").glob("*") if path.suffix in (".png", ".svg"))
    for path in (*(folder / name for name in names), *pictures):
        path.unlink(missing_ok=True)


def write_run(
    results: Results,
    folder: str | os.PathLike[str],
    *,
    messages: Table,
    connections: Table,
    timeseries: Table,
    plots: bool,
    command: Sequence[str] | None = None,
    drawers: Drawers | None = None,
) -> None:
    """Write a run's folder, but for ``experiment.yaml`` and the trace, which the runner writes.

    The tables are closed writers, or paths of their files. ``command`` is what was typed, for the manifest; by
    default that of this process. ``drawers`` help with the pictures.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for schema, table in ((MESSAGES, messages), (CONNECTIONS, connections), (TIMESERIES, timeseries)):
        _place(table, schema, folder / schema.file_name)
    (folder / "results.json").write_bytes(encode_results(results))
    manifest = _manifest(results, plots, command)
    (folder / "manifest.json").write_bytes(dump_json(manifest))
    _draw(results, manifest, folder, drawers)


def redraw(folder: str | os.PathLike[str], drawers: Drawers | None = None) -> None:
    """Write ``summary.json``, the pictures and ``report.html`` anew from what the folder keeps.

    Raises RunFolderError where a part is missing.
    """
    folder = Path(folder)
    results = read_results(folder)
    manifest = read_manifest(folder)
    for schema in (MESSAGES, CONNECTIONS, TIMESERIES):
        check_table(folder, schema)
    results.wall_s = float(manifest.get("wall_s") or 0.0)
    _draw(results, {**manifest, "plots": True}, folder, drawers)


def check_table(folder: Path, schema: TableSchema) -> Path:
    """The path of a run's table. Raises RunFolderError where it is missing, damaged, or has other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / schema.file_name
    if not path.is_file():
        raise RunFolderError(f"{path}: missing; run the experiment again")
    try:
        names = tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise RunFolderError(f"{path}: cannot be read: {error}; run the experiment again") from None
    if names != schema.names:
        raise RunFolderError(f"{path}: not the columns of this version of zentalk-sim; run the experiment again")
    return path


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``manifest.json`` of a run; empty where there is none, since nothing but the page's last lines needs it."""
    try:
        manifest = msgspec.json.decode((Path(folder) / "manifest.json").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{Path(folder) / 'manifest.json'}: cannot be read: {error}; remove it") from None
    return manifest if isinstance(manifest, dict) else {}


def _draw(results: Results, manifest: dict[str, Any], folder: Path, drawers: Drawers | None) -> None:
    from zentalk_sim.report.html import render

    summary = summarise(results)
    (folder / "summary.json").write_bytes(dump_json(summary))
    pictures: list[Any] = []
    if manifest.get("plots"):
        from zentalk_sim.report.plots import draw_all

        pictures = draw_all(results, folder, drawers)
    (folder / "report.html").write_text(render(results, summary, manifest, pictures), encoding="utf-8")


def _place(table: Table, schema: TableSchema, path: Path) -> None:
    if isinstance(table, TableWriter):
        if table.schema.name != schema.name:
            raise ValueError(f"a table of {table.schema.name} was given as {schema.name}")
        table.close()
        if table.path is None:
            write_table(table.to_arrow(), schema, path)
            return
        table = table.path
    if not (path.exists() and path.samefile(table)):
        shutil.copyfile(table, path)


def versions() -> dict[str, Any]:
    """``platform`` and ``versions`` of this project, Python and the libraries, for a manifest."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from zentalk_sim import __version__

    found = {"zentalk-sim": __version__, "python": platform.python_version()}
    for package in ("matplotlib", "msgspec", "numpy", "pandas", "pyarrow", "simpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"platform": platform.platform(), "versions": found}


def _manifest(results: Results, plots: bool, command: Sequence[str] | None) -> dict[str, Any]:
    if command is None:
        command = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv and sys.argv[0] else []
    return {
        "command": shlex.join(command),
        "events": results.events,
        "plots": plots,
        "wall_s": round(results.wall_s, 3),
        **versions(),
    }
