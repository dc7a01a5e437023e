"""A sweep that goes on: what is kept is run once, and nothing of other code or another experiment is mixed in."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from tests.sweep.sweep_support import AXES, SMALL, Counting
from zentalk_sim.experiment import sweep, sweep_cell
from zentalk_sim.experiment.sweep import SweepFailed, plan, run_plan
from zentalk_sim.experiment.sweep_cell import Cell, CellError, read_cell
from zentalk_sim.experiment.sweep_engines import Outcome, Task, in_process
from zentalk_sim.experiment.sweep_folder import OtherSweep
from zentalk_sim.report import RunFolderError, load
from zentalk_sim.report.sweep_results import Sweep


def test_a_sweep_that_was_stopped_goes_on_where_it_was(study: Sweep, tmp_path: Path) -> None:
    laid = plan(SMALL, seeds="1-3", settings=AXES)
    with pytest.raises(KeyboardInterrupt):
        run_plan(laid, Counting(stop_after=5), folder=tmp_path)
    assert sum(read_cell(tmp_path / "cells", cell.key) is not None for cell in laid.cells) == 5
    with pytest.raises(RunFolderError, match="not finished; run it again"):
        load(tmp_path)
    told: list[str] = []
    engine = Counting()
    outcome = run_plan(laid, engine, folder=tmp_path, note=told.append)
    assert (engine.ran, outcome.ran) == (7, 7)
    assert told == ["5 of 12 cells are there already"]
    assert outcome.sweep.cells.equals(study.cells)


def test_more_seeds_and_values_run_only_what_is_new(tmp_path: Path) -> None:
    run_plan(plan(SMALL, seeds="1-2", settings=["population.devices=4,6"]), in_process, folder=tmp_path)
    engine = Counting()
    outcome = run_plan(plan(SMALL, seeds="1-3", settings=["population.devices=4,5,6"]), engine, folder=tmp_path)
    assert engine.ran == 5
    assert len(outcome.sweep.cells) == 9
    assert run_plan(plan(SMALL, seeds="2", settings=["population.devices=4,6"]), Counting(0), folder=tmp_path).ran == 0


def test_cells_of_another_version_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid = plan(SMALL, seeds="1-2")
    run_plan(laid, in_process, folder=tmp_path)
    here = sweep_cell.code_fingerprint()
    for module in (sweep, sweep_cell):
        monkeypatch.setattr(module, "code_fingerprint", lambda: "9.9.9+other")
    told: list[str] = []
    engine = Counting()
    run_plan(laid, engine, folder=tmp_path, note=told.append)
    assert engine.ran == 2
    made = "2 cells were made by other code or libraries"
    assert told == [f"{made} ({here}, now 9.9.9+other) and are run again"]


@pytest.mark.parametrize("name", ["msgspec", "numpy", "rbloom", "simpy", "python"])
def test_what_another_version_of_a_library_or_of_python_made_is_not_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_library = importlib.metadata.version
    here = sweep_cell.code_fingerprint.__wrapped__()
    assert here == sweep_cell.code_fingerprint()
    if name == "python":
        monkeypatch.setattr(platform, "python_version_tuple", lambda: ("9", "9", "9"))
    else:
        monkeypatch.setattr(importlib.metadata, "version", lambda of: "9.9.9" if of == name else of_library(of))
    there = sweep_cell.code_fingerprint.__wrapped__()
    assert (there == here, "9.9" in there) == (False, True)


def test_cells_that_come_to_the_same_run_are_run_once(tmp_path: Path) -> None:
    axes = ["population.devices=4,6", "relay.nodes=1,2"]
    laid = plan(SMALL, seeds="1-2", settings=axes)
    laid.cells[2:4] = [Cell(cell.key, 1, cell.seed) for cell in laid.cells[:2]]
    engine = Counting()
    done: list[tuple[int, int]] = []
    outcome = run_plan(laid, engine, folder=tmp_path, progress=lambda *at: done.append(at))
    assert (engine.ran, done[-1], len(outcome.sweep.cells)) == (6, (6, 6), 8)


def test_a_damaged_cell_is_run_again(tmp_path: Path) -> None:
    laid = plan(SMALL, seeds="1-2")
    run_plan(laid, in_process, folder=tmp_path)
    path = tmp_path / "cells" / f"{laid.cells[0].key}.json"
    path.write_bytes(path.read_bytes()[:100])
    engine = Counting()
    run_plan(laid, engine, folder=tmp_path)
    assert engine.ran == 1


def test_a_run_folder_is_no_place_for_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OtherSweep, match="holds a run, not a sweep"):
        run_plan(plan(SMALL, seeds="1"), in_process, folder=tmp_path)


def test_a_cell_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    def failing(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for cell, result in in_process(tasks):
            yield (cell, CellError("ValueError: odd")) if cell.seed == 2 else (cell, result)

    laid = plan(SMALL, seeds="1-3", settings=["relay.nodes=1"])
    with pytest.raises(SweepFailed, match="seed 2: ValueError: odd"):
        run_plan(laid, failing, folder=tmp_path)
    engine = Counting()
    run_plan(laid, engine, folder=tmp_path)
    assert engine.ran == 1


def test_a_changed_experiment_is_refused_with_what_changed(tmp_path: Path) -> None:
    run_plan(plan(SMALL, seeds="1"), in_process, folder=tmp_path)
    before = (tmp_path / "sweep.parquet").read_bytes()
    changed = {**SMALL, "duration": "15s", "population": {**SMALL["population"], "devices": 9}}
    told = r"\(duration: 20s there, 15s here; population\.devices: 10 there, 9 here\); give another --out"
    with pytest.raises(OtherSweep, match=told):
        run_plan(plan(changed, seeds="1"), in_process, folder=tmp_path)
    with pytest.raises(OtherSweep, match=r"\(-S warm_up: – there, 1s here\)"):
        run_plan(plan(SMALL, seeds="1", settings=["warm_up=1s"]), in_process, folder=tmp_path)
    with pytest.raises(OtherSweep, match=r"\(what varies: nothing there, relay\.nodes here\)"):
        run_plan(plan(SMALL, seeds="1", settings=["relay.nodes=1,2"]), in_process, folder=tmp_path)
    assert (tmp_path / "sweep.parquet").read_bytes() == before


def test_a_folder_of_other_things_is_no_place_for_a_sweep_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "1-3f9a0c").mkdir()
    for name in ("notes.txt", "a", "b"):
        (tmp_path / name).touch()
    told = r"holds other things than a sweep \(1-3f9a0c, a, b and 1 more\); give a new or empty folder, such as --out"
    with pytest.raises(OtherSweep, match=told):
        run_plan(plan(SMALL, seeds="1"), Counting(0), folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-3f9a0c", "a", "b", "notes.txt"]


def test_an_empty_folder_and_one_that_a_killed_sweep_has_begun_are_taken(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").touch()
    (tmp_path / "cells").mkdir()
    (tmp_path / "experiment.yaml").write_text("name: sma")
    assert run_plan(plan(SMALL, seeds="1"), in_process, folder=tmp_path).ran == 1
    assert load(tmp_path).summary["cells"] == 1


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_description_of_a_sweep_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(OtherSweep, match=r"sweep\.json: cannot be read: .*; remove the folder or give another --out"):
        run_plan(plan(SMALL, seeds="1"), Counting(0), folder=tmp_path)
