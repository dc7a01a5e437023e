"""A sweep: every combination of parameters with every seed, run by an engine, each cell kept as soon as it is done.

Cells are known by a hash of their resolved experiment, so that a sweep that was stopped goes on where it was, and one
that asks for more seeds or values runs only what is new. What other code or another experiment made is never mixed in.

>>> from zentalk_sim.experiment import sweep
>>> study = sweep.run("experiments/reconnect_storm.yaml", seeds="1-5", vary={"relay.nodes": [3, 4]})  # doctest: +SKIP
>>> study.interval("reconnect_time_s.p99", {"relay.nodes": 3}).median    # doctest: +SKIP
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from zentalk_sim.experiment import loader, writer
from zentalk_sim.experiment.differences import differences
from zentalk_sim.experiment.identity import ordered
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.experiment.sweep_cell import (
    Cell,
    CellError,
    CellResult,
    cell_key,
    code_fingerprint,
    read_cell,
    write_cell,
)
from zentalk_sim.experiment.sweep_engines import Engine, LocalProcesses, in_process
from zentalk_sim.experiment.sweep_grid import (
    MAX_CELLS,
    Axis,
    axes_of,
    combinations,
    format_seeds,
    merged,
    parse_axis,
    refuse_same_values,
    seeds_of,
    take_section,
)
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import Fault, FileFaults, Located, Origin
from zentalk_sim.report.results import dump_json
from zentalk_sim.report.sweep_results import (
    FORMAT,
    INTERVALS,
    META,
    TABLE,
    Bound,
    Sweep,
    SweepMeta,
    make_frame,
    write_frame,
)

CELLS = "cells"


class OtherSweep(Exception):
    """A folder that holds a sweep of something else; the text says what differs."""


class SweepFailed(Exception):
    """Cells that gave no result; ``failures`` has them. All others are kept."""

    def __init__(self, failures: list[tuple[str, CellError]]) -> None:
        self.failures = failures
        super().__init__("; ".join(f"{where}: {error.message}" for where, error in failures))


class Plan(Struct, kw_only=True):
    """A sweep laid out: every combination's resolved experiment, and every cell."""

    source: dict[str, Any]
    """The experiment as its file says it, without its ``sweep`` section."""
    seeds: list[int]
    axes: list[Axis]
    """What varies."""
    fixed: list[Axis]
    """What every cell has set beyond the file."""
    parameters: list[dict[str, Any]]
    """Per combination: path → value."""
    experiments: list[Experiment]
    """Per combination, with the first seed."""
    mappings: list[dict[str, Any]]
    """The same as plain data."""
    cells: list[Cell]

    @property
    def name(self) -> str:
        return self.experiments[0].name

    @property
    def runs(self) -> int:
        """How many runs it takes: cells that come to the same experiment and seed are one."""
        return len({cell.key for cell in self.cells})

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it the same sweep, whatever the seeds and values asked for this time."""
        settings = [f"{axis.path}={axis.texts[0]}" for axis in self.fixed]
        return {
            "experiment": ordered(self.source),
            "settings": settings,
            "varies": sorted(axis.path for axis in self.axes),
        }

    @property
    def folder(self) -> Path:
        """Where it is kept unless said otherwise: ``runs/NAME/sweep-HASH``."""
        digest = blake2b(msgspec.json.encode(self.identity, order="deterministic"), digest_size=4).hexdigest()
        return Path("runs") / self.name / f"sweep-{digest}"

    def mapping(self, cell: Cell) -> dict[str, Any]:
        """A cell's resolved experiment as plain data."""
        return {**self.mappings[cell.combination], "seed": cell.seed}

    def words(self, cell: Cell) -> str:
        """A cell as a message names it."""
        parts = [f"{path}={value}" for path, value in self.parameters[cell.combination].items()]
        return ", ".join([*parts, f"seed {cell.seed}"])


class Outcome(Struct):
    """A finished sweep and how it went."""

    sweep: Sweep
    ran: int
    """Cells run now; the others were kept from before."""
    workers_s: float
    """Real time spent in the runs, over all workers."""
    wall_s: float


