"""Text frames as a relay takes and gives them: the envelope, errors, the run of malformed frames (R-1)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from relay_world import Json, Line, RelayWorld

from zentalk_sim.protocol.config import FrameConfig, RelayConfig

WINDOW_MS = 300_000


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@pytest.fixture
def line(world: RelayWorld) -> Line:
    """alice, connected."""
    return world.person("alice").connect()


def envelope(line: Line, kind: str = "TYPING_STOP", payload: Any = None, **changes: Any) -> Json:
    frame = {"type": kind, "id": line.world.uuid(), "timestamp": line.world.now_ms, "payload": payload or {}, **changes}
    return {name: value for name, value in frame.items() if value is not ...}


MALFORMED: dict[str, Any] = {
    "not JSON": "hello",
    "not an object": "[1, 2]",
    "no type": {"type": ...},
    "no id": {"id": ...},
    "an id that is no UUID": {"id": "msg_abc123def456"},
    "no timestamp": {"timestamp": ...},
    "a timestamp that is a text": {"timestamp": "now"},
    "no payload": {"payload": ...},
    "a payload that is an array": {"payload": [1]},
    "a missing field": {"type": "MESSAGE_READ", "payload": {}},
    "a mistyped field": {"type": "MESSAGE_READ", "payload": {"message_id": 3}},
    "an unknown value": {"type": "PRESENCE_SET", "payload": {"status": "busy"}},
    "bytes of the wrong length": {"type": "TOKEN_REFRESH", "payload": {"session_token": "", "signature": "AAAA"}},
    "a malformed topic": {"type": "SUBSCRIBE", "payload": {"topics": ["presence"]}},
    "a seq below 1": {"seq": 0},
    "a MAC of the wrong length": {"message_mac": "AAAA"},
}


def send_bad(line: Line, bad: Any) -> None:
    line.raw(bad if isinstance(bad, str) else json.dumps(envelope(line, **bad)))


@pytest.mark.requirement("R-1.1", "R-1.5", "R-1.7")
@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_frame_must_be_answered_and_the_connection_stay_open(line: Line, bad: Any) -> None:
    send_bad(line, bad)
    assert line.error()["error_code"] == "INVALID_MESSAGE"
    assert line.reason() == "malformed"
    assert line.close_code is None
    line.send("PRESENCE_SET", {"status": "online"})
    assert len(line.of("ERROR")) == 1


@pytest.mark.requirement("R-1.7")
def test_an_error_must_carry_all_its_fields(line: Line) -> None:
    frame_id = line.send("MESSAGE_READ", {"message_id": 3})
    frame = line.of("ERROR")[0]
    error = frame["payload"]
    assert error.pop("message") == "payload.message_id: Expected `str`, got `int`"
    assert re.fullmatch(r"req_[0-9a-f]{12}", error.pop("request_id"))
    assert error == {
        "error_code": "INVALID_MESSAGE",
        "details": {"reason": "malformed", "field": "payload.message_id"},
        "original_type": "MESSAGE_READ",
        "original_id": frame_id,
    }
    assert frame["timestamp"] == line.world.now_ms


@pytest.mark.requirement("R-1.7")
@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"timestamp": ...}, {"original_type", "original_id"}),
        ({"id": 1}, {"original_type"}),
        ({"type": 1}, {"original_id"}),
        ({"type": ..., "id": ...}, set()),
    ],
)
def test_an_error_must_name_type_and_id_where_known(line: Line, changes: Json, known: set[str]) -> None:
    send_bad(line, changes)
    assert {name for name in line.error() if name.startswith("original")} == known


@pytest.mark.requirement("R-1.7")
def test_an_error_must_not_repeat_more_than_a_frame_can_carry(line: Line) -> None:
    line.send("X" * 10_000, {})
    assert line.error()["original_type"] == "X" * 100
    line.send("PRESENCE_SET", {"status": "s" * 10_000})
    assert len(json.dumps(line.error())) < 1_000


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("kind", ["message_send", "HELLO", "", "MESSAGE_SEND "])
def test_an_unknown_type_must_be_named_so(line: Line, kind: str) -> None:
    line.send(kind, {})
    assert line.reason() == "unknown_type"
    assert line.error()["details"]["field"] == "type"


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize(
    "kind",
    [
        *("AUTH_CHALLENGE", "AUTH_SUCCESS", "AUTH_FAILED", "MESSAGE_NEW", "MESSAGE_ACK", "MESSAGE_DELIVERED"),
        *("PRESENCE_UPDATE", "KEY_CHANGE", "PING", "ERROR", "SYNC_REQUIRED", "TOKEN_REFRESHED", "TOKEN_EXPIRING"),
    ],
)
def test_a_type_that_only_a_relay_sends_must_be_the_wrong_direction(line: Line, kind: str) -> None:
    line.send(kind, {})
    assert line.reason() == "wrong_direction"
    assert line.close_code is None


# --- the run -----------------------------------------------------------------------------------------

RUN_KINDS: dict[str, Any] = {
    "malformed": "x",
    "malformed payload": {"type": "MESSAGE_READ"},
    "malformed topic": {"type": "SUBSCRIBE", "payload": {"topics": [":"]}},
    "unknown_type": {"type": "HELLO"},
    "wrong_direction": {"type": "PING"},
    "malformed PONG": {"type": "PONG"},
}


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("bad", RUN_KINDS.values(), ids=RUN_KINDS)
def test_the_tenth_in_a_row_must_get_its_error_and_then_1008(line: Line, bad: Any) -> None:
    for _ in range(9):
        send_bad(line, bad)
    assert line.close_code is None
    send_bad(line, bad)
    assert len(line.of("ERROR")) == 10
    assert line.close_code == 1008


def well_formed(line: Line) -> dict[str, Any]:
    """Frames that end the run of malformed ones, accepted or not."""
    line.send("MESSAGE_RECEIVED", {"message_id": line.world.uuid()}, seq=5)
    late = line.world.now_ms - WINDOW_MS - 1
    return {
        "accepted": {"type": "PRESENCE_SET", "payload": {"status": "online"}},
        "refused with NOT_FOUND": {"type": "MESSAGE_READ", "payload": {"message_id": line.world.uuid()}},
        "refused as replayed": {"type": "PRESENCE_SET", "payload": {"status": "online"}, "seq": 5},
        "refused as late": {"type": "PRESENCE_SET", "payload": {"status": "online"}, "timestamp": late},
        "too many topics": {"type": "SUBSCRIBE", "payload": {"topics": ["keys:0x" + "a" * 40] * 101}},
        "too many topics, late": {
            "type": "SUBSCRIBE",
            "payload": {"topics": ["keys:0x" + "a" * 40] * 101},
            "timestamp": late,
        },
        "AUTH_RESPONSE again": {
            "type": "AUTH_RESPONSE",
            "payload": {
                "identity_key": "A" * 43 + "=",
                "device_id": line.device_id,
                "signature": "A" * 86 + "==",
                "client_time": 1,
            },
        },
    }


def still_running(line: Line) -> dict[str, Any]:
    """Frames that leave the run as it is."""
    line.send("MESSAGE_RECEIVED", {"message_id": line.world.uuid()}, seq=5)
    late = line.world.now_ms - WINDOW_MS - 1
    pong = {"timestamp": 1, "client_time": 1}
    return {
        "PONG": {"type": "PONG", "payload": pong},
        "PONG replayed": {"type": "PONG", "payload": pong, "seq": 5},
        "malformed and late": {"type": "PRESENCE_SET", "payload": {}, "timestamp": late},
        "malformed and replayed": {"type": "PRESENCE_SET", "payload": {}, "seq": 5},
        "malformed topic and late": {"type": "SUBSCRIBE", "payload": {"topics": [":"]}, "timestamp": late},
        "too large for text": {"payload": {"a": "x" * 20_000}},
    }


def run_after(line: Line, between: Json) -> None:
    """Nine malformed frames, the one between, one more."""
    for _ in range(9):
        line.raw("x")
    send_bad(line, between)
    assert line.close_code is None
    line.raw("x")


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("name", well_formed(RelayWorld().person("alice").connect()))
def test_any_well_formed_frame_must_end_the_run(line: Line, name: str) -> None:
    run_after(line, well_formed(line)[name])
    assert line.close_code is None
    for _ in range(9):
        line.raw("x")
    assert line.close_code == 1008


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("name", still_running(RelayWorld().person("alice").connect()))
def test_a_pong_or_a_frame_not_well_formed_must_leave_the_run_as_it_is(line: Line, name: str) -> None:
    """Whether a text frame too large to be looked at ends the run is open; here it neither ends it nor counts."""
    run_after(line, still_running(line)[name])
    assert line.close_code == 1008


@pytest.mark.requirement("R-1.5")
def test_the_length_of_the_run_must_be_a_setting() -> None:
    line = RelayWorld(RelayConfig(frames=FrameConfig(max_malformed_in_a_row=1))).person("alice").connect()
    line.raw("x")
    assert line.types()[-1] == "ERROR"
    assert line.close_code == 1008


# --- sizes and encodings -----------------------------------------------------------------------------


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("data", [b"\xff", b'{"type":"\xc3\x28"}', b"\xed\xa0\x80", b'{"a":"\xc0\xaf"}'])
def test_text_that_is_not_utf_8_must_be_closed_with_1007(line: Line, data: bytes) -> None:
    line.world.apply(line.relay.receive_text(line.conn, data, line.world.now))
    assert line.close_code == 1007
    assert not line.of("ERROR")


@pytest.mark.requirement("R-1.5")
def test_a_lone_surrogate_must_not_pass_as_text(line: Line) -> None:
    line.raw('{"type":"\ud800"}')
    assert line.close_code == 1007


def padded(line: Line, payload_bytes: int) -> str:
    """A frame whose payload has exactly this many bytes."""
    fields = {"message_id": line.world.uuid(), "pad": ""}
    fields["pad"] = "x" * (payload_bytes - len(json.dumps(fields)))
    frame = json.dumps(envelope(line, "MESSAGE_RECEIVED", fields))
    assert len(json.dumps(fields)) == payload_bytes
    return frame


@pytest.mark.requirement("R-1.6", "table:Binary vs Text Frames/Binary")
def test_a_text_payload_above_16384_bytes_must_be_sent_back_to_binary(line: Line) -> None:
    line.raw(padded(line, 16_384))
    assert line.error()["error_code"] == "NOT_FOUND"
    line.raw(padded(line, 16_385))
    assert line.reason() == "payload_requires_binary"
    assert line.error()["original_type"] == "MESSAGE_RECEIVED"
    assert line.close_code is None


@pytest.mark.requirement("R-1.6", "table:WebSocket Close Codes/1009")
def test_a_frame_above_1_mib_must_be_closed_with_1009() -> None:
    most = 1 << 20
    for fits, exceeds in (("x" * most, "x" * (most + 1)), (bytes(most), bytes(most + 1))):
        line = RelayWorld().person("alice").connect()
        line.raw(fits)
        assert line.close_code in (None, 1002)
        line = RelayWorld().person("alice").connect()
        line.raw(exceeds)
        assert line.close_code == 1009
        assert not line.of("ERROR")


@pytest.mark.requirement("R-1.6")
def test_the_size_must_be_counted_in_bytes_of_utf_8(line: Line) -> None:
    line.raw("é" * (1 << 19) + "x")
    assert line.close_code == 1009


@pytest.mark.requirement("R-1.6")
def test_what_the_face_saw_to_be_too_large_must_be_closed_with_1009(line: Line) -> None:
    line.world.apply(line.relay.receive_oversized(line.conn, line.world.now))
    assert line.close_code == 1009
    assert line.relay.receive_oversized(line.conn, line.world.now) == []


# --- time --------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-1.4", "table:Replay Attack Prevention/Timestamp")
@pytest.mark.parametrize(
    ("offset_ms", "good"), [(-300_000, True), (300_000, True), (-300_001, False), (300_001, False)]
)
def test_a_timestamp_must_lie_within_five_minutes(line: Line, offset_ms: int, good: bool) -> None:
    line.send("PRESENCE_SET", {"status": "away"}, timestamp=line.world.now_ms + offset_ms)
    user = line.world.store.user(line.person.address)
    assert user is not None
    if good:
        assert not line.of("ERROR")
        assert user.status_set == "away"
    else:
        assert line.reason() == "timestamp_out_of_window"
        assert line.error()["details"]["server_time"] == line.world.now_ms
        assert user.status_set is None
    assert line.close_code is None


@pytest.mark.requirement("R-1.4")
def test_the_window_must_hold_to_the_microsecond(line: Line) -> None:
    line.world.advance_us(1)
    line.send("PRESENCE_SET", {"status": "away"}, timestamp=line.world.now_ms - WINDOW_MS)
    assert line.reason() == "timestamp_out_of_window"


@pytest.mark.requirement("R-1.4")
def test_a_pongs_timestamp_must_not_be_looked_at(line: Line) -> None:
    line.send("PONG", {"timestamp": 1, "client_time": 1}, timestamp=0)
    assert not line.of("ERROR")


@pytest.mark.requirement("R-1.4")
@pytest.mark.parametrize("timestamp", [-(2**63), -1, 0, 2**63 - 1])
def test_times_far_off_must_be_refused_and_not_break(line: Line, timestamp: int) -> None:
    line.send("PRESENCE_SET", {"status": "away"}, timestamp=timestamp)
    assert line.reason() == "timestamp_out_of_window"


@pytest.mark.requirement("R-1.4", "R-13.2")
def test_a_time_near_real_time_must_do_where_the_clock_was_moved(line: Line) -> None:
    world = line.world
    real_us = world.now
    world.advance(7 * 3600)
    line = line.person.connect()
    frame = envelope(line, "PRESENCE_SET", {"status": "away"}, timestamp=real_us // 1000 - WINDOW_MS)
    world.apply(line.relay.receive_data(line.conn, json.dumps(frame), world.now, real_us))
    assert not line.of("ERROR")
    world.apply(line.relay.receive_data(line.conn, json.dumps(frame), world.now))
    assert line.reason() == "timestamp_out_of_window"


# --- what the relay sends ----------------------------------------------------------------------------
