"""The heap of deadlines: by instant, then by the order of arming."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.timers import Timers


@pytest.mark.requirement("R-13.1")
@given(st.lists(st.integers(0, 5) | st.integers(0, 3_000_000)))
def test_timers_must_come_up_by_instant_and_then_in_the_order_they_were_armed(instants: list[int]) -> None:
    timers = Timers()
    for index, at in enumerate(instants):
        # Keys that cannot be compared: the order must be decided before they are looked at.
        timers.arm(at, "conn", {"index": index})
    assert len(timers) == len(instants)
    listed = timers.entries()
    popped = []
    while timers.next_us() is not None:
        assert timers.next_us() == min(at for at, *_ in timers.entries())
        popped.append(timers.pop())
    assert popped == listed
    order = [(at, key["index"]) for at, _, _, key in popped]  # type: ignore[index]
    assert order == sorted((at, index) for index, at in enumerate(instants))


def test_an_empty_heap_must_have_nothing_due() -> None:
    timers = Timers()
    timers.arm(1, "conn", 1)
    timers.clear()
    assert (timers.next_us(), len(timers), timers.entries()) == (None, 0, [])
    with pytest.raises(IndexError):
        timers.pop()
