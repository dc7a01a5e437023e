"""Integrity, replay and messages: R-5 and R-6, on every face."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from stage import CRYPTO, Actor, Line, Stage, b64

from zentalk_sim.protocol.control import AddDevice, AddUser, RemoveDevice

requirement = pytest.mark.requirement


def session_key(line: Line) -> bytes:
    challenge = b64decode(line.of("AUTH_CHALLENGE")[0]["payload"]["challenge"])
    return CRYPTO.session_key(line.session["session_token"], challenge)


def with_mac(line: Line, kind: str, payload: Any, *, wrong: bool = False) -> str:
    """A frame with its MAC, the payload written with odd spacing: the MAC covers it as it was sent."""
    text = json.dumps(payload, indent=1)
    message_id, now = line.stage.uuid(), line.stage.now_ms()
    mac = CRYPTO.message_mac(session_key(line), kind, message_id, now, text.encode() + (b" " if wrong else b""))
    line.write(
        f'{{"message_mac": "{b64(mac)}", "type": "{kind}", "payload": {text}, '
        f'"id": "{message_id}", "timestamp": {now}}}'
    )
    return message_id


@requirement("R-5.1", "R-5.2")
def test_a_right_mac_over_the_payload_as_sent_must_be_accepted(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    message_id = with_mac(a, "MESSAGE_SEND", a.message_payload(bob))
    assert a.expect("MESSAGE_ACK")["message_id"] == message_id


@requirement("R-5.3")
def test_a_wrong_mac_must_close_1008_and_nothing_be_processed(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    with_mac(a, "MESSAGE_SEND", a.message_payload(bob), wrong=True)
    a.expect_close(1008)
    b.nothing("MESSAGE_NEW")


@requirement("R-5.3")
@pytest.mark.settings({"integrity": "require"})
def test_a_missing_mac_must_close_1008_where_it_is_required(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    with_mac(a, "MESSAGE_SEND", a.message_payload(bob))
    a.expect("MESSAGE_ACK")
    a.message(bob)
    a.expect_close(1008)


@requirement("R-5.4")
def test_seq_must_grow_and_may_have_gaps(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    a.message(bob, seq=3)
    a.message(bob, seq=9)
    a.nothing("ERROR")
    a.message(bob, seq=9)
    assert a.reason() == "sequence_replayed"
    assert len(a.of("MESSAGE_ACK")) == 2


@requirement("R-5.5")
def test_a_nonce_used_before_must_be_refused_for_24_hours(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    nonce = b64(b"n" * 12)
    a.message(bob, nonce=nonce)
    a.message(bob, nonce=nonce)
    assert a.reason() == "nonce_reused"
    a.hang_up()
    stage.advance(86_401)
    again = alice.connect()
    again.message(bob, nonce=nonce)
    assert again.expect("MESSAGE_ACK")["status"] == "queued"


@requirement("R-5.6")
def test_the_same_message_again_must_be_acknowledged_as_duplicate_and_delivered_once(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob", devices=2)
    a, b = alice.connect(), bob.connect()
    payload = a.message_payload(bob)
    message_id = a.send("MESSAGE_SEND", payload)
    first = a.expect("MESSAGE_ACK")
    stage.advance(3)
    a.send("MESSAGE_SEND", {**payload, "to": payload["to"].upper().replace("0X", "0x")}, id=message_id)
    stage.settle()
    second = a.expect("MESSAGE_ACK")
    assert second == {**first, "status": "duplicate"}
    assert first["recipient_devices"] == 2
    assert len(b.of("MESSAGE_NEW")) == 1
    a.send("MESSAGE_SEND", {**payload, "ciphertext": b64(b"other")}, id=message_id)
    assert a.reason() == "duplicate_id"


@requirement("R-6.1")
def test_an_unknown_recipient_must_be_refused(stage: Stage) -> None:
    a = stage.user("alice").connect()
    message_id = a.message("0x" + "ab" * 20)
    error = a.error()
    assert error["error_code"] == "RECIPIENT_NOT_FOUND"
    assert error["original_type"] == "MESSAGE_SEND"
    assert error["original_id"] == message_id


@requirement("R-6.1")
def test_message_new_must_carry_what_was_sent(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    payload = a.message_payload(bob)
    payload["x3dh_header"] = {"identity_key": b64(alice.key), "ephemeral_key": b64(b"e" * 32)}
    a.send("MESSAGE_SEND", payload)
    ack = a.expect("MESSAGE_ACK")
    new = b.expect("MESSAGE_NEW")
    assert new["from"] == alice.address
    assert new["timestamp"] == ack["server_timestamp"]
    for name in ("ciphertext", "nonce", "message_type", "x3dh_header"):
        assert new[name] == payload[name]


@requirement("R-6.2")
def test_a_message_must_reach_every_device_connected_or_not(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob", devices=3)
    a, b0, b1 = alice.connect(), bob.connect(0), bob.connect(1)
    message_id = a.message(bob)
    assert a.expect("MESSAGE_ACK")["recipient_devices"] == 3
    for line in (b0, b1):
        assert line.expect("MESSAGE_NEW")
    b2 = bob.connect(2)
    assert b2.expect("SYNC_REQUIRED")["pending_count"] == 1
    assert bob.rest("GET", "/api/messages", device=2)[1]["messages"][0]["id"] == message_id


@requirement("R-6.2")
def test_a_message_to_one_without_a_device_must_wait_for_the_first(stage: Stage) -> None:
    alice = stage.user("alice")
    secret = stage.bytes(32)
    address = stage.control(AddUser(CRYPTO.public_key(secret)))
    a = alice.connect()
    message_id = a.message(address)
    assert a.expect("MESSAGE_ACK")["recipient_devices"] == 0
    bob = Actor(stage, "bob", address, secret, [stage.uuid()])
    stage.control(AddDevice(address, bob.devices[0]))
    b = bob.connect()
    assert b.expect("SYNC_REQUIRED")["pending_count"] == 1
    assert bob.rest("GET", "/api/messages")[1]["messages"][0]["id"] == message_id


@requirement("R-6.2")
def test_a_message_to_oneself_must_go_to_the_other_devices(stage: Stage) -> None:
    alice = stage.user("alice", devices=2)
    one, other = alice.connect(0), alice.connect(1)
    one.message(alice)
    assert one.expect("MESSAGE_ACK")["recipient_devices"] == 1
    other.expect("MESSAGE_NEW")
    one.nothing("MESSAGE_NEW")


@requirement("R-6.3")
def test_receipts_must_reach_the_senders_devices_once(stage: Stage) -> None:
    alice, bob = stage.user("alice", devices=2), stage.user("bob", devices=2)
    a0, a1, b0, b1 = alice.connect(0), alice.connect(1), bob.connect(0), bob.connect(1)
    message_id = a0.message(bob)
    stage.settle()
    for _ in range(2):
        b0.send("MESSAGE_RECEIVED", {"message_id": message_id})
    b1.send("MESSAGE_READ", {"message_id": message_id})
    b0.send("MESSAGE_READ", {"message_id": message_id})
    stage.settle()
    for line in (a0, a1):
        assert [f["payload"]["device_id"] for f in line.of("MESSAGE_DELIVERED")] == bob.devices
        assert len(line.of("MESSAGE_READ")) == 1
        assert line.expect("MESSAGE_READ")["read_by"] == bob.address
    assert bob.rest("GET", "/api/messages", device=1)[1]["total"] == 0


@requirement("R-6.3")
def test_a_receipt_from_a_stranger_must_be_forbidden_and_of_nothing_not_found(stage: Stage) -> None:
    alice, bob, carol = stage.user("alice"), stage.user("bob"), stage.user("carol")
    a, c = alice.connect(), carol.connect()
    message_id = a.message(bob)
    stage.settle()
    c.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert c.error()["error_code"] == "FORBIDDEN"
    c.send("MESSAGE_READ", {"message_id": stage.uuid()})
    assert c.error()["error_code"] == "NOT_FOUND"


@requirement("R-6.3", "R-7.3")
def test_a_reader_with_receipts_off_must_not_be_told_of(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    status, settings = bob.rest("PUT", "/api/settings", {"send_read_receipts": False})
    assert (status, settings["send_read_receipts"], settings["share_presence"]) == (200, False, True)
    message_id = a.message(bob)
    stage.settle()
    b.send("MESSAGE_READ", {"message_id": message_id})
    stage.settle()
    a.expect("MESSAGE_DELIVERED")
    a.nothing("MESSAGE_READ")


@requirement("R-6.3", "R-4.6")
def test_receipts_for_one_who_is_away_must_be_kept_until_the_next_connect(stage: Stage) -> None:
    alice, bob = stage.user("alice", devices=2), stage.user("bob")
    a, b = alice.connect(0), bob.connect()
    message_id = a.message(bob)
    stage.settle()
    a.hang_up()
    stage.settle()
    b.send("MESSAGE_READ", {"message_id": message_id})
    b.message(alice)
    stage.settle()
    for device in (0, 1):
        line = alice.connect(device)
        stage.settle()
        assert line.types()[1:5] == ["AUTH_SUCCESS", "SYNC_REQUIRED", "MESSAGE_DELIVERED", "MESSAGE_READ"]
        line.hang_up()
    stage.settle()
    assert "MESSAGE_DELIVERED" not in alice.connect(0).types()


@requirement("R-6.4")
def test_the_conversation_id_must_be_derived_and_others_be_closed(stage: Stage) -> None:
    from zentalk_sim.protocol.identity import conversation_id

    alice, bob, carol = stage.user("alice"), stage.user("bob"), stage.user("carol")
    a, b, c = alice.connect(), bob.connect(), carol.connect()
    a.message(bob)
    derived = b.expect("MESSAGE_NEW")["conversation_id"]
    assert derived == conversation_id(alice.address, bob.address)
    a.message(bob, conversation_id="conv_ours")
    stage.settle()
    assert b.expect("MESSAGE_NEW")["conversation_id"] == "conv_ours"
    c.message(bob, conversation_id="conv_ours")
    assert c.error()["error_code"] == "FORBIDDEN"
    c.message(bob, conversation_id=derived)
    assert c.error()["error_code"] == "FORBIDDEN"


@requirement("R-6.5")
@pytest.mark.settings({"mailbox": {"max_copies": 3}, "limits": {"send_message": "off"}})
def test_the_oldest_copies_must_be_dropped_on_overflow(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    sent = [a.message(bob) for _ in range(5)]
    stage.settle()
    status, body = bob.rest("GET", "/api/messages")
    assert status == 200
    assert [m["id"] for m in body["messages"]] == sent[2:]


@requirement("R-6.5")
def test_copies_must_expire_after_30_days(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    a.message(bob)
    stage.settle()
    a.hang_up()
    stage.advance(30 * 86_400 - 1)
    assert bob.rest("GET", "/api/messages")[1]["total"] == 1
    stage.advance(2)
    assert bob.rest("GET", "/api/messages")[1]["total"] == 0


@requirement("R-6.6")
def test_the_backlog_must_be_announced_paged_and_acknowledged(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    sent = []
    stamps = []
    for _ in range(5):
        sent.append(a.message(bob))
        stage.settle()
        stamps.append(a.expect("MESSAGE_ACK")["server_timestamp"])
        stage.advance(2)
    b = bob.connect()
    assert b.expect("SYNC_REQUIRED") == {
        "reason": "offline_messages",
        "pending_count": 5,
        "oldest_timestamp": stamps[0],
        "newest_timestamp": stamps[-1],
        "since_timestamp": stamps[0],
    }
    b.nothing("MESSAGE_NEW")
    status, page = bob.rest("GET", "/api/messages?limit=2&offset=1")
    assert status == 200
    assert page["total"] == 5
    assert [m["id"] for m in page["messages"]] == sent[1:3]
    assert [m["timestamp"] for m in page["messages"]] == stamps[1:3]
    assert {m["type"] for m in page["messages"]} == {"MESSAGE_NEW"}
    assert bob.rest("POST", "/api/messages/ack", {"message_ids": [*sent[:4], stage.uuid()]}) == (200, {"acked": 4})
    b.send("MESSAGE_RECEIVED", {"message_id": sent[4]})
    stage.settle()
    assert bob.rest("GET", "/api/messages") == (200, {"messages": [], "total": 0})
    assert len(a.of("MESSAGE_DELIVERED")) == 5


@requirement("R-6.6")
@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "offset=-1"])
def test_a_page_out_of_range_must_be_400(stage: Stage, query: str) -> None:
    status, body = stage.user("alice").rest("GET", f"/api/messages?{query}")
    assert status == 400
    assert body["error_code"] == "INVALID_MESSAGE"


@requirement("R-6.8")
def test_each_one_time_prekey_must_be_handed_out_and_used_once(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    signed = b"s" * 32
    bundle = {
        "identityKey": b64(bob.key),
        "signedPreKey": {"id": 1, "key": b64(signed)},
        "signature": b64(CRYPTO.sign(bob.secret, signed)),
        "oneTimePreKeys": [{"id": 7, "key": b64(b"7" * 32)}],
    }
    assert bob.rest("POST", "/api/keys", bundle)[0] in (200, 201)
    status, got = alice.rest("GET", f"/api/keys/{bob.address}")
    assert status == 200
    assert got["oneTimePreKey"] == {"id": 7, "key": b64(b"7" * 32)}
    assert got["identityKey"] == b64(bob.key)
    assert alice.rest("GET", f"/api/keys/{bob.address}")[1]["oneTimePreKey"] is None
    a = alice.connect()
    header = {"identity_key": b64(alice.key), "ephemeral_key": b64(b"e" * 32), "one_time_key_id": 7}
    payload = a.message_payload(bob, x3dh_header=header)
    message_id = a.send("MESSAGE_SEND", payload)
    a.expect("MESSAGE_ACK")
    a.send("MESSAGE_SEND", payload, id=message_id)
    stage.settle()
    assert a.expect("MESSAGE_ACK")["status"] == "duplicate"
    a.message(bob, x3dh_header=header)
    assert a.error()["error_code"] == "KEY_MISMATCH"
    a.message(bob, x3dh_header={**header, "identity_key": b64(b"x" * 32)})
    assert a.error()["error_code"] == "KEY_MISMATCH"


@requirement("R-6.6", "R-7.1")
def test_a_removed_device_must_lose_its_connection_and_its_mailbox(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob", devices=2)
    a, b1 = alice.connect(), bob.connect(1)
    a.message(bob)
    stage.settle()
    stage.control(RemoveDevice(bob.address, bob.devices[1]))
    b1.expect_close(1000, "device_removed")
    a.message(bob)
    stage.settle()
    assert a.expect("MESSAGE_ACK")["recipient_devices"] == 1
