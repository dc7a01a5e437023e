"""The same small experiment simulated and over loopback sockets: at once message for message, in real time by its laws.

A device begins to send when it is first connected, and all that it sends is planned from there. In real time that is a
little later than in the simulation, by what sockets and a busy machine take, so that messages pass over the edges of
any span of time: twenty devices that send 50 a second and are late by d let about 50 d in at the one edge and out at
the other. How many fall into the span is therefore compared where no time is lost, and must be the same; in real time
(``make soak``, twelve seconds) the messages themselves are compared, from each sender's first on.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.validation.faces import DEVICES, Outcome, live_at_once, live_both, simulated

LEAST_MS = 20.0
"""Two hops of the link's least latency."""
ROUNDING_MS = 0.01
"""Unix time in seconds, and its sums, are rounded to less than that."""
CLOCKS_MS = 0.5
"""What two clocks of one machine may differ by."""
IN_REAL_TIME = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
KINDS = pytest.mark.parametrize("is_reset", [False, True], ids=["steady", "reset"])


@pytest.fixture(scope="module")
def live() -> Callable[[bool], Outcome]:
    """Over sockets, at once."""
    outcomes = (live_at_once(False), live_at_once(True))
    return lambda is_reset: outcomes[is_reset]


@KINDS
def test_both_faces_must_show_every_message_once_and_take_as_long(
    live: Callable[[bool], Outcome], is_reset: bool
) -> None:
    found, expected = live(is_reset), simulated(is_reset, 1)
    assert expected.planned == len(expected.latencies_ms) > 100
    assert found.planned == len(found.latencies_ms) == expected.planned
    assert (found.shown, expected.shown) == (found.showings, expected.showings)
    assert sorted(found.latencies_ms) == pytest.approx(sorted(expected.latencies_ms), abs=ROUNDING_MS)


@KINDS
def test_both_faces_must_send_the_same(live: Callable[[bool], Outcome], is_reset: bool) -> None:
    assert len(live(is_reset).targets) == DEVICES
    must_send_the_same(live(is_reset), is_reset)


@KINDS
def test_neither_face_may_be_faster_than_the_link(live: Callable[[bool], Outcome], is_reset: bool) -> None:
    assert min(simulated(is_reset, 1).latencies_ms) >= LEAST_MS
    assert min(live(is_reset).latencies_ms) >= LEAST_MS - ROUNDING_MS


def test_after_a_reset_no_device_may_be_back_before_its_backoff_is_over(live: Callable[[bool], Outcome]) -> None:
    expected = simulated(True, 1).away_s
    assert len(expected) == DEVICES
    assert min(expected) >= 1
    assert sorted(live(True).away_s) == pytest.approx(sorted(expected), abs=ROUNDING_MS / 1000)


def must_send_the_same(found: Outcome, is_reset: bool) -> None:
    """As far as both went, each sender wrote to whom it writes to in the simulation."""
    expected = simulated(is_reset, 1).targets
    least = min(map(len, (*found.targets, *expected)))
    assert least >= 8
    alike = sorted(targets[:least] for targets in expected)
    assert sorted(targets[:least] for targets in found.targets) == alike
    assert len(set(alike)) > DEVICES // 2


if IN_REAL_TIME:

    def test_in_real_time_the_same_must_hold_but_for_what_a_machine_takes() -> None:
        for is_reset, found in zip((False, True), live_both(), strict=True):
            assert found.planned == len(found.latencies_ms)
            assert found.shown == found.showings
            assert min(found.latencies_ms) >= LEAST_MS - CLOCKS_MS
            assert all(away_s >= 1 - CLOCKS_MS / 1000 for away_s in found.away_s)
            must_send_the_same(found, is_reset)
        assert found.away_s
