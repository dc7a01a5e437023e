"""The kernel against stock SimPy on random models: the same events at the same instants in the same order.

A model is drawn as a script: processes that wait, share instants, interrupt each other, wait for each other and for
conditions, use a resource, and schedule bare events with priorities. What each does is written down and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
import simpy
from hypothesis import example, given
from hypothesis import strategies as st
from simpy.events import NORMAL, URGENT

from tests.model.native_queue import Form, forms, kernel_on
from zentalk_sim.model.kernel import Kernel

Log = list[tuple[Any, ...]]
Step = tuple[str, int, int]

DELAYS = st.one_of(st.integers(0, 3), st.sampled_from([10, 8_191, 8_192, 8_193, 100_000, 5_000_000]))
"""Small ones, so that instants coincide; and some on either side of the calendar's buckets."""
STEPS = st.tuples(
    st.sampled_from(["wait", "any", "all", "interrupt", "join", "resource", "bare", "urgent", "spawn", "callback"]),
    DELAYS,
    st.integers(0, 7),
)
SCRIPTS = st.lists(st.lists(STEPS, max_size=6), min_size=1, max_size=6)


class Model:
    """One run of a script on an environment."""

    def __init__(self, env: simpy.Environment, script: list[list[Step]]) -> None:
        self.env = env
        self.log: Log = []
        self.resource = simpy.Resource(env, capacity=1)
        self.script = script
        self.processes: list[simpy.Process] = []
        for number in range(len(script)):
            self.processes.append(env.process(self.play(str(number), script[number])))

    def note(self, who: str, what: str, value: object = None) -> None:
        """Write down what happened, and when."""
        self.log.append((self.env.now, who, what, value))

    def play(self, who: str, steps: list[Step]) -> Generator[Any, Any, str]:
        """A process: its steps one after the other, interruptions written down."""
        self.note(who, "begins")
        for kind, delay, number in steps:
            try:
                yield from self.step(who, kind, delay, number)
            except simpy.Interrupt as interrupt:
                self.note(who, "interrupted", interrupt.cause)
        self.note(who, "ends")
        return who

    def step(self, who: str, kind: str, delay: int, number: int) -> Generator[Any, Any, None]:
        """One step of a process."""
        env = self.env
        if kind == "wait":
            value = yield env.timeout(delay, value=number)
            self.note(who, "waited", value)
        elif kind == "any":
            found = yield env.timeout(delay, "a") | env.timeout(number, "b")
            self.note(who, "any of", sorted(found.values()))
        elif kind == "all":
            found = yield env.timeout(delay, "a") & env.timeout(number, "b")
            self.note(who, "all of", sorted(found.values()))
        elif kind == "interrupt":
            other = self.processes[number % len(self.processes)]
            if other.is_alive and other is not env.active_process:
                other.interrupt(who)
            yield env.timeout(delay)
            self.note(who, "has interrupted")
        elif kind == "join":
            other = self.processes[number % len(self.processes)]
            if other is not env.active_process:
                value = yield other | env.timeout(delay, "late")
                self.note(who, "joined", sorted(str(v) for v in value.values()))
        elif kind == "resource":
            with self.resource.request() as request:
                yield request
                self.note(who, "holds")
                yield env.timeout(delay)
            self.note(who, "lets go")
        elif kind in ("bare", "urgent"):
            event = env.event()
            event.callbacks.append(lambda event: self.note(who, kind, event.value))
            event._ok, event._value = True, number
            env.schedule(event, priority=URGENT if kind == "urgent" else NORMAL, delay=delay)
            yield env.timeout(number)
            self.note(who, "has scheduled")
        elif kind == "spawn":
            self.processes.append(env.process(self.play(f"{who}.{len(self.processes)}", [("wait", delay, number)])))
            yield env.timeout(0)
        else:
            timeout = env.timeout(delay)
            timeout.callbacks.append(lambda event: self.note(who, "called back"))
            timeout.callbacks.append(lambda event: self.note(who, "called back again"))
            yield timeout


@pytest.mark.parametrize("form", forms())
@given(SCRIPTS)
def test_any_model_must_run_as_on_simpy(form: Form, script: list[list[Step]]) -> None:
    ours, theirs = Model(kernel_on(form, 0), script), Model(simpy.Environment(0), script)
    ours.env.run()
    theirs.env.run()
    assert ours.log == theirs.log
    assert ours.env.now == theirs.env.now
    kernel = kernel_on(form, 0)
    looped = Model(kernel, script)
    kernel.run_until(int(theirs.env.now) + 1)
    assert looped.log == theirs.log


