"""The relay's inputs as a face sees them: misuse, crashes, what may be looked at (R-12.2)."""

from __future__ import annotations

import json

import pytest
from relay_support import loose, pending
from relay_world import START_US, Line, RelayWorld, b64

from zentalk_sim.protocol import mailbox
from zentalk_sim.protocol.codec import decode_payload
from zentalk_sim.protocol.control import Stop
from zentalk_sim.protocol.effects import NewCopy, Note
from zentalk_sim.protocol.frames import CLIENT_FRAMES, Frame
from zentalk_sim.protocol.upgrade import UpgradeRequest


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def frame(line: Line, kind: str, payload: object) -> str:
    world = line.world
    return json.dumps({"type": kind, "id": world.uuid(), "timestamp": world.now_ms, "payload": payload})


def test_time_must_not_go_back(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    world.relay.handle_timeout(START_US + 5)
    assert world.relay.now_us == START_US + 5
    with pytest.raises(ValueError, match="time went back"):
        world.relay.receive_data(line.conn, "{}", START_US + 4)


def test_a_connection_must_not_be_opened_twice(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    with pytest.raises(ValueError, match="is in use"):
        world.relay.connect(line.conn, UpgradeRequest("/", {}, {}, ""), world.now)


def test_input_of_connections_that_are_gone_must_be_passed_over(world: RelayWorld) -> None:
    relay = world.relay
    assert relay.disconnect(99, "reset", world.now) == []
    assert relay.receive_data(99, "{}", world.now) == []
    assert relay.receive_text(99, b"{}", world.now) == []
    assert relay.receive_oversized(99, world.now) == []
    assert relay.receive_frame(99, Frame("PONG", "", 0, None), world.now) == []


@pytest.mark.requirement("R-3.3")
def test_what_a_face_shows_must_be_the_relays_own(world: RelayWorld) -> None:
    (key,) = world.relay.jwks()["keys"]
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    assert world.relay.name == "relay-0"
    assert world.relay.config == loose()


def test_an_object_by_reference_must_do_what_its_bytes_do() -> None:
    """Fidelity `frames` and fidelity `wire` are one path but for the edge."""
    said = []
    for by_reference in (False, True):
        world = RelayWorld(loose())
        alice, bob = world.person("alice"), world.person("bob")
        a, b = alice.connect(), bob.connect()
        payload = {"to": bob.address, "ciphertext": "aGk=", "nonce": b64(bytes(12)), "message_type": "text"}
        text = frame(a, "MESSAGE_SEND", payload)
        fields = json.loads(text)
        typed = decode_payload(CLIENT_FRAMES["MESSAGE_SEND"], json.dumps(payload).encode())
        as_object = Frame(fields["type"], fields["id"], fields["timestamp"], typed)
        if by_reference:
            world.apply(world.relay.receive_frame(a.conn, as_object, world.now))
        else:
            a.raw(text)
        said.append((a.frames, b.frames))
    assert said[0] == said[1]
    assert said[0][1][-1]["type"] == "MESSAGE_NEW"


@pytest.mark.requirement("R-12.5")
def test_a_copy_that_is_gone_must_not_be_pushed_by_a_late_event(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    late = NewCopy(b.conn, message_id)
    assert world.relay.receive_event(late, world.now) == [], "it was pushed already"
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert world.relay.receive_event(late, world.now) == []
    assert world.relay.receive_event(NewCopy(b.conn, world.uuid()), world.now) == []


@pytest.mark.requirement("R-12.2")
def test_a_crash_must_close_its_connection_with_1011_and_drop_what_was_said(
    world: RelayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    with monkeypatch.context() as patch:
        patch.setattr(mailbox, "push_new", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            a.message(bob)
    world.apply(world.relay.crashed(a.conn, world.now))
    assert (a.end, b.close_code) == ((1011, "internal_error"), None)
    assert a.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS"], "no acknowledgement went out"
    assert list(world.store.connected(alice.address)) == []
    again = world.relay.crashed(a.conn, world.now)
    assert not [effect for effect in again if not isinstance(effect, Note)], "once is enough"
    assert world.relay.crashed(None, world.now) == []
    a.lose()
    alice.connect().message(bob)
    assert len(b.of("MESSAGE_NEW")) == 1
    assert pending(world) == 2, "what the store held it holds: the message will be sent again and be a duplicate"


@pytest.mark.requirement("R-12.2")
def test_connections_that_a_crashed_input_had_ended_must_not_be_left_open(
    world: RelayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = world.person("alice")
    older, newer = alice.connect(), alice.open()
    with monkeypatch.context() as patch:
        patch.setattr(mailbox, "announce_backlog", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            newer.authenticate()
    world.apply(world.relay.crashed(newer.conn, world.now))
    assert [older.close_code, newer.close_code] == [1011, 1011]
    assert world.store.presence == {}


def test_a_snapshot_amid_a_stop_must_hold_no_connection_as_open(world: RelayWorld) -> None:
    alice = world.person("alice")
    a = alice.connect()
    world.control(Stop())
    again = type(world.relay).restored(world.relay.snapshot(), world.config)
    assert again.connections[a.conn].state == "ended"
    assert again.receive_data(a.conn, "{}", world.now) == []
    assert again.disconnect(a.conn, "closed", world.now) == world.relay.disconnect(a.conn, "closed", world.now)
