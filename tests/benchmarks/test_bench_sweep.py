"""The sweep's lines of ``make bench``: two workers and one in turns, of each form that there is, and what is fixed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweep_efficiency
from benchmarks.lines import BenchmarkError
from benchmarks.sweep_efficiency import COMPILED, SOURCES, Cost
from zentalk_sim.compiled import CompiledForm

Ran = tuple[list[str], dict[str, str]]


def ended(code: int, ran: list[Ran], errors: str = "") -> Callable[..., subprocess.CompletedProcess[str]]:
    """What stands for ``subprocess.run``: a sweep of runs of 3 s in all that ends so."""

    def run(command: list[str], *, env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
        ran.append((command, env))
        out = Path(command[command.index("--out") + 1])
        out.mkdir()
        (out / "manifest.json").write_text(json.dumps({"workers_s": 3.0}))
        return subprocess.CompletedProcess(command, code, "", errors)

    return run


def test_a_sweep_that_fails_is_an_error_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ended(1, [], "error: 3 of 8 cells failed\n"))
    with pytest.raises(BenchmarkError, match=r"--workers 2 ended with status 1:\nerror: 3 of 8 cells failed"):
        sweep_efficiency.lines()


def test_a_sweep_in_which_a_threshold_does_not_hold_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ended(99, []))
    costs = sweep_efficiency.measure(8, SOURCES)
    assert all(cost.wall_s > 0 and cost.runs_s == 3.0 for cost in costs)


@pytest.mark.parametrize(("form", "switch"), [(SOURCES, "0"), (COMPILED, "1")])
def test_a_sweep_is_the_whole_command_as_a_user_types_it(
    form: str, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Ran] = []
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(subprocess, "run", ended(0, ran))
    sweep_efficiency.sweep(2, 8, form)
    ((command, environment),) = ran
    assert "--no-plots" not in command
    assert command[command.index("--seeds") + 1] == "1-8"
    assert f"population.devices={sweep_efficiency.DEVICES[form]}" in command
    assert environment["ZSIM_COMPILED"] == switch
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_sweeps_are_measured_in_turns_from_sources_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[int, str]] = []

    def sweep(workers: int, seeds: int, form: str) -> Cost:
        ran.append((workers, form))
        return Cost(10.0 / workers, 10.0, 8.0)

    monkeypatch.setattr(sweep_efficiency, "sweep", sweep)
    monkeypatch.delenv("ZSIM_COMPILED", raising=False)
    monkeypatch.setattr(CompiledForm, "is_built", lambda form: True)
    made = sweep_efficiency.lines()
    assert ran == [(workers, form) for form in (SOURCES, COMPILED) for workers in (2, 1, 2, 1)]
    assert [(one.name, one.against, one.ratio) for one in made] == [
        ("sweep, 8 runs, two workers", "one worker", 0.5),
        ("sweep, what is not in its runs", "all of it, one worker", 0.2),
        ("sweep, compiled, 8 runs, two workers", "one worker", 0.5),
        ("sweep, compiled, what is not in its runs", "all of it, one worker", 0.2),
    ]
    monkeypatch.setenv("ZSIM_COMPILED", "0")
    assert len(sweep_efficiency.lines()) == 2
