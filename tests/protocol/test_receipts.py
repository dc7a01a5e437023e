"""MESSAGE_RECEIVED, MESSAGE_READ and what the sender hears of them (R-6.3)."""

from __future__ import annotations

import pytest
from relay_support import assert_ledger, loose, pending
from relay_world import RelayWorld

from zentalk_sim.protocol.config import Limits


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-6.3")
def test_the_sender_must_hear_once_of_each_receiving_device(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a, first, second = alice.connect(), bob.connect(0), bob.connect(1)
    message_id = a.message(bob)
    for line in (first, first, second, first, second):
        line.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert [f["payload"]["device_id"] for f in a.of("MESSAGE_DELIVERED")] == bob.devices
    assert a.of("MESSAGE_DELIVERED")[0]["payload"] == {
        "message_id": message_id,
        "device_id": bob.devices[0],
        "timestamp": world.now_ms,
    }
    assert not first.of("ERROR")
    assert_ledger(world)


@pytest.mark.requirement("R-6.3")
def test_all_connected_devices_of_the_sender_must_hear_of_it(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=3), world.person("bob")
    first, second, b = alice.connect(0), alice.connect(1), bob.connect()
    message_id = first.message(bob)
    b.send("MESSAGE_READ", {"message_id": message_id})
    for line in (first, second):
        assert line.types()[-2:] == ["MESSAGE_DELIVERED", "MESSAGE_READ"]
        assert line.last("MESSAGE_READ") == {
            "message_id": message_id,
            "read_by": bob.address,
            "timestamp": world.now_ms,
        }


@pytest.mark.requirement("R-6.3")
def test_a_read_must_imply_receipt_by_that_device(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert pending(world) == 0
    assert len(a.of("MESSAGE_DELIVERED")) == 1
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert len(a.of("MESSAGE_DELIVERED")) == 1


@pytest.mark.requirement("R-6.3")
def test_the_first_read_of_a_user_must_count_and_no_other(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a, first, second = alice.connect(), bob.connect(0), bob.connect(1)
    message_id = a.message(bob)
    first.send("MESSAGE_READ", {"message_id": message_id})
    world.advance(1)
    first.send("MESSAGE_READ", {"message_id": message_id})
    second.send("MESSAGE_READ", {"message_id": message_id})
    assert len(a.of("MESSAGE_READ")) == 1
    assert [f["payload"]["device_id"] for f in a.of("MESSAGE_DELIVERED")] == bob.devices, "but it implies receipt"
    assert world.count("messages.read") == 1
    assert not first.of("ERROR")
    assert_ledger(world)


@pytest.mark.requirement("R-6.3", "table:Read Receipts/Send read receipts OFF")
def test_a_reader_with_receipts_off_must_not_be_told_of(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    bob.rest("PUT", "/api/settings", {"send_read_receipts": False})
    message_id = a.message(bob)
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert a.of("MESSAGE_READ") == []
    assert len(a.of("MESSAGE_DELIVERED")) == 1, "receipt is told all the same"
    bob.rest("PUT", "/api/settings", {"send_read_receipts": True})
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert a.of("MESSAGE_READ") == [], "the first read was the one that counts"


@pytest.mark.requirement("R-6.3")
@pytest.mark.parametrize("kind", ["MESSAGE_RECEIVED", "MESSAGE_READ"])
def test_receipts_of_others_must_be_forbidden_and_of_unknown_messages_not_found(world: RelayWorld, kind: str) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, c = alice.connect(), carol.connect()
    message_id = a.message(bob)
    for line in (a, c):
        line.send(kind, {"message_id": message_id})
        assert line.error()["error_code"] == "FORBIDDEN"
    c.send(kind, {"message_id": world.uuid()})
    assert c.error()["error_code"] == "NOT_FOUND"
    assert a.of("MESSAGE_DELIVERED") == a.of("MESSAGE_READ") == []
    assert pending(world) == 1
    assert world.store.messages[message_id].first_read_us is None


@pytest.mark.requirement("R-6.3", "table:Message Rate Limits/Read receipt")
def test_reads_above_the_limit_must_be_refused_but_repeated_ones_ignored() -> None:
    world = RelayWorld(loose(limits=Limits(send_message="off", auth_attempts="off")))
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    ids = [a.message(bob) for _ in range(21)]
    for message_id in ids[:20]:
        b.send("MESSAGE_READ", {"message_id": message_id})
    assert not b.of("ERROR")
    b.send("MESSAGE_READ", {"message_id": ids[20]})
    assert b.error()["error_code"] == "RATE_LIMITED"
    assert b.error()["details"]["reason"] == "burst"
    assert pending(world) == 1, "the refused read implies nothing"
    b.clear()
    b.send("MESSAGE_READ", {"message_id": ids[0]})
    assert b.frames == [], "a repeated one is ignored, and takes nothing of the limit"


@pytest.mark.requirement("R-6.3", "R-6.6")
def test_an_acknowledgement_by_rest_must_be_told_as_a_receipt(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a = alice.connect()
    message_id = a.message(bob)
    body = {"message_ids": [message_id.upper(), message_id, world.uuid(), "nonsense"]}
    assert bob.rest("POST", "/api/messages/ack", body, device=1).body == {"acked": 1}
    assert [f["payload"]["device_id"] for f in a.of("MESSAGE_DELIVERED")] == [bob.devices[1]]
    assert bob.rest("POST", "/api/messages/ack", body, device=1).body == {"acked": 0}
    assert len(a.of("MESSAGE_DELIVERED")) == 1
    assert alice.rest("POST", "/api/messages/ack", body).body == {"acked": 0}, "another's message is passed over"
    assert_ledger(world)


@pytest.mark.requirement("R-6.3", "R-7.1")
def test_a_removed_devices_token_must_not_confirm(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a = alice.connect()
    token = bob.token(1)
    message_id = a.message(bob)
    bob.rest("DELETE", f"/api/devices/{bob.devices[1]}")
    answer = bob.rest("POST", "/api/messages/ack", {"message_ids": [message_id]}, bearer=token)
    assert answer.body == {"acked": 0}
    assert a.of("MESSAGE_DELIVERED") == []


@pytest.mark.requirement("R-6.3", "R-6.5")
def test_a_receipt_must_count_even_if_the_copy_was_dropped_meanwhile() -> None:
    from zentalk_sim.protocol.config import MailboxConfig

    world = RelayWorld(loose(mailbox=MailboxConfig(max_copies=1)))
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    first = a.message(bob)
    a.message(bob)
    assert world.count("copies.dropped.overflow") == 1
    b.send("MESSAGE_RECEIVED", {"message_id": first})
    assert a.last("MESSAGE_DELIVERED")["message_id"] == first, "the push had brought it"
    assert world.count("copies.confirmed") == 0
    assert_ledger(world)
