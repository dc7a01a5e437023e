"""The nearest right name."""

from __future__ import annotations

from zentalk_sim.files.names import nearest, suggestion

NAMES = ("duration", "warm_up", "fidelity")


def test_a_typing_mistake_finds_its_name() -> None:
    assert nearest("durration", NAMES) == "duration"
    assert nearest("Warm-Up", NAMES) == "warm_up"
    assert nearest("xyz", NAMES) is None


def test_a_suggestion_names_the_nearest_or_the_few_there_are() -> None:
    assert suggestion("fidelty", NAMES) == "; did you mean `fidelity`?"
    assert suggestion("xyz", NAMES) == "; known: duration, warm_up, fidelity"
    assert suggestion("xyz", [f"name_{i}" for i in range(50)]) == ""
    assert suggestion("xyz", []) == ""
