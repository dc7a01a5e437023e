"""The kernel: SimPy's order, inputs before timers, processes and callbacks on one queue."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy

from tests.model.native_queue import forms, kernel_on
from zentalk_sim.model.calendar import Actor
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.protocol.streams import Streams


@pytest.fixture(params=forms())
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return kernel_on(request.param, 1_000_000)


@pytest.fixture
def log() -> list[Any]:
    return []


@pytest.mark.requirement("R-13.1")
def test_inputs_must_run_before_timers_of_the_same_instant(kernel: Kernel, log: list[Any]) -> None:
    kernel.timer_at(1_000_010, log.append, "timer")
    kernel.call_at(1_000_010, log.append, "input")
    kernel.timer_at(1_000_009, log.append, "earlier timer")
    kernel.run_until(2_000_000)
    assert log == ["earlier timer", "input", "timer"]


def test_entries_of_one_instant_run_in_the_order_of_scheduling(kernel: Kernel, log: list[Any]) -> None:
    for number in range(100):
        kernel.call_at(1_500_000, log.append, number)
    kernel.run_until(2_000_000)
    assert log == list(range(100))


def test_order_equals_that_of_simpy_over_many_buckets() -> None:
    """The calendar queue against SimPy's own heap: same instants, same order."""
    stream = Streams(1).stream("kernel")
    delays = [stream.between(0, 3_000_000) for _ in range(2000)]

    def record(env: Any) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def process(number: int, delay: int) -> Generator[Any, Any, None]:
            yield env.timeout(delay)
            seen.append((env.now, number))
            yield env.timeout(delays[(number * 7) % len(delays)])
            seen.append((env.now, number))

        for number, delay in enumerate(delays):
            env.process(process(number, delay))
        env.run()
        return seen

    expected = record(simpy.Environment(0))
    for form in forms():
        assert record(kernel_on(form, 0)) == expected


def test_run_until_stops_before_the_entries_of_its_end(kernel: Kernel, log: list[Any]) -> None:
    kernel.call_at(1_000_100, log.append, "before")
    kernel.call_at(1_000_200, log.append, "at the end")
    kernel.run_until(1_000_200)
    assert log == ["before"]
    assert kernel.now == 1_000_200
    kernel.run_until(1_000_201)
    assert log == ["before", "at the end"]
    assert kernel.processed == 2


def test_an_entry_may_schedule_another_at_its_own_instant(kernel: Kernel, log: list[Any]) -> None:
    kernel.call_at(1_000_100, lambda: kernel.call_at(1_000_100, log.append, "second"))
    kernel.timer_at(1_000_100, log.append, "timer")
    kernel.run_until(1_000_101)
    assert log == ["second", "timer"]


def test_scheduling_in_the_past_must_raise(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="1 µs in the past"):
        kernel.call_at(999_999, print)


def test_a_part_of_a_microsecond_must_be_refused_not_cut_off(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match=r"0\.5 µs: this clock counts whole microseconds"):
        kernel.timeout(0.5)
    kernel.timeout(2.0)
    assert kernel.peek() == kernel.now + 2


def test_a_failing_process_must_not_pass_unseen(kernel: Kernel) -> None:
    def broken() -> Generator[Any, Any, None]:
        yield kernel.timeout(5)
        raise RuntimeError("broken fault script")

    kernel.process(broken())
    with pytest.raises(RuntimeError, match="broken fault script"):
        kernel.run_until(2_000_000)


@pytest.mark.parametrize("way", ["callback", "actor", "both"])
def test_random_ties_keep_each_owners_order(way: str) -> None:
    """Bytes of one connection must not overtake each other, however ties between connections fall."""

    class Owner(Actor):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def take(self, number: int) -> None:
            self.seen.append(number)
            order.append(self)

        def act(self, kind: int, argument: int) -> None:
            self.take(argument)

    order: list[Owner] = []
    owners = [Owner() for _ in range(20)]
    kernel = Kernel(0, Streams(3).stream("ties"))
    for number in range(5):
        for owner in owners:
            if way == "callback" or (way == "both" and number % 2):
                kernel.call_at(50, owner.take, number)
            else:
                kernel.calendar.input_for(50, owner, 1, number)
    kernel.run_until(100)
    assert all(owner.seen == [0, 1, 2, 3, 4] for owner in owners)
    firsts = list(dict.fromkeys(order))
    assert firsts != owners


@pytest.mark.requirement("R-13.1")
def test_what_an_owner_has_others_do_must_keep_the_owners_order_under_random_ties() -> None:
    class Socket(Actor):
        def act(self, kind: int, argument: int) -> None:
            order.append(argument)

    order: list[int] = []
    node, other, sockets = Actor(), Actor(), [Socket() for _ in range(20)]
    kernel = Kernel(0, Streams(3).stream("ties"))
    for number, socket in enumerate(sockets):
        kernel.calendar.input_of(node, 50, socket, 1, number)
        kernel.calendar.input_of(other, 50, socket, 1, 100 + number)
    kernel.run_until(100)
    assert [number for number in order if number < 100] == list(range(20))
    assert order in ([*range(20), *range(100, 120)], [*range(100, 120), *range(20)])


@pytest.mark.requirement("R-13.1")
def test_an_actors_inputs_must_run_before_its_timers_and_with_their_kinds(kernel: Kernel, log: list[Any]) -> None:
    class Alice(Actor):
        def act(self, kind: int, argument: str) -> None:
            log.append((kind, argument))

    alice = Alice()
    kernel.calendar.timer_for(1_000_010, alice, 63, "timer")
    kernel.calendar.input_for(1_000_010, alice, 1, "input")
    kernel.call_at(1_000_010, log.append, "callback")
    kernel.run_until(1_000_011)
    assert log == [(1, "input"), "callback", (63, "timer")]
