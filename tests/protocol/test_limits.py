"""The message limits on a connection (R-10.1, R-10.2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from relay_world import Json, Line, RelayWorld

from zentalk_sim.protocol.config import FrameConfig, HeartbeatConfig, Limit, Limits, RelayConfig
from zentalk_sim.protocol.control import MakeContacts

SECOND = 1_000_000
QUIET = HeartbeatConfig(interval_ms=10**12)


def pair(limits: Limits | None = None, **config: Any) -> tuple[Line, Line]:
    """alice and bob, contacts, connected, off the millisecond."""
    world = RelayWorld(RelayConfig(limits=limits or Limits(), heartbeat=QUIET, **config))
    world.advance_us(123_457)
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    return alice.connect(), bob.connect()


def limited(line: Line) -> Json | None:
    """``details`` of a RATE_LIMITED answer to the last frame, if that is what came."""
    frame = line.frames[-1] if line.frames else None
    if frame is None or frame["type"] != "ERROR" or frame["payload"]["error_code"] != "RATE_LIMITED":
        return None
    return dict(frame["payload"]["details"])


@pytest.mark.requirement("R-10.1", "table:Message Rate Limits/Send message", "table:Message Rate Limits/Send message")
def test_a_greedy_sender_must_get_ten_at_once_one_a_second_to_sixty_and_a_pause() -> None:
    """The sawtooth, to the microsecond: the sender always comes again at the very ``reset_at``."""
    a, b = pair()
    world, began = a.world, a.world.now
    admitted: list[int] = []
    pauses: list[str] = []
    while world.now < began + 130 * SECOND:
        a.clear()
        a.message(b.person)
        details = limited(a)
        if details is None:
            admitted.append(world.now - began)
            continue
        pauses.append(details["reason"])
        assert details["limit"] == 60
        assert details["window_seconds"] == 60
        assert details["current_count"] == sum(1 for at in admitted if at > world.now - began - 60 * SECOND)
        # reset_at is in ms: the instant itself is found by trying a microsecond before it and at it.
        ready = -(-(details["reset_at"] * 1000 - 1000 - began) // SECOND) * SECOND
        assert details["retry_after"] == max(1, -(-(ready - (world.now - began)) // SECOND))
        assert details["reset_at"] == -(-(began + ready) // 1000)
        world.advance_us(began + ready - 1 - world.now)
        a.clear()
        a.message(b.person)
        assert limited(a) is not None
        world.advance_us(1)
    first_minute = [0] * 10 + [k * SECOND for k in range(1, 51)]
    second_minute = [60 * SECOND] * 10 + [(60 + k) * SECOND for k in range(1, 51)]
    assert admitted[:120] == first_minute + second_minute
    assert admitted[120:130] == [120 * SECOND] * 10
    assert pauses[:51] == ["burst"] * 50 + ["window"]
    assert len(b.of("MESSAGE_NEW")) == len(admitted)


@pytest.mark.requirement("R-10.1", "R-1.7")
def test_the_refusal_must_have_exactly_the_fields_of_the_ruling() -> None:
    a, b = pair()
    for _ in range(11):
        a.message(b.person)
    assert a.error()["message"] == "send_message limit exceeded"
    assert limited(a) == {
        "limit": 60,
        "window_seconds": 60,
        "current_count": 10,
        "retry_after": 1,
        "reset_at": -(-(a.world.now + SECOND) // 1000),
        "reason": "burst",
    }


def presence(line: Line) -> None:
    line.send("PRESENCE_SET", {"status": "online"})


def subscribe(line: Line) -> None:
    line.send("SUBSCRIBE", {"topics": []})


def unsubscribe(line: Line) -> None:
    line.send("UNSUBSCRIBE", {"topics": []})


def read(line: Line) -> None:
    line.send("MESSAGE_READ", {"message_id": line.world.uuid()})


OPERATIONS = [
    pytest.param(
        presence,
        "presence",
        1,
        1,
        60,
        id="presence",
        marks=pytest.mark.requirement("table:Message Rate Limits/Presence update"),
    ),
    pytest.param(
        subscribe,
        "subscribe",
        5,
        10,
        60,
        id="subscribe",
        marks=pytest.mark.requirement("table:Message Rate Limits/Subscribe"),
    ),
    pytest.param(
        unsubscribe,
        "subscribe",
        5,
        10,
        60,
        id="unsubscribe",
        marks=pytest.mark.requirement("table:Message Rate Limits/Subscribe"),
    ),
    pytest.param(
        read,
        "read_receipt",
        20,
        100,
        60,
        id="read",
        marks=pytest.mark.requirement("table:Message Rate Limits/Read receipt"),
    ),
]


@pytest.mark.requirement("R-10.1")
@pytest.mark.parametrize(("operate", "name", "burst", "limit", "window_s"), OPERATIONS)
def test_an_operation_must_be_admitted_to_its_burst_and_then_at_its_rate(
    operate: Any, name: str, burst: int, limit: int, window_s: int
) -> None:
    line, _ = pair()
    for _ in range(burst):
        operate(line)
        assert limited(line) is None
    operate(line)
    details = limited(line)
    assert details is not None
    assert (details["limit"], details["current_count"]) == (limit, burst)
    assert line.world.count(f"rate_limited.{name}") == 1
    line.world.advance_us(-(-window_s * SECOND // limit) - 1)
    operate(line)
    assert limited(line) is not None
    line.world.advance_us(1)
    line.clear()
    operate(line)
    assert limited(line) is None


@pytest.mark.requirement("R-10.1")
def test_subscribe_and_unsubscribe_must_share_one_limit() -> None:
    line, _ = pair()
    for index in range(5):
        (subscribe if index % 2 else unsubscribe)(line)
    subscribe(line)
    assert limited(line) is not None


@pytest.mark.requirement("R-10.1")
def test_message_limits_must_be_per_device_and_survive_reconnection() -> None:
    world = RelayWorld(RelayConfig(heartbeat=QUIET), nodes=2)
    alice, bob = world.person("alice", devices=2), world.person("bob")
    first, second = alice.connect(0), alice.connect(1)
    for _ in range(10):
        first.message(bob)
    first.message(bob)
    assert limited(first) is not None
    second.message(bob)
    assert limited(second) is None
    first.lose()
    again = alice.connect(0, relay=1)
    again.message(bob)
    assert limited(again) is not None
    world.advance(1)
    again.clear()
    again.message(bob)
    assert limited(again) is None


@pytest.mark.requirement("R-10.2", "R-1.8")
def test_a_refused_message_must_leave_nothing() -> None:
    a, b = pair()
    for _ in range(10):
        a.message(b.person)
    message_id, nonce = a.world.uuid(), "A" * 16
    a.message(b.person, id=message_id, nonce=nonce)
    assert limited(a) is not None
    assert len(b.of("MESSAGE_NEW")) == 10
    a.world.advance(1)
    a.message(b.person, b"another text", id=message_id, nonce=nonce)
    assert a.last("MESSAGE_ACK") == {
        "message_id": message_id,
        "server_timestamp": a.world.now_ms,
        "status": "queued",
        "recipient_devices": 1,
    }


@pytest.mark.requirement("R-10.2", "table:WebSocket Close Codes/4002")
def test_the_thirtieth_refusal_in_a_row_must_get_its_error_and_then_4002() -> None:
    a, b = pair()
    for _ in range(10):
        a.message(b.person)
    a.clear()
    for _ in range(29):
        a.message(b.person)
    assert a.close_code is None
    a.message(b.person)
    assert a.types() == ["ERROR"] * 30
    assert a.close_code == 4002


@pytest.mark.requirement("R-10.2")
def test_refusals_of_every_kind_must_count_together() -> None:
    a, b = pair()
    for _ in range(10):
        a.message(b.person)
    presence(a)
    for _ in range(15):
        a.message(b.person)
        assert a.close_code is None
        presence(a)
    assert a.close_code == 4002


@pytest.mark.requirement("R-10.2")
@pytest.mark.parametrize("admission", [presence, subscribe, read, "message"])
def test_an_admission_must_clear_the_run(admission: Any) -> None:
    a, b = pair()
    for _ in range(39):
        a.message(b.person)
    if admission == "message":
        a.world.advance(1)
        a.message(b.person)
    else:
        admission(a)
    a.message(b.person)
    assert a.close_code is None
    for _ in range(29):
        a.message(b.person)
    assert a.close_code == 4002


@pytest.mark.requirement("R-10.2")
@pytest.mark.parametrize("frame", ["PONG", "MESSAGE_RECEIVED", "malformed", "duplicate"])
def test_what_no_limit_admitted_must_not_clear_the_run(frame: str) -> None:
    a, b = pair()
    first = a.message(b.person, nonce="A" * 16)
    for _ in range(38):
        a.message(b.person)
    match frame:
        case "PONG":
            a.send("PONG", {"timestamp": 1, "client_time": 1})
        case "MESSAGE_RECEIVED":
            a.send("MESSAGE_RECEIVED", {"message_id": a.world.uuid()})
        case "malformed":
            a.raw("x")
        case _:
            a.message(b.person, id=first, nonce="A" * 16)
            assert a.last("MESSAGE_ACK")["status"] == "duplicate"
    assert a.close_code is None
    a.message(b.person)
    assert a.close_code == 4002


@pytest.mark.requirement("R-10.2", "R-7.4", "table:Message Rate Limits/Typing indicator")
def test_typing_must_be_ignored_and_never_refused() -> None:
    a, b = pair()
    a.message(b.person)
    conversation = b.last("MESSAGE_NEW")["conversation_id"]
    for _ in range(50):
        a.send("TYPING_START", {"conversation_id": conversation})
    assert not a.of("ERROR")
    assert len(b.of("TYPING_START")) == 1
    assert a.close_code is None


@pytest.mark.requirement("R-10.4")
@pytest.mark.parametrize(
    ("operate", "name"), [(presence, "presence"), (subscribe, "subscribe"), (read, "read_receipt")]
)
def test_every_limit_must_be_off_able(operate: Any, name: str) -> None:
    line, _ = pair(msgspec.convert({name: "off"}, Limits))
    for _ in range(150):
        operate(line)
        assert limited(line) is None


@pytest.mark.requirement("R-10.4")
def test_the_send_limit_must_be_configurable_off_able_and_hold_at_once() -> None:
    a, b = pair(Limits(send_message="off"))
    for _ in range(100):
        a.message(b.person)
    assert len(a.of("MESSAGE_ACK")) == 100
    a.relay.configure(RelayConfig(limits=Limits(send_message=Limit(limit=2, window_s=7)), heartbeat=QUIET))
    for _ in range(3):
        a.message(b.person)
    assert len(a.of("MESSAGE_ACK")) == 102
    assert limited(a) == {
        "limit": 2,
        "window_seconds": 7,
        "current_count": 2,
        "retry_after": 7,
        "reset_at": -(-(a.world.now + 7 * SECOND) // 1000),
        "reason": "window",
    }


@pytest.mark.requirement("R-10.2", "R-10.4")
def test_the_length_of_the_run_must_be_a_setting() -> None:
    a, b = pair(frames=FrameConfig(max_refused_in_a_row=1))
    for _ in range(11):
        a.message(b.person)
    assert a.close_code == 4002


@pytest.mark.requirement("R-10.1")
def test_a_message_by_rest_must_draw_on_the_same_limit() -> None:
    a, b = pair()
    for _ in range(10):
        a.message(b.person)
    body = {
        "id": a.world.uuid(),
        "to": b.person.address,
        "ciphertext": "AAAA",
        "nonce": "A" * 16,
        "message_type": "text",
    }
    answer = a.person.rest("POST", "/api/messages", body)
    assert answer.status == 429
    assert ("Retry-After", "1") in answer.headers
    a.world.advance(1)
    assert a.person.rest("POST", "/api/messages", body).status == 200
    a.clear()
    a.message(b.person)
    assert limited(a) is not None
