"""``zsim`` as its users meet it: exit codes, what goes to stdout and what to stderr, errors without tracebacks."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from weakref import ref

import click
import pytest

from zentalk_sim import __version__
from zentalk_sim.cli import COMMANDS, errors, zsim

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
name: small
duration: 20s
population: {devices: 4, contacts: 3, networks: {lan: 1}}
workload: {start: {ramp: 1s}, messages: {rate_per_device: 20/min}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZSIM_DEBUG", raising=False)
    return tmp_path


class Told:
    """What a command told, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def tell(here: Path, capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run ``zsim`` with arguments."""

    def run(*arguments: str) -> Told:
        capfd.readouterr()
        code = int(errors.run(zsim, arguments, "zsim"))
        found = capfd.readouterr()
        assert "Traceback" not in found.err
        return Told(code, found.out, found.err)

    return run


def test_help_names_every_command(tell) -> None:  # type: ignore[no-untyped-def]
    told = tell("--help")
    assert told.code == 0
    for name in COMMANDS:
        assert f"  {name} " in told.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_its_version(tell, name: str) -> None:  # type: ignore[no-untyped-def]
    told = tell(name, "--help")
    assert told.code == 0
    assert "Example: " in told.out
    assert f"zsim {name}" in told.out
    assert tell(name, "--version").out == f"zsim {__version__}\n"


def test_version(tell) -> None:  # type: ignore[no-untyped-def]
    assert tell("--version").out == f"zsim {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "no command `rum`; did you mean `run`?"),
        (["--bogus"], "No such option"),
        ([], "Usage: zsim"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "x.yaml", "--seed", "-4"], "-4 is not in the range"),
        (["run", "x.yaml", "--trace", "all"], "'all' is not one of"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["validate"], "Missing argument 'FILE...'"),
        (["new", "../up"], "use 1 to 64 letters"),
        (["report", "nowhere"], "nowhere: is no run folder"),
        (["replay", "nowhere"], "nowhere: no such file"),
    ],
)
def test_bad_usage_ends_with_2_and_says_why(tell, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    told = tell(*arguments)
    assert told.code == 2
    assert message in told.err
    assert told.out == ""


def test_validate_tells_every_fault_of_every_file(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "good.yaml").write_text(SMALL)
    (here / "bad.yaml").write_text("name: bad\nrelay: {nods: 3}\nduration: 5\n")
    told = tell("validate", "bad.yaml", "good.yaml")
    assert told.code == 2
    assert told.out == "good.yaml: small: 4 devices, 1 node, 20s: valid\n"
    assert told.err.splitlines() == [
        "bad.yaml:2:9: unknown key `nods` in `relay`; did you mean `nodes`?",
        "bad.yaml:3:11: `duration` is a duration and needs a unit, such as 30s",
    ]
    assert tell("validate", "good.yaml", "-S", "relay.nodes=2").code == 0
    assert tell("validate", "good.yaml", "-S", "relay.nodes=no").err.startswith("-S relay.nodes=no: `relay.nodes` must")


def test_a_new_file_is_valid_and_never_overwrites(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    told = tell("new", "lunch")
    assert (told.code, told.out) == (0, "lunch.yaml\n")
    assert tell("validate", "lunch.yaml").code == 0
    (here / "lunch.yaml").write_text("mine")
    told = tell("new", "lunch")
    assert told.code == 2
    assert told.err == "lunch.yaml: is there already; choose another name or give --out\n"
    assert (here / "lunch.yaml").read_text() == "mine"
    assert tell("new", "lunch", "--out", "no/where.yaml").err.startswith("no/where.yaml: cannot be written: No such")


def test_schema_and_metrics_are_data(tell) -> None:  # type: ignore[no-untyped-def]
    assert json.loads(tell("schema").out)["$schema"].startswith("http://json-schema.org/draft-07")
    names = {metric["name"] for metric in json.loads(tell("metrics", "--json").out)}
    text = tell("metrics").out
    assert {"delivery_latency_ms", "messages.sent"} <= names
    assert all(f"\n  {name}" in text for name in names)


def test_a_run_leaves_a_folder_and_prints_where(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "small.yaml").write_text(SMALL + 'thresholds: {messages.failed: ["== 0"]}\n')
    told = tell("run", "small.yaml", "--seed", "7", "--no-plots")
    assert told.code == 0, told.err
    folder = Path(told.out.splitlines()[-1].removeprefix("run folder: "))
    assert folder.parent == Path("runs/small")
    assert folder.name.startswith("7-")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["seed"] == 7
    assert summary["counts"]["messages.sent"] > 0
    again = tell("run", str(folder / "experiment.yaml"), "--json", "--no-plots", "--out", "again")
    assert json.loads(again.out) == summary
    assert again.out == (here / "again" / "summary.json").read_text(), "the file's own text"
    assert (here / "again" / "summary.json").read_bytes() == (folder / "summary.json").read_bytes()


def test_a_broken_threshold_ends_with_99_and_is_shown(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "small.yaml").write_text(SMALL)
    broken, empty = "thresholds.messages.sent=== 0", "thresholds.reconnect_time_s=p90 < 9s"
    told = tell("run", "small.yaml", "--no-plots", "-S", broken, "-S", empty)
    assert told.code == 99
    assert "messages.sent: == 0" in told.out
    assert "BROKEN  reconnect_time_s: p90 < 9s  (nothing to measure)" in told.out


def test_a_folder_that_cannot_be_written_is_told(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "small.yaml").write_text(SMALL)
    (here / "file").write_text("")
    told = tell("run", "small.yaml", "--no-plots", "--out", "file/under")
    assert told.code == 2
    assert "cannot be written" in told.err


def test_a_run_must_not_take_the_place_of_another_experiments(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "small.yaml").write_text(SMALL)
    asked = ("run", "small.yaml", "--no-plots", "--out", "out")
    assert tell(*asked, "--trace", "full").code == 0
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    assert {"trace.jsonl", "summary.json"} <= set(before)
    told = tell(*asked, "-S", "name=other")
    assert told.code == 2
    differs = "differs in name"
    assert told.err == f"out: holds a run of another experiment ({differs}); give another --out, or remove it\n"
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir()} == before
    told = tell(*asked)
    assert (told.code, told.err) == (0, ""), "the same experiment again, less of it kept"


def test_a_run_in_place_of_the_same_experiments_with_other_settings_must_say_so(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "small.yaml").write_text(SMALL)
    asked = ("run", "small.yaml", "--no-plots", "--out", "out")
    assert tell(*asked).code == 0
    told = tell(*asked, "--seed", "8", "-S", "population.devices=5")
    differs = "population.devices, seed"
    assert told.code == 0
    assert told.err == f"note: out: took the place of a run of this experiment with other settings ({differs})\n"


def test_report_of_a_folder_that_is_no_run_is_told(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "half").mkdir()
    (here / "half" / "summary.json").write_text("{}")
    assert tell("report", "half").code == 2


def test_replay_of_what_is_no_recording_is_told_at_its_line(tell, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "bad.jsonl").write_text("hello\n")
    told = tell("replay", "bad.jsonl")
    assert told.code == 2
    assert told.err.startswith("bad.jsonl:1:")


# --- how a command ends --------------------------------------------------------------------------------------


def ending(error: BaseException) -> int:
    @click.command()
    def command() -> None:
        raise error

    return int(errors.run(command, [], "x"))


def test_exit_codes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZSIM_DEBUG", raising=False)
    assert ending(errors.NotHeld()) == 99
    assert ending(KeyboardInterrupt()) == 130
    assert ending(errors.InvalidFile("f.yaml:1:1: no")) == 2
    assert capsys.readouterr().err == "\ninterrupted\nf.yaml:1:1: no\n"
    assert ending(ValueError("it\nbroke")) == 1
    told = capsys.readouterr().err
    assert told.startswith("internal error: ValueError: it broke\n")
    assert "Traceback" not in told


def test_an_interrupted_command_is_left_while_its_objects_still_stand() -> None:
    class World:
        """What a run makes; a million devices take seconds to free."""

    alive: list[tuple[int, bool]] = []

    @click.command()
    def command() -> None:
        world = World()
        standing.append(ref(world))
        raise KeyboardInterrupt

    standing: list[ref[World]] = []
    errors.run(command, [], "x", lambda code: alive.append((code, standing[0]() is not None)))
    assert alive == [(130, True)]
    assert standing[0]() is None


def test_the_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSIM_DEBUG", "1")
    assert ending(ValueError("broke")) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def start(*arguments: str, folder: Path, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zentalk_sim.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_ctrl_c_ends_a_run_with_130(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(SMALL.replace("20s", "30d").replace("small", "long"))
    process = start("run", "long.yaml", "--no-plots", "--out", "out", "-S", "measure.interval=1h", folder=tmp_path)
    folder = tmp_path / "out"
    while not (folder / "experiment.yaml").exists():
        assert process.poll() is None, process.communicate()
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().endswith("interrupted")


def test_ctrl_c_must_not_have_the_collector_walk_all_that_the_run_made(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes a second of its own with 50 000 devices."""

    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zentalk_sim.experiment.runner.simulate", interrupted)
    (here / "small.yaml").write_text(SMALL)
    enabled: list[bool] = []
    try:
        errors.run(zsim, ["run", "small.yaml"], "zsim", lambda code: enabled.append(gc.isenabled()))
    finally:
        gc.enable()
    assert enabled == [False]


def test_what_tables_need_must_be_loaded_before_the_run(tmp_path: Path) -> None:
    """At Ctrl-C there is no time for it."""
    script = (
        "import sys; from zentalk_sim.trace.tables import MESSAGES, TableWriter; TableWriter(MESSAGES, 'm'); "
        "before = set(sys.modules); import pyarrow as pa; pa.array(['a'], type=pa.string()); "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = start("schema", folder=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


def test_without_colour_nothing_but_text_is_printed(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    process = start("run", "small.yaml", "--no-plots", folder=tmp_path, NO_COLOR="1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "\x1b" not in out + err
