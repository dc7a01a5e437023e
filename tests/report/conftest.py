"""One storm, made and drawn once for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic import Storm
from zentalk_sim.report.results import write_run

COMMAND = ["zsim", "run", "experiments/storm.yaml", "--seed", "7"]


@pytest.fixture(scope="session")
def storm() -> Storm:
    return Storm(devices=120)


@pytest.fixture(scope="session")
def run_folder(storm: Storm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "storm"
    write_run(storm.results, folder, **storm.tables, plots=True, command=COMMAND)
    return folder
