"""The calendar on the queue in C against the definition in Python: the same order, clock, counts and errors.

A model is drawn as a script of what entries do when they run: they schedule others, near and far and in the past, fail,
or run the calendar themselves. It is driven in pieces, and everything that can be seen is written down and compared.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.native_queue import Form, forms
from zentalk_sim.model.calendar import Actor, Calendar

Log = list[tuple[Any, ...]]
Act = tuple[str, int, int]

START_US = 1_700_000_000_000_000
BUCKET_US = 8_192
SPAN_US = BUCKET_US << 12
"""Half of what the ring holds."""
DELAYS = st.one_of(
    st.integers(-2, 3),
    st.sampled_from([100, BUCKET_US - 1, BUCKET_US, BUCKET_US + 1, 50_000, 1_000_000]),
    st.sampled_from([SPAN_US - 1, SPAN_US, 2 * SPAN_US - BUCKET_US, 2 * SPAN_US, 3 * SPAN_US + 1, 10**11]),
    st.integers(0, 3 * SPAN_US),
)
ACTS = st.tuples(
    st.sampled_from(
        [
            "call_one",
            "call_at",
            "input_for",
            "input_of",
            "timer_for",
            "timer_one",
            "timer_at",
            "event_0",
            "event_1",
            "none",
            "fail",
            "run",
            "step",
        ]
    ),
    DELAYS,
    st.integers(0, 30),
)
SCRIPTS = st.lists(st.lists(ACTS, max_size=4), min_size=1, max_size=12)
DRIVES = st.lists(
    st.one_of(
        st.tuples(st.just("run_until"), st.integers(0, 20_000)),
        st.tuples(st.just("run_until"), st.sampled_from([1, BUCKET_US, SPAN_US, 5 * SPAN_US])),
        st.tuples(st.sampled_from(["step", "next_us", "schedule"]), st.integers(0, 30)),
    ),
    max_size=12,
)
MOST = 150
"""Entries that a run may schedule, since scripts may call each other without end."""


OWNER = Actor()


class Model(Actor):
    """One run of a script on a calendar."""

    def __init__(self, form: Form, script: list[list[Act]]) -> None:
        self.calendar = form(START_US)
        self.script = script
        self.scheduled = 0
        self.log: Log = []

    def entry(self, argument: tuple[int, int]) -> None:
        """What an entry does: the acts of its number."""
        self.several(*argument)

    def several(self, name: int, number: int) -> None:
        """The same, of two arguments."""
        self.log.append(("ran", name, self.calendar.now))
        for act in self.script[number % len(self.script)]:
            self.do(act)

    def do(self, act: Act) -> None:
        """One act; what it raises where an entry raises it."""
        what, delay_us, number = act
        at_us = self.calendar.now + delay_us
        if what == "fail":
            raise ZeroDivisionError(f"entry {number}")
        if what == "none" or self.scheduled == MOST:
            return
        self.scheduled += 1
        if what == "run":
            self.attempt("inner run", self.calendar.run_until, at_us)
        elif what == "step":
            self.attempt("inner step", self.calendar.step)
        else:
            self.attempt(what, self.schedule, what, at_us, (self.scheduled, number))

    def act(self, kind: int, argument: tuple[int, int]) -> None:
        """An entry of an actor."""
        assert kind == argument[1] + 1
        self.several(*argument)

    def schedule(self, what: str, at_us: int, argument: tuple[int, int]) -> None:
        """An entry by one of the ways there are."""
        calendar = self.calendar
        if what.startswith("event"):
            calendar.event_at(at_us, int(what[-1]), self.entry, argument)
        elif what == "input_of":
            calendar.input_of(OWNER, at_us, self, argument[1] + 1, argument)
        elif what.endswith("for"):
            (calendar.input_for if what == "input_for" else calendar.timer_for)(at_us, self, argument[1] + 1, argument)
        elif what.endswith("one"):
            (calendar.call_one if what == "call_one" else calendar.timer_one)(at_us, self.entry, argument)
        else:
            (calendar.call_at if what == "call_at" else calendar.timer_at)(at_us, self.several, *argument)

    def attempt(self, what: str, call: Callable[..., object], *arguments: Any) -> None:
        """Write down what comes of a call."""
        try:
            result = call(*arguments)
        except (ValueError, ZeroDivisionError) as error:
            result = repr(error)
        self.log.append((what, result, self.calendar.now))

    def drive(self, drives: list[tuple[str, int]]) -> Log:
        """The whole run."""
        calendar = self.calendar
        for act in (act for acts in self.script for act in acts):
            self.attempt("begin", self.schedule, act[0], START_US + act[1], (0, act[2]))
        for what, number in drives:
            if what == "run_until":
                self.attempt(what, calendar.run_until, calendar.now + number)
            elif what == "schedule":
                self.attempt(what, self.schedule, "call_at", calendar.now + number, (0, number))
            else:
                self.attempt(what, getattr(calendar, what))
            self.log.append((calendar.now, calendar.processed, calendar.next_us() if number % 2 else None))
        while calendar.next_us() is not None:
            self.attempt("last", calendar.step)
        return self.log


@given(SCRIPTS, DRIVES)
def test_any_model_must_run_the_same_on_every_form(script: list[list[Act]], drives: list[tuple[str, int]]) -> None:
    logs = [Model(form, script).drive(drives) for form in forms()]
    assert all(log == logs[0] for log in logs[1:])


class Thing:
    """Something whose end can be seen."""

    def take(self, argument: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("form", forms())
def test_what_entries_hold_must_be_let_go_of_once_they_ran(form: Form) -> None:
    calendar, argument = form(START_US), object()
    before = sys.getrefcount(argument)
    things = [Thing() for _ in range(3)]
    ends = [weakref.ref(thing) for thing in things]
    for delay_us, thing in zip((0, 5_000_000, 3 * SPAN_US), things, strict=True):
        calendar.call_one(START_US + delay_us, thing.take, argument)
        calendar.timer_at(START_US + delay_us, thing.take, argument)
    del things, thing
    assert sys.getrefcount(argument) == before + 6
    calendar.run_until(START_US + 6_000_000)
    assert [end() is None for end in ends] == [True, True, False]
    assert sys.getrefcount(argument) == before + 2
    del calendar
    gc.collect()
    assert ends[2]() is None
    assert sys.getrefcount(argument) == before


@pytest.mark.parametrize("form", forms())
def test_an_entry_that_failed_must_be_let_go_of_and_the_next_one_run(form: Form) -> None:
    calendar, argument, seen = form(START_US), object(), []
    before = sys.getrefcount(argument)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    calendar.call_one(START_US, fail, argument)
    calendar.call_one(START_US, seen.append, "next")
    with pytest.raises(ZeroDivisionError):
        calendar.run_until(START_US + 1)
    assert sys.getrefcount(argument) == before
    assert calendar.processed == 1
    calendar.run_until(START_US + 1)
    assert seen == ["next"]
    assert calendar.processed == 2


@pytest.mark.parametrize("form", forms())
def test_a_calendar_that_its_own_entries_hold_must_be_collected(form: Form) -> None:
    """A world refers to its calendar, and the calendar's entries to the world."""

    class World:
        def __init__(self) -> None:
            self.calendar = form(START_US)
            for delay_us in (0, 1_000_000, 10**12):
                self.calendar.call_one(START_US + delay_us, self.take, self)

        def take(self, world: object) -> None:
            self.calendar.call_one(self.calendar.now + 10, self.take, world)

    world = World()
    world.calendar.run_until(START_US + 100)
    end = weakref.ref(world)
    del world
    gc.collect()
    assert end() is None


