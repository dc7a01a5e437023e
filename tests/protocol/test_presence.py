"""Presence: online, away, offline, invisible; who is told and what (R-7.3)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_support import loose
from relay_world import Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import Limits
from zentalk_sim.protocol.control import MakeContacts


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def friends(world: RelayWorld, devices: int = 1) -> tuple[Person, Person, Line]:
    """alice, bob her contact, and bob's connection, which subscribes to her presence."""
    alice, bob = world.person("alice", devices=devices), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    b = bob.connect()
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    return alice, bob, b


def told(line: Line) -> list[str]:
    found = [f["payload"]["status"] for f in line.of("PRESENCE_UPDATE")]
    line.clear()
    return found


def keep_alive(world: RelayWorld, seconds: int, *lines: Line) -> None:
    """Let time pass with every heartbeat answered."""
    for _ in range(seconds // 10):
        world.advance(10)
        for line in lines:
            if line.of("PING") and line.frames and line.last("PING")["timestamp"] > world.now_ms - 10_000:
                line.pong()


@pytest.mark.requirement("R-7.2", "R-7.3")
def test_a_subscription_must_be_answered_with_the_current_state(world: RelayWorld) -> None:
    alice, _bob, b = friends(world)
    assert b.last("PRESENCE_UPDATE") == {
        "user_id": alice.address,
        "status": "offline",
        "last_seen": None,
        "device_count": 0,
    }, "never seen"
    alice.connect()
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    assert b.last("PRESENCE_UPDATE") == {
        "user_id": alice.address,
        "status": "online",
        "last_seen": world.now_ms,
        "device_count": 1,
    }


@pytest.mark.requirement("R-7.3", "table:Multi-Device Connection Handling/Presence aggregation")
def test_a_user_must_be_online_while_any_device_is_connected_and_updates_go_out_at_changes_only(
    world: RelayWorld,
) -> None:
    alice, _bob, b = friends(world, devices=2)
    told(b)
    first = alice.connect(0)
    second = alice.connect(1)
    assert told(b) == ["online"]
    first.lose()
    assert told(b) == []
    world.advance(2)
    second.lose()
    assert b.last("PRESENCE_UPDATE")["last_seen"] == world.now_ms
    assert told(b) == ["offline"]


@pytest.mark.requirement("R-7.3", "table:Status Values/away")
def test_a_device_must_be_away_after_5_minutes_without_activity(world: RelayWorld) -> None:
    alice, _bob, b = friends(world)
    a = alice.connect()
    began = world.now
    told(b)
    keep_alive(world, 290, a, b)
    assert told(b) == []
    world.advance_us(10_000_000 - 1)
    assert told(b) == []
    world.advance_us(1)
    assert world.now == began + 300_000_000
    assert told(b) == ["away"], "PONGs are no activity"


ACTIVITY: dict[str, Any] = {
    "MESSAGE_SEND": None,
    "MESSAGE_READ": None,
    "TYPING_START": None,
    "TYPING_STOP": None,
    "PRESENCE_SET": {"status": "online"},
}
NO_ACTIVITY: dict[str, Any] = {
    "SUBSCRIBE": {"topics": []},
    "UNSUBSCRIBE": {"topics": []},
    "MESSAGE_RECEIVED": None,
    "PONG": None,
}


@pytest.mark.requirement("R-7.3")
@pytest.mark.parametrize("kind", [*ACTIVITY, *NO_ACTIVITY])
def test_activity_alone_must_end_automatic_away(world: RelayWorld, kind: str) -> None:
    alice, bob, b = friends(world)
    a = alice.connect()
    message_id = b.message(alice)
    keep_alive(world, 310, a, b)
    assert told(b)[-1] == "away"
    conversation = a.last("MESSAGE_NEW")["conversation_id"]
    payload = {**ACTIVITY, **NO_ACTIVITY}[kind]
    if kind.startswith("MESSAGE_RE"):
        payload = {"message_id": message_id}
    elif kind.startswith("TYPING"):
        payload = {"conversation_id": conversation}
    elif kind == "PONG":
        payload = {"timestamp": 0, "client_time": 0}
    if kind == "MESSAGE_SEND":
        a.message(bob)
    else:
        a.send(kind, payload)
    assert not a.of("ERROR")
    assert told(b) == (["online"] if kind in ACTIVITY else [])
    if kind in ACTIVITY:
        keep_alive(world, 290, a, b)
        assert told(b) == []
        world.advance(10)
        assert told(b) == ["away"], "5 minutes after the last activity"


@pytest.mark.requirement("R-7.3")
def test_a_user_must_be_away_only_when_every_device_is(world: RelayWorld) -> None:
    alice, _bob, b = friends(world, devices=2)
    first = alice.connect(0)
    keep_alive(world, 100, first, b)
    second = alice.connect(1)
    told(b)
    keep_alive(world, 290, first, second, b)
    assert told(b) == [], "the first has turned quiet, the second has not"
    keep_alive(world, 20, first, second, b)
    assert told(b) == ["away"]
    third = world.store.connected(alice.address)
    assert [place.away for place in third.values()] == [True, True]
    second.send("PRESENCE_SET", {"status": "online"})
    assert told(b) == ["online"]
    second.lose()
    assert told(b) == ["away"], "the one that is left is quiet"


@pytest.mark.requirement("R-7.3")
def test_a_status_set_must_hold_for_all_devices_until_set_again(world: RelayWorld) -> None:
    alice, bob, b = friends(world, devices=2)
    first = alice.connect(0)
    told(b)
    first.send("PRESENCE_SET", {"status": "away"})
    assert told(b) == ["away"]
    first.message(bob)
    second = alice.connect(1)
    assert told(b) == [], "neither activity nor another device ends it"
    first.lose()
    second.lose()
    assert told(b) == ["offline"]
    third = alice.connect(1)
    assert told(b) == ["away"], "nor does a reconnection"
    third.send("PRESENCE_SET", {"status": "online"})
    assert told(b) == ["online"]


@pytest.mark.requirement("R-7.3", "table:Status Values/invisible")
def test_the_invisible_must_look_offline_without_last_seen_and_device_count(world: RelayWorld) -> None:
    alice, bob, b = friends(world)
    a = alice.connect()
    told(b)
    a.send("PRESENCE_SET", {"status": "invisible"})
    assert b.last("PRESENCE_UPDATE") == {"user_id": alice.address, "status": "offline"}
    assert told(b) == ["offline"]
    a.lose()
    a = alice.connect()
    a.message(bob)
    assert told(b) == [], "coming and going is not seen"
    a.send("PRESENCE_SET", {"status": "online"})
    assert told(b) == ["online"]


@pytest.mark.requirement("R-7.3", "table:Presence Privacy/Hide presence")
def test_hiding_presence_must_take_effect_at_once_and_back(world: RelayWorld) -> None:
    alice, _bob, b = friends(world)
    alice.connect()
    told(b)
    alice.rest("PUT", "/api/settings", {"share_presence": False})
    assert b.last("PRESENCE_UPDATE") == {"user_id": alice.address, "status": "offline"}
    b.clear()
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    assert b.last("PRESENCE_UPDATE") == {"user_id": alice.address, "status": "offline"}
    b.clear()
    alice.rest("PUT", "/api/settings", {"share_presence": True})
    assert told(b) == ["online"]


@pytest.mark.requirement("R-7.3", "table:Presence Privacy/Last seen")
def test_last_seen_must_be_hidden_by_its_setting_alone(world: RelayWorld) -> None:
    alice, _bob, b = friends(world)
    alice.rest("PUT", "/api/settings", {"show_last_seen": False})
    alice.connect()
    assert b.last("PRESENCE_UPDATE") == {"user_id": alice.address, "status": "online", "device_count": 1}


@pytest.mark.requirement("R-7.3")
def test_offline_or_an_unknown_status_must_not_be_settable(world: RelayWorld) -> None:
    a = world.person("alice").connect()
    for status in ("offline", "busy", None):
        a.send("PRESENCE_SET", {"status": status})
        assert (a.reason(), a.error()["details"]["field"]) == ("malformed", "payload.status")


@pytest.mark.requirement("table:Message Rate Limits/Presence update")
def test_presence_must_be_set_once_a_minute() -> None:
    world = RelayWorld(loose(limits=Limits(auth_attempts="off")))
    alice, _bob, b = friends(world)
    a = alice.connect()
    a.send("PRESENCE_SET", {"status": "away"})
    told(b)
    a.send("PRESENCE_SET", {"status": "online"})
    assert (a.error()["error_code"], a.error()["details"]["retry_after"]) == ("RATE_LIMITED", 60)
    assert told(b) == []
    keep_alive(world, 60, a, b)
    a.send("PRESENCE_SET", {"status": "online"})
    assert told(b) == ["online"]


@pytest.mark.requirement("R-7.3", "R-5.6")
def test_a_duplicate_message_must_be_no_activity(world: RelayWorld) -> None:
    """A re-send is the client's own doing, not its user's; the ruling leaves it open."""
    alice, bob, b = friends(world)
    a = alice.connect()
    nonce = b64(bytes(12))
    message_id = a.message(bob, nonce=nonce)
    keep_alive(world, 310, a, b)
    told(b)
    a.message(bob, nonce=nonce, id=message_id)
    assert a.last("MESSAGE_ACK")["status"] == "duplicate"
    assert told(b) == []
