"""Envelope, text and binary frames: R-1 and R-2, on every face."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from stage import Stage

requirement = pytest.mark.requirement


@requirement("R-1.1", "R-1.2", "R-1.3")
def test_relay_frames_must_carry_the_envelope_and_count_seq_from_auth_success(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    a.message(bob)
    stage.settle()
    for line in (a, b):
        assert all({"type", "id", "timestamp", "payload"} <= frame.keys() for frame in line.frames)
        assert "seq" not in line.frames[0]
        assert [frame["seq"] for frame in line.frames[1:]] == list(range(1, len(line.frames)))
        assert all("message_mac" not in frame for frame in line.frames)
    assert b.of("MESSAGE_NEW")[0]["id"] == message_id
    ids = [frame["id"] for frame in a.frames + b.frames if frame["type"] != "MESSAGE_NEW"]
    assert len(set(ids)) == len(ids)


@requirement("R-1.2")
def test_an_id_held_by_another_sender_must_be_refused(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    stage.settle()
    b.message(alice, id=message_id.upper())
    assert b.reason() == "duplicate_id"


@requirement("R-1.3")
def test_unknown_fields_must_be_ignored(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    a.send("MESSAGE_SEND", {**a.message_payload(bob), "mood": "sunny"}, colour="blue")
    assert a.expect("MESSAGE_ACK")["status"] == "queued"


@requirement("R-1.4")
@pytest.mark.parametrize("offset_ms", [-330_000, 330_000])
def test_a_timestamp_outside_five_minutes_must_be_refused(stage: Stage, offset_ms: int) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    a.message(bob, timestamp=stage.now_ms() + offset_ms)
    assert a.reason() == "timestamp_out_of_window"
    a.nothing("MESSAGE_ACK")


@requirement("R-1.5", "R-1.7")
@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("not json", "malformed", None),
        ("[1, 2]", "malformed", None),
        ('{"type": "PONG"}', "malformed", "id"),
        ('{"type": "NO_SUCH", "id": "%(id)s", "timestamp": %(now)d, "payload": {}}', "unknown_type", "type"),
        ('{"type": "PING", "id": "%(id)s", "timestamp": %(now)d, "payload": {}}', "wrong_direction", "type"),
        (
            '{"type": "MESSAGE_READ", "id": "%(id)s", "timestamp": %(now)d, "payload": {}}',
            "malformed",
            "payload.message_id",
        ),
        (
            '{"type": "PRESENCE_SET", "id": "%(id)s", "timestamp": %(now)d, "payload": {"status": "busy"}}',
            "malformed",
            "payload.status",
        ),
    ],
)
def test_a_malformed_frame_must_be_answered_with_its_reason_and_field(
    stage: Stage, text: str, reason: str, field: str | None
) -> None:
    line = stage.user("alice").connect()
    line.write(text % {"id": stage.uuid(), "now": stage.now_ms()} if "%(" in text else text)
    error = line.error()
    assert error["error_code"] == "INVALID_MESSAGE"
    assert error["details"]["reason"] == reason
    assert error["details"].get("field") == field
    assert error["request_id"].startswith("req_")
    assert len(error["request_id"]) == 16
    line.still_open()


@requirement("R-1.5")
def test_the_tenth_malformed_frame_in_a_row_must_close_1008_after_its_error(stage: Stage) -> None:
    line = stage.user("alice").connect()
    for _ in range(9):
        line.write("?")
    line.still_open()
    line.send("TYPING_STOP", {"conversation_id": "conv_none"})
    for _ in range(9):
        line.write("?")
    line.still_open()
    line.write("?")
    line.expect_close(1008)
    assert len(line.of("ERROR")) == 20


@requirement("R-1.6")
def test_a_text_payload_above_16384_bytes_must_be_sent_as_binary(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    a.message(bob, b"x" * 13_000)
    assert a.reason() == "payload_requires_binary"
    a.nothing("MESSAGE_ACK")


@requirement("R-1.6")
def test_a_frame_above_one_mebibyte_must_close_1009(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.write(b"\x02" + b"x" * (1 << 20))
    line.expect_close(1009)


def binary(stage: Stage, payload: bytes, *, code: int = 2, length: int | None = None) -> tuple[str, bytes]:
    message_id = stage.uuid()
    head = bytes([code]) + bytes.fromhex(message_id.replace("-", "")) + stage.now_ms().to_bytes(8, "big")
    return message_id, head + (len(payload) if length is None else length).to_bytes(4, "big") + payload


@requirement("R-2.1", "R-2.2")
def test_a_large_message_must_travel_in_binary_both_ways(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    text = bytes(range(256)) * 100
    message_id, data = binary(stage, json.dumps(a.message_payload(bob, text)).encode())
    a.write(data)
    assert a.expect("MESSAGE_ACK")["message_id"] == message_id
    new = b.expect("MESSAGE_NEW")
    assert b.binary[0][0] == 0x84
    assert new["ciphertext"] == b64encode(text).decode()
    a.message(bob)
    stage.settle()
    assert [f["seq"] for f in b.frames if "seq" in f] == [1, 2], "a binary frame consumes no seq"


@requirement("R-2.3")
@pytest.mark.parametrize(("code", "length", "close"), [(2, 5, 1002), (0x83, None, 1003), (0x7F, None, 1003)])
def test_a_broken_binary_frame_must_close(stage: Stage, code: int, length: int | None, close: int) -> None:
    line = stage.user("alice").connect()
    _, data = binary(stage, b"{}", code=code, length=length)
    line.write(data)
    line.expect_close(close)


@requirement("R-2.3")
def test_a_binary_frame_shorter_than_its_header_must_close_1002(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.write(b"\x02abc")
    line.expect_close(1002)


@requirement("R-2.3")
def test_a_binary_payload_of_the_wrong_form_must_be_malformed(stage: Stage) -> None:
    line = stage.user("alice").connect()
    _, data = binary(stage, b"[]")
    line.write(data)
    assert line.reason() == "malformed"
    line.still_open()
