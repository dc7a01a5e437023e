"""Instants to the microsecond, on the simulator, whose links here have no latency."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulator_stage import SimulatorLine, SimulatorStage
from stage import Actor

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.identity import conversation_id

requirement = pytest.mark.requirement
SECOND = 1_000_000


@pytest.fixture
def stage() -> Iterator[SimulatorStage]:
    made = SimulatorStage(RelayConfig())
    yield made
    made.close()


def connected(stage: SimulatorStage, actor: Actor) -> tuple[SimulatorLine, int]:
    """A line, and the instant of its AUTH_SUCCESS."""
    line = actor.connect()
    assert isinstance(line, SimulatorLine)
    return line, instants(line, "AUTH_SUCCESS")[0]


def instants(line: SimulatorLine, kind: str) -> list[int]:
    """When the frames of a type came, in µs."""
    return [at for frame, at in zip(line.frames, line.came_us, strict=True) if frame["type"] == kind]


@requirement("R-8.1")
def test_a_silent_peer_must_be_pinged_at_30_70_110_and_dropped_at_120_s(stage: SimulatorStage) -> None:
    line, began = connected(stage, stage.user("alice"))
    stage.advance(130)
    assert [at - began for at in instants(line, "PING")] == [30 * SECOND, 70 * SECOND, 110 * SECOND]
    assert line.close_code == 1006
    assert line.closed_us is not None
    assert line.closed_us - began == 120 * SECOND


@requirement("R-8.1", "R-8.2")
def test_an_answered_ping_must_be_followed_by_the_next_30_s_after_it_was_sent(stage: SimulatorStage) -> None:
    line, began = connected(stage, stage.user("alice"))
    for n in range(1, 6):
        stage.advance((began + n * 30 * SECOND - stage.kernel.now) / SECOND)
        ping = line.expect("PING")
        # Answered seven seconds late, and still the next one comes 30 s after this one.
        stage.advance(7)
        line.send("PONG", {"timestamp": ping["timestamp"], "client_time": stage.now_ms()})
        stage.settle()
    assert [at - began for at in instants(line, "PING")] == [n * 30 * SECOND for n in range(1, 6)]


@requirement("R-4.3")
def test_the_authentication_time_out_must_fall_5_s_after_the_challenge(stage: SimulatorStage) -> None:
    line = stage.user("alice").open()
    assert isinstance(line, SimulatorLine)
    stage.advance(6)
    assert line.closed_us is not None
    assert line.closed_us - instants(line, "AUTH_CHALLENGE")[0] == 5 * SECOND


@requirement("R-7.4")
def test_typing_must_stop_5_s_after_it_began(stage: SimulatorStage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    (a, _), (b, _) = connected(stage, alice), connected(stage, bob)
    a.send("TYPING_START", {"conversation_id": conversation_id(alice.address, bob.address)})
    stage.settle()
    stage.advance(6)
    assert instants(b, "TYPING_STOP")[0] - instants(b, "TYPING_START")[0] == 5 * SECOND


@requirement("R-10.1")
def test_a_greedy_sender_must_be_admitted_by_the_sawtooth(stage: SimulatorStage) -> None:
    """Ten at once, one a second to sixty, a pause until the minute is over."""
    alice, bob = stage.user("alice"), stage.user("bob")
    line, _ = connected(stage, alice)
    began = stage.kernel.now
    while stage.kernel.now < began + 62 * SECOND:
        acked = len(line.of("MESSAGE_ACK"))
        line.message(bob)
        stage.settle()
        if len(line.of("MESSAGE_ACK")) == acked:
            # Refused: the ERROR says the instant, in ms, at which both conditions admit again.
            ready_us = line.error()["details"]["reset_at"] * 1000
            stage.advance(max(ready_us - stage.kernel.now, 0) / SECOND)
    seconds = [(at - began) / SECOND for at in instants(line, "MESSAGE_ACK")]
    assert all(at < 0.001 for at in seconds[:10])
    assert [round(at) for at in seconds[10:60]] == list(range(1, 51))
    assert round(seconds[60]) == 60
