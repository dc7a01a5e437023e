"""A run's folder where a trace is wanted stands for the trace in it, a live run's for its recording."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.trace.recorded import Bench, converse
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.cli.errors import InvalidFile, NotHeld
from zentalk_sim.cli.traces import trace_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def session() -> None:
        converse(Bench(), tmp_path / "recording.jsonl")

    asyncio.run(session())
    return tmp_path


def test_a_live_runs_folder_must_be_taken_by_every_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command_line.main(["replay", str(folder)], standalone_mode=False)
    assert "every output byte equal" in capsys.readouterr().out
    with pytest.raises(NotHeld):
        command_line.main(["check", str(folder)], standalone_mode=False)
    assert "client.well_formed" in capsys.readouterr().out
    command_line.main(["export", str(folder), "--redact", str(folder / "red.jsonl")], standalone_mode=False)
    assert (folder / "red.jsonl").stat().st_size


def test_a_simulations_trace_must_be_found_beside_it(folder: Path) -> None:
    assert trace_at(folder) == folder / "recording.jsonl"
    (folder / "trace.jsonl").write_text("")
    assert trace_at(folder) == folder / "trace.jsonl"
    assert trace_at(folder / "recording.jsonl") == folder / "recording.jsonl"


def test_a_folder_without_either_must_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"trace\.jsonl: no such file, nor recording\.jsonl beside it; run it again"):
        trace_at(tmp_path)
    with pytest.raises(InvalidFile, match="nowhere: no such file"):
        trace_at(tmp_path / "nowhere")
