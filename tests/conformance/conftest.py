"""The faces before which every body plays; ``@pytest.mark.settings({...})`` changes the relay's configuration."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from stage import Stage

from zentalk_sim.protocol.config import RelayConfig


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "settings(mapping): settings of the relay under test")


@pytest.fixture(params=["core", "simulator", "mockrelay"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    marker = request.node.get_closest_marker("settings")
    config = msgspec.convert(marker.args[0] if marker else {}, RelayConfig)
    made = _make(request.param, config)
    yield made
    made.close()


def _make(face: str, config: RelayConfig) -> Stage:
    if face == "core":
        from core_stage import CoreStage

        return CoreStage(config)
    if face == "simulator":
        from simulator_stage import SimulatorStage

        return SimulatorStage(config)
    from live_stage import LiveStage

    return LiveStage(config)
