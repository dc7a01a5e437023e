"""One small sweep, run once for all tests that only look at it."""

from __future__ import annotations

import pytest

from tests.sweep.sweep_support import AXES, SMALL
from zentalk_sim.experiment import sweep
from zentalk_sim.report.sweep_results import Sweep


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two times two combinations with three seeds, kept in a folder."""
    return sweep.run(SMALL, seeds="1-3", settings=AXES, workers=0, out=tmp_path_factory.mktemp("study"))
