"""Local worker processes: the same results as here, compiled where that is allowed, and what their death costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.sweep.sweep_support import AXES, SMALL
from zentalk_sim.experiment import sweep_engines, sweep_worker
from zentalk_sim.experiment.sweep import SweepFailed, plan, run_plan
from zentalk_sim.experiment.sweep_cell import Cell, CellError, CellResult
from zentalk_sim.experiment.sweep_engines import (
    LocalProcesses,
    Outcome,
    Task,
    WorkerDied,
    in_process,
    worker_environment,
)
from zentalk_sim.model.compiled import SWITCH
from zentalk_sim.report.sweep_results import Sweep

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("checks", [[], ["ledgers"]])
def test_workers_must_use_compiled_modules_unless_a_cell_is_judged_by_its_full_trace(
    checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    cell = Cell("key", 0, 1)
    assert SWITCH not in worker_environment([(cell, {"checks": checks})])
    judged = {"checks": [*checks, "requirements"]}
    assert worker_environment([(cell, {"checks": checks}), (cell, judged)])[SWITCH] == "0"


def test_a_worker_must_ask_for_the_compiled_form_before_it_imports_any_of_its_modules() -> None:
    code = (
        "import sys; from zentalk_sim.model import compiled\n"
        "compiled.activate = lambda: print(sorted({*compiled.FORM.modules} & {*sys.modules}), file=sys.stderr)\n"
        "from zentalk_sim.experiment.sweep_worker import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert found.stderr.strip() == "[]"


@pytest.mark.parametrize("checks", [["ledgers"], ["requirements"]])
def test_a_cell_that_needs_sources_has_a_process_of_its_own_where_compiled_modules_are(
    checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Told(LocalProcesses):
        def __init__(self, workers: int) -> None:
            super().__init__(workers)
            started.append(workers)

    laid = plan({**SMALL, "checks": checks}, seeds="1", settings=["duration=5s", "faults=[]"])
    mapping = laid.mapping(laid.cells[0])
    alone = sweep_worker.run_there(mapping, False)
    assert isinstance(alone, CellResult)
    monkeypatch.setattr(sweep_worker, "_is_compiled", True)
    monkeypatch.setattr(sweep_engines, "LocalProcesses", Told)
    found = sweep_worker.run_there(mapping, False)
    assert isinstance(found, CellResult)
    assert (found.key, found.summary) == (laid.cells[0].key, alone.summary)
    assert started == ([1] if checks == ["requirements"] else [])


def test_no_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 processes can run nothing"):
        LocalProcesses(-1)


def test_processes_give_the_same_table_byte_for_byte(study: Sweep, tmp_path: Path) -> None:
    engine = LocalProcesses(2)
    outcome = run_plan(plan(SMALL, seeds="1-3", settings=AXES), engine, folder=tmp_path)
    assert outcome.ran == 12
    assert len(engine.pids) == 2
    assert study.folder is not None
    for name in ("sweep.parquet", "intervals.parquet", "summary.json"):
        assert (tmp_path / name).read_bytes() == (study.folder / name).read_bytes()
    for pid in engine.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_error_in_a_worker_comes_back_as_words() -> None:
    laid = plan(SMALL, seeds="1")
    broken: dict[str, Any] = {**laid.mapping(laid.cells[0]), "duration": "no"}
    ((_, outcome),) = LocalProcesses(1)([(laid.cells[0], broken)])
    assert isinstance(outcome, CellError)
    assert "FileFaults" in outcome.message


def test_closing_an_engine_ends_its_workers_at_once() -> None:
    laid = plan(SMALL, seeds="1-2", settings=["population.devices=500", "duration=10m"])
    engine = LocalProcesses(2)
    small = plan(SMALL, seeds="1")
    outcomes = engine([(small.cells[0], small.mapping(small.cells[0])), *((c, laid.mapping(c)) for c in laid.cells)])
    next(outcomes)
    outcomes.close()
    for pid in engine.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_ends_with_its_stdin_even_amid_a_run() -> None:
    """So that a sweep killed outright leaves no process behind."""
    laid = plan(SMALL, seeds="1", settings=["population.devices=2000", "duration=30m"])
    line = msgspec.json.encode(laid.mapping(laid.cells[0])) + b"\n"
    command = [sys.executable, "-m", "zentalk_sim.experiment.sweep_worker"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        out, _ = worker.communicate(line, timeout=30)
    assert (worker.returncode, out) == (0, b"")


@pytest.mark.parametrize(
    "setting",
    [
        "population.devices=4,9,6",
        "duration=11s,40s,20s",
        "relay.heartbeat.interval=30s,1s,5s",
        "workload.messages.rate_per_device=0/min,600/min,60/min",
    ],
)
def test_the_dearest_cells_must_be_run_first_and_stand_in_the_table_as_asked(setting: str) -> None:
    ran: list[int] = []

    def noting(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        ((_, result),) = in_process(tasks[-1:])
        ran.extend(cell.combination for cell, _ in tasks)

        assert isinstance(result, CellResult)
        yield from ((cell, msgspec.structs.replace(result, key=cell.key)) for cell, _ in tasks)

    laid = plan(SMALL, seeds="1-2", settings=[setting, "faults=[]", "population.contacts=1"])
    outcome = run_plan(laid, noting)
    assert ran == [1, 1, 2, 2, 0, 0]
    assert outcome.sweep.meta.combinations == laid.parameters


def test_a_killed_worker_costs_nothing_but_time_and_is_told() -> None:
    laid = plan(SMALL, seeds="1-3", settings=["population.devices=40"])
    engine = LocalProcesses(1)
    outcomes = engine([(cell, laid.mapping(cell)) for cell in laid.cells])
    found = dict([next(outcomes)])
    os.kill(engine.pids[0], signal.SIGKILL)
    told = list(outcomes)
    deaths = [outcome for outcome in told if isinstance(outcome[1], WorkerDied)]
    assert [(cell.seed, died.message) for cell, died in deaths] == [  # type: ignore[union-attr]
        (2, "a worker died by SIGKILL (out of memory?); another repeats the run")
    ]
    found.update(told)
    assert len(engine.pids) == 2
    expected = dict(in_process([(cell, laid.mapping(cell)) for cell in laid.cells]))
    digests = {cell.seed: result.summary["digest"] for cell, result in found.items()}  # type: ignore[union-attr]
    assert digests == {cell.seed: result.summary["digest"] for cell, result in expected.items()}  # type: ignore[union-attr]


def test_deaths_of_workers_are_noted_with_their_cell_and_counted_in_the_manifest(tmp_path: Path) -> None:
    def mortal(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for cell, result in in_process(tasks):
            if cell.seed == 2:
                yield cell, WorkerDied("a worker died by SIGKILL; another repeats the run")
            yield cell, result

    told: list[str] = []
    laid = plan(SMALL, seeds="1-2", settings=["relay.nodes=1,2"])
    outcome = run_plan(laid, mortal, folder=tmp_path, note=told.append)
    words = "a worker died by SIGKILL; another repeats the run"
    assert sorted(told) == [f"relay.nodes=1, seed 2: {words}", f"relay.nodes=2, seed 2: {words}"]
    assert outcome.workers_died == json.loads((tmp_path / "manifest.json").read_text())["workers_died"] == 2
    assert outcome.ran == len(outcome.sweep.cells) == 4


def test_a_cell_at_which_every_worker_dies_is_given_up_and_the_rest_is_kept() -> None:
    engine = LocalProcesses(1)
    engine.command = [sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"]
    told: list[str] = []
    with pytest.raises(SweepFailed, match=r"seed 1: 3 workers died at it, the last by SIGKILL \(out of memory\?\)"):
        run_plan(plan(SMALL, seeds="1"), engine, note=told.append)
    assert len(engine.pids) == 3
    assert told == [
        *["seed 1: a worker died by SIGKILL (out of memory?); another repeats the run"] * 2,
        "seed 1: a worker died by SIGKILL (out of memory?); it was number 3, the run is given up",
    ]
