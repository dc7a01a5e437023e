"""The main flow: authentication, a message and its four stages, the mailbox, the heartbeat."""

from __future__ import annotations

import json

import pytest
from relay_world import RelayWorld


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@pytest.mark.requirement("R-6.2", "R-6.3")
def test_a_message_must_pass_its_four_stages(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    message_id = a.message(bob)
    assert a.last("MESSAGE_ACK") == {
        "message_id": message_id,
        "server_timestamp": world.now_ms,
        "status": "queued",
        "recipient_devices": 1,
    }
    new = b.of("MESSAGE_NEW")[0]
    assert new["id"] == message_id
    assert new["payload"]["from"] == alice.address
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    assert a.last("MESSAGE_DELIVERED")["device_id"] == bob.devices[0]
    b.send("MESSAGE_READ", {"message_id": message_id})
    assert a.last("MESSAGE_READ")["read_by"] == bob.address
    assert world.relay.store.mailboxes == {}


@pytest.mark.requirement("R-4.6", "R-6.6")
def test_what_was_queued_must_be_announced_and_fetched_in_order(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    sent = []
    for _ in range(3):
        sent.append(a.message(bob))
        world.advance(1)
    b = bob.connect()
    assert b.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS", "SYNC_REQUIRED"]
    assert b.last("SYNC_REQUIRED")["pending_count"] == 3
    answer = bob.rest("GET", "/api/messages?limit=2&offset=0")
    assert answer.status == 200
    assert [m["id"] for m in answer.body["messages"]] == sent[:2]
    assert bob.rest("POST", "/api/messages/ack", {"message_ids": sent}).body == {"acked": 3}
    assert bob.rest("GET", "/api/messages").body == {"messages": [], "total": 0}
    assert len(a.of("MESSAGE_DELIVERED")) == 3


@pytest.mark.requirement("R-8.1")
def test_a_silent_peer_must_be_dropped_after_120_s(world: RelayWorld) -> None:
    line = world.person("alice").connect()
    began = world.now
    world.advance(200)
    assert [at - began for at in line.arrived_us[2:]] == [30_000_000, 70_000_000, 110_000_000]
    assert line.close_code == 1006
    assert line.closed_us == began + 120_000_000


def test_a_snapshot_restored_must_go_on_alike(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    bob.connect()
    a.message(bob)
    snapshot = world.relay.snapshot()
    again = type(world.relay).restored(snapshot, world.config)
    body = json.dumps(
        {"type": "MESSAGE_RECEIVED", "id": world.uuid(), "timestamp": world.now_ms, "payload": {"message_id": 1}}
    )
    for at in range(0, 200_000_000, 1_700_000):
        now = world.now + at
        assert world.relay.receive_data(a.conn, body, now) == again.receive_data(a.conn, body, now)
    assert world.relay.snapshot() == again.snapshot()