def plan(
    experiment: str | PathLike[str] | Mapping[str, Any],
    *,
    seeds: str | int | Iterable[int] | None = None,
    settings: Iterable[str] = (),
    vary: Mapping[str, Iterable[Any]] | None = None,
) -> Plan:
    """Lay out a sweep. ``settings`` are texts of ``-S``; ``vary`` says the same as data: path → values.

    ``seeds`` are a text such as ``1-20``, numbers, or one number: that seed.

    Raises FileFaults with every fault, of the file or of any combination.
    """
    tree = _tree(experiment)
    section = take_section(tree)
    axes = merged(section.axes, [*map(parse_axis, settings), *axes_of(vary or {})])
    chosen = seeds_of(seeds if seeds is not None else section.seeds)
    varying = [axis for axis in axes if axis.varies]
    fixed = [axis for axis in axes if not axis.varies]
    count = len(chosen)
    for axis in varying:
        count *= len(axis.texts)
    if count > MAX_CELLS:
        raise FileFaults([Fault(Origin("sweep"), f"has {count:,} cells; at most {MAX_CELLS:,} are run at once")])
    laid = Plan(
        source=tree.plain() if isinstance(tree.data, dict) else {},
        seeds=chosen,
        axes=varying,
        fixed=fixed,
        parameters=[],
        experiments=[],
        mappings=[],
        cells=[],
    )
    faults: dict[str, Fault] = {}
    for choice in combinations(varying):
        at = {axis.path: number for axis, number in zip(varying, choice, strict=True)}
        given = [axis.setting(at.get(axis.path, 0)) for axis in axes]
        try:
            built = loader.read(copy.deepcopy(tree), given, options={"seed": ("--seeds", chosen[0])})
        except FileFaults as found:
            faults.update({str(fault): fault for fault in found.faults})
            continue
        laid.parameters.append({axis.path: axis.values[at[axis.path]] for axis in varying})
        laid.experiments.append(built)
        laid.mappings.append(writer.to_mapping(built))
    if faults:
        raise FileFaults(list(faults.values()))
    refuse_same_values(varying, [cell_key(mapping) for mapping in laid.mappings])
    for number in range(len(laid.experiments)):
        for seed in chosen:
            laid.cells.append(Cell(cell_key({**laid.mappings[number], "seed": seed}), number, seed))
    return laid


def run(
    experiment: str | PathLike[str] | Mapping[str, Any],
    *,
    seeds: str | int | Iterable[int] | None = None,
    vary: Mapping[str, Iterable[Any]] | None = None,
    settings: Iterable[str] = (),
    workers: int | None = None,
    out: str | PathLike[str] | None = None,
) -> Sweep:
    """Run a sweep from Python: in memory, or kept in (and resumed from) the folder ``out``.

    ``seeds`` are as in ``plan``. ``workers`` are processes of this machine, by default as many as it has cores; 0 runs
    in this process. Raises FileFaults, OtherSweep, SweepFailed.
    """
    if workers is not None and (not isinstance(workers, int) or workers < 0):
        message = f"must be a number of processes, or 0 to run in this one, not {workers!r}"
        raise FileFaults([Fault(Origin("workers"), message)])
    laid = plan(experiment, seeds=seeds, settings=settings, vary=vary)
    count = available_cores() if workers is None else workers
    engine: Engine = LocalProcesses(count) if count else in_process
    return run_plan(laid, engine, folder=None if out is None else Path(out)).sweep


