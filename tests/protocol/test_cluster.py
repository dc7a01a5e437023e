"""Several nodes on one store: delivery, replacement, lost events and the look, lost nodes, shared limits (R-12.5)."""

from __future__ import annotations

import pytest
from relay_support import DAY_S, assert_ledger, loose, pending, rest_on
from relay_world import Line, RelayWorld, b64

from zentalk_sim.protocol.config import Ceiling, Limit, Limits, RelayConfig
from zentalk_sim.protocol.control import CloseConn, MakeContacts, NodeLost, RemoveDevice, RotateKey, Stop, Suspend
from zentalk_sim.protocol.effects import ClearPush, Kick, Push
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.streams import Streams


def cluster(config: RelayConfig | None = None) -> RelayWorld:
    return RelayWorld(config or loose(), nodes=3)


@pytest.fixture
def world() -> RelayWorld:
    return cluster()


def crash(world: RelayWorld, number: int, *, witness: int = 0) -> None:
    """A node is gone with its connections, an empty one takes its name, and another node is told."""
    old = world.relays[number]
    for line in world.lines.values():
        if line.relay is old and line.close_code is None:
            line.close_code, line.gone = 1006, True
    world.relays[number] = Relay(
        world.config, streams=Streams("again", boot=1), store=world.store, crypto=world.crypto, node=old.name
    )
    world.apply(world.relays[witness].control(NodeLost(old.name), world.now))


