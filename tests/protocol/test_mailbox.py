"""Mailboxes: overflow, expiry, the first device's adoption, and the ledger of copies (R-6.2, R-6.5)."""

from __future__ import annotations

import pytest
from relay_support import DAY_S, assert_ledger, leave, loose, outlive, pending
from relay_world import RelayWorld

from zentalk_sim.protocol.config import MailboxConfig
from zentalk_sim.protocol.control import AddDevice, AddUser

MONTH_US = 30 * DAY_S * 1_000_000


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def ids(world: RelayWorld, address: str, device_id: str) -> list[str]:
    return list(world.store.mailbox(address, device_id))


@pytest.mark.requirement("R-6.5", "table:Offline Message Queuing/Max queue size")
def test_the_1001st_copy_must_drop_the_oldest_and_count_it(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    sent = [a.message(bob) for _ in range(1000)]
    assert world.count("copies.dropped.overflow") == 0
    sent += [a.message(bob) for _ in range(2)]
    assert ids(world, bob.address, bob.devices[0]) == sent[2:]
    dropped = [note for note in world.notes if note.name == "copies.dropped.overflow"]
    assert [(note.message_id, note.user, note.device_id) for note in dropped] == [
        (message_id, bob.address, bob.devices[0]) for message_id in sent[:2]
    ]
    assert {f["payload"]["status"] for f in a.of("MESSAGE_ACK")} == {"queued"}
    assert_ledger(world)


@pytest.mark.requirement("R-6.5")
def test_each_device_must_overflow_by_itself() -> None:
    world = RelayWorld(loose(mailbox=MailboxConfig(max_copies=2)))
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a, b = alice.connect(), bob.connect(0)
    sent = []
    for _ in range(4):
        sent.append(a.message(bob))
        b.send("MESSAGE_RECEIVED", {"message_id": sent[-1]})
    assert ids(world, bob.address, bob.devices[0]) == []
    assert ids(world, bob.address, bob.devices[1]) == sent[2:]
    assert world.count("copies.dropped.overflow") == 2
    assert world.store.messages[sent[0]].body is None, "the body goes with the last copy"
    assert_ledger(world)


@pytest.mark.requirement("R-6.5")
def test_a_lowered_limit_must_hold_from_the_next_copy(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    for _ in range(5):
        a.message(bob)
    world.relay.configure(loose(mailbox=MailboxConfig(max_copies=2)))
    last = a.message(bob)
    assert ids(world, bob.address, bob.devices[0])[-1] == last
    assert pending(world) == 2
    assert_ledger(world)


@pytest.mark.requirement("R-6.5", "table:Offline Message Queuing/Max retention")
def test_a_copy_must_expire_30_days_after_acceptance_to_the_microsecond(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a = alice.connect()
    first = a.message(bob)
    began = world.now
    world.advance_us(7)
    second = a.message(bob)
    a.lose()
    world.advance_us(began + MONTH_US - 1 - world.now)
    assert pending(world) == 4
    world.advance_us(1)
    assert ids(world, bob.address, bob.devices[0]) == ids(world, bob.address, bob.devices[1]) == [second]
    assert first not in world.store.messages, "the index forgets with it"
    world.advance_us(6)
    assert pending(world) == 2
    world.advance_us(1)
    assert pending(world) == 0
    assert not world.store.messages
    assert world.count("copies.dropped.expired") == 4
    assert world.relay.next_timeout() is None
    assert_ledger(world)


@pytest.mark.requirement("R-6.5")
def test_a_confirmed_messages_index_entry_must_be_kept_as_long(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    leave(a, b)
    outlive(world, 30 * DAY_S - 1)
    b = bob.connect()
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert not b.of("ERROR")
    world.advance(2)
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert b.error()["error_code"] == "NOT_FOUND"


@pytest.mark.requirement("R-6.5")
def test_a_changed_retention_must_hold_from_the_next_input(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob)
    a.lose()
    world.relay.configure(loose(mailbox=MailboxConfig(retention_s=60)))
    outlive(world, 60)
    assert pending(world) == 0
    assert world.count("copies.dropped.expired") == 1


@pytest.mark.requirement("R-6.2")
def test_copies_for_a_user_without_devices_must_wait_for_the_first(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=0)
    bob.devices = [world.uuid(), world.uuid()]
    a = alice.connect()
    sent = [a.message(bob), a.message(bob)]
    assert a.last("MESSAGE_ACK")["recipient_devices"] == 0
    assert_ledger(world)
    b = bob.connect(0)
    assert b.last("SYNC_REQUIRED")["pending_count"] == 2
    assert ids(world, bob.address, bob.devices[0]) == sent
    assert bob.connect(1).of("SYNC_REQUIRED") == [], "a later device gets none of them"
    assert bob.rest("POST", "/api/messages/ack", {"message_ids": sent}).body == {"acked": 2}
    assert len(a.of("MESSAGE_DELIVERED")) == 2
    assert_ledger(world)


@pytest.mark.requirement("R-6.2")
@pytest.mark.parametrize("by", ["rest", "control"])
def test_registration_must_hand_over_what_waited(world: RelayWorld, by: str) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=0)
    bob.devices = [world.uuid()]
    message_id = alice.connect().message(bob)
    if by == "rest":
        body = {"device_id": bob.devices[0], "device_name": "phone", "device_type": "mobile"}
        assert bob.rest("POST", "/api/devices", body).status == 201
    else:
        world.control(AddDevice(bob.address, bob.devices[0]))
    assert ids(world, bob.address, bob.devices[0]) == [message_id]


@pytest.mark.requirement("R-6.2", "R-6.5")
def test_waiting_copies_must_overflow_and_expire_like_others() -> None:
    world = RelayWorld(loose(mailbox=MailboxConfig(max_copies=2)))
    alice = world.person("alice")
    nobody = world.control(AddUser(b"n" * 32))
    a = alice.connect()
    for _ in range(3):
        a.message(nobody)
    assert world.count("copies.dropped.overflow") == 1
    a.lose()
    outlive(world, 30 * DAY_S)
    assert world.count("copies.dropped.expired") == 2
    assert_ledger(world)


@pytest.mark.requirement("R-6.5", "R-7.1")
def test_a_removed_device_must_take_its_mailbox_with_it_counted(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a = alice.connect()
    for _ in range(3):
        a.message(bob)
    bob.rest("DELETE", f"/api/devices/{bob.devices[0]}")
    assert world.count("copies.dropped.device_removed") == 3
    assert len(ids(world, bob.address, bob.devices[1])) == 3
    a.message(bob)
    assert a.last("MESSAGE_ACK")["recipient_devices"] == 1
    assert_ledger(world)


# --- on connect ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-6.6", "R-4.6")
def test_sync_required_must_tell_number_and_span_of_the_backlog(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    began = world.now_ms
    for _ in range(3):
        a.message(bob)
        world.advance(1)
    b = bob.connect()
    assert b.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS", "SYNC_REQUIRED"]
    assert b.last("SYNC_REQUIRED") == {
        "reason": "offline_messages",
        "pending_count": 3,
        "oldest_timestamp": began,
        "newest_timestamp": began + 2000,
        "since_timestamp": began,
    }


@pytest.mark.requirement("R-6.6")
def test_an_empty_mailbox_must_not_be_announced(world: RelayWorld) -> None:
    assert world.person("alice").connect().types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS"]


@pytest.mark.requirement("R-6.6", "R-12.5")
def test_what_was_queued_before_must_be_fetched_and_not_pushed_even_at_a_look(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob)
    b = bob.connect()
    later = a.message(bob)
    world.advance(31)
    b.pong()
    world.advance(35)
    assert [f["id"] for f in b.of("MESSAGE_NEW")] == [later], "and what was pushed is not pushed again"


@pytest.mark.requirement("R-6.2", "R-6.6")
def test_what_was_pushed_but_not_confirmed_must_be_announced_at_the_next_connect(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    assert len(b.of("MESSAGE_NEW")) == 1
    b.lose()
    again = bob.connect()
    assert again.last("SYNC_REQUIRED")["pending_count"] == 1
    assert bob.rest("GET", "/api/messages").body["messages"][0]["id"] == message_id


@pytest.mark.requirement("R-6.2", "R-6.6")
def test_a_message_during_the_handshake_must_be_announced_and_not_lost(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.open()
    a.message(bob)
    b.authenticate()
    assert b.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS", "SYNC_REQUIRED"]


@pytest.mark.requirement("R-6.5")
def test_a_connection_must_not_remember_pushed_copies_that_are_gone() -> None:
    world = RelayWorld(loose(mailbox=MailboxConfig(max_copies=3)))
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    for _ in range(50):
        a.message(bob)
    assert len(b.of("MESSAGE_NEW")) == 50
    world.advance(30)
    assert len(world.relay.connections[b.conn].pushed or ()) == 3
    assert len(b.of("MESSAGE_NEW")) == 50
