"""Store and forward: acceptance, acknowledgement, fan-out (R-6.1, R-6.2, R-6.8)."""

from __future__ import annotations

import json

import pytest
from relay_support import assert_ledger, bundle, header, loose, pending
from relay_world import RelayWorld, b64

from zentalk_sim.protocol.config import Limit, Limits
from zentalk_sim.protocol.effects import Send


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-6.1")
def test_message_new_must_carry_all_of_the_message_and_the_acks_timestamp(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    world.advance(0.0015)
    nonce, x3dh = b64(bytes(range(12))), header(alice)
    message_id = a.message(bob, b"\x00\xff", nonce=nonce, message_type="voice", x3dh_header=x3dh)
    new = b.of("MESSAGE_NEW")[0]
    assert new["id"] == message_id
    assert new["payload"] == {
        "from": alice.address,
        "conversation_id": new["payload"]["conversation_id"],
        "ciphertext": b64(b"\x00\xff"),
        "nonce": nonce,
        "message_type": "voice",
        "timestamp": a.last("MESSAGE_ACK")["server_timestamp"],
        "x3dh_header": x3dh,
    }
    assert a.last("MESSAGE_ACK")["server_timestamp"] == world.now_ms


@pytest.mark.requirement("R-6.1")
@pytest.mark.parametrize("kind", ["text", "image", "file", "voice", "location"])
def test_every_message_type_must_pass(world: RelayWorld, kind: str) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob, message_type=kind)
    assert b.last("MESSAGE_NEW")["message_type"] == kind


@pytest.mark.requirement("R-6.1")
def test_another_message_type_must_be_malformed(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, message_type="video")
    assert (a.error()["error_code"], a.reason()) == ("INVALID_MESSAGE", "malformed")
    assert a.error()["details"]["field"] == "payload.message_type"


