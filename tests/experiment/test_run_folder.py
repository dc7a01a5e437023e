"""Whose folder a run may take: its own experiment's of before, and none that holds anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zentalk_sim.experiment import writer
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.experiment.run_folder import OtherRun, prepare, replaced_note
from zentalk_sim.experiment.schema import Experiment


def small(**changes: Any) -> Experiment:
    return from_mapping({"name": "small", "population": {"devices": 4}, "duration": "10s", **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a run of ``small()``."""
    found = tmp_path / "run"
    prepare(found, small())
    for name in ("summary.json", "messages.parquet", "trace.jsonl"):
        (found / name).write_text("of the first")
    return found


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_same_experiment_must_take_its_own_folder_again(folder: Path) -> None:
    assert prepare(folder, small()) == []
    assert not (folder / "summary.json").exists()
    prepare(folder, small(measure={"trace": "full"}, plots=False))
    assert (folder / "experiment.yaml").read_text() == writer.to_yaml(small(measure={"trace": "full"}, plots=False))


def test_the_same_experiment_must_be_known_however_its_file_is_written(folder: Path) -> None:
    (folder / "experiment.yaml").write_text("name: small\npopulation: {devices: 4}\nduration: 10s\n")
    prepare(folder, small())


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": 9}, "seed"),
        ({"relay": {"limits": {"typing": "off"}}}, "relay.limits.typing"),
        ({"seed": 9, "duration": "20s"}, "duration, seed"),
    ],
)
def test_this_experiments_run_of_other_settings_must_give_way_and_be_told(
    folder: Path, changes: dict[str, Any], where: str
) -> None:
    paths = prepare(folder, small(**changes))
    assert replaced_note(folder, paths).endswith(
        f"run: took the place of a run of this experiment with other settings ({where})"
    )
    assert not (folder / "summary.json").exists()
    assert (folder / "experiment.yaml").read_text() == writer.to_yaml(small(**changes))


def test_another_experiments_run_must_be_left_as_it_is(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(OtherRun, match=r"run: holds a run of another experiment \(differs in name\); give another"):
        prepare(folder, small(name="other"))
    assert contents(folder) == before


def test_a_live_run_of_other_settings_must_be_left_as_it_is(folder: Path) -> None:
    (folder / "live.json").write_text("{}")
    with pytest.raises(OtherRun, match=r"differs in seed"):
        prepare(folder, small(seed=9), is_live=True)
    assert (folder / "summary.json").read_text() == "of the first"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"sweep.json": "{}", "experiment.yaml": "name: small\n"}, "holds a sweep, not a run"),
        ({"summary.json": "{}"}, "summary.json: is there, but no experiment.yaml"),
        ({"experiment.yaml": "name: small # my own\n"}, "experiment.yaml: is there, but no run beside it"),
        ({"experiment.yaml": "nam: x\n", "messages.parquet": ""}, "that this version cannot read"),
        ({"experiment.yaml": "\0", "messages.parquet": ""}, "that this version cannot read"),
        ({"experiment.yaml": writer.to_yaml(small()), "live.json": "{}"}, "holds a run that was played live"),
    ],
)
def test_what_is_no_run_of_this_kind_must_be_left_as_it_is(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(OtherRun, match=said) as refused:
        prepare(tmp_path, small())
    assert str(refused.value).endswith("; give another --out, or remove it")
    assert contents(tmp_path) == files


def test_a_live_run_must_take_its_own_place_and_a_folder_of_other_things_must_be_shared(folder: Path) -> None:
    (folder / "live.json").write_text("{}")
    prepare(folder, small(), is_live=True)
    (folder.parent / "notes.txt").write_text("mine")
    prepare(folder.parent, small())
    assert (folder.parent / "notes.txt").read_text() == "mine"