def run_plan(
    laid: Plan,
    engine: Engine,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the cells of a plan that ``folder`` does not hold yet, and put together what all of them gave.

    ``progress`` is told the cells done and in all. Interrupted, the cells done so far are kept. Raises OtherSweep,
    SweepFailed, EngineError, OSError.
    """
    began_s = time.perf_counter()
    found = {} if folder is None else _kept(laid, folder, note)
    kept = len(found)
    tasks = list({c.key: (c, laid.mapping(c)) for c in laid.cells if c.key not in found}.values())
    # The longest first, so that no worker is left with a long one while the others have nothing to do.
    tasks.sort(key=lambda task: -_effort(laid.experiments[task[0].combination]))
    failures: list[tuple[str, CellError]] = []
    progress(kept, laid.runs)
    if tasks:
        with closing(engine(tasks)) as outcomes:
            for cell, result in outcomes:
                if isinstance(result, CellError):
                    failures.append((laid.words(cell), result))
                    continue
                if folder is not None:
                    write_cell(folder / CELLS, result)
                found[cell.key] = result
                progress(len(found), laid.runs)
    if failures:
        raise SweepFailed(failures)
    results = [found[cell.key] for cell in laid.cells]
    sweep = gather(laid, results)
    wall_s = time.perf_counter() - began_s
    ran = {cell.key for cell, _ in tasks}
    outcome = Outcome(sweep, len(tasks), sum(result.wall_s for result in results if result.key in ran), wall_s)
    if folder is not None:
        sweep.folder = folder
        _write(laid, outcome, folder)
    return outcome


def gather(laid: Plan, results: Sequence[CellResult]) -> Sweep:
    """The sweep that these results, in the order of the plan's cells, make."""
    first = laid.experiments[0]
    parameters = [laid.parameters[cell.combination] for cell in laid.cells]
    frame = make_frame(parameters, [cell.seed for cell in laid.cells], [result.summary for result in results])
    bounds: dict[tuple[int, str], list[bool]] = {}
    for cell, result in zip(laid.cells, results, strict=True):
        for entry in (*result.summary["thresholds"], *result.summary["checks"]):
            bounds.setdefault((cell.combination, entry["id"]), []).append(entry["held"])
    meta = SweepMeta(
        name=laid.name,
        seeds=format_seeds(laid.seeds),
        parameters={axis.path: list(axis.values) for axis in laid.axes},
        settings={axis.path: axis.texts[0] for axis in laid.fixed},
        description=first.description,
        question=first.question,
        expectation=first.expectation,
        simulated_s=first.duration_us / 1e6,
        combinations=laid.parameters,
        bounds=[Bound(number, name, sum(held), len(held)) for (number, name), held in bounds.items()],
        code=code_fingerprint(),
    )
    return Sweep(meta, frame)


def available_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def command_of(laid: Plan) -> str:
    """What to type in the sweep's folder to run it again."""
    import shlex

    parts = ["zsim", "sweep", "experiment.yaml", "--seeds", format_seeds(laid.seeds)]
    for axis in (*laid.fixed, *laid.axes):
        parts += ["-S", f"{axis.path}={','.join(axis.texts)}"]
    return shlex.join(parts)


def _tree(experiment: str | PathLike[str] | Mapping[str, Any]) -> Located:
    if isinstance(experiment, Mapping):
        return yaml.located(dict(experiment), Origin("experiment"))
    return yaml.load(Path(experiment))


def _effort(experiment: Experiment) -> int:
    return experiment.population.devices * experiment.duration_us


def _kept(laid: Plan, folder: Path, note: Callable[[str], None]) -> dict[str, CellResult]:
    """What ``folder`` holds of the plan's cells already; it is made if it is not there."""
    path = folder / META
    try:
        before = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        before = None
    except (ValueError, OSError) as error:
        raise OtherSweep(f"{path}: cannot be read: {error}; remove the folder or give another --out") from None
    identity = msgspec.json.decode(msgspec.json.encode(laid.identity))
    if before is None:
        if (folder / "summary.json").is_file():
            raise OtherSweep(f"{folder}: holds a run, not a sweep; give another --out")
        (folder / CELLS).mkdir(parents=True, exist_ok=True)
        (folder / "experiment.yaml").write_text(yaml.dump(laid.source), encoding="utf-8")
        _write_meta(path, {"identity": identity, "meta": None})
    elif before.get("identity") != identity:
        paths = [path for path, _, _ in differences(before.get("identity") or {}, identity)]
        where = ", ".join(path.removeprefix("experiment.") for path in paths[:6])
        raise OtherSweep(
            f"{folder}: holds a sweep of another experiment (differs in {where}); give another --out, or remove it"
        )
    (folder / CELLS).mkdir(exist_ok=True)
    found, others, code = {}, [], code_fingerprint()
    for cell in laid.cells:
        result = read_cell(folder / CELLS, cell.key)
        if result is None:
            continue
        if result.code == code:
            found[cell.key] = result
        else:
            others.append(result.code)
    if others:
        made = f"{len(others)} cells were made by other code or libraries"
        note(f"{made} ({others[0]}, now {code}) and are run again")
    if found:
        note(f"{len(found)} of {laid.runs} cells are there already")
    return found


def _write(laid: Plan, outcome: Outcome, folder: Path) -> None:
    """The sweep's tables, summary and manifest."""
    from zentalk_sim.report.results import versions

    sweep = outcome.sweep
    write_frame(sweep.cells, folder / TABLE)
    write_frame(sweep.intervals, folder / INTERVALS)
    (folder / "summary.json").write_bytes(dump_json(sweep.summary))
    manifest = {
        "again": command_of(laid),
        "cells_run": outcome.ran,
        "wall_s": round(outcome.wall_s, 3),
        "workers_s": round(outcome.workers_s, 3),
        "code": code_fingerprint(),
        **versions(),
    }
    (folder / "manifest.json").write_bytes(dump_json(manifest))
    identity = msgspec.json.decode(msgspec.json.encode(laid.identity))
    _write_meta(folder / META, {"identity": identity, "meta": sweep.meta})


def _write_meta(path: Path, data: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    # Keys stay in their order: it is the parameters'.
    part.write_bytes(msgspec.json.format(msgspec.json.encode({"zentalk_sweep": FORMAT} | data), indent=2) + b"\n")
    os.replace(part, path)
