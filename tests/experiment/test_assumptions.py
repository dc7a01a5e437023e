"""What a report says a run takes for granted: each thing once, and what the network's losses are worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.validation.prose import FACES
from zentalk_sim.experiment import loader
from zentalk_sim.experiment.runner import assumptions
from zentalk_sim.report.narrative import ASSUMPTIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "validation.md"


def told(text: str) -> list[str]:
    return [*ASSUMPTIONS, *assumptions(loader.from_text(f"name: x\n{text}\n", "f.yaml"))]


def test_that_links_are_not_shared_is_said_once() -> None:
    assert len([line for line in told("") if "link to itself" in line]) == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("population: {networks: {wifi: 1}}", "wifi"),
        ("population: {networks: {lan: 1, wifi: 2, train: 1}}", "wifi and train"),
        ("population: {networks: {lan: 1, wifi: 0}}", None),
        ("population: {networks: {lan: 1}}\nfaults: [{at: 1s, do: handover, fraction: 0.5, to: wifi}]", "wifi"),
        (
            "population: {networks: {own: 1}}\n"
            "network: {own: {loss: {model: bernoulli, p: 1%}, down: {loss: {model: gilbert_elliott, p: 1%, r: 0.5}}}}",
            "own",
        ),
        ("population: {networks: {own: 1}}\nnetwork: {own: {loss: {model: bernoulli, p: 1%}}}", None),
    ],
)
def test_bursts_counted_in_segments_are_told_with_their_networks(text: str, names: str | None) -> None:
    found = [line.partition(" losses come in bursts")[0] for line in told(text) if "Gilbert–Elliott" in line]
    assert found == ([f"On {names}"] if names else [])


def test_the_page_on_validation_says_what_its_tests_assert() -> None:
    last = " ".join(FACES.split("\n\n")[-1].split())
    assert last in " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    assert "virtual time" in last
    assert "each latency is the simulated one, to 10 µs" in last
