"""What docs/experiments.md shows must load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.experiment.metrics import STATISTICS
from zentalk_sim.network.profile import PROFILES

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_loads(block: str) -> None:
    around = ["duration=10m", "relay.nodes=4"]
    if "networks:" not in block:
        around.append("population.networks={wifi: 1, lte: 1}")
    loader.read(loader.yaml.parse(f"name: x\n{block}", "docs"), around)


def test_the_lists_of_names_are_complete() -> None:
    assert len(BLOCKS) >= 6
    assert ", ".join(f"`{name}`" for name in PROFILES) in DOCS
    assert ", ".join(f"`{name}`" for name in STATISTICS) in DOCS.replace("\n", " ")
