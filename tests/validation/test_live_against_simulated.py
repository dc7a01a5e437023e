"""The same small experiment simulated and over loopback sockets (twelve seconds of real time, mostly idle)."""

from __future__ import annotations

import pytest

from tests.validation.faces import DEVICES, Outcome, live_both, simulated

LEAST_MS = 20.0
"""Two hops of the link's least latency."""
EDGES = 12
"""Messages at the ends of what counts: a device begins to send when it is connected, live a little later."""
CLOCKS_MS = 0.5
"""What two clocks of one machine may differ by."""


@pytest.fixture(scope="module")
def live() -> tuple[Outcome, Outcome]:
    return live_both()


@pytest.mark.parametrize("is_reset", [False, True], ids=["steady", "reset"])
def test_both_faces_must_show_every_message_once(live: tuple[Outcome, Outcome], is_reset: bool) -> None:
    found, expected = live[is_reset], simulated(is_reset, 1)
    assert expected.planned == len(expected.latencies_ms) > 100
    assert found.planned == len(found.latencies_ms)
    assert abs(found.planned - expected.planned) <= EDGES
    assert (found.shown, expected.shown) == (found.showings, expected.showings)


@pytest.mark.parametrize("is_reset", [False, True], ids=["steady", "reset"])
def test_neither_face_may_be_faster_than_the_link(live: tuple[Outcome, Outcome], is_reset: bool) -> None:
    assert min(simulated(is_reset, 1).latencies_ms) >= LEAST_MS
    assert min(live[is_reset].latencies_ms) >= LEAST_MS - CLOCKS_MS


def test_after_a_reset_no_device_may_be_back_before_its_backoff_is_over(
    live: tuple[Outcome, Outcome],
) -> None:
    assert len(simulated(True, 1).away_s) == DEVICES
    assert live[True].away_s
    for away_s in (*simulated(True, 1).away_s, *live[True].away_s):
        assert away_s >= 1 - CLOCKS_MS / 1000
