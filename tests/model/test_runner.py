"""The runner: what a run leaves behind, and that it leaves the process as it found it."""

from __future__ import annotations

import gc
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model.support import mapping
from zentalk_sim.experiment import run as run_in_memory
from zentalk_sim.experiment.loader import from_mapping, load
from zentalk_sim.experiment.runner import default_folder, run_experiment
from zentalk_sim.report import load as load_run


def small(**changes: Any) -> Any:
    return from_mapping(mapping(duration="20s", **changes))


def test_a_run_must_leave_all_files_of_the_contract(tmp_path: Path) -> None:
    outcome = run_experiment(small(), out=tmp_path / "out", trace="full", plots=False)
    names = {path.name for path in outcome.folder.iterdir()}
    assert names >= {
        "experiment.yaml",
        "summary.json",
        "manifest.json",
        "messages.parquet",
        "connections.parquet",
        "timeseries.parquet",
        "trace.jsonl",
        "report.html",
    }
    assert not [name for name in names if name.endswith(".part")]
    assert set(json.loads((outcome.folder / "summary.json").read_bytes())) == {
        "name",
        "seed",
        "simulated_s",
        "digest",
        "counts",
        "metrics",
        "thresholds",
        "checks",
    }


def test_a_second_run_into_a_folder_must_leave_nothing_of_the_first(tmp_path: Path) -> None:
    """Neither its pictures, where the second draws none, nor its figures, where the second is interrupted."""
    folder = run_experiment(small(), out=tmp_path, plots=False, trace="full").folder
    (folder / "plots").mkdir()
    for name in ("plots/overview.png", "plots/overview.svg", "notes.txt"):
        (folder / name).write_text("of the first, or the reader's own")
    run_experiment(small(), out=folder, plots=False)
    assert not list((folder / "plots").iterdir())
    assert not (folder / "trace.jsonl").exists()
    assert (folder / "notes.txt").exists()

    def interrupted(*_arguments: Any, **_more: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(small(), out=folder, plots=False, world_of=interrupted)
    assert {path.name for path in folder.iterdir()} == {
        "experiment.yaml",
        "messages.parquet",
        "connections.parquet",
        "timeseries.parquet",
        "plots",
        "notes.txt",
    }


def test_the_summary_is_the_same_bytes_twice_and_the_folder_can_be_loaded(tmp_path: Path) -> None:
    folders = [run_experiment(small(), out=tmp_path / name, plots=False).folder for name in ("a", "b")]
    one, other = ((folder / "summary.json").read_bytes() for folder in folders)
    assert one == other
    run = load_run(folders[0])
    assert len(run.messages) == run.summary["counts"]["messages.sent"]


def test_the_resolved_experiment_runs_to_the_same_digest(tmp_path: Path) -> None:
    outcome = run_experiment(small(), out=tmp_path / "out", plots=False)
    again = run_experiment(load(outcome.folder / "experiment.yaml"), out=tmp_path / "again", plots=False)
    assert again.results.digest == outcome.results.digest


def test_a_threshold_not_kept_is_named(tmp_path: Path) -> None:
    bounds = {"messages.sent": ["> 1000000"], "ack_latency_ms": ["p99 < 10s"]}
    outcome = run_experiment(small(thresholds=bounds), out=tmp_path / "out", plots=False)
    assert outcome.failed_thresholds == ["messages.sent: > 1000000"]
    assert [entry["held"] for entry in outcome.summary["thresholds"]] == [False, True]


def test_the_default_folder_depends_on_experiment_and_seed_alone() -> None:
    folder = default_folder(small(seed=7))
    assert folder.parts[:2] == ("runs", "small")
    assert folder.name.startswith("7-")
    assert folder == default_folder(small(seed=7))
    assert default_folder(small(seed=8)).name[2:] == folder.name[2:]
    assert default_folder(small(seed=7, population={"devices": 7})) != folder


def test_running_in_memory_returns_tables_and_takes_another_seed() -> None:
    run = run_in_memory(mapping(duration="20s"), seed=9)
    assert run.summary["seed"] == 9
    assert run.folder is None
    assert set(run.connections["device"]) == set(run.messages["device"]) | set(run.connections["device"])


HEADER = {"zentalk_trace", "seed", "boot", "config", "snapshot", "versions", "started"}
"""What the first line of every trace and recording holds."""


def test_a_trace_tells_frames_and_states_in_order_of_time(tmp_path: Path) -> None:
    outcome = run_experiment(small(), out=tmp_path / "out", trace="full", plots=False)
    header, *events = map(json.loads, (outcome.folder / "trace.jsonl").read_text().splitlines())
    assert header["zentalk_trace"] == 1
    assert set(header) >= HEADER
    times = [event["t"] for event in events]
    assert times == sorted(times)
    shown = [event for event in events if event["e"] == "shown"]
    assert len(shown) == outcome.results.counts["messages.shown"]
    kinds = {event["e"] for event in events}
    assert kinds >= {"upgrade", "accept", "text", "send", "note", "timer", "state", "shown", "wrote", "transmitted"}
    assert not kinds & {"frame_up", "frame_down"}, "the relay's own lines have them"


def test_a_sampled_trace_tells_of_the_first_device(tmp_path: Path) -> None:
    outcome = run_experiment(small(), out=tmp_path / "out", trace="sample", plots=False)
    header, *events = map(json.loads, (outcome.folder / "trace.jsonl").read_text().splitlines())
    assert set(header) >= HEADER
    assert {event["e"] for event in events} == {"frame_up", "frame_down", "state", "shown"}
    assert len({event["device"] for event in events}) == 1


def test_a_trace_level_must_not_change_the_digest(tmp_path: Path) -> None:
    digests = {
        run_experiment(small(), out=tmp_path / level, trace=level, plots=False).results.digest
        for level in ("none", "sample", "full")
    }
    assert len(digests) == 1


def test_a_run_without_trace_removes_an_older_one(tmp_path: Path) -> None:
    run_experiment(small(), out=tmp_path, trace="full", plots=False)
    run_experiment(small(), out=tmp_path, trace="none", plots=False)
    assert not (tmp_path / "trace.jsonl").exists()


def test_progress_goes_to_stderr_and_its_line_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zentalk_sim.experiment.runner.PROGRESS_EVERY_S", 0.0)
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with_progress = run_experiment(small(), out=tmp_path / "a", plots=False, progress=True)
    text = stderr.getvalue()
    assert "devices connected" in text
    assert text.endswith("\r")
    without = run_experiment(small(), out=tmp_path / "b", plots=False)
    assert without.results.digest == with_progress.results.digest


def test_the_garbage_collector_is_left_as_it_was(tmp_path: Path) -> None:
    assert gc.isenabled()
    run_experiment(small(), out=tmp_path, plots=False)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def interrupt_amid_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after 150 entries."""
    from zentalk_sim.model.kernel import Kernel

    run_until = Kernel.run_until

    def interrupted(kernel: Kernel, end_us: int) -> None:
        if kernel.processed > 150:
            raise KeyboardInterrupt
        run_until(kernel, end_us)

    monkeypatch.setattr(Kernel, "run_until", interrupted)


def test_an_interrupted_run_keeps_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zentalk_sim.trace.tables import read_rows

    interrupt_amid_a_run(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(small(), out=tmp_path, plots=False)
    assert len(list(read_rows(tmp_path / "connections.parquet"))) == 6
    assert list(read_rows(tmp_path / "messages.parquet"))
    assert not (tmp_path / "summary.json").exists()
    assert gc.isenabled()


def test_an_interrupted_run_must_write_no_more_of_what_is_under_way_than_fits_into_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zentalk_sim.trace.tables import read_rows

    interrupt_amid_a_run(monkeypatch)
    monkeypatch.setattr("zentalk_sim.experiment.runner.INTERRUPTED_ROWS", 2)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(small(), out=tmp_path, plots=False)
    for name in ("connections.parquet", "messages.parquet"):
        assert len(list(read_rows(tmp_path / name))) == 2, name
