"""The store by itself: its records, and its image (R-6.5, R-12.1)."""

from __future__ import annotations

import msgspec
import pytest
from relay_support import bundle, header, loose
from relay_world import RelayWorld

from zentalk_sim.protocol.config import Limit
from zentalk_sim.protocol.frames import MessageDelivered, MessageNew
from zentalk_sim.protocol.records import Device, Message, Notice, Presence, Settings, User
from zentalk_sim.protocol.store import MemoryStore

ALICE, BOB = "0x" + "aa" * 20, "0x" + "bb" * 20
ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def message(message_id: str, at_us: int = 0, nonce: int = 0) -> Message:
    body = MessageNew(ALICE, "conv", b"", bytes([nonce]) * 12, "text", at_us // 1000)
    return Message(message_id, ALICE, "d", BOB, "conv", b"h", at_us, 1, 1, body, 0)


def test_the_body_must_go_with_the_last_copy() -> None:
    store = MemoryStore()
    store.add_message(message(ONE), ["x", "y"])
    assert store.remove_copy(BOB, "x", ONE) is store.messages[ONE]
    assert store.messages[ONE].body is not None
    assert store.remove_copy(BOB, "x", ONE) is None
    assert store.remove_copy(BOB, "z", ONE) is None
    store.remove_copy(BOB, "y", ONE)
    assert store.messages[ONE].body is None
    assert store.messages[ONE].copies == 0
    assert store.mailboxes == {}, "an empty mailbox takes no room"


def test_a_first_device_must_adopt_what_waited_and_find_nothing_where_nothing_did() -> None:
    store = MemoryStore()
    user = User(BOB, b"", {}, Settings(), {})
    store.adopt_waiting(user, Device("x", "", "web", 0))
    assert store.mailboxes == {}
    store.add_message(message(ONE), [""])
    store.adopt_waiting(user, Device("x", "", "web", 0))
    assert list(store.mailboxes) == [(BOB, "x")]


@pytest.mark.requirement("R-5.5")
def test_nonces_must_be_forgotten_in_the_order_of_their_last_use() -> None:
    store = MemoryStore()
    store.add_message(message(ONE, 10, nonce=1), [])
    store.add_message(message(TWO, 20, nonce=2), [])
    store.add_message(message(ONE, 30, nonce=1), [])
    assert store.nonce_holder(ALICE, bytes([1]) * 12, 30) == ONE
    assert store.nonce_holder(ALICE, bytes([1]) * 12, 31) is None
    store.forget_nonces(30)
    assert list(store.nonces) == [(ALICE, bytes([1]) * 12)]
    store.forget_nonces(31)
    assert store.nonces == {}


@pytest.mark.requirement("R-5.5")
def test_a_nonce_must_be_restored_though_the_index_has_forgotten_its_message() -> None:
    store = MemoryStore()
    store.add_message(message(ONE, 10, nonce=1), [])
    store.add_message(message(TWO, 20, nonce=2), [])
    assert store.oldest() is store.messages[ONE]
    store.forget_message(ONE)
    assert store.oldest() is store.messages[TWO]
    store.forget_message(TWO)
    assert store.oldest() is None
    again = MemoryStore.restored(store.snapshot())
    assert [again.nonce_holder(ALICE, bytes([n]) * 12, 0) for n in (1, 2, 3)] == [ONE, TWO, None]
    again.forget_nonces(15)
    assert list(again.nonces) == [(ALICE, bytes([2]) * 12)]


def test_only_the_connection_that_holds_the_place_must_give_it_up() -> None:
    store = MemoryStore()
    store.set_connected(ALICE, "x", Presence("n", 1, "ip"))
    store.set_connected(ALICE, "y", Presence("n", 2, "ip"))
    store.set_connected(ALICE, "x", Presence("m", 3, "ip"))
    assert list(store.connected(ALICE)) == ["y", "x"], "in the order of their connecting"
    assert not store.set_disconnected(ALICE, "x", 1)
    assert not store.set_disconnected(ALICE, "z", 1)
    assert not store.set_disconnected(BOB, "x", 1)
    assert [(d, p.conn) for _, d, p in store.connections_of_node("m")] == [("x", 3)]
    assert store.set_disconnected(ALICE, "x", 3)
    assert store.set_disconnected(ALICE, "y", 2)
    assert store.presence == {}


def test_connections_of_an_ip_must_add_up_over_nodes() -> None:
    store = MemoryStore()
    store.count_ip("n", "ip", 1)
    store.count_ip("m", "ip", 1)
    store.count_ip("m", "ip", 1)
    store.forget_node_ips("m")
    store.forget_node_ips("unknown")
    assert store.ip_connections == {"ip": 1}
    store.count_ip("n", "ip", -1)
    store.count_ip("n", "ip", -1)
    assert store.ip_connections == {}


def test_notices_must_be_kept_up_to_the_limit_and_taken_once() -> None:
    store = MemoryStore()
    notices = [Notice("MESSAGE_DELIVERED", MessageDelivered(ONE, "d", n)) for n in range(4)]
    assert [store.add_notice((ALICE, "x"), notice, 3) for notice in notices] == [0, 0, 0, 1]
    assert store.take_notices((ALICE, "x")) == notices[1:]
    assert store.take_notices((ALICE, "x")) == []


def test_a_limit_state_must_be_the_same_at_every_call() -> None:
    store = MemoryStore()
    limit = Limit(limit=1)
    assert store.limit_state("a", "s", limit, 0) is store.limit_state("a", "s", limit, 9)
    assert store.limit_state("b", "s", limit, 0) is not store.limit_state("a", "s", limit, 0)


@pytest.mark.requirement("R-12.1")
def test_a_store_restored_must_be_equal_in_every_record_and_order() -> None:
    world = RelayWorld(loose())
    alice, bob, carol = world.person("alice", devices=2), world.person("bob"), world.person("carol", devices=0)
    bob.rest("POST", "/api/keys", bundle(bob))
    a, b = alice.connect(), bob.connect()
    b.send("SUBSCRIBE", {"topics": [f"keys:{carol.address}", f"keys:{alice.address}"]})
    a.send("SUBSCRIBE", {"topics": [f"keys:{carol.address}"]})
    message_id = a.message(bob, x3dh_header=header(alice, 1))
    a.message(carol, conversation_id="conv_other")
    a.send("TYPING_START", {"conversation_id": "conv_other"})
    a.lose()
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    b.message(alice)
    store = world.store
    again = MemoryStore.restored(store.snapshot())
    assert again.snapshot() == store.snapshot()
    for name in MemoryStore().__dict__:
        # What is only worked out anew: filters, what may have ended, and until when no nonce is too old.
        if name not in ("seen_ids", "derived_ids", "endings", "_nonces_from_us"):
            assert getattr(again, name) == getattr(store, name), name
            assert repr(getattr(again, name)) == repr(getattr(store, name)), f"the order of {name}"
    for box in again.mailboxes.values():
        for kept_id, kept in box.items():
            assert kept is again.messages[kept_id], "one record, shared by index and mailbox"
    assert all(again.seen_ids.may_hold(m, 0) for m in store.messages)


def test_what_is_no_snapshot_must_be_refused() -> None:
    for data in (b"", b"\x80", b"nonsense"):
        with pytest.raises(msgspec.DecodeError):
            MemoryStore.restored(data)
