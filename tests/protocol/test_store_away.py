"""A store that is away: nothing is acknowledged, nothing changes, and all goes on when it is back (R-12.2)."""

from __future__ import annotations

import pytest
from relay_world import RelayWorld, b64

requirement = pytest.mark.requirement


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@requirement("R-12.2", "R-1.8", "table:Error Codes/SERVICE_UNAVAILABLE")
def test_a_message_must_be_refused_and_leave_no_trace(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    nonce = b64(b"n" * 12)
    world.store.available = False
    message_id = a.message(bob, nonce=nonce)
    assert a.error()["error_code"] == "SERVICE_UNAVAILABLE"
    assert a.of("MESSAGE_ACK") == b.of("MESSAGE_NEW") == []
    assert (world.store.messages, world.store.mailboxes, world.store.nonces) == ({}, {}, {})
    assert alice.address not in world.store.users[bob.address].contacts
    world.store.available = True
    a.message(bob, nonce=nonce, id=message_id)
    assert a.last("MESSAGE_ACK")["status"] == "queued"
    assert len(b.of("MESSAGE_NEW")) == 1


@requirement("R-12.2", "R-6.8")
def test_a_prekey_must_not_be_used_up_by_a_refused_message(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    bundle = {
        "identityKey": b64(bob.key),
        "signedPreKey": {"id": 1, "key": b64(b"s" * 32)},
        "signature": b64(world.crypto.sign(bob.secret, b"s" * 32)),
        "oneTimePreKeys": [{"id": 7, "key": b64(b"7" * 32)}],
    }
    bob.rest("POST", "/api/keys", bundle)
    a = alice.connect()
    header = {"identity_key": b64(alice.key), "ephemeral_key": b64(b"e" * 32), "one_time_key_id": 7}
    world.store.available = False
    a.message(bob, x3dh_header=header)
    assert a.error()["error_code"] == "SERVICE_UNAVAILABLE"
    a.message(bob, x3dh_header={**header, "one_time_key_id": 8})
    assert a.error()["error_code"] == "KEY_MISMATCH", "the store is asked last"
    world.store.available = True
    a.message(bob, x3dh_header=header)
    assert a.last("MESSAGE_ACK")["status"] == "queued"


@requirement("R-12.2", "R-5.6", "R-6.3")
def test_neither_duplicates_nor_receipts_must_be_answered(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    nonce = b64(b"n" * 12)
    message_id = a.message(bob, nonce=nonce)
    world.store.available = False
    a.clear()
    a.message(bob, nonce=nonce, id=message_id)
    for kind in ("MESSAGE_RECEIVED", "MESSAGE_READ"):
        b.send(kind, {"message_id": message_id})
        assert b.error()["error_code"] == "SERVICE_UNAVAILABLE"
    assert a.types() == ["ERROR"]
    world.store.available = True
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert a.types() == ["ERROR", "MESSAGE_DELIVERED", "MESSAGE_READ"]


@requirement("R-12.2", "R-3.1")
def test_upgrades_and_requests_must_be_refused_with_503_and_a_time_to_come_back(world: RelayWorld) -> None:
    alice = world.person("alice")
    token = alice.token()
    world.store.available = False
    line = alice.open(token=token)
    assert line.refused is not None
    assert (line.refused.status, line.refused.error_code, line.refused.retry_after_s) == (503, "SERVICE_UNAVAILABLE", 5)
    for method, target, body in (("GET", "/api/messages", None), ("POST", "/api/token", {})):
        answer = alice.rest(method, target, body, bearer=token)
        assert (answer.status, answer.body["error_code"]) == (503, "SERVICE_UNAVAILABLE")
        assert ("Retry-After", "5") in answer.headers