@pytest.mark.parametrize("form", forms())
@given(SCRIPTS, st.lists(st.integers(1, 20_000), min_size=1, max_size=4))
def test_a_run_in_pieces_must_be_the_run_in_one(form: Form, script: list[list[Step]], pieces: list[int]) -> None:
    """``run_until`` stops before what falls on its end, as SimPy's ``run(until=…)`` does."""
    kernel = kernel_on(form, 0)
    ours, theirs = Model(kernel, script), Model(simpy.Environment(0), script)
    now = 0
    for piece in pieces:
        now += piece
        kernel.run_until(now)
        theirs.env.run(until=now)
        assert ours.log == theirs.log
        assert ours.env.now == theirs.env.now == now
    kernel.run()
    theirs.env.run()
    assert ours.log == theirs.log


ENTRIES = st.lists(st.tuples(st.sampled_from(["call", "timer", "process"]), DELAYS, DELAYS), max_size=40)
SAME_INSTANT = [("call", 10_000, 0), ("call", 10_000, 3), ("timer", 10_000, 0), ("timer", 10_000, 0)]
"""What the first schedules at the instant that all share comes after those which were there before."""


def ours_of(kernel: Kernel, entries: list[tuple[str, int, int]]) -> Log:
    """Entries as plain ones of the calendar, each of which schedules another; what will have happened."""
    log: Log = []
    calendar = kernel.calendar

    def entry(number: int, kind: str, then: int) -> None:
        log.append((calendar.now, number, "first"))
        one = calendar.call_one if kind == "call" else calendar.timer_one
        one(calendar.now + then, lambda argument: log.append((calendar.now, number, argument)), "then")

    for number, (kind, first, then) in enumerate(entries):
        if kind == "process":
            kernel.process(waits_twice(kernel, log, number, first, then))
        else:
            (kernel.call_at if kind == "call" else kernel.timer_at)(first, entry, number, kind, then)
    return log


def theirs_of(env: simpy.Environment, entries: list[tuple[str, int, int]]) -> Log:
    """The same as events of SimPy's."""
    log: Log = []

    def event_at(delay: int, priority: int, callback: Callable[[Any], None]) -> None:
        event = env.event()
        event._ok, event._value = True, None
        event.callbacks.append(callback)
        env.schedule(event, priority=priority, delay=delay)  # type: ignore[arg-type]

    def entry(number: int, priority: int, then: int) -> None:
        log.append((env.now, number, "first"))
        event_at(then, priority, lambda _: log.append((env.now, number, "then")))

    for number, (kind, first, then) in enumerate(entries):
        if kind == "process":
            env.process(waits_twice(env, log, number, first, then))
        else:
            # SimPy orders by (instant, priority, number), whatever the priority's number: 2 comes after NORMAL.
            priority = NORMAL if kind == "call" else 2
            event_at(first, priority, partial(lambda n, p, t, _: entry(n, p, t), number, priority, then))
    return log


def waits_twice(env: simpy.Environment, log: Log, number: int, first: int, then: int) -> Generator[Any, Any, None]:
    """A process of two timeouts."""
    yield env.timeout(first)
    log.append((env.now, number, "first"))
    yield env.timeout(then)
    log.append((env.now, number, "then"))


@pytest.mark.parametrize("form", forms())
@given(ENTRIES)
@example(SAME_INSTANT)
def test_callbacks_must_run_as_events_of_their_priority_would(form: Form, entries: list[tuple[str, int, int]]) -> None:
    """Plain entries beside processes: inputs as NORMAL events, timers after all inputs of an instant (R-13.1).

    Step by step, and in the loop that a simulated world runs in.
    """
    env = simpy.Environment(0)
    theirs = theirs_of(env, entries)
    env.run()
    stepped = kernel_on(form, 0)
    by_step = ours_of(stepped, entries)
    stepped.run()
    assert by_step == theirs
    looped = kernel_on(form, 0)
    by_loop = ours_of(looped, entries)
    looped.run_until(1 << 40)
    assert by_loop == theirs


@pytest.mark.parametrize("priority", [URGENT, NORMAL])
def test_a_failed_event_that_nobody_defuses_must_raise_as_in_simpy(priority: Any) -> None:
    for env in (*(kernel_on(form, 0) for form in forms()), simpy.Environment(0)):
        event = env.event()
        event._ok, event._value = False, ZeroDivisionError("unseen")
        env.schedule(event, priority=priority, delay=3)
        with pytest.raises(ZeroDivisionError, match="unseen"):
            env.run()
        assert env.now == 3
