"""R-13.1 on an event loop: inputs before timers at one instant, whatever loop it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from mockrelay.clock import RealClock
from mockrelay.event_loop import loop_factory
from mockrelay.turns import Turns


class Core:
    """What is asked of a core: the instant it was told last, and when its timer is due."""

    def __init__(self) -> None:
        self.told_us = 0
        self.due_us: int | None = None
        self.said: list[str] = []

    def run(self) -> None:
        self.due_us = None
        self.said.append("timer")


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    return list(dict.fromkeys([asyncio.new_event_loop, loop_factory()]))


@pytest.mark.requirement("R-13.1")
@pytest.mark.parametrize("factory", loops())
def test_bytes_that_are_there_when_a_timer_comes_up_must_be_heard_first(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def body() -> None:
        loop, clock, core = asyncio.get_running_loop(), RealClock(), Core()
        turns = Turns(clock, loop, 0, lambda: core.told_us, lambda: core.due_us, core.run)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def heard() -> None:
            ours.recv(10)
            core.said.append("input")

        loop.add_reader(ours, heard)
        core.due_us = clock.now_us() + 20_000
        turns.arm()
        # The loop is kept busy past the timer, and bytes come meanwhile: both are found by the same turn.
        theirs.send(b"x")
        while clock.now_us() < core.due_us:
            pass
        while len(core.said) < 2:
            await asyncio.sleep(0.001)
        assert core.said == ["input", "timer"]
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
        turns.stop()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(body())


def test_a_timer_that_was_moved_meanwhile_must_not_come_up_twice() -> None:
    async def body() -> None:
        loop, clock, core = asyncio.get_running_loop(), RealClock(), Core()
        turns = Turns(clock, loop, 0, lambda: core.told_us, lambda: core.due_us, core.run)
        core.due_us = clock.now_us()
        turns.arm()
        turns.look()
        assert core.said == ["timer"]
        await asyncio.sleep(0.002)
        assert core.said == ["timer"]
        turns.stop()
        core.due_us = clock.now_us()
        turns.arm()
        turns.look()
        assert core.said == ["timer"]

    asyncio.run(body())
