"""Clients that are broken in one thing fail exactly the cases that are about it."""

from __future__ import annotations

import pytest

from mockrelay.certify.case import chosen
from mockrelay.certify.run import Outcome
from tests.certify.broken import BROKEN, NON_STRICT, Flaw
from tests.certify.still_loop import run_still
from tests.certify.support import certified_all, said

ALL: dict[str, Flaw] = {**BROKEN, **NON_STRICT}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """All broken clients, certified at once: most of their time is waiting."""
    apps = {name: (app, chosen(ids)) for name, (app, ids, _) in ALL.items()}
    return run_still(certified_all(apps, jobs=6))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_client_fails_exactly_the_cases_about_what_is_broken(name: str, outcomes: dict[str, Outcome]) -> None:
    results = outcomes[name].results
    expected = BROKEN[name][2]
    failed = tuple(result.id for result in results if result.failed)
    wrong = [said(result) for result in results if result.failed != (result.id in expected)]
    assert failed == expected, "\n".join(wrong)


@pytest.mark.parametrize("name", NON_STRICT)
def test_a_lax_client_is_non_strict_where_it_is_lax(name: str, outcomes: dict[str, Outcome]) -> None:
    results = outcomes[name].results
    lax = tuple(result.id for result in results if "non_strict" in (result.message, result.close))
    assert lax == NON_STRICT[name][2], "\n".join(map(said, results))
    assert not [said(result) for result in results if result.failed]


def test_there_are_enough_broken_clients() -> None:
    assert len(BROKEN) >= 20
