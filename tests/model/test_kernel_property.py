"""The kernel against stock SimPy on random models: the same events at the same instants in the same order.

A model is drawn as a script: processes that wait, share instants, interrupt each other, wait for each other and for
conditions, use a resource, and schedule bare events with priorities. What each does is written down and compared.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from simpy.events import NORMAL, URGENT

from tests.model.native_queue import Form, forms, kernel_on

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


@pytest.mark.parametrize("form", forms())
@given(st.lists(st.tuples(st.sampled_from(["call", "timer", "process"]), DELAYS, DELAYS), max_size=40))
def test_callbacks_must_run_as_events_of_their_priority_would(form: Form, entries: list[tuple[str, int, int]]) -> None:
    """Plain entries beside processes: inputs as NORMAL events, timers after all inputs of an instant (R-13.1)."""
    kernel, env = kernel_on(form, 0), simpy.Environment(0)
    ours: Log = []
    theirs: Log = []

    def later(log: Log, number: int) -> Any:
        return lambda _: log.append((number, "event"))

    def process(world: simpy.Environment, log: Log, number: int, first: int, then: int) -> Generator[Any, Any, None]:
        yield world.timeout(first)
        log.append((world.now, number, "first"))
        yield world.timeout(then)
        log.append((world.now, number, "then"))

    for number, (kind, first, then) in enumerate(entries):
        if kind == "process":
            kernel.process(process(kernel, ours, number, first, then))
            env.process(process(env, theirs, number, first, then))
            continue
        event = env.event()
        event._ok, event._value = True, None
        event.callbacks.append(later(theirs, number))
        # SimPy orders by (instant, priority, number), whatever the priority's number: 2 comes after NORMAL.
        env.schedule(event, priority=NORMAL if kind == "call" else 2, delay=first)  # type: ignore[arg-type]
        (kernel.call_at if kind == "call" else kernel.timer_at)(first, later(ours, number), None)
    kernel.run()
    env.run()
    assert ours == theirs


@pytest.mark.parametrize("priority", [URGENT, NORMAL])
def test_a_failed_event_that_nobody_defuses_must_raise_as_in_simpy(priority: Any) -> None:
    for env in (*(kernel_on(form, 0) for form in forms()), simpy.Environment(0)):
        event = env.event()
        event._ok, event._value = False, ZeroDivisionError("unseen")
        env.schedule(event, priority=priority, delay=3)
        with pytest.raises(ZeroDivisionError, match="unseen"):
            env.run()
        assert env.now == 3