def test_a_queue_that_holds_itself_must_be_collected() -> None:
    """Nothing else is in this ring, so that it is the queue in C that the collector empties."""
    for native in forms()[1:]:
        module = sys.modules[native.__module__]
        things = [Thing(), Thing(), Thing()]
        ends = [weakref.ref(thing) for thing in things]
        queue = module.Queue(START_US)
        for delay_us, thing in zip((0, 5_000_000, 3 * SPAN_US), things, strict=True):
            module.push(queue, START_US + delay_us, 1, 0, thing.take, queue)
        del queue, things, thing
        gc.collect()
        assert [end() for end in ends] == [None, None, None]


@pytest.mark.parametrize("form", forms())
def test_what_is_scheduled_while_a_calendar_goes_must_go_too(form: Form) -> None:
    class Last:
        """Schedules as it goes."""

        def __init__(self, calendar: Calendar, thing: Thing) -> None:
            self.calendar = calendar
            self.thing = thing

        def __del__(self) -> None:
            self.calendar.call_one(START_US + 5, self.thing.take, self.calendar)
            gone.append("last")

    gone: list[str] = []
    thing = Thing()
    end = weakref.ref(thing, lambda _: gone.append("thing"))
    calendar = form(START_US)
    calendar.call_one(START_US, print, Last(calendar, thing))
    del calendar, thing
    gc.collect()
    gc.collect()
    assert sorted(gone) == ["last", "thing"]
    assert end() is None


@pytest.mark.parametrize("form", forms())
def test_a_run_to_an_instant_must_leave_no_way_back_before_it(form: Form) -> None:
    """Nor where nothing was scheduled in between."""
    calendar = form(START_US)
    calendar.run_until(START_US + 10 * SPAN_US)
    with pytest.raises(ValueError, match=f"{9 * SPAN_US} µs in the past"):
        calendar.call_one(START_US + SPAN_US, print, None)
    calendar.call_one(START_US + 10 * SPAN_US, print, None)


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("count", [10, 5_000])
def test_many_entries_of_one_bucket_and_of_many_must_run_in_order(form: Form, count: int) -> None:
    """More than a heap of one level, and buckets that grow and shrink again."""
    calendar = form(START_US)
    seen: list[tuple[int, int]] = []
    for spread_us in (BUCKET_US, 200 * BUCKET_US):
        begin_us = calendar.now
        seen.clear()
        for number in range(count):
            at_us = begin_us + number * 7_919 % spread_us
            calendar.call_one(at_us, seen.append, (at_us, number))
        calendar.run_until(begin_us + spread_us)
        assert len(seen) == count
        assert seen == sorted(seen)


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("begin", [0, 1, 4_000, 8_191])
def test_an_entry_must_be_found_however_far_it_is(form: Form, begin: int) -> None:
    """Within the ring from any place of it, at its very end, and beyond."""
    for distance in (0, 1, 63, 64, 65, 4_095, 4_096, 8_127, 8_128, 8_191, 8_192, 8_193, 12_288, 1_000_000):
        seen: list[int] = []
        calendar = form(begin * BUCKET_US)
        at_us = (begin + distance) * BUCKET_US
        calendar.call_one(at_us, seen.append, at_us)
        calendar.call_one(at_us + 3 * SPAN_US, seen.append, -1)
        assert calendar.next_us() == at_us
        calendar.run_until(at_us)
        assert seen == []
        calendar.run_until(at_us + 1)
        assert seen == [at_us]
        assert calendar.next_us() == at_us + 3 * SPAN_US
