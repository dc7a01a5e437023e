"""Binary frames on a connection (R-2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from relay_world import Line, RelayWorld, b64

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.identity import uuid_bytes


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


def binary(line: Line, payload: Any, *, code: int = 0x02, id: str | None = None, timestamp: int | None = None) -> bytes:
    """A frame laid out by hand."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    stamp = line.world.now_ms if timestamp is None else timestamp
    header = bytes([code]) + uuid_bytes(id or line.world.uuid()) + stamp.to_bytes(8, "big")
    return header + len(body).to_bytes(4, "big") + body


def send_of(line: Line, to: str, ciphertext: bytes) -> dict[str, Any]:
    return {
        "to": to,
        "ciphertext": b64(ciphertext),
        "nonce": b64(line.world.bytes(12)),
        "message_type": "image",
    }


@pytest.mark.requirement("R-2.1", "R-2.2", "table:Binary vs Text Frames/Binary")
def test_a_large_message_must_go_through_as_binary_both_ways(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id, ciphertext = world.uuid(), bytes(range(256)) * 200
    a.raw(binary(a, send_of(a, bob.address, ciphertext), id=message_id))
    assert a.last("MESSAGE_ACK")["message_id"] == message_id
    data = b.binary[0]
    assert data[0] == 0x84
    assert data[1:17] == uuid_bytes(message_id)
    assert int.from_bytes(data[17:25], "big") == world.now_ms
    assert int.from_bytes(data[25:29], "big") == len(data) - 29
    payload = json.loads(data[29:])
    assert payload["from"] == alice.address
    assert payload["ciphertext"] == b64(ciphertext)


@pytest.mark.requirement("R-2.2")
def test_a_small_message_sent_as_binary_must_be_delivered_as_text(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.raw(binary(a, send_of(a, bob.address, b"small")))
    assert b.types()[-1] == "MESSAGE_NEW"
    assert b.binary == []


@pytest.mark.requirement("R-2.2", "R-1.6")
def test_the_relay_must_turn_to_binary_at_one_byte_above_16384(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()

    def payload_bytes(conversation: str) -> int:
        a.raw(binary(a, {**send_of(a, bob.address, bytes(12_000)), "conversation_id": conversation}))
        frame = b.of("MESSAGE_NEW")[-1]
        return len(json.dumps(frame["payload"], separators=(",", ":")))

    base = payload_bytes("c")
    assert payload_bytes("c" * (16_384 - base + 1)) == 16_384
    assert b.binary == []
    assert payload_bytes("d" * (16_384 - base + 2)) == 16_385
    assert len(b.binary) == 1


@pytest.mark.requirement("R-2.3", "table:WebSocket Close Codes/1002", "table:WebSocket Close Codes/1003")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 1002),
        (b"\x02" * 28, 1002),
        (b"\x02" + bytes(24) + b"\0\0\0\x01", 1002),
        (b"\x02" + bytes(24) + b"\0\0\0\0x", 1002),
        (b"\x84" + bytes(24) + b"\0\0\0\x05{}", 1002),
        (b"\x00" + bytes(28), 1003),
        (b"\x03" + bytes(24) + b"\0\0\0\x02{}", 1003),
    ],
)
@pytest.mark.parametrize("authenticated", [True, False])
def test_a_bad_header_must_end_the_connection(world: RelayWorld, data: bytes, code: int, authenticated: bool) -> None:
    alice = world.person("alice")
    line = alice.connect() if authenticated else alice.open()
    line.raw(data)
    assert line.close_code == code
    assert not line.of("ERROR")


@pytest.mark.requirement("R-2.3", "R-1.5")
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"{}", b'{"to":"bob"}'])
def test_a_bad_payload_must_be_malformed_and_count_in_the_run(world: RelayWorld, body: bytes) -> None:
    line = world.person("alice").connect()
    for count in range(1, 11):
        assert line.close_code is None
        frame_id = world.uuid()
        line.raw(binary(line, body, id=frame_id))
        assert line.reason() == "malformed"
        assert line.error()["original_type"] == "MESSAGE_SEND"
        assert line.error()["original_id"] == frame_id
        assert len(line.of("ERROR")) == count
    assert line.close_code == 1008


@pytest.mark.requirement("R-2.2", "R-1.5")
def test_message_new_from_a_client_must_be_the_wrong_direction(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    line.raw(binary(line, {}, code=0x84))
    assert line.reason() == "wrong_direction"
    assert line.close_code is None


@pytest.mark.requirement("R-1.4", "R-2.1")
@pytest.mark.parametrize("timestamp", [0, 2**64 - 1])
def test_a_binary_frames_timestamp_must_be_near(world: RelayWorld, timestamp: int) -> None:
    line = world.person("alice").connect()
    line.raw(binary(line, {}, timestamp=timestamp))
    assert line.reason() == "timestamp_out_of_window"


@pytest.mark.requirement("R-5.3")
def test_a_binary_frame_must_need_no_mac_where_text_does() -> None:
    world = RelayWorld(RelayConfig(integrity="require"))
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.raw(binary(a, send_of(a, bob.address, bytes(30_000))))
    assert a.of("MESSAGE_ACK")
    assert a.close_code is None


@pytest.mark.requirement("R-5.6", "R-2.1")
def test_the_same_content_in_the_other_framing_must_be_a_duplicate(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    payload = send_of(a, bob.address, b"once")
    message_id = a.send("MESSAGE_SEND", payload)
    a.raw(binary(a, payload, id=message_id))
    assert [frame["payload"]["status"] for frame in a.of("MESSAGE_ACK")] == ["queued", "duplicate"]
    assert len(b.of("MESSAGE_NEW")) == 1


@pytest.mark.requirement("R-4.2")
def test_a_binary_frame_must_not_come_before_authentication(world: RelayWorld) -> None:
    line = world.person("alice").open()
    line.raw(binary(line, {}))
    assert line.last("AUTH_FAILED")["error_code"] == "UNAUTHORIZED"
    assert line.close_code == 4000
