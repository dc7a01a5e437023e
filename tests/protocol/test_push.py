"""Push notifications: who is woken, and when they are taken away (R-6.6, R-6.7)."""

from __future__ import annotations

import pytest
from relay_support import DAY_S, loose, outlive
from relay_world import Person, RelayWorld

from zentalk_sim.protocol.effects import ClearPush, Push


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def with_push(world: RelayWorld, person: Person, *devices: int) -> None:
    for number in devices:
        body = {"device_id": person.devices[number], "device_name": "", "device_type": "mobile"}
        person.rest("POST", "/api/devices", body | {"push_token": f"token-{number}"})
    world.pushes.clear()


def woken(world: RelayWorld) -> list[str]:
    found = [push.push_token for push in world.pushes if isinstance(push, Push)]
    world.pushes.clear()
    return found


@pytest.mark.requirement("R-6.7", "table:Multi-Device Connection Handling/Device priority")
def test_the_device_most_recently_active_that_has_a_push_token_must_be_woken(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=3)
    with_push(world, bob, 0, 1)
    a = alice.connect()
    a.message(bob)
    assert woken(world) == ["token-0"], "none was active yet: the first registered"
    for number in (1, 0, 2):
        world.advance(1)
        bob.connect(number).lose()
    world.pushes.clear()
    a.message(bob)
    assert woken(world) == ["token-0"], "the third was active later, but has no push token"
    b = bob.connect(1)
    other = bob.connect(0)
    world.advance(1)
    b.send("PRESENCE_SET", {"status": "online"})
    b.lose()
    other.lose()
    world.pushes.clear()
    a.message(bob)
    assert woken(world) == ["token-1"], "activity counts, not the loss of a connection"


@pytest.mark.requirement("R-6.7")
def test_a_push_must_tell_how_many_wait(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    with_push(world, bob, 0)
    a = alice.connect()
    a.message(bob)
    a.message(bob)
    assert world.pushes == [
        Push(bob.address, bob.devices[0], "token-0", 1),
        Push(bob.address, bob.devices[0], "token-0", 2),
    ]
    assert world.count("push.sent") == 2


@pytest.mark.requirement("R-6.7")
def test_nobody_must_be_woken_while_a_device_is_connected_or_without_a_push_token(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob", devices=2), world.person("carol")
    with_push(world, bob, 0)
    a, b = alice.connect(), bob.connect(1)
    a.message(bob)
    a.message(carol)
    assert woken(world) == []
    b.lose()
    assert woken(world) == ["token-0"], "the last connection was lost with unconfirmed copies"


@pytest.mark.requirement("R-6.7")
def test_a_last_connection_lost_with_nothing_unconfirmed_must_wake_nobody(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    with_push(world, bob, 0, 1)
    a, first, second = alice.connect(), bob.connect(0), bob.connect(1)
    message_id = a.message(bob)
    first.send("MESSAGE_RECEIVED", {"message_id": message_id})
    first.lose()
    assert woken(world) == [], "another device is connected"
    second.send("MESSAGE_RECEIVED", {"message_id": message_id})
    second.lose()
    assert woken(world) == []


@pytest.mark.requirement("R-6.7")
def test_a_heartbeat_loss_must_wake_as_any_other(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    with_push(world, bob, 0)
    a = alice.connect()
    bob.connect()
    world.advance(110)
    a.message(bob)
    assert woken(world) == []
    world.advance(10)
    assert woken(world) == ["token-0"]


@pytest.mark.requirement("R-6.6")
@pytest.mark.parametrize("way", ["received", "rest", "expired"])
def test_pushes_must_be_cleared_once_when_the_mailbox_is_empty(world: RelayWorld, way: str) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    with_push(world, bob, 0)
    a = alice.connect()
    sent = [a.message(bob), a.message(bob)]
    a.lose()
    woken(world)
    if way == "expired":
        outlive(world, 30 * DAY_S)
    elif way == "rest":
        bob.rest("POST", "/api/messages/ack", {"message_ids": sent[:1]})
        assert world.pushes == [], "one is still there"
        bob.rest("POST", "/api/messages/ack", {"message_ids": sent})
    else:
        b = bob.connect()
        for message_id in sent:
            assert world.pushes == []
            b.send("MESSAGE_RECEIVED", {"message_id": message_id})
        b.send("MESSAGE_RECEIVED", {"message_id": sent[1]})
    assert world.pushes == [ClearPush(bob.address, bob.devices[0])]


@pytest.mark.requirement("R-6.7")
def test_a_message_to_oneself_must_not_wake_the_device_it_came_from(world: RelayWorld) -> None:
    alice = world.person("alice", devices=2)
    with_push(world, alice, 0, 1)
    from relay_world import b64

    alice.connect(0).lose()
    body = {"id": world.uuid(), "to": alice.address, "ciphertext": "", "nonce": b64(bytes(12)), "message_type": "text"}
    alice.rest("POST", "/api/messages", body, device=0)
    assert woken(world) == ["token-1"]
