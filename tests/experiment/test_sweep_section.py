"""A file with a ``sweep`` section: run, validated and completed by editors like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiment.test_schema import SCHEMA, Checker
from zentalk_sim.cli import errors, zsim
from zentalk_sim.experiment import loader
from zentalk_sim.files.yaml import FileFaults

PLAIN = """
name: swept
duration: 5s
population: {devices: 2, networks: {lan: 1}}
workload: {start: {ramp: 1s}}
"""
SWEEP = "sweep: {seeds: 1-3, vary: {population.devices: [2, 4], relay.heartbeat.interval: [10s, 30s]}}\n"


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run ``zsim`` in an empty folder; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = int(errors.run(zsim, arguments, "zsim"))
        found = capfd.readouterr()
        return code, found.out, found.err

    return run


def test_the_section_changes_nothing_of_the_experiment() -> None:
    told: list[str] = []
    assert loader.from_text(PLAIN + SWEEP) == loader.from_text(PLAIN)
    path = Path("swept.yaml")
    assert loader.from_mapping({"name": "swept", "sweep": None}, source=str(path)).name == "swept"
    assert told == []


def test_run_says_that_it_leaves_the_sweep_aside(tell) -> None:  # type: ignore[no-untyped-def]
    Path("swept.yaml").write_text(PLAIN + SWEEP)
    Path("plain.yaml").write_text(PLAIN)
    code, out, err = tell("run", "swept.yaml", "--no-plots", "--json", "--out", "one")
    assert code == 0
    assert err == "swept.yaml: `sweep` is left aside; `zsim sweep swept.yaml` runs it\n"
    code, plain, err = tell("run", "plain.yaml", "--no-plots", "--json", "--out", "two")
    assert (code, err) == (0, "")
    assert json.loads(out)["digest"] == json.loads(plain)["digest"]
    assert "sweep" not in Path("one/experiment.yaml").read_text()


def test_validate_counts_the_runs_of_the_sweep(tell) -> None:  # type: ignore[no-untyped-def]
    Path("swept.yaml").write_text(PLAIN + SWEEP)
    code, out, _ = tell("validate", "swept.yaml", "-S", "seed=9")
    assert code == 0
    assert out == "swept.yaml: swept: 2 devices, 1 node, 5s: valid, and a sweep of 12 runs\n"
    Path("swept.yaml").write_text(PLAIN + "sweep: {vary: {population.devices: [2, 4]}}")
    assert tell("validate", "swept.yaml")[1].endswith(": valid, and a sweep of 2 combinations\n")
    Path("swept.yaml").write_text(PLAIN + "sweep:\n")
    assert tell("validate", "swept.yaml")[1].endswith(": valid\n")


@pytest.mark.parametrize(
    ("vary", "fault"),
    [
        ("{relay.nods: [1, 2]}", "nods"),
        ("{population.devices: [2, 0]}", "`population.devices` must be at least 1, and is 0"),
        ("{warm_up: [1s, 9s]}", "`warm_up` must be shorter than the duration, 5s"),
        ("{seed: [1, 2]}", "the seeds of a sweep are given by --seeds"),
    ],
)
def test_validate_finds_what_no_run_of_the_file_itself_would(tell, vary: str, fault: str) -> None:  # type: ignore[no-untyped-def]
    Path("swept.yaml").write_text(PLAIN + f"sweep: {{vary: {vary}}}\n")
    code, out, err = tell("validate", "swept.yaml")
    assert (code, out) == (2, "")
    assert fault in err


def test_a_fault_of_the_section_is_told_with_all_others() -> None:
    with pytest.raises(FileFaults) as caught:
        loader.from_text(PLAIN + "sweep: {seeds: x}\nseeed: 3\n")
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    ("section", "good"),
    [
        ({"seeds": "1-20", "vary": {"population.devices": [1, 2]}}, True),
        ({"seeds": 7}, True),
        ({"seeds": "1,2, 7-9"}, True),
        (None, True),
        ({"seeds": "many"}, False),
        ({"vary": {"relay.nodes": 3}}, False),
        ({"seed": 1}, False),
    ],
)
def test_the_schema_and_the_reader_agree_on_the_section(section: object, good: bool) -> None:
    mapping = {"name": "swept", "sweep": section}
    assert Checker(SCHEMA).holds(SCHEMA, mapping) is good
    if good:
        loader.from_mapping(mapping)
    else:
        with pytest.raises(FileFaults):
            loader.from_mapping(mapping)
