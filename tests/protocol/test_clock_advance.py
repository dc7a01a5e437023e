"""A clock moved by its holder: what becomes of the heartbeat in the span (R-13.2)."""

from __future__ import annotations

import pytest
from relay_world import Line, RelayWorld

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import AdvanceClock
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.relay import Relay

SECOND = 1_000_000


def connect() -> Line:
    line = RelayWorld().person("alice").connect()
    line.clear()
    return line


def advance(line: Line, seconds: float, heartbeat: str = "skip") -> None:
    """Move the clock as a face does: say so, then run what is due."""
    world = line.world
    until_us = world.now + int(seconds * SECOND)
    world.apply(world.relay.control(AdvanceClock(until_us, heartbeat), world.now))  # type: ignore[arg-type]
    world.advance_us(until_us - world.now)


def pings(line: Line, began: int) -> list[float]:
    return [
        (at - began) / SECOND for at, frame in zip(line.arrived_us, line.frames, strict=True) if frame["type"] == "PING"
    ]


@pytest.mark.requirement("R-13.2")
def test_no_ping_must_be_sent_in_a_skipped_span_and_the_next_must_keep_its_step() -> None:
    line = connect()
    world, began = line.world, line.world.now
    advance(line, 3600)
    assert pings(line, began) == []
    assert world.count("heartbeats.sent") == 0
    assert world.count("heartbeats.skipped") == 120, "the one due at the span's very end is of the span"
    assert line.close_code is None
    world.advance(31)
    assert pings(line, began) == [3630]


@pytest.mark.requirement("R-13.2")
def test_a_ping_outstanding_before_the_span_must_keep_its_time_out() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance(30)
    advance(line, 9.9)
    assert world.count("heartbeats.missed") == 0
    advance(line, 0.1)
    assert world.count("heartbeats.missed") == 1
    advance(line, 300)
    assert world.count("heartbeats.missed") == 1, "those due in the span count as answered"
    assert line.close_code is None
    assert pings(line, began) == [30]


@pytest.mark.requirement("R-13.2", "R-8.1")
def test_a_third_miss_in_a_row_must_drop_the_connection_in_a_span_too() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance(119)
    assert pings(line, began) == [30, 70, 110]
    advance(line, 60)
    assert line.end == (1006, "heartbeat")
    assert line.closed_us == began + 120 * SECOND


@pytest.mark.requirement("R-13.2")
def test_skipped_pings_must_clear_a_run_of_misses() -> None:
    line = connect()
    world = line.world
    world.advance(80)
    assert world.count("heartbeats.missed") == 2
    advance(line, 30)
    world.advance(119.9)
    assert line.close_code is None, "three more must be missed"
    world.advance(0.1)
    assert line.end == (1006, "heartbeat")


@pytest.mark.requirement("R-13.2")
def test_with_wait_every_ping_must_be_sent_at_its_instant() -> None:
    line = connect()
    world, began = line.world, line.world.now
    advance(line, 60, "wait")
    assert pings(line, began) == [30]
    assert world.count("heartbeats.missed") == 1


@pytest.mark.requirement("R-13.2")
def test_other_timers_must_run_at_their_own_instants_in_a_skipped_span() -> None:
    line = connect()
    began = line.world.now
    advance(line, 24 * 3600 - 1)
    (at,) = [at for at, frame in zip(line.arrived_us, line.frames, strict=True) if frame["type"] == "TOKEN_EXPIRING"]
    assert at // SECOND == (began // SECOND) + 22 * 3600


def test_a_clock_must_not_be_moved_backwards() -> None:
    line = connect()
    with pytest.raises(ProtocolError, match="forward"):
        line.world.relay.control(AdvanceClock(line.world.now - 1), line.world.now)


def test_a_snapshot_within_a_span_must_keep_the_span() -> None:
    line = connect()
    world = line.world
    until_us = world.now + 300 * SECOND
    world.relay.control(AdvanceClock(until_us), world.now)
    restored = Relay.restored(world.relay.snapshot(), RelayConfig())
    for relay in (world.relay, restored):
        effects = relay.handle_timeout(until_us)
        assert not [effect for effect in effects if getattr(getattr(effect, "frame", None), "type", "") == "PING"]
