"""``checks: [requirements]``: a run's whole trace judged in process, with its verdicts in the summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.planted import planted
from zentalk_sim.checks import run_file
from zentalk_sim.cli import zsim
from zentalk_sim.cli.errors import run as run_command
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.experiment.requirements import Requirements
from zentalk_sim.experiment.runner import run_experiment
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.model.tracer import Tracer


def _mapping(**more: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "duration": "20s",
        "population": {"devices": 6, "networks": {"lan": 1}},
        "workload": {"messages": {"rate_per_device": "20/min"}},
        "faults": [{"at": "8s", "do": "reset_connections", "fraction": 1.0}],
        **more,
    }


def test_requirements_must_be_told_in_the_summary_and_change_nothing_in_the_run(tmp_path: Path) -> None:
    plain = run_experiment(from_mapping(_mapping()), out=tmp_path / "plain", plots=False)
    experiment = from_mapping(_mapping(checks=["ledgers", "requirements"]))
    judged = run_experiment(experiment, out=tmp_path / "judged", plots=False)
    assert [entry["id"] for entry in judged.summary["checks"]] == ["ledgers", "requirements"]
    assert all(entry["held"] for entry in judged.summary["checks"])
    assert judged.summary["digest"] == plain.summary["digest"]
    assert judged.summary["counts"] == plain.summary["counts"]
    assert not (tmp_path / "judged" / "trace.jsonl").exists()


def test_a_kept_trace_must_be_judged_as_the_run_was(tmp_path: Path) -> None:
    experiment = from_mapping(_mapping(checks=["requirements"], measure={"trace": "full"}))
    judged = run_experiment(experiment, out=tmp_path, trace="full", plots=False)
    report = run_file(tmp_path / "trace.jsonl")
    tested = len(report.results) - report.count("not_exercised")
    (verdict,) = [entry for entry in judged.summary["checks"] if entry["id"] == "requirements"]
    assert verdict == {
        "id": "requirements",
        "held": True,
        "value": f"{tested} of {len(report.results)} checks put to the test, 0 broken",
    }
    assert tested > 40


def test_a_broken_requirement_must_have_its_entry_and_end_the_command_with_99(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = from_mapping(_mapping(checks=["requirements"]))
    with planted("receipts twice"), planted("content mixed up"):
        judged = run_experiment(experiment, out=tmp_path / "run", plots=False)
        file = tmp_path / "small.yaml"
        file.write_text((tmp_path / "run" / "experiment.yaml").read_text())
        assert run_command(zsim, ["run", str(file), "--out", str(tmp_path / "again"), "--no-plots"], "zsim") == 99
    found = {entry["id"]: entry for entry in judged.summary["checks"]}
    assert not found["requirements"]["held"]
    assert not found["relay.content"]["held"]
    assert "(R-6.1)" in found["relay.content"]["value"]
    assert "BROKEN  relay.content" in capsys.readouterr().out


def test_a_sample_of_a_trace_is_refused() -> None:
    with pytest.raises(FileFaults, match="needs the whole trace"):
        from_mapping(_mapping(checks=["requirements"], measure={"trace": "sample"}))
    with pytest.raises(ValueError, match="needs the whole trace"):
        Requirements(Tracer(lambda _: None, full=False))
