"""Inputs and timers at one instant (R-13.1), and that nothing but what is passed in decides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_world import START_US, Line, RelayWorld

from zentalk_sim.protocol.effects import Close, Effect, Send

SECOND = 1_000_000


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


def spoken(effects: list[Effect]) -> list[tuple[int, str, int]]:
    """(connection, frame type or close code, timestamp in ms) of what the relay said."""
    said = []
    for effect in effects:
        if isinstance(effect, Send):
            said.append((effect.conn, effect.frame.type, effect.frame.timestamp))
        elif isinstance(effect, Close):
            said.append((effect.conn, str(effect.code), 0))
    return said


@pytest.mark.requirement("R-13.1")
def test_timers_due_before_an_input_must_run_first_and_each_at_its_own_instant(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    began_ms = world.now_ms
    said = spoken(line.relay.receive_data(line.conn, "x", world.now + 75 * SECOND))
    assert said == [
        (line.conn, "PING", began_ms + 30_000),
        (line.conn, "PING", began_ms + 70_000),
        (line.conn, "ERROR", began_ms + 75_000),
    ]


@pytest.mark.requirement("R-13.1")
@pytest.mark.parametrize("late_us", [0, 1])
def test_an_input_at_the_instant_of_a_timer_must_come_before_it(world: RelayWorld, late_us: int) -> None:
    line = world.person("alice").connect()
    at = world.now + 30 * SECOND
    said = [kind for _, kind, _ in spoken(line.relay.receive_data(line.conn, "x", at + late_us))]
    assert said == (["PING", "ERROR"] if late_us else ["ERROR"])
    said = [kind for _, kind, _ in spoken(line.relay.handle_timeout(at + late_us))]
    assert said == ([] if late_us else ["PING"])


@pytest.mark.requirement("R-13.1")
def test_a_rest_request_a_command_and_a_loss_must_be_inputs_too(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    line, other = alice.connect(), bob.connect()
    began = world.now
    world.now = began + 31 * SECOND
    alice.rest("GET", "/api/messages")
    assert [line.types()[-1], other.types()[-1]] == ["PING", "PING"]
    world.now = began + 45 * SECOND
    world.person("carol")
    assert world.count("heartbeats.missed") == 2
    world.now = began + 71 * SECOND
    line.lose()
    assert [len(line.of("PING")), len(other.of("PING"))] == [2, 2]


@pytest.mark.requirement("R-13.1")
def test_timers_of_one_instant_must_run_in_the_order_they_were_armed(world: RelayWorld) -> None:
    lines = [world.person(f"p{i}").connect() for i in range(4)]
    said = spoken(world.relay.handle_timeout(world.now + 30 * SECOND))
    assert [conn for conn, _, _ in said] == [line.conn for line in lines]


@pytest.mark.requirement("R-13.1")
def test_the_deadline_asked_for_must_be_the_next_that_matters(world: RelayWorld) -> None:
    assert world.relay.next_timeout() is None
    line = world.person("alice").open()
    assert world.relay.next_timeout() == world.now + 5 * SECOND
    line.authenticate()
    world.advance_us(5 * SECOND)
    assert world.relay.next_timeout() == world.now + 25 * SECOND


@pytest.mark.requirement("R-13.1", "R-8.1")
def test_periodic_timers_must_step_from_their_own_deadline(world: RelayWorld) -> None:
    """A face that is late by up to four seconds at each call moves no deadline."""
    line = world.person("alice").connect()
    began = world.now
    for _ in range(6):
        due = line.relay.next_timeout()
        assert due is not None
        world.now = due + 4 * SECOND - 1
        world.apply(line.relay.handle_timeout(world.now))
        if line.frames[-1]["type"] == "PING":
            line.pong()
    pings = [frame["payload"]["timestamp"] - began // 1000 for frame in line.of("PING")]
    assert pings == [30_000 * (k + 1) for k in range(len(pings))]
    assert len(pings) >= 2


@pytest.mark.requirement("R-13.1")
def test_time_that_goes_back_must_be_the_callers_error(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    with pytest.raises(ValueError, match="time went back"):
        line.relay.receive_data(line.conn, "x", world.now - 1)
    with pytest.raises(ValueError, match="time went back"):
        line.relay.handle_timeout(world.now - 1)


ACTIONS = ["ping back", "message", "presence", "read", "bad", "lose", "connect", "nothing"]


def act(lines: list[Line], who: int, action: str) -> None:
    line = lines[who]
    world = line.world
    if line.close_code is not None and not line.gone:
        line.lose()
    if line.gone or action == "connect":
        if line.gone:
            lines[who] = line.person.open()
        return
    if line.of("AUTH_CHALLENGE") and not line.of("AUTH_SUCCESS"):
        line.authenticate()
        return
    match action:
        case "ping back" if line.of("PING"):
            line.pong()
        case "message":
            line.message(lines[1 - who].person)
        case "presence":
            line.send("PRESENCE_SET", {"status": "away"})
        case "read":
            line.send("MESSAGE_READ", {"message_id": world.uuid()})
        case "bad":
            line.raw("x")
        case "lose":
            line.lose()


def live(steps: list[tuple[int, int, str]], *, prompt: bool) -> list[Any]:
    """Live through steps of (wait in µs, who, what); a prompt face runs each timer as it falls due."""
    world = RelayWorld(seed="time")
    lines = [world.person(name).open() for name in ("alice", "bob")]
    everything = list(lines)
    for wait_us, who, action in steps:
        # A microsecond off any round number, so that no input meets a timer at its instant.
        wait_us += 1
        if prompt:
            world.advance_us(wait_us)
        else:
            world.now += wait_us
        # A timer's Close reaches a late face only with the next input; both faces look at the same moment.
        world.apply(world.relay.handle_timeout(world.now))
        act(lines, who, action)
        everything += [line for line in lines if line not in everything]
    world.apply(world.relay.handle_timeout(world.now))
    return [world.relay.snapshot(), *[(line.frames, line.close_code) for line in everything]]


@pytest.mark.requirement("R-13.1")
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, SECOND // 3, 4 * SECOND, 29 * SECOND, 47 * SECOND, 400 * SECOND]),
            st.integers(0, 1),
            st.sampled_from(ACTIONS),
        ),
        max_size=25,
    )
)
def test_a_face_that_calls_late_must_see_what_a_prompt_one_sees(steps: list[tuple[int, int, str]]) -> None:
    assert live(steps, prompt=True) == live(steps, prompt=False)


def test_the_same_inputs_must_give_the_same_effects() -> None:
    def run() -> bytes:
        world = RelayWorld(seed=5)
        alice, bob = world.person("alice"), world.person("bob")
        a, b = alice.connect(), bob.connect()
        for index in range(5):
            a.message(bob, b"%d" % index)
            world.advance(17)
            b.send("MESSAGE_RECEIVED", {"message_id": b.of("MESSAGE_NEW")[-1]["id"]})
        assert world.now > START_US
        return json.dumps([a.frames, b.frames]).encode() + world.relay.snapshot()

    assert run() == run()
