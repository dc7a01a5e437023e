"""Does the fuzzer catch bugs? Each planted one with the fewest seeds known, and the clean core on the same seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz.planted import BUGS, MOST_SEEDS, planted
from zentalk_sim.fuzz.plan import draw
from zentalk_sim.fuzz.trial import run

KNOWN = json.loads((Path(__file__).parent / "planted_seeds.json").read_text())
"""Bug → the first seed that shows it, and the check that did, as ``python -m tests.fuzz.planted_table`` found them."""


def test_every_planted_bug_must_have_been_caught_within_its_budget() -> None:
    assert set(KNOWN) == set(BUGS)
    assert len(BUGS) >= 20
    assert all(found["seed"] <= MOST_SEEDS for found in KNOWN.values())


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_must_be_caught(name: str) -> None:
    with planted(name):
        outcome = run(draw(KNOWN[name]["seed"]))
    assert outcome.failure is not None
    assert outcome.failure.id == KNOWN[name]["check"]


@pytest.mark.parametrize("seed", sorted({found["seed"] for found in KNOWN.values()}))
def test_the_core_without_bugs_must_pass_the_same_seeds(seed: int) -> None:
    outcome = run(draw(seed))
    assert outcome.failure is None, outcome.failure
    assert outcome.converged_us is not None
