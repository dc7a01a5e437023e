"""Running sweeps: the same results on every engine, resuming, killed workers, folders of something else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import run as run_one
from zentalk_sim.experiment import sweep, sweep_cell, sweep_engines, sweep_worker
from zentalk_sim.experiment.sweep import SweepFailed, plan, run_plan
from zentalk_sim.experiment.sweep_cell import Cell, CellError, CellResult, read_cell
from zentalk_sim.experiment.sweep_engines import (
    LocalProcesses,
    Outcome,
    Task,
    WorkerDied,
    in_process,
    worker_environment,
)
from zentalk_sim.experiment.sweep_folder import OtherSweep
from zentalk_sim.model.compiled import SWITCH
from zentalk_sim.report import RunFolderError, load
from zentalk_sim.report.sweep_results import Sweep

ROOT = Path(__file__).resolve().parents[2]
AXES = ["population.devices=4,6", "relay.nodes=1,2"]


class Counting:
    """An engine that runs in this process and counts what it is given."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.ran = 0
        self.stop_after = stop_after

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for outcome in in_process(tasks):
            if self.ran == self.stop_after:
                raise KeyboardInterrupt
            self.ran += 1
            yield outcome


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two times two combinations with three seeds, kept in a folder."""
    return sweep.run(SMALL, seeds="1-3", settings=AXES, workers=0, out=tmp_path_factory.mktemp("study"))


def test_a_row_per_cell_with_parameters_counts_and_statistics(study: Sweep) -> None:
    cells = study.cells
    assert len(cells) == 12
    assert list(cells["population.devices"]) == [4] * 6 + [6] * 6
    assert list(cells["relay.nodes"]) == ([1] * 3 + [2] * 3) * 2
    assert list(cells["seed"]) == [1, 2, 3] * 4
    assert cells["digest"].nunique() == 12
    assert cells["held"].all()
    assert (cells["connections.authenticated"] >= 8).all()
    for name in ("delivery_latency_ms.p50", "delivery_latency_ms.push.p99", "reconnect_time_s.max", "rtt_ms.count"):
        assert name in cells


def test_a_cell_is_the_run_that_its_settings_and_seed_give(study: Sweep) -> None:
    alone = run_one({**SMALL, "population": {**SMALL["population"], "devices": 6}, "relay": {"nodes": 2}}, seed=2)
    row = study.cells.query("`population.devices` == 6 and `relay.nodes` == 2 and seed == 2").iloc[0]
    assert row["digest"] == alone.summary["digest"]
    assert row["messages.sent"] == alone.summary["counts"]["messages.sent"]
    assert row["delivery_latency_ms.p99"] == alone.summary["metrics"]["delivery_latency_ms"]["p99"]


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


def test_load_gives_the_same_sweep(study: Sweep) -> None:
    assert study.folder is not None
    loaded = load(study.folder)
    assert isinstance(loaded, Sweep)
    assert loaded.cells.equals(study.cells)
    assert loaded.summary == study.summary == json.loads((study.folder / "summary.json").read_text())
    for name in ("messages", "connections", "timeseries"):
        with pytest.raises(AttributeError, match=f"no .{name}: run one of its cells"):
            getattr(loaded, name)
    assert loaded.parameters == ("population.devices", "relay.nodes")
    assert repr(loaded) == "<Sweep small, 12 cells: 4 combinations × seeds 1-3>"


def test_intervals_and_tidy_tables(study: Sweep) -> None:
    found = study.interval("messages.sent", {"population.devices": 6, "relay.nodes": 1})
    values = sorted(study.cells.query("`population.devices` == 6 and `relay.nodes` == 1")["messages.sent"])
    assert (found.n, found.median) == (3, values[1])
    intervals = study.intervals
    row = intervals.query(
        "`population.devices` == 6 and `relay.nodes` == 1 and metric == 'messages.sent' and statistic == 'value'"
    ).iloc[0]
    assert (row["median"], row["low"], row["high"]) == (found.median, found.low, found.high)
    tidy = study.tidy()
    assert list(tidy.columns) == ["population.devices", "relay.nodes", "seed", "metric", "statistic", "value"]
    assert len(tidy) == 12 * len(study.measures)
    with pytest.raises(KeyError, match="no combination"):
        study.interval("messages.sent", {"population.devices": 5, "relay.nodes": 1})


def test_a_sweep_shows_itself(study: Sweep) -> None:
    text = str(study)
    assert "small · 12 cells: 4 combinations × seeds 1-3" in text
    assert "  devices=4, nodes=2" in text
    assert "[least, greatest]: 75 % sure to hold the true median, not 95 %; run 6 or more" in text
    assert "95 % interval" not in text
    assert max(map(len, text.splitlines())) <= 100
    page = study._repr_html_()
    assert page.count("<tr>") > 20
    assert "devices=4, nodes=2" in page
    assert "75 % of such sweeps" in page


def test_a_single_seed_is_called_so_and_what_is_fixed_stands_in_the_head() -> None:
    from zentalk_sim.report.sweep_html import render

    bounds = {"connections.attempted": ["<= 20"], "messages.failed": ["== 0"]}
    small = {**SMALL, "thresholds": bounds}
    one = sweep.run(small, seeds="7", settings=["duration=11s", "faults=[]"], workers=0)
    lines = str(one).splitlines()
    assert lines[:2] == ["small · 1 cell: seed 7", "in all: duration=11s, faults=[]"]
    assert "All thresholds and checks held in the one cell" in lines
    assert sum(line.startswith("  seed 7 ") for line in lines) >= 3
    assert repr(one) == "<Sweep small, 1 cell: seed 7>"
    page = render(one, {}, [])
    assert "1 cell: seed 7 · 11 s simulated</p>" in page
    assert "✓ All thresholds and checks held</p>" in page
    assert "seeds" not in str(one)
    assert "all seeds" not in page
    grid = sweep.run(small, seeds="1-2", settings=["duration=11s,12s", "population.devices=10,30"], workers=0)
    assert str(grid).startswith("small · 8 cells: 4 combinations × seeds 1-2\n\n")
    page = render(grid, {}, [])
    assert "8 cells: 4 combinations × seeds 1-2 · 11 s simulated in the first</p>" in page
    assert "✗ 1 of 3 thresholds and checks broken, in 4 of 8 cells</p>" in page


def test_a_picture_says_itself_what_its_bars_are_and_no_bar_hides_a_run(study: Sweep) -> None:
    from zentalk_sim.report import style
    from zentalk_sim.report.sweep_plots import draw_metric

    with style.house_style():
        figure, _ = draw_metric(study, "delivery_latency_ms")
    bars = "median over the seeds; bars: least and greatest of 3 runs, 75 % sure; faint dots: the runs"
    assert [text.get_text() for text in figure.texts] == [f"small · seeds 1-3 · {bars}"]
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_alpha()]
    assert len(dots) == 4
    bar_at = axes.transData.transform((dots[0].get_xdata()[0], 1.0))[0]
    assert dots[0].get_transform().transform((dots[0].get_xdata()[0], 1.0))[0] < bar_at - 5


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


def test_a_parameter_of_text_comes_back_as_it_was(tmp_path: Path) -> None:
    axes = {"client.backoff.policy": ["spec", "none"], "warm_up": ["0s", "1s"], "relay.ingress.enabled": [True, False]}
    made = sweep.run(SMALL, seeds="1", vary=axes, settings=["duration=5s", "faults=[]"], workers=0, out=tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Sweep)
    assert made.cells.equals(loaded.cells)
    assert loaded.cells["relay.ingress.enabled"].dtype == bool
    assert loaded.meta.settings == {"duration": "5s", "faults": "[]"}
    assert str(loaded) == str(made)


def test_report_redraws_a_sweep(study: Sweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import shutil

    from zentalk_sim.cli import errors, zsim

    assert study.folder is not None
    shutil.copytree(study.folder, tmp_path / "copy")
    assert errors.run(zsim, ["report", str(tmp_path / "copy")], "zsim") == 0
    page = (tmp_path / "copy" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") >= 4
    assert (tmp_path / "copy" / "plots" / "delivery_latency_ms.png").is_file()
    assert capfd.readouterr().err == ""


def test_pictures_one_per_metric_and_the_same_bytes_every_time(study: Sweep, tmp_path: Path) -> None:
    from zentalk_sim.report.sweep_plots import draw_sweep

    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        pictures = draw_sweep(study, folder)
    assert [picture.name for picture in pictures] == [
        metric for metric in study.metrics if "." not in metric and study.is_any(f"{metric}.count")
    ]
    assert "reconnect_time_s" in [picture.name for picture in pictures]
    for picture in pictures:
        for suffix in ("png", "svg"):
            name = f"plots/{picture.name}.{suffix}"
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert picture.text.startswith(picture.title)


@pytest.mark.parametrize(
    ("settings", "curves"),
    [
        ([], None),
        (["client.backoff.policy=spec,none"], 1),
        (["relay.heartbeat.interval=10s,30s", "client.backoff.policy=spec,none"], 2),
        (["population.devices=4,5,6,7,8,9", "relay.nodes=1,2", "warm_up=0s,1s,2s"], None),
    ],
)
def test_every_shape_of_grid_has_its_picture(settings: list[str], curves: int | None) -> None:
    from zentalk_sim.report import style
    from zentalk_sim.report.sweep_plots import _curves, draw_metric

    result = sweep.run(SMALL, seeds="1", settings=[*settings, "duration=11s"], workers=0)
    found = _curves(result)
    assert (None if found is None else len(found[1])) == curves
    with style.house_style():
        figure, words = draw_metric(result, "delivery_latency_ms")
    assert any("ms" in axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "p50" in words


def test_the_page_has_everything_inside_and_escapes_what_it_is_told(study: Sweep, tmp_path: Path) -> None:
    from zentalk_sim.report.sweep_html import render

    meta = msgspec.structs.replace(study.meta, description="<script>alert(1)</script>", name="<b>x</b>")
    page = render(Sweep(meta, study.columns), {"again": "zsim sweep <x>"}, [])
    assert "<script" not in page
    assert "<b>x" not in page
    assert "&lt;script&gt;" in page
    assert "zsim sweep &lt;x&gt;" in page
    assert "too narrow for a 95 % interval: they hold the true median in 75 % of such sweeps. Run 6 seeds" in page
