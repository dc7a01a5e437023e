"""The project's own client passes every case, and the cases put to the test what they say they do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mockrelay.certify.case import catalogue, chosen
from mockrelay.certify.document import renewed
from mockrelay.certify.reference import ReferenceApp
from mockrelay.certify.verdicts import CaseResult
from tests.certify.support import certified, said
from zentalk_sim.checks.registry import catalogue as checks

NEVER = {
    "client.confirms_again",
    "client.queue_order",
    "client.resend_pace",
    "client.resend_wait",
    "client.shown_once",
    "client.state_backoff",
    "client.state_edges",
}
"""Checks that no case can exercise; the report says why."""


@pytest.fixture(scope="module")
def results() -> dict[str, CaseResult]:
    """Every case, run once."""
    return certified(ReferenceApp)


def test_the_reference_client_passes_every_case(results: dict[str, CaseResult]) -> None:
    assert list(results) == [case.id for case in catalogue()]
    others = [said(r) for r in results.values() if (r.message, r.close) != ("pass", "pass")]
    assert not others, "\n".join(others)


def test_each_case_exercises_the_checks_that_it_names(results: dict[str, CaseResult]) -> None:
    idle = [(case.id, name) for case in catalogue() for name in case.checks if name not in results[case.id].exercised]
    assert idle == []


def test_every_client_check_is_exercised_by_some_case_but_for_seven(results: dict[str, CaseResult]) -> None:
    exercised = {name for result in results.values() for name in result.exercised}
    assert {kind.id for kind in checks() if kind.side == "client"} - exercised == NEVER


def test_each_case_shows_its_wire_log_without_a_token(results: dict[str, CaseResult]) -> None:
    token = re.compile(r"eyJ[A-Za-z0-9_-]{20,}\.")
    assert all(result.wire for result in results.values())
    assert not [r.id for r in results.values() if token.search(str(r.wire))]


def test_cases_are_many_numbered_cited_and_explained() -> None:
    cases = catalogue()
    assert len(cases) >= 45
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.expectation.endswith((".", ")")) and case.title for case in cases)
    assert all(re.fullmatch(r"R-\d+\.\d+|RFC \d+ §[\d.]+", case.citation) for case in cases)


def test_cases_name_checks_that_there_are() -> None:
    known = {kind.id for kind in checks()}
    assert [name for case in catalogue() for name in (*case.checks, *case.ignores) if name not in known] == []


def test_the_page_lists_every_case_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "certify.md").read_text(encoding="utf-8")
    assert renewed(page) == page, "run python -m mockrelay.certify.document"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(("11",), ["11.1", "11.2", "11.3", "11.4"]), (("1.1",), ["1.1"]), (("2.9-3.2",), ["2.9", "3.1", "3.2"])],
)
def test_cases_are_chosen_by_number_group_or_span(wanted: tuple[str, ...], found: list[str]) -> None:
    assert [case.id for case in chosen(wanted)] == found


@pytest.mark.parametrize("wanted", ["12", "1.99", "3.2-3.1", "x", ""])
def test_a_number_that_is_none_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="there is no case"):
        chosen((wanted,))
