"""The run folder: its parts, their bytes, reading it back, drawing it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.report.synthetic import START_US, Storm, empty_run
from zentalk_sim.report import Run, load
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.metrics import STATISTICS, Unit
from zentalk_sim.report.results import (
    Results,
    RunFolderError,
    ThresholdResult,
    read_results,
    redraw,
    results_table,
    write_run,
)
from zentalk_sim.report.summary import WIDTH, figure, summarise
from zentalk_sim.trace.tables import MESSAGES, TableWriter

PICTURES = [
    "causes",
    "connected_devices",
    "connection_attempts",
    "delivery_latency",
    "device_states",
    "message_timelines",
    "overview",
    "reconnect_time",
]
ROOT = Path(__file__).resolve().parents[2]

WRITE_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.report.synthetic import Storm
from zentalk_sim.report.results import write_run
storm = Storm(devices=120)
storm.results.wall_s = 99.5
write_run(storm.results, Path(sys.argv[1]), **storm.tables, plots=True)
"""


def stable_files(folder: Path) -> dict[str, bytes]:
    """All that must be the same bytes for the same run: everything but what tells of the machine and the wall clock."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("manifest.json", "report.html"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_the_folder_holds_what_the_contract_lists(run_folder: Path) -> None:
    assert sorted(p.name for p in run_folder.iterdir()) == [
        "connections.parquet",
        "manifest.json",
        "messages.parquet",
        "plots",
        "report.html",
        "results.json",
        "summary.json",
        "timeseries.parquet",
    ]
    assert sorted(p.name for p in (run_folder / "plots").iterdir()) == [
        f"{n}.{s}" for n in PICTURES for s in ("png", "svg")
    ]


def test_the_summary_has_the_contracts_keys(run_folder: Path, storm: Storm) -> None:
    summary = json.loads((run_folder / "summary.json").read_bytes())
    assert list(summary) == ["checks", "counts", "digest", "metrics", "name", "seed", "simulated_s", "thresholds"]
    assert list(summary["counts"]) == sorted(storm.results.counts)
    assert set(summary["metrics"]["ack_latency_ms"]) == set(STATISTICS)
    assert set(summary["metrics"]["delivery_latency_ms"]) == {*STATISTICS, "censored"}
    assert summary["simulated_s"] == 240
    assert summary["thresholds"][1] == {"id": "clients.gave_up: value == 0", "held": True, "value": 0}


def test_times_are_recorded_in_microseconds_and_reported_in_the_metrics_unit() -> None:
    results, _ = empty_run()
    results.units = {"frame_cost": Unit("µs"), "odd": Unit("min", 60_000_000)}
    for name in ("delivery_latency_ms", "delivery_latency_ms.push", "reconnect_time_s", "queue_depth", "odd"):
        results.metrics[name] = Histogram()
        results.metrics[name].record(90_000_000)
    found = {name: entry["max"] for name, entry in summarise(results)["metrics"].items()}
    assert found == {
        "delivery_latency_ms": 90_000,
        "delivery_latency_ms.push": 90_000,
        "reconnect_time_s": 90,
        "queue_depth": 90_000_000,
        "odd": 1.5,
    }


def test_a_metric_without_a_value_has_none_and_not_zero() -> None:
    results, _ = empty_run()
    results.metrics["rtt_ms"] = Histogram()
    entry = summarise(results)["metrics"]["rtt_ms"]
    assert entry == {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None, "p999": None, "max": None}


def test_two_writes_must_give_the_same_bytes(run_folder: Path, tmp_path: Path) -> None:
    """Of the pictures, which take long, the tests of ``redraw`` and of another process tell the same."""
    again = Storm(devices=120)
    write_run(again.results, tmp_path, **again.tables, plots=False)
    expected = {name: data for name, data in stable_files(run_folder).items() if not name.startswith("plots")}
    assert len(expected) == 5
    assert stable_files(tmp_path) == expected


def test_another_process_must_write_the_same_bytes(run_folder: Path, tmp_path: Path) -> None:
    hash_seed = "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", WRITE_IN_ANOTHER_PROCESS, str(tmp_path)]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=120)
    assert stable_files(tmp_path) == stable_files(run_folder)


def test_wall_clock_facts_stand_in_the_manifest_alone(run_folder: Path) -> None:
    manifest = json.loads((run_folder / "manifest.json").read_bytes())
    assert manifest["command"] == "zsim run experiments/storm.yaml --seed 7"
    assert manifest["wall_s"] == 3.21
    assert {"zentalk-sim", "python", "pyarrow"} <= set(manifest["versions"])
    assert "wall_s" not in json.loads((run_folder / "results.json").read_bytes())


def test_load_gives_the_tables_as_frames(run_folder: Path, storm: Storm) -> None:
    run = load(run_folder)
    assert run.summary == json.loads((run_folder / "summary.json").read_bytes())
    assert len(run.messages) == storm.results.counts["messages.sent"]
    assert len(run.connections) == storm.results.counts["connections.attempted"]
    assert set(run.timeseries["metric"]) == {"devices.connected"}
    assert run.messages is run.messages, "a table is read once"
    latency = (run.messages["shown_us"] - run.messages["sent_us"]).dropna()
    assert latency.max() == storm.results.metrics["delivery_latency_ms"].max
    assert run.start_us == START_US <= run.connections["start_us"].min()
    assert str(run) == results_table(run.summary)
    assert repr(run) == f"<Run storm, seed 7, digest {storm.results.digest[:12]}>"


def test_a_run_in_memory_has_its_tables_too(storm: Storm) -> None:
    run = Run(storm.results, None, storm.tables)
    assert len(run.messages) == storm.results.counts["messages.sent"]
    with pytest.raises(RunFolderError, match="made without its table of connections"):
        _ = Run(storm.results, None).connections


def test_results_read_back_equal(run_folder: Path, storm: Storm) -> None:
    found, expected = read_results(run_folder), storm.results
    for name in Results.__struct_fields__:
        if name != "wall_s":
            assert getattr(found, name) == getattr(expected, name), name
    assert not found.held, "one threshold of the storm is broken"


def test_redraw_must_give_the_same_bytes(run_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run_folder, folder)
    for name in ("summary.json", "report.html"):
        (folder / name).unlink()
    shutil.rmtree(folder / "plots")
    redraw(folder)
    assert stable_files(folder) == stable_files(run_folder)
    assert (folder / "report.html").read_bytes() == (run_folder / "report.html").read_bytes()


def test_redraw_draws_what_a_run_left_undrawn(tmp_path: Path) -> None:
    results, tables = empty_run()
    write_run(results, tmp_path, **tables, plots=False)
    assert not (tmp_path / "plots").exists()
    assert "No pictures were drawn" in (tmp_path / "report.html").read_text(encoding="utf-8")
    redraw(tmp_path)
    assert (tmp_path / "plots" / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert "No pictures were drawn" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_in_which_nothing_happened_can_be_written_and_read(tmp_path: Path) -> None:
    results, tables = empty_run()
    write_run(results, tmp_path, **tables, plots=True)
    run = load(tmp_path)
    assert [len(frame) for frame in (run.messages, run.connections, run.timeseries)] == [0, 0, 0]
    assert "no data" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "plots" / "causes.png").exists()
    assert "No message was sent." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tables_may_be_given_as_paths_and_may_lie_in_the_folder(tmp_path: Path, storm: Storm) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    writer = TableWriter(MESSAGES, folder / "messages.parquet")
    results, tables = empty_run()
    tables["connections"] = storm.tables["connections"]
    elsewhere = TableWriter(tables["timeseries"].schema, tmp_path / "elsewhere")
    elsewhere.close()
    write_run(
        results,
        folder,
        messages=writer,
        connections=tables["connections"],
        timeseries=tmp_path / "elsewhere",
        plots=False,
    )
    assert len(load(folder).connections) == storm.results.counts["connections.attempted"]
    assert len(load(folder).timeseries) == 0


def test_a_table_in_anothers_place_is_refused(tmp_path: Path, storm: Storm) -> None:
    wrong = storm.tables | {"messages": storm.tables["connections"]}
    with pytest.raises(ValueError, match="connections was given as messages"):
        write_run(storm.results, tmp_path, **wrong, plots=False)


class TestFaultyFolders:
    """What is no run folder is refused with file and remedy."""

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match=r"nowhere: no run folder \(it has no results.json\)"):
            load(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"{", "cannot be read"),
            (b"[]", "not results of this version"),
            (b'{"zentalk_results": 99}', "not results of this version"),
            (b'{"zentalk_results": 1}', "damaged"),
            (b'{"zentalk_results": 1, "metrics": {"a": {}}}', "damaged"),
            (b'{"zentalk_results": 1, "metrics": {}, "name": 3}', "damaged"),
        ],
    )
    def test_damaged_results(self, data: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "results.json").write_bytes(data)
        with pytest.raises(RunFolderError, match=f"results.json: {words}.*run the experiment again"):
            load(tmp_path)

    def test_missing_table(self, run_folder: Path, tmp_path: Path) -> None:
        shutil.copy(run_folder / "results.json", tmp_path)
        with pytest.raises(RunFolderError, match=r"messages.parquet: missing; run the experiment again"):
            redraw(tmp_path)
        with pytest.raises(RunFolderError, match=r"connections.parquet: missing"):
            _ = load(tmp_path).connections

    @pytest.mark.parametrize("data", [b"", b"PAR1 and then nothing"])
    def test_damaged_table(self, data: bytes, run_folder: Path, tmp_path: Path) -> None:
        folder = tmp_path / "copy"
        shutil.copytree(run_folder, folder)
        (folder / "messages.parquet").write_bytes(data)
        with pytest.raises(RunFolderError, match=r"messages.parquet: cannot be read.*run the experiment again"):
            redraw(folder)
        with pytest.raises(RunFolderError, match=r"messages.parquet: cannot be read"):
            _ = load(folder).messages

    def test_another_table_in_its_place(self, run_folder: Path, tmp_path: Path) -> None:
        shutil.copytree(run_folder, tmp_path / "copy")
        shutil.copy(run_folder / "messages.parquet", tmp_path / "copy" / "connections.parquet")
        with pytest.raises(RunFolderError, match=r"connections.parquet: not the columns of this version"):
            redraw(tmp_path / "copy")

    def test_damaged_manifest(self, run_folder: Path, tmp_path: Path) -> None:
        shutil.copy(run_folder / "results.json", tmp_path)
        (tmp_path / "manifest.json").write_bytes(b"{")
        with pytest.raises(RunFolderError, match=r"manifest.json: cannot be read.*remove it"):
            redraw(tmp_path)


class TestPrintedTable:
    """The table `zsim run` prints."""

    def test_it_names_counts_quantiles_and_verdicts(self, run_folder: Path) -> None:
        table = results_table(json.loads((run_folder / "summary.json").read_bytes()))
        assert "messages sent                              480" in table
        assert "BROKEN  reconnect_time_s: p99 < 60s" in table
        assert "held    clients.gave_up: value == 0" in table
        (head,) = [line for line in table.splitlines() if line.startswith("Metric")]
        assert head.split() == ["Metric", "unit", "count", "p50", "p90", "p99", "max"]
        assert [line.split()[2] for line in table.splitlines() if "Reconnect time" in line] == ["s"]
        assert "not yet done at the end of the run" in table

    def test_no_line_is_longer_than_100_columns(self, storm: Storm) -> None:
        results = msgspec.structs.replace(
            storm.results,
            name="n" * 200,
            counts={"copies.dropped." + "c" * 90: 1, "messages.sent": 10**12},
            metrics={**storm.results.metrics, "m" * 120: Histogram()},
            thresholds=[ThresholdResult("t" * 150, False, 10**15)],
        )
        lines = results_table(summarise(results)).splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert any(line.endswith("…") for line in lines)

    def test_figures_have_four_digits_and_marked_thousands(self) -> None:
        values = [None, 0, 0.0, 12, 1_234_567, 0.123456, 12.3456, 999.95, 12345.6, "text", True]
        assert [figure(value) for value in values] == (
            ["–", "0", "0", "12", "1,234,567", "0.1235", "12.35", "1,000", "12,346", "text", "True"]
        )


def test_importing_results_must_stay_cheap() -> None:
    code = "import sys, zentalk_sim.report.results, zentalk_sim.trace.tables, zentalk_sim.trace.digest\n"
    code += "print([m for m in ('matplotlib', 'pandas', 'pyarrow', 'numpy') if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
