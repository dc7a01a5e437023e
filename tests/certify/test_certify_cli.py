"""``mockrelay certify`` as a person or a build runs it: output, files, exit codes."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mockrelay.certify_cli import certify

REFERENCE = f"{shlex.quote(sys.executable)} -m mockrelay.certify.reference"
EXAMPLE = f"{shlex.quote(sys.executable)} examples/python/drive_client.py"
ROOT = Path(__file__).parents[2]
BROKEN = """
from tests.certify.broken import Rude, app
from mockrelay.certify.reference import _say, serve
import asyncio
asyncio.run(serve(app(Rude)(_say)))
"""


def mockrelay(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mockrelay", "certify", *args]
    if "--drive" in args:
        command += ["--patience", "60", "--timeout", "60"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_the_example_passes_with_0_and_another_app_is_another_column(tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = mockrelay("--drive", EXAMPLE, "--app", "good", "--out", str(out), "--case", "2.1", "--case", "7.1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"good: no failure in 2 cases; {out / 'index.html'}" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["good", "good.json", "good.junit.xml", "index.html"]
    broken = f"{shlex.quote(sys.executable)} -c {shlex.quote(BROKEN)}"
    done = mockrelay("--drive", broken, "--app", "bad", "--out", str(out), "--case", "2.1")
    assert done.returncode == 99, done.stdout + done.stderr
    assert "close: the app closed with 3999, not with 1000" in done.stdout
    page = (out / "index.html").read_text(encoding="utf-8")
    assert ">good</th>" in page
    assert ">bad</th>" in page
    merged = mockrelay("--merge", str(out), "--out", str(tmp_path / "all"))
    assert merged.returncode == 99
    assert (tmp_path / "all" / "good" / "7.1.html").exists()


def test_an_interruption_keeps_what_came_to_an_end(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mockrelay",
        "certify",
        "--drive",
        REFERENCE,
        "--out",
        str(tmp_path),
        "--jobs",
        "1",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=600) == 130
    assert first.split()[0] == "1.1"
    kept = json.loads((tmp_path / "app.json").read_text())
    assert not kept["whole"]
    ids = [result["id"] for result in kept["results"]]
    assert ids[0] == "1.1"
    # One may have come to its end before the signal did; of more than a hundred, it waited for no other.
    assert len(ids) <= 2, "Ctrl-C is to be answered at once"
    assert "the run was interrupted" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_cases_are_listed() -> None:
    done = CliRunner().invoke(certify, ["--list"])
    assert done.exit_code == 0
    assert "    1.1  The upgrade request  [R-3.1]" in done.output
    assert "(slow)" in done.output


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "no --drive, and nobody at a terminal"),
        (("--drive", "x", "--drive-each", "y"), "give one"),
        (("--keep-running",), "--keep-running is for the program of --drive"),
        (("--drive", "x", "--case", "99"), "there is no case '99'"),
        (("--drive", "x", "--app", "../x"), "a name has up to 64 letters"),
        (("--drive", "x", "--tls-cert", "x"), "belong together"),
        (("--drive", "x", "--jobs", "0"), "--jobs"),
        (("--merge", "/nowhere"), "does not exist"),
    ],
)
def test_bad_usage_ends_with_2_and_a_remedy(args: tuple[str, ...], text: str) -> None:
    done = CliRunner().invoke(certify, list(args))
    assert done.exit_code == 2
    assert text in done.output


def test_a_bad_report_in_the_folder_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    done = CliRunner().invoke(certify, ["--drive", "exit 1", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "old.json: no report of certify" in done.output


def test_merging_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(certify, ["--merge", str(tmp_path / "empty"), "--out", str(tmp_path / "all")])
    assert done.exit_code == 2
    assert "no report is there" in done.output
