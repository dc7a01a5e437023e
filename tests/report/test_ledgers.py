"""Both ledgers of the contract, each fault named with its figures."""

from __future__ import annotations

import pytest

from tests.report.synthetic import Storm
from zentalk_sim.report.results import check_ledgers

BALANCED = {
    "messages.sent": 10,
    "messages.acked": 6,
    "messages.rejected": 1,
    "messages.failed": 1,
    "messages.unacked": 2,
    "messages.failed_but_stored": 1,
    "copies.stored": 12,
    "copies.confirmed": 5,
    "copies.dropped.overflow": 1,
    "copies.dropped.expired": 2,
    "copies.dropped.device_removed": 1,
    "copies.pending": 3,
}


def test_balanced_ledgers_have_no_fault(storm: Storm) -> None:
    assert check_ledgers(BALANCED) == []
    assert check_ledgers({}) == []
    assert check_ledgers(storm.results.counts) == []


@pytest.mark.parametrize(
    ("name", "ledger"),
    [(n, n.partition(".")[0]) for n in BALANCED if n != "messages.failed_but_stored"],
)
def test_one_too_many_anywhere_is_named(name: str, ledger: str) -> None:
    total = {"messages": "messages.sent", "copies": "copies.stored"}[ledger]
    (fault,) = check_ledgers({**BALANCED, name: BALANCED[name] + 1})
    assert fault.startswith(f"{total} is ")
    assert ("(+1 missing)" if name == total else "(-1 missing)") in fault
    assert f"{name} {BALANCED[name] + 1}" in fault or name == total


def test_both_ledgers_are_named_where_both_are_off() -> None:
    faults = check_ledgers({"messages.sent": 1, "copies.stored": 1})
    assert [fault.split(" is ")[0] for fault in faults] == ["messages.sent", "copies.stored"]


@pytest.mark.requirement("R-6.5")
def test_a_drop_for_a_cause_without_a_place_in_the_ledger_is_a_fault() -> None:
    (fault,) = check_ledgers({**BALANCED, "copies.dropped.by_mistake": 2})
    assert "copies.dropped.by_mistake is 2" in fault


def test_negative_counts_are_a_fault() -> None:
    (fault,) = check_ledgers({**BALANCED, "messages.acked": 9, "messages.unacked": -1})
    assert fault == "messages.unacked is -1: a count is never negative"
