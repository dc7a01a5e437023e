"""PING and PONG, to the microsecond (R-8)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_world import Line, RelayWorld

from zentalk_sim.protocol.config import HeartbeatConfig, RelayConfig
from zentalk_sim.protocol.heartbeat import quality_of

SECOND = 1_000_000
START_OFFSET_US = 123_457
"""Connections begin off the millisecond, so that rounding would show."""


def connect(config: HeartbeatConfig | None = None) -> Line:
    world = RelayWorld(RelayConfig(heartbeat=config or HeartbeatConfig()))
    world.advance_us(START_OFFSET_US)
    line = world.person("alice").connect()
    line.clear()
    return line


def pings(line: Line, began: int) -> list[float]:
    """When the PINGs so far were sent, in seconds after ``began``."""
    return [
        (at - began) / SECOND for at, frame in zip(line.arrived_us, line.frames, strict=True) if frame["type"] == "PING"
    ]


def pong(line: Line, timestamp: int | None = None) -> None:
    stamp = line.last("PING")["timestamp"] if timestamp is None else timestamp
    line.send("PONG", {"timestamp": stamp, "client_time": line.world.now_ms})


@pytest.mark.requirement("R-8.1", "table:Heartbeat Mechanism/Ping interval")
def test_answered_pings_must_be_30_s_apart_from_sending_to_sending() -> None:
    line = connect()
    world, began = line.world, line.world.now
    for round_trip_us in (0, 1, 40_000, 9_999_999, 5 * SECOND):
        world.advance_us(30 * SECOND - (world.now - began) % (30 * SECOND))
        world.advance_us(round_trip_us)
        pong(line)
    world.advance_us(25 * SECOND)
    assert pings(line, began) == [30, 60, 90, 120, 150, 180]
    assert world.count("heartbeats.sent") == 6
    assert world.count("heartbeats.missed") == 0
    assert line.close_code is None


@pytest.mark.requirement(
    "R-8.1",
    "table:Heartbeat Mechanism/Pong timeout",
    "table:Heartbeat Mechanism/Max missed pings",
    "table:Heartbeat Mechanism/Total timeout",
    "table:WebSocket Close Codes/1006",
)
def test_a_silent_peer_must_be_dropped_120_s_after_auth_success_without_a_handshake() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance_us(120 * SECOND - 1)
    assert line.close_code is None
    world.advance_us(1)
    assert line.end == (1006, "heartbeat")
    assert line.closed_us == began + 120 * SECOND
    assert pings(line, began) == [30, 70, 110]
    assert world.count("heartbeats.missed") == 3


@pytest.mark.requirement("R-8.1")
def test_after_a_miss_the_next_ping_must_be_due_30_s_after_the_time_out() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance(75)
    pong(line)
    world.advance(30)
    assert pings(line, began) == [30, 70, 100]
    assert world.count("heartbeats.missed") == 1


@pytest.mark.requirement("R-8.1", "R-13.1")
def test_a_pong_at_the_very_time_out_must_still_be_in_time() -> None:
    for late_us, missed in ((0, 0), (1, 1)):
        line = connect()
        line.world.advance(30)
        line.world.now += 10 * SECOND + late_us
        pong(line)
        line.world.advance(0)
        assert line.world.count("heartbeats.missed") == missed


@pytest.mark.requirement("R-8.2")
def test_a_late_pong_must_clear_the_run_though_the_miss_stays_counted() -> None:
    line = connect()
    world, began = line.world, line.world.now
    for count in range(1, 6):
        world.advance_us(began + (count * 40 - 10) * SECOND + 25 * SECOND - world.now)
        assert line.close_code is None
        pong(line)
        assert world.count("heartbeats.missed") == count
    assert pings(line, began) == [30, 70, 110, 150, 190]
    world.advance_us(began + (230 + 10 + 40 + 40) * SECOND - world.now)
    assert line.closed_us == began + (230 + 10 + 40 + 40) * SECOND


@pytest.mark.requirement("R-8.2")
def test_a_late_pong_must_not_move_the_next_ping_and_give_its_round_trip() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance_us(52 * SECOND + 1)
    pong(line)
    world.advance(30)
    assert pings(line, began) == [30, 70]
    assert [note.value_us for note in world.notes if note.name == "rtt"] == [22 * SECOND + 1]


@pytest.mark.requirement("R-8.2")
def test_once_the_next_ping_is_sent_the_one_before_must_no_longer_be_answered() -> None:
    line = connect()
    world, began = line.world, line.world.now
    world.advance(30)
    first = line.last("PING")["timestamp"]
    world.advance(41)
    pong(line, first)
    world.advance_us(began + 120 * SECOND - world.now)
    assert line.close_code == 1006


@pytest.mark.requirement("R-8.2")
@pytest.mark.parametrize("shift_ms", [-1, 1, -30_000])
def test_a_pong_that_echoes_another_timestamp_must_be_ignored(shift_ms: int) -> None:
    line = connect()
    line.world.advance(30)
    pong(line, line.last("PING")["timestamp"] + shift_ms)
    line.world.advance(90)
    assert line.close_code == 1006
    assert line.world.count("rtt") == 0


@pytest.mark.requirement("R-8.2")
def test_a_pong_before_any_ping_or_a_second_one_must_be_ignored() -> None:
    line = connect()
    world = line.world
    pong(line, world.now_ms)
    world.advance(30)
    pong(line)
    world.advance(1)
    pong(line)
    assert world.count("rtt") == 1
    assert not line.of("ERROR")


@pytest.mark.requirement("R-8.2")
def test_the_round_trip_must_be_measured_in_microseconds_from_the_sending() -> None:
    line = connect()
    world = line.world
    world.advance(30)
    assert line.last("PING") == {"timestamp": world.now_ms}
    world.advance_us(41_503)
    pong(line)
    assert [note.value_us for note in world.notes if note.name == "rtt"] == [41_503]
    world.advance(30)
    assert line.last("PING") == {"timestamp": line.arrived_us[-1] // 1000, "rtt_ms": 41.503}


@pytest.mark.parametrize(
    ("rtt_us", "quality"),
    [
        pytest.param(*row, marks=pytest.mark.requirement("R-8.2", "table:Latency Measurement/" + row[1]))
        for row in (
            (0, "excellent"),
            (99_999, "excellent"),
            (100_000, "good"),
            (299_999, "good"),
            (300_000, "fair"),
            (1_000_000, "fair"),
            (1_000_001, "poor"),
            (10**9, "poor"),
        )
    ],
)
def test_quality_must_follow_the_table(rtt_us: int, quality: str) -> None:
    assert quality_of(rtt_us) == quality


@pytest.mark.requirement("R-8.1")
def test_other_frames_must_not_stand_for_a_pong() -> None:
    line = connect()
    for _ in range(11):
        line.world.advance(10)
        line.send("MESSAGE_RECEIVED", {"message_id": line.world.uuid()})
    line.world.advance(10)
    assert line.close_code == 1006


@pytest.mark.requirement("R-8.3")
def test_a_device_that_set_itself_away_must_be_pinged_less_often_where_the_relay_is_told_so() -> None:
    line = connect(HeartbeatConfig(background_interval=90_000))
    world, began = line.world, line.world.now

    def answer_until(at_s: int) -> None:
        while world.now < began + at_s * SECOND:
            world.advance(1)
            if line.of("PING") and line.arrived_us[-1] == world.now and line.frames[-1]["type"] == "PING":
                pong(line)

    answer_until(31)
    line.send("PRESENCE_SET", {"status": "away"})
    answer_until(241)
    world.advance(60)
    assert pings(line, began)[:4] == [30, 60, 150, 240]
    line.send("PRESENCE_SET", {"status": "online"})


@pytest.mark.requirement("R-8.3")
def test_automatic_away_must_not_slow_the_heartbeat() -> None:
    line = connect(HeartbeatConfig(background_interval=90_000))
    world, began = line.world, line.world.now
    for _ in range(12):
        world.advance(30)
        pong(line)
    assert pings(line, began) == list(range(30, 361, 30))


@pytest.mark.requirement("R-8.3")
def test_away_must_not_slow_the_heartbeat_by_default() -> None:
    line = connect()
    began = line.world.now
    line.send("PRESENCE_SET", {"status": "away"})
    for _ in range(3):
        line.world.advance(30)
        pong(line)
    assert pings(line, began) == [30, 60, 90]


@pytest.mark.requirement("R-8.1", "R-10.4")
@pytest.mark.parametrize(
    ("config", "sent", "ended"),
    [
        ({"interval_ms": 1_000, "pong_timeout_ms": 500, "max_missed": 1}, [1], 1.5),
        ({"interval_ms": 1_000, "pong_timeout_ms": 3_000, "max_missed": 2}, [1, 5], 8),
    ],
)
def test_every_number_must_be_a_setting(config: dict[str, Any], sent: list[float], ended: float) -> None:
    line = connect(HeartbeatConfig(**config))
    began = line.world.now
    line.world.advance(20)
    assert pings(line, began) == sent
    assert line.closed_us == began + ended * SECOND


@pytest.mark.requirement("R-8.1", "R-13.1")
def test_an_interval_shorter_than_the_time_out_must_not_send_a_ping_into_the_past() -> None:
    line = connect(HeartbeatConfig(interval_ms=1_000, pong_timeout_ms=10_000))
    world, began = line.world, line.world.now
    world.advance(4)
    pong(line)
    world.advance(0)
    assert pings(line, began) == [1, 4]
    assert line.frames[-1]["timestamp"] == world.now_ms
    assert line.last("PING") == {"timestamp": world.now_ms, "rtt_ms": 3_000.0}


def test_an_ended_connection_must_not_be_pinged() -> None:
    line = connect()
    line.lose()
    line.world.advance(200)
    assert line.frames == []
    assert line.world.relay.next_timeout() is None
