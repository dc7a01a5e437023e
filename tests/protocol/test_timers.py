"""What falls due when: by instant, then by the order of arming; connections in lists, the rest in a heap."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.timers import NEVER, Timers


def connection(number: int = 1) -> Connection:
    return Connection(number, "", "", "", ())


def next_of(timers: Timers) -> Any:
    """The id of the connection that comes up, or the key of what else does."""
    conn = timers.take_connection()
    if conn is None:
        return timers.take()[3]
    if conn.pong_due_us <= timers.first_us:
        timers.end_pong_wait(conn)
    return conn.id


@pytest.mark.requirement("R-13.1")
@given(st.lists(st.integers(0, 5) | st.integers(0, 3_000_000)))
def test_timers_must_come_up_by_instant_and_then_in_the_order_they_were_armed(instants: list[int]) -> None:
    timers = Timers()
    for index, at in enumerate(instants):
        # Keys that cannot be compared: the order must be decided before they are looked at.
        timers.arm(at, "typing", {"index": index})
    listed = timers.entries()
    popped = []
    while timers.first_us != NEVER:
        assert timers.first_us == min(at for at, _, _ in timers.entries())
        assert timers.take_connection() is None
        at, _, kind, key = timers.take()
        popped.append((at, kind, key))
    assert popped == listed
    order = [(at, key["index"]) for at, _, key in popped]
    assert order == sorted((at, index) for index, at in enumerate(instants))


class Plain:
    """The same by a list that is searched through."""

    def __init__(self) -> None:
        self.order = 0
        self.armed: dict[Any, tuple[int, int, int]] = {}

    def arm(self, name: Any, at: int, rank: int) -> None:
        self.order += 1
        self.armed[name] = (at, rank, self.order)

    def take(self) -> Any:
        first = min(self.armed, key=self.armed.__getitem__)
        del self.armed[first]
        return first

    def first_us(self) -> int:
        return min(self.armed.values())[0] if self.armed else NEVER


SPAN = st.sampled_from((0, 1, 2, 30, 400_000)) | st.integers(0, 2_000_000)
ACTS = st.tuples(
    st.sampled_from(("arm", "connection", "connection", "pong", "pong_came", "drop", "take", "take")),
    st.integers(0, 3),
    SPAN,
)


@pytest.mark.requirement("R-13.1")
@given(st.lists(ACTS, max_size=60))
def test_whatever_is_armed_and_ended_the_order_must_be_that_of_a_plain_list(acts: list[tuple[str, int, int]]) -> None:
    timers, plain, now = Timers(), Plain(), 0
    conns = [connection(number) for number in range(4)]
    for step, (act, number, span) in enumerate(acts):
        conn, at = conns[number], now + span
        match act:
            case "arm":
                timers.arm(at, "typing", ("key", step))
                plain.arm(("key", step), at, 1)
            case "connection":
                timers.arm_connection(conn, at)
                plain.arm(("conn", number), at, 1)
            case "pong":
                timers.await_pong(conn, at)
                plain.arm(("pong", number), at, 0)
            case "pong_came":
                timers.end_pong_wait(conn)
                plain.armed.pop(("pong", number), None)
            case "drop":
                timers.drop(conn)
                plain.armed.pop(("conn", number), None)
                plain.armed.pop(("pong", number), None)
            case _ if plain.armed:
                now = timers.first_us
                name = plain.take()
                found = timers.take_connection()
                if name[0] == "key":
                    assert found is None
                    assert timers.take()[3] == name
                else:
                    assert found is conns[name[1]]
                    if name[0] == "pong":
                        assert found.pong_due_us == now
                        timers.end_pong_wait(found)
        assert timers.first_us == plain.first_us()
        assert [at for at, _, _ in timers.entries()] == [
            at for at, rank, _ in sorted(plain.armed.values(), key=lambda entry: (entry[1], entry[0]))
        ]


@pytest.mark.requirement("R-13.1")
def test_at_one_instant_a_pings_time_out_must_come_before_what_was_armed_earlier() -> None:
    timers, alice, bob = Timers(), connection(1), connection(2)
    timers.arm(5, "typing", "a key")
    timers.arm_connection(alice, 5)
    timers.await_pong(bob, 5)
    assert [next_of(timers) for _ in range(3)] == [2, "a key", 1]
    assert timers.first_us == NEVER


@pytest.mark.requirement("R-8.1")
def test_a_shorter_time_out_must_overtake_a_longer_one_that_was_set_before() -> None:
    timers, alice, bob = Timers(), connection(1), connection(2)
    timers.await_pong(alice, 10)
    timers.await_pong(bob, 4)
    assert timers.first_us == 4
    assert [next_of(timers), next_of(timers)] == [2, 1]


def test_what_is_empty_must_have_nothing_due() -> None:
    timers, alice, bob = Timers(), connection(1), connection(2)
    timers.arm(1, "typing", 1)
    timers.arm_connection(alice, 3)
    timers.arm_connection(bob, 2)
    timers.await_pong(bob, 1)
    timers.clear()
    assert (timers.first_us, timers.take_connection(), timers.entries()) == (NEVER, None, [])
    with pytest.raises(IndexError):
        timers.take()


def test_connections_must_be_freed_with_their_timers_though_no_garbage_is_collected() -> None:
    gc.collect()
    gc.disable()
    try:
        others = [found for found in gc.get_objects() if type(found) is Connection]
        timers = Timers()
        for number in range(3):
            conn = connection(number)
            timers.arm_connection(conn, number)
            timers.await_pong(conn, number)
        del timers, conn
        left = [found for found in gc.get_objects() if type(found) is Connection]
        assert len(left) == len(others)
    finally:
        gc.enable()
