"""Envelopes of the relay: fresh ids, an unbroken seq, binary messages outside it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from relay_world import Json, Line, RelayWorld


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


@pytest.mark.requirement("R-1.2", "R-1.3")
def test_relay_frames_must_have_fresh_ids_and_an_unbroken_seq_from_1(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    for text in (b"one", b"two"):
        b.send("MESSAGE_RECEIVED", {"message_id": a.message(bob, text)})
    a.raw("x")
    world.advance(31)
    for line in (a, b):
        before, after = line.frames[:1], line.frames[1:]
        assert ["seq" in frame for frame in before] == [False]
        assert after[0]["type"] == "AUTH_SUCCESS"
        assert [frame["seq"] for frame in after] == list(range(1, len(after) + 1))
        assert all("message_mac" not in frame for frame in line.frames)
        ids = [frame["id"] for frame in line.frames if frame["type"] != "MESSAGE_NEW"]
        assert len(set(ids)) == len(ids)
        assert {uuid.UUID(text).version for text in ids} == {4}


@pytest.mark.requirement("R-1.2")
def test_an_id_must_be_taken_in_either_case_and_named_in_lower(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = world.uuid()
    nonce = "A" * 16
    a.message(bob, id=message_id.upper(), nonce=nonce)
    a.message(bob, id=message_id, nonce=nonce)
    assert [frame["payload"]["status"] for frame in a.of("MESSAGE_ACK")] == ["queued", "duplicate"]
    assert {frame["payload"]["message_id"] for frame in a.of("MESSAGE_ACK")} == {message_id}
    assert [frame["id"] for frame in b.of("MESSAGE_NEW")] == [message_id]
    b.send("MESSAGE_RECEIVED", {"message_id": message_id.upper()})
    assert a.last("MESSAGE_DELIVERED")["message_id"] == message_id


@pytest.mark.requirement("R-1.3")
def test_unknown_fields_must_be_ignored(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, future={"deep": [1, None]})
    a.send("PRESENCE_SET", {"status": "away", "mood": "calm"}, version=2, extra=[[]])
    assert a.of("MESSAGE_ACK")
    assert not a.of("ERROR")


@pytest.mark.requirement("R-1.3")
def test_a_binary_message_must_not_consume_a_seq(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob, b"small")
    # As MESSAGE_SEND it fits a text frame, as MESSAGE_NEW, with more fields, it no longer does.
    a.message(bob, bytes(12_187))
    a.message(bob, b"small")
    new = b.of("MESSAGE_NEW")
    assert [frame.get("seq") for frame in new] == [2, None, 3]
    assert len(b.binary) == 1


def test_after_its_end_nothing_on_a_connection_must_count(line: Line) -> None:
    line.world.apply(line.relay.receive_text(line.conn, b"\xff", line.world.now))
    assert line.close_code == 1007
    for data in ("x", b"x", b"\x02" + bytes(28)):
        assert line.relay.receive_data(line.conn, data, line.world.now) == []
    assert line.relay.receive_data(10_000, "x", line.world.now) == []
