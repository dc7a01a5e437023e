"""The same small experiment simulated and over loopback sockets (eight seconds of real time, mostly idle)."""

from __future__ import annotations

import asyncio

import pytest

from tests.validation.faces import DEVICES, LiveRun, Outcome, live_both, simulated

LEAST_MS = 20.0
"""Two hops of the link's least latency."""
CLOCKS_MS = 0.5
"""What two clocks of one machine may differ by."""


@pytest.fixture(scope="module")
def live() -> tuple[tuple[Outcome, LiveRun], tuple[Outcome, LiveRun]]:
    return asyncio.run(live_both())


@pytest.mark.parametrize("is_reset", [False, True], ids=["steady", "reset"])
def test_both_faces_must_show_every_message_once(
    live: tuple[tuple[Outcome, LiveRun], tuple[Outcome, LiveRun]], is_reset: bool
) -> None:
    found, played = live[is_reset]
    expected = simulated(is_reset, 1)
    assert found.planned == expected.planned == len(found.latencies_ms) == len(expected.latencies_ms) > 100
    assert set(played.shown.values()) == {1}


@pytest.mark.parametrize("is_reset", [False, True], ids=["steady", "reset"])
def test_neither_face_may_be_faster_than_the_link(
    live: tuple[tuple[Outcome, LiveRun], tuple[Outcome, LiveRun]], is_reset: bool
) -> None:
    assert min(simulated(is_reset, 1).latencies_ms) >= LEAST_MS
    assert min(live[is_reset][0].latencies_ms) >= LEAST_MS - CLOCKS_MS


def test_after_a_reset_no_device_may_be_back_before_its_backoff_is_over(
    live: tuple[tuple[Outcome, LiveRun], tuple[Outcome, LiveRun]],
) -> None:
    assert len(simulated(True, 1).away_s) == DEVICES
    assert live[True][0].away_s
    for away_s in (*simulated(True, 1).away_s, *live[True][0].away_s):
        assert away_s >= 1 - CLOCKS_MS / 1000
