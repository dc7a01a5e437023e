"""The expectations' figures: told as they were found, always; found again at full size, in the long form."""

from __future__ import annotations

import os

import pytest

from tests.experiment.found import DERIVED, FOLDER, FOUND, Finding, agrees, four_figures, measured
from zentalk_sim.experiment import loader
from zentalk_sim.experiment.metrics import BY_NAME


@pytest.mark.parametrize("finding", FOUND, ids=lambda finding: finding.id)
def test_an_expectation_must_tell_its_figures_as_they_were_found(finding: Finding) -> None:
    said = loader.load(FOLDER / f"{finding.experiment}.yaml", list(finding.settings)).expectation
    said = " ".join(said.split())
    for figure in finding.figures:
        assert figure.told in said
        assert agrees(figure.told, figure.measure, figure.value), figure
        name = figure.measure.partition("@")[0]
        assert name in DERIVED or name in BY_NAME or name.rpartition(".")[0] in BY_NAME


def test_a_figure_told_wrongly_must_not_agree() -> None:
    assert agrees("34.2 s", "reconnect_time_s.p50", 34.21)
    assert not agrees("34.0 s", "reconnect_time_s.p50", 34.21)
    assert agrees("33.7 s", "delivery_latency_ms.max", 33680)
    assert not agrees("33.7 ms", "delivery_latency_ms.max", 33680)
    assert agrees("103 000", "signals.presence", 103223)
    assert not agrees("756", "attempts_per_s@140", 775)
    assert not agrees("no queue", "waiting@140", 3)
    assert four_figures(33678.477) == 33680
    assert four_figures(34.209791) == 34.21


if os.environ.get("HYPOTHESIS_PROFILE") == "soak":

    @pytest.mark.parametrize("finding", FOUND, ids=lambda finding: finding.id)
    def test_what_an_expectation_tells_must_be_found_again(finding: Finding) -> None:
        """Some minutes in all: the experiments at full size, seed 1."""
        assert measured(finding) == {figure.measure: four_figures(figure.value) for figure in finding.figures}
