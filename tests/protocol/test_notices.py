"""Receipts and key changes kept for those who are away (R-6.3, R-4.6)."""

from __future__ import annotations

import pytest
from relay_support import loose
from relay_world import RelayWorld

from zentalk_sim.protocol.config import MailboxConfig
from zentalk_sim.protocol.control import RotateKey


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-6.3", "R-4.6")
def test_receipts_for_one_who_is_away_must_wait_for_each_of_her_devices(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=2), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    a.lose()
    b.send("MESSAGE_READ", {"message_id": message_id})
    b.message(alice)
    told_ms = world.now_ms
    world.advance(5)
    for device in (0, 1):
        line = alice.connect(device)
        assert line.types()[1:] == ["AUTH_SUCCESS", "SYNC_REQUIRED", "MESSAGE_DELIVERED", "MESSAGE_READ"]
        assert line.last("MESSAGE_DELIVERED")["timestamp"] == told_ms, "the instant of the receipt"
        line.lose()
    assert alice.connect().types()[1:] == ["AUTH_SUCCESS", "SYNC_REQUIRED"], "they come once"


@pytest.mark.requirement("R-6.3")
def test_none_must_be_kept_while_any_device_is_connected(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=2), world.person("bob")
    a, b = alice.connect(0), bob.connect()
    message_id = a.message(bob)
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert alice.connect(1).of("MESSAGE_DELIVERED") == []
    assert not world.store.notices


@pytest.mark.requirement("R-6.3")
def test_a_key_change_must_wait_too_and_keep_its_place(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    a.lose()
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    world.control(RotateKey(bob.address, b"k" * 32))
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert alice.connect().types()[2:] == ["MESSAGE_DELIVERED", "KEY_CHANGE", "MESSAGE_READ"]


@pytest.mark.requirement("R-6.3")
def test_the_1001st_notice_must_drop_the_oldest_and_count_it(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    sent = [a.message(bob) for _ in range(1002)]
    a.lose()
    for message_id in sent:
        b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert world.count("notices.dropped.overflow") == 2
    assert [f["payload"]["message_id"] for f in alice.connect().of("MESSAGE_DELIVERED")] == sent[2:]


@pytest.mark.requirement("R-6.3", "R-7.1")
def test_notices_of_a_removed_device_must_go_with_it_counted() -> None:
    world = RelayWorld(loose(mailbox=MailboxConfig(max_notices=5)))
    alice, bob = world.person("alice", devices=2), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    a.lose()
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    alice.rest("DELETE", f"/api/devices/{alice.devices[1]}")
    assert world.count("notices.dropped.device_removed") == 1
    assert len(alice.connect(0).of("MESSAGE_DELIVERED")) == 1


@pytest.mark.requirement("R-6.3")
def test_a_sender_without_any_device_must_get_none(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    alice.rest("DELETE", f"/api/devices/{alice.devices[0]}")
    assert a.end == (1000, "device_removed")
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert not world.store.notices