def keep_alive(world: RelayWorld, seconds: int, *lines: Line) -> None:
    for _ in range(seconds // 10):
        world.advance(10)
        for line in lines:
            if line.close_code is None and line.of("PING"):
                line.pong()


@pytest.mark.requirement("R-12.5", "R-6.2", "R-6.3")
def test_messages_and_receipts_must_cross_nodes_at_once(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=2), world.person("bob", devices=2)
    a, other = alice.connect(0, relay=0), alice.connect(1, relay=2)
    first, second = bob.connect(0, relay=1), bob.connect(1, relay=2)
    message_id = a.message(bob)
    for line in (first, second):
        assert line.of("MESSAGE_NEW")[0]["id"] == message_id
    first.send("MESSAGE_READ", {"message_id": message_id})
    second.send("MESSAGE_RECEIVED", {"message_id": message_id})
    for line in (a, other):
        assert line.types()[-3:] == ["MESSAGE_DELIVERED", "MESSAGE_READ", "MESSAGE_DELIVERED"]
    assert [f["seq"] for f in other.frames[1:]] == [1, 2, 3, 4]
    assert_ledger(world)


@pytest.mark.requirement("R-12.5", "R-7.3", "R-7.4", "R-7.5")
def test_presence_typing_and_key_changes_must_cross_nodes(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=2), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    b = bob.connect(relay=1)
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    a = alice.connect(0, relay=0)
    second = alice.connect(1, relay=2)
    a.send("TYPING_START", {"conversation_id": conversation_id(alice.address, bob.address)})
    world.control(RotateKey(alice.address, b"k" * 32))
    a.lose()
    second.lose()
    assert [f["type"] for f in b.frames[2:]] == ["PRESENCE_UPDATE"] * 2 + [
        "TYPING_START",
        "KEY_CHANGE",
        "PRESENCE_UPDATE",
    ]
    assert [f["payload"]["status"] for f in b.of("PRESENCE_UPDATE")] == ["offline", "online", "offline"]
    world.advance(5)
    assert b.types()[-1] == "TYPING_STOP"


@pytest.mark.requirement("R-12.5")
def test_a_lost_event_must_cost_promptness_and_never_a_message(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(relay=0), bob.connect(relay=1)
    world.advance(10)
    world.bus_up = False
    sent = [a.message(bob), a.message(bob)]
    world.bus_up = True
    sent.append(a.message(bob))
    assert [f["id"] for f in b.of("MESSAGE_NEW")] == sent[2:]
    world.advance(20)
    assert [f["id"] for f in b.of("MESSAGE_NEW")] == [sent[2], *sent[:2]], "at the look, 30 s after AUTH_SUCCESS"
    for message_id in sent:
        b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    b.pong()
    world.advance(30)
    assert len(b.of("MESSAGE_NEW")) == 3
    assert pending(world) == 0
    assert_ledger(world)


@pytest.mark.requirement("R-10.3", "R-12.5")
def test_a_device_must_replace_its_connection_on_another_node(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    older = alice.connect(relay=0)
    newer = alice.connect(relay=1)
    assert older.end == (1000, "replaced")
    bob.connect(relay=2).message(alice)
    assert len(newer.of("MESSAGE_NEW")) == 1
    older.lose()
    assert len(world.store.connected(alice.address)) == 1


@pytest.mark.requirement("R-3.4")
def test_a_session_must_be_resumed_on_another_node(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    a = alice.connect(relay=0)
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]}, seq=7)
    a.lose()
    again = alice.connect(relay=1, resume=a.session["resume_token"])
    assert again.session["resumed"] is True
    assert again.of("AUTH_SUCCESS")[0]["seq"] == 3
    bob.connect(relay=2)
    assert again.last("PRESENCE_UPDATE")["status"] == "online"
    again.send("SUBSCRIBE", {"topics": []}, seq=7)
    assert again.reason() == "sequence_replayed"


@pytest.mark.requirement("R-12.5", "R-10.3", "R-7.1", "R-3.2")
@pytest.mark.parametrize(
    ("way", "code", "reason"),
    [("replaced", 1000, "replaced"), ("removed", 1000, "device_removed"), ("suspended", 4003, "suspended")],
)
@pytest.mark.parametrize("looks", [0, 2])
def test_an_end_that_was_not_heard_of_must_be_made_good_at_the_look(
    world: RelayWorld, way: str, code: int, reason: str, looks: int
) -> None:
    alice = world.person("alice", devices=2)
    older = alice.connect(0, relay=0)
    world.advance(30 * looks)
    assert older.close_code is None
    world.bus_up = False
    if way == "replaced":
        alice.connect(0, relay=1)
    elif way == "removed":
        world.apply(world.relays[1].control(RemoveDevice(alice.address, alice.devices[0]), world.now))
    else:
        world.apply(world.relays[1].control(Suspend(alice.address), world.now))
    assert older.close_code is None
    older.send("PRESENCE_SET", {"status": "away"})
    assert not older.of("ERROR")
    world.advance(30)
    assert older.end == (code, reason)
    older.lose()
    places = world.store.connected(alice.address)
    assert [place.node for place in places.values()] == (["relay-1"] if way == "replaced" else [])


@pytest.mark.requirement("R-12.5", "R-7.3")
def test_a_connection_that_was_replaced_unheard_must_not_speak_for_its_device(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    b = bob.connect(relay=2)
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    config = world.config
    slow = RelayConfig(limits=config.limits, mailbox=config.mailbox.__class__(look_interval_ms=10**9))
    for relay in world.relays:
        relay.configure(slow)
    older = alice.connect(relay=0)
    keep_alive(world, 100, older, b)
    world.bus_up = False
    newer = alice.connect(relay=1)
    world.bus_up = True
    b.clear()
    keep_alive(world, 210, older, newer, b)
    assert b.of("PRESENCE_UPDATE") == [], "the older one turned quiet, the device did not"
    keep_alive(world, 100, older, newer, b)
    assert [f["payload"]["status"] for f in b.of("PRESENCE_UPDATE")] == ["away"]
    older.send("PRESENCE_SET", {"status": "online"})
    assert len(b.of("PRESENCE_UPDATE")) == 1


@pytest.mark.requirement("R-12.5", "R-6.7")
def test_a_lost_nodes_connections_must_be_given_up_and_their_copies_kept(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    body = {"device_id": bob.devices[0], "device_name": "", "device_type": "mobile", "push_token": "p"}
    bob.rest("POST", "/api/devices", body)
    world.control(MakeContacts(carol.address, bob.address))
    a, b, c = alice.connect(relay=0), bob.connect(relay=1), carol.connect(relay=2)
    c.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    sent = a.message(bob)
    crash(world, 1)
    assert c.last("PRESENCE_UPDATE")["status"] == "offline"
    assert [push.push_token for push in world.pushes if isinstance(push, Push)] == ["p"]
    assert world.store.node_ips["relay-1"] == {}
    assert world.store.ip_connections == {"203.0.113.1": 2}
    again = bob.connect(relay=2, resume=b.session["resume_token"])
    assert again.session["resumed"] is True
    assert again.last("SYNC_REQUIRED")["pending_count"] == 1
    answer = rest_on(1, bob, "GET", "/api/messages")
    assert [m["id"] for m in answer.body["messages"]] == [sent], "any node answers"
    rest_on(1, bob, "POST", "/api/messages/ack", {"message_ids": [sent]})
    assert len(a.of("MESSAGE_DELIVERED")) == 1
    assert world.pushes[-1] == ClearPush(bob.address, bob.devices[0])
    assert_ledger(world)


@pytest.mark.requirement("R-12.5", "R-6.5", "R-7.4")
def test_what_a_lost_nodes_timers_were_to_end_must_end_all_the_same(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol", devices=0)
    a, b = alice.connect(relay=1), bob.connect(relay=0)
    conversation = conversation_id(alice.address, bob.address)
    a.message(carol)
    a.send("TYPING_START", {"conversation_id": conversation})
    world.advance(1)
    a.send("TYPING_STOP", {"conversation_id": conversation})
    world.advance(2)
    a.send("TYPING_START", {"conversation_id": conversation})
    survivors = [world.relays[0], world.relays[2]]
    crash(world, 1)
    world.relays[:] = survivors
    world.advance(5)
    assert [f["type"] for f in b.frames[2:]] == ["TYPING_START", "TYPING_STOP"] * 2
    assert world.store.typing == {}
    b.lose()
    world.advance(30 * DAY_S)
    assert world.count("copies.dropped.expired") == 1
    assert_ledger(world)


@pytest.mark.requirement("R-12.5")
def test_a_node_taken_for_lost_by_mistake_must_send_its_connections_to_connect_anew(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(relay=0), bob.connect(relay=1)
    world.control(NodeLost("relay-1"))
    a.message(bob)
    assert b.of("MESSAGE_NEW") == []
    world.advance(30)
    assert b.end == (1001, "place_lost")
    b.lose()
    assert bob.connect(relay=1).last("SYNC_REQUIRED")["pending_count"] == 1


@pytest.mark.requirement("R-12.5", "R-10.1")
def test_limits_must_be_shared_by_the_nodes() -> None:
    limits = Limits(
        send_message=Limit(limit=3, window_s=60),
        connections_per_user=Ceiling(limit=2),
        connections_per_ip=Ceiling(limit=4),
        auth_attempts="off",
    )
    world = cluster(RelayConfig(limits=limits))
    alice, bob = world.person("alice", devices=3), world.person("bob")
    a = alice.connect(0, relay=0)
    a.message(bob)
    a.message(bob)
    a.lose()
    a = alice.connect(0, relay=1)
    a.message(bob)
    body = {"id": world.uuid(), "to": bob.address, "ciphertext": "", "nonce": b64(bytes(12)), "message_type": "text"}
    assert rest_on(2, alice, "POST", "/api/messages", body).status == 429
    a.message(bob)
    assert a.error()["error_code"] == "RATE_LIMITED"
    alice.connect(1, relay=2)
    third = alice.open(2, relay=0)
    third.authenticate()
    assert third.close_code == 4004
    third.lose()
    bob.connect(relay=0)
    carol, dave = world.person("carol"), world.person("dave")
    assert carol.open(relay=1).close_code is None
    assert dave.open(relay=2).close_code == 4002, "the IP has four connections on three nodes"


@pytest.mark.requirement("R-12.5", "R-7.4")
def test_the_typing_throttle_must_follow_a_device_to_another_node() -> None:
    world = cluster(RelayConfig(limits=Limits(auth_attempts="off")))
    alice, bob = world.person("alice"), world.person("bob")
    b = bob.connect(relay=2)
    conversation = conversation_id(alice.address, bob.address)
    a = alice.connect(relay=0)
    a.send("TYPING_START", {"conversation_id": conversation})
    a.lose()
    a = alice.connect(relay=1)
    world.advance(2.9)
    a.send("TYPING_START", {"conversation_id": conversation})
    assert len(b.of("TYPING_START")) == 1
    world.advance(0.1)
    a.send("TYPING_START", {"conversation_id": conversation})
    assert len(b.of("TYPING_START")) == 2
    world.advance(6)
    assert len(b.of("TYPING_STOP")) == 1, "5 s after the last, though another node's timer came up before"


@pytest.mark.requirement("R-12.5")
def test_events_for_connections_that_are_gone_must_be_passed_over(world: RelayWorld) -> None:
    alice = world.person("alice")
    a, challenged = alice.connect(relay=0), alice.open(relay=0)
    for conn in (challenged.conn, 999):
        assert world.relays[0].receive_event(Kick(conn, 1000, "replaced"), world.now) == []
    assert a.close_code is None


@pytest.mark.requirement("R-12.5", "R-5.6", "R-1.2")
def test_duplicates_must_be_known_on_every_node(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    b = bob.connect(relay=2)
    nonce = b64(bytes(12))
    a = alice.connect(relay=0)
    message_id = a.message(bob, nonce=nonce)
    a.lose()
    a = alice.connect(relay=1)
    a.message(bob, nonce=nonce, id=message_id)
    assert a.last("MESSAGE_ACK")["status"] == "duplicate"
    a.message(bob, nonce=nonce)
    assert a.reason() == "nonce_reused"
    assert len(b.of("MESSAGE_NEW")) == 1


@pytest.mark.requirement("R-12.1")
def test_stopping_one_node_must_leave_the_others(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(relay=0), bob.connect(relay=1)
    world.control(Stop())
    assert (a.close_code, b.close_code) == (1001, None)
    world.apply(world.relays[1].control(CloseConn(b.conn, 1000), world.now))
    assert b.close_code == 1000