@pytest.mark.requirement("R-6.1")
def test_an_address_must_be_compared_without_case(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message("0x" + bob.address[2:].upper())
    assert b.last("MESSAGE_NEW")["from"] == alice.address == alice.address.lower()


@pytest.mark.requirement("R-1.2")
def test_an_id_must_be_compared_without_case(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    shout = world.uuid().upper()
    a.message(bob, id=shout)
    assert a.last("MESSAGE_ACK")["message_id"] == shout.lower()
    b.send("MESSAGE_RECEIVED", {"message_id": shout})
    assert len(a.of("MESSAGE_DELIVERED")) == 1


@pytest.mark.requirement("R-6.1", "R-1.8")
def test_an_unknown_recipient_must_be_refused_and_leave_nothing(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    nonce = b64(bytes(12))
    refused = a.message("0x" + "ab" * 20, nonce=nonce)
    assert a.error()["error_code"] == "RECIPIENT_NOT_FOUND"
    assert a.error()["original_id"] == refused
    assert not world.store.messages
    a.message(bob, nonce=nonce, id=refused)
    assert a.last("MESSAGE_ACK")["status"] == "queued", "neither the id nor the nonce was used up"


@pytest.mark.requirement("R-6.2")
def test_the_ack_must_come_before_the_message_goes_out(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    body = {"to": bob.address, "ciphertext": "", "nonce": b64(bytes(12)), "message_type": "text"}
    frame = {"type": "MESSAGE_SEND", "id": world.uuid(), "timestamp": world.now_ms, "payload": body}
    effects = world.relay.receive_data(a.conn, json.dumps(frame), world.now)
    sends = [(e.conn, e.frame.type) for e in effects if isinstance(e, Send)]
    assert sends == [(a.conn, "MESSAGE_ACK"), (b.conn, "MESSAGE_NEW")]


@pytest.mark.requirement("R-6.2")
def test_each_registered_device_must_get_a_copy_and_each_connected_one_a_push(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=3)
    a, first, third = alice.connect(), bob.connect(0), bob.connect(2)
    a.message(bob)
    assert a.last("MESSAGE_ACK")["recipient_devices"] == 3
    assert len(first.of("MESSAGE_NEW")) == len(third.of("MESSAGE_NEW")) == 1
    assert pending(world) == 3
    assert_ledger(world)


@pytest.mark.requirement("R-6.2")
def test_a_message_to_oneself_must_go_to_the_other_own_devices(world: RelayWorld) -> None:
    alice = world.person("alice", devices=3)
    first, second = alice.connect(0), alice.connect(1)
    first.message(alice)
    assert first.last("MESSAGE_ACK")["recipient_devices"] == 2
    assert first.of("MESSAGE_NEW") == []
    assert len(second.of("MESSAGE_NEW")) == 1
    assert set(world.store.mailboxes) == {(alice.address, alice.devices[1]), (alice.address, alice.devices[2])}


@pytest.mark.requirement("R-6.2")
def test_a_message_to_oneself_from_the_only_device_must_keep_no_copy(world: RelayWorld) -> None:
    alice = world.person("alice")
    a = alice.connect()
    message_id = a.message(alice)
    assert a.last("MESSAGE_ACK")["recipient_devices"] == 0
    assert pending(world) == 0
    assert world.store.messages[message_id].body is None, "no copy needs the body"


@pytest.mark.requirement("R-6.2")
def test_a_push_must_not_remove_the_copy(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    assert pending(world) == 1
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert pending(world) == 0
    assert world.count("copies.confirmed") == 1


@pytest.mark.requirement("R-2.2")
def test_a_payload_must_travel_in_binary_exactly_above_16384_bytes(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob, b"")
    empty = len(json.dumps(b.last("MESSAGE_NEW"), separators=(",", ":")))
    room = 16_384 - empty
    # Base64 grows by fours: bring the rest up with the conversation's name.
    fit = room // 4 * 3
    for extra, is_binary in ((room % 4, False), (room % 4 + 1, True)):
        name = b.of("MESSAGE_NEW")[0]["payload"]["conversation_id"] + "x" * extra
        payload = {"to": bob.address, "ciphertext": b64(bytes(fit)), "nonce": b64(world.bytes(12))}
        payload |= {"message_type": "file", "conversation_id": name}
        before = len(b.binary)
        raw = json.dumps(payload).encode()
        a.raw(
            bytes([2])
            + bytes.fromhex(world.uuid().replace("-", ""))
            + world.now_ms.to_bytes(8, "big")
            + len(raw).to_bytes(4, "big")
            + raw
        )
        assert len(json.dumps(b.last("MESSAGE_NEW"), separators=(",", ":"))) == 16_384 + is_binary
        assert len(b.binary) - before == is_binary


@pytest.mark.requirement("R-1.8", "R-5.5")
def test_a_rate_limited_message_must_leave_neither_id_nor_nonce() -> None:
    world = RelayWorld(loose(limits=Limits(send_message=Limit(limit=1, window_s=60))))
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob)
    nonce = b64(bytes(12))
    refused = a.message(bob, nonce=nonce)
    assert a.error()["error_code"] == "RATE_LIMITED"
    assert refused not in world.store.messages
    world.advance(60)
    a.message(bob, nonce=nonce, id=refused)
    assert a.last("MESSAGE_ACK") == a.last("MESSAGE_ACK") | {"message_id": refused, "status": "queued"}


@pytest.mark.requirement("R-5.5")
def test_a_nonce_must_not_serve_two_messages_within_24_h(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    nonce = b64(bytes(12))
    a = alice.connect()
    a.message(bob, nonce=nonce)
    a.message(carol, nonce=nonce)
    assert a.reason() == "nonce_reused"
    assert a.error()["details"]["field"] == "payload.nonce"
    c = carol.connect()
    c.message(bob, nonce=nonce)
    assert c.last("MESSAGE_ACK")["status"] == "queued", "another sender's nonce is her own"
    a.lose()
    c.lose()
    world.advance(86_400)
    a = alice.connect()
    a.message(bob, nonce=nonce)
    assert a.reason() == "nonce_reused", "exactly 24 h later is still within"
    world.advance_us(1)
    a.message(bob, nonce=nonce)
    assert a.last("MESSAGE_ACK")["status"] == "queued"


@pytest.mark.requirement("R-4.5")
def test_capabilities_must_be_asked_of_sender_and_receiver(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    mute = alice.connect(token=alice.token(capabilities=("receive_message",)))
    mute.message(bob)
    assert (mute.error()["error_code"], mute.error()["details"]["capability"]) == ("FORBIDDEN", "send_message")
    deaf = bob.connect(token=bob.token(capabilities=("send_message",)))
    mute.lose()
    message_id = alice.connect().message(bob)
    assert deaf.of("MESSAGE_NEW") == []
    deaf.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert deaf.error()["error_code"] == "FORBIDDEN"
    assert pending(world) == 1


# --- X3DH headers --------------------------------------------------------------------------------------


@pytest.mark.requirement("R-6.8")
def test_a_header_must_name_the_senders_own_identity_key(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, x3dh_header=header(bob))
    assert a.error()["error_code"] == "KEY_MISMATCH"
    assert pending(world) == 0


@pytest.mark.requirement("R-6.8")
def test_a_one_time_pre_key_must_serve_one_message(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    assert bob.rest("POST", "/api/keys", bundle(bob, (1, 2))).status == 200
    a = alice.connect()
    nonce = b64(bytes(12))
    message_id = a.message(bob, nonce=nonce, x3dh_header=header(alice, 1))
    assert a.last("MESSAGE_ACK")["status"] == "queued"
    a.message(bob, nonce=nonce, x3dh_header=header(alice, 1), id=message_id)
    assert a.last("MESSAGE_ACK")["status"] == "duplicate", "a re-send is no second use"
    a.message(bob, x3dh_header=header(alice, 1))
    assert a.error()["error_code"] == "KEY_MISMATCH"
    a.message(bob, x3dh_header=header(alice, 3))
    assert a.error()["details"]["field"] == "one_time_key_id"


@pytest.mark.requirement("R-6.8", "R-1.8")
def test_a_refused_message_must_not_use_a_pre_key_up(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    bob.rest("POST", "/api/keys", bundle(bob, (1,)))
    a, c = alice.connect(), carol.connect()
    c.message(bob, conversation_id="conv_carol_bob")
    a.message(bob, conversation_id="conv_carol_bob", x3dh_header=header(alice, 1))
    assert a.error()["error_code"] == "FORBIDDEN"
    a.message(bob, x3dh_header=header(alice, 1))
    assert a.last("MESSAGE_ACK")["status"] == "queued"


@pytest.mark.requirement("R-6.8")
@pytest.mark.parametrize("key_id", [{}, {"one_time_key_id": None}], ids=["absent", "null"])
def test_a_header_may_name_no_one_time_pre_key(world: RelayWorld, key_id: dict[str, None]) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, x3dh_header=header(alice) | key_id)
    assert a.last("MESSAGE_ACK")["status"] == "queued"


@pytest.mark.requirement("R-6.8")
def test_a_pre_key_of_one_who_published_none_must_mismatch(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, x3dh_header=header(alice, 0))
    assert a.error()["error_code"] == "KEY_MISMATCH"
