"""``zsim sweep`` and ``zsim compare`` as their users meet them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweep.sweep_support import FILE
from zentalk_sim.cli import errors, zsim

ROOT = Path(__file__).resolve().parents[2]


class Told:
    """What a command told, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run ``zsim`` with arguments in an empty folder that has a small experiment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZSIM_DEBUG", raising=False)
    (tmp_path / "small.yaml").write_text(FILE)

    def run(*arguments: str) -> Told:
        capfd.readouterr()
        code = int(errors.run(zsim, arguments, "zsim"))
        found = capfd.readouterr()
        assert "Traceback" not in found.err
        return Told(code, found.out, found.err)

    return run


def test_a_sweep_prints_its_table_and_keeps_a_folder(tell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    told = tell("sweep", "small.yaml", "--seeds", "1-2", "-S", "relay.nodes=1,2", "--workers", "2")
    assert told.code == 0
    assert told.err == ""
    assert told.out.startswith("small · 4 cells: 2 combinations × seeds 1-2\n")
    folder = tmp_path / told.out.splitlines()[-1].removeprefix("sweep folder: ")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "cells",
        "experiment.yaml",
        "intervals.parquet",
        "manifest.json",
        "plots",
        "report.html",
        "summary.json",
        "sweep.json",
        "sweep.parquet",
    }
    assert len(list((folder / "cells").iterdir())) == 4
    again = tell("sweep", "small.yaml", "--seeds", "1-2", "-S", "relay.nodes=1,2", "--json", "--no-plots")
    assert again.code == 0
    assert again.err == "4 of 4 cells are there already\n"
    assert json.loads(again.out) == json.loads((folder / "summary.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["again"] == "zsim sweep experiment.yaml --seeds 1-2 -S relay.nodes=1,2"


def test_a_threshold_broken_in_any_cell_ends_with_99(tell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "small.yaml").write_text(FILE + 'thresholds: {connections.attempted: ["<= 20"]}\n')
    told = tell(
        "sweep", "small.yaml", "--seeds", "1-2", "-S", "population.devices=10,12", "--no-plots", "--workers", "1"
    )
    assert told.code == 99
    assert "BROKEN  connections.attempted: <= 20 in 2 of 2 seeds (devices=12)" in told.out
    assert "(devices=10)" not in told.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep"], "Missing argument 'FILE'"),
        (["sweep", "none.yaml", "--seeds", "1"], "none.yaml: no such file"),
        (["sweep", "small.yaml"], "--seeds: say which seeds to run"),
        (["sweep", "small.yaml", "--seeds", "3-1"], "--seeds: `3-1` is an empty range"),
        (["sweep", "small.yaml", "--seeds", "1", "-S", "relay.nods=1,2"], "did you mean `nodes`?"),
        (["sweep", "small.yaml", "--seeds", "1", "-S", "seed=1,2"], "are given by --seeds"),
        (["sweep", "small.yaml", "--seeds", "1", "--workers", "0"], "0 is not in the range"),
        (["sweep", "small.yaml", "--seeds", "1", "--workers", "2", "--scheduler", "x"], "--workers are local"),
        (["sweep", "small.yaml", "--seeds", "1", "--scheduler", "here"], "--scheduler here: is no address"),
        (["compare"], "Missing argument 'RUN RUN...'"),
        (["compare", "nowhere", "else"], "nowhere: no run folder"),
    ],
)
def test_bad_usage_ends_with_2_and_says_why(tell, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    told = tell(*arguments)
    assert told.code == 2
    assert message in told.err
    assert told.out == ""


def test_a_scheduler_without_dask_is_told_what_to_install(tell, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    # None in sys.modules is how Python itself marks what cannot be imported.
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = tell("sweep", "small.yaml", "--seeds", "1", "--scheduler", "tcp://127.0.0.1:1")
    assert told.code == 2
    assert told.err == ("--scheduler needs dask.distributed, which is not installed; pip install 'zentalk-sim[dask]'\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_is_done_and_end_within_a_second(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FILE)
    arguments = ["sweep", "small.yaml", "--seeds", "1-3000", "--workers", "2", "--out", "out"]
    with subprocess.Popen(
        [sys.executable, "-m", "zentalk_sim.cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        cells = tmp_path / "out" / "cells"
        deadline = time.monotonic() + 60
        while not (cells.is_dir() and len(list(cells.glob("*.json"))) >= 3):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        took = time.monotonic() - began
    assert process.returncode == 130
    assert took < 5  # A second is promised; a machine under load is given some more.
    assert out == ""
    kept = len(list(cells.glob("*.json")))
    assert err.splitlines()[0] == f"{kept} of 3000 cells are kept in out; the same command goes on from there"
    assert list(cells.glob(".*")) == []


def test_an_unfinished_sweep_and_folders_of_something_else_are_told_as_what_they_are(tell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "sweep.json").write_text('{"zentalk_sweep": 1, "identity": {}, "meta": null}')
    told = tell("report", "begun")
    assert (told.code, told.out) == (2, "")
    assert told.err == "begun: a sweep that is not finished; run it again, it goes on where it was stopped\n"
    told = tell("run", "small.yaml", "--out", "begun")
    assert (told.code, told.err) == (2, "begun: holds a sweep, not a run; give another --out, or remove it\n")
    assert [path.name for path in (tmp_path / "begun").iterdir()] == ["sweep.json"]
    (tmp_path / "notes.txt").touch()
    told = tell("sweep", "small.yaml", "--seeds", "1", "--out", ".")
    assert told.code == 2
    assert told.err.startswith(".: holds other things than a sweep (begun, notes.txt, small.yaml); give a new or empty")


def test_comparing_says_what_differs_and_what_cannot_be_told(tell) -> None:  # type: ignore[no-untyped-def]
    for name, setting in (("a", "1s"), ("b", "4s")):
        grid = ("--seeds", "1-6", "-S", f"client.backoff.base={setting}", "--workers", "1")
        done = tell("sweep", "small.yaml", *grid, "--out", name, "--no-plots")
        assert done.code == 0
    told = tell("compare", "a", "b")
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 110
    lines = told.out.splitlines()
    assert lines[:2] == ["A  a · 6 seeds 1-6", "B  b · 6 seeds 1-6"]
    reconnect = lines[lines.index("Reconnect time (s)") + 1]
    assert reconnect.split()[0] == "p50"
    assert reconnect.endswith("▲ higher")
    as_json = json.loads(tell("compare", "b", "a", "--json").out)
    found = {c["measure"]: c for c in as_json["pairs"][0]["comparisons"]}
    assert found["reconnect_time_s.p50"]["verdict"] == "lower"
    assert found["reconnect_time_s.p50"]["ratio_high"] < 0.5
    assert found["messages.sent"]["verdict"] == "not distinguishable"
    twice = tell("compare", "a", "a")
    assert twice.code == 2
    assert twice.err == "a: given twice\n"
