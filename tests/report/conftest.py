"""One storm, made and drawn once for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic import Storm
from zentalk_sim.report import plots, style
from zentalk_sim.report.drawing import Drawers, Picture
from zentalk_sim.report.results import Results, write_run

COMMAND = ["zsim", "run", "experiments/storm.yaml", "--seed", "7"]


@pytest.fixture(scope="session")
def storm() -> Storm:
    return Storm(devices=120)


@pytest.fixture(scope="session")
def drawn(storm: Storm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Picture]]:
    """The storm's folder, and its pictures as they were drawn into it."""
    folder = tmp_path_factory.mktemp("runs") / "storm"
    found: list[Picture] = []
    draw_all = plots.draw_all

    def draw_and_keep(results: Results, folder: Path, drawers: Drawers | None) -> list[Picture]:
        found.extend(draw_all(results, folder, drawers))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw_all", draw_and_keep)
        write_run(storm.results, folder, **storm.tables, plots=True, command=COMMAND)
    return folder, found


@pytest.fixture(scope="session")
def run_folder(drawn: tuple[Path, list[Picture]]) -> Path:
    return drawn[0]


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn into their axes and told in words, but not made into files, which takes most of the time."""
    monkeypatch.setattr(style, "save", lambda figure, folder, name: folder / f"{name}.svg")
