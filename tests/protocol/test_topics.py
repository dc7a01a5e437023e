"""SUBSCRIBE and UNSUBSCRIBE: permission, whole frames, bounds (R-7.2)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_support import loose
from relay_world import Line, RelayWorld

from zentalk_sim.protocol.config import Limits, RelayConfig, TopicConfig
from zentalk_sim.protocol.control import MakeContacts
from zentalk_sim.protocol.identity import conversation_id


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def subscribe(line: Line, *topics: str) -> None:
    line.send("SUBSCRIBE", {"topics": list(topics)})


def held(world: RelayWorld, line: Line) -> list[str]:
    session: Any = world.relay.connections[line.conn].session
    assert [t for t, keys in world.store.subscribers.items() if (line.person.address, line.device_id) in keys] == list(
        session.topics
    )
    return list(session.topics)


@pytest.mark.requirement("R-7.2")
def test_presence_must_be_open_to_contacts_and_oneself_alone(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a = alice.connect()
    for address in (bob.address, "0x" + "00" * 20):
        subscribe(a, f"presence:{address}")
        assert a.error()["error_code"] == "FORBIDDEN"
        assert a.error()["details"] == {"topic": f"presence:{address}"}
    subscribe(a, f"presence:{alice.address}")
    a.message(bob)
    world.control(MakeContacts(carol.address, alice.address))
    subscribe(a, f"presence:{bob.address}", f"presence:{carol.address}")
    assert [f["payload"]["user_id"] for f in a.of("PRESENCE_UPDATE")] == [alice.address, bob.address, carol.address]


@pytest.mark.requirement("R-7.2")
def test_keys_must_be_open_for_any_registered_address(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    subscribe(a, f"keys:0x{bob.address[2:].upper()}")
    assert held(world, a) == [f"keys:{bob.address}"]
    subscribe(a, "keys:0x" + "00" * 20)
    assert a.error()["error_code"] == "FORBIDDEN"


@pytest.mark.requirement("R-7.2")
def test_typing_must_need_membership_and_change_nothing_else(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, c = alice.connect(), carol.connect()
    conversation = conversation_id(alice.address, bob.address)
    subscribe(a, f"typing:{conversation}")
    assert held(world, a) == [f"typing:{conversation}"]
    subscribe(c, f"typing:{conversation}")
    assert c.error()["error_code"] == "FORBIDDEN"
    subscribe(c, "typing:conv_unknown")
    assert c.error()["error_code"] == "NOT_FOUND"
    bob.connect().send("TYPING_START", {"conversation_id": conversation})
    assert len(a.of("TYPING_START")) == 1


@pytest.mark.requirement("R-7.2")
def test_a_frame_must_be_taken_whole_or_not_at_all(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    subscribe(a, f"keys:{bob.address}", f"presence:{bob.address}")
    assert a.error()["error_code"] == "FORBIDDEN"
    assert held(world, a) == []
    subscribe(a, f"keys:{bob.address}", "nonsense")
    assert a.error()["details"]["field"] == "payload.topics[1]"
    assert held(world, a) == []


@pytest.mark.requirement("R-7.2")
@pytest.mark.parametrize(
    "topic",
    ["", ":", "presence", "presence:", "presence:bob", "keys:0x12", "typing:", "rooms:x", "typing:" + "x" * 300],
)
@pytest.mark.parametrize("kind", ["SUBSCRIBE", "UNSUBSCRIBE"])
def test_a_topic_of_another_form_must_be_malformed(world: RelayWorld, topic: str, kind: str) -> None:
    a = world.person("alice").connect()
    a.send(kind, {"topics": [topic]})
    assert (a.error()["error_code"], a.reason()) == ("INVALID_MESSAGE", "malformed")
    assert a.error()["details"]["field"] == "payload.topics[0]"


@pytest.mark.requirement("R-7.2")
def test_a_frame_must_hold_at_most_100_topics(world: RelayWorld) -> None:
    alice = world.person("alice")
    a = alice.connect()
    subscribe(a, *[f"keys:{alice.address}"] * 101)
    assert a.reason() == "too_many_topics"
    a.clear()
    subscribe(a, *[f"keys:{alice.address}"] * 100)
    assert not a.of("ERROR")
    assert held(world, a) == [f"keys:{alice.address}"]


@pytest.mark.requirement("R-7.2")
def test_a_session_must_hold_at_most_1000_topics_counting_each_once() -> None:
    world = RelayWorld(loose(topics=TopicConfig(max_per_session=3)))
    people = [world.person(f"p{number}") for number in range(5)]
    a = people[0].connect()
    topics = [f"keys:{person.address}" for person in people]
    subscribe(a, *topics[:2])
    subscribe(a, *topics[1:4])
    assert a.reason() == "too_many_topics"
    assert len(held(world, a)) == 2, "none of the frame was taken"
    subscribe(a, *topics[:3], topics[2])
    assert held(world, a) == topics[:3]
    a.send("UNSUBSCRIBE", {"topics": [topics[0], topics[4]]})
    subscribe(a, topics[3])
    assert held(world, a) == [topics[1], topics[2], topics[3]]
    assert RelayConfig().topics.max_per_session == 1000


@pytest.mark.requirement("R-7.2")
def test_unsubscribing_must_end_updates_and_pass_over_what_is_not_held(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    world.control(MakeContacts(alice.address, bob.address))
    subscribe(a, f"presence:{bob.address}")
    a.clear()
    a.send("UNSUBSCRIBE", {"topics": [f"presence:0x{bob.address[2:].upper()}", f"keys:{bob.address}"]})
    bob.connect()
    assert a.frames == []
    assert world.store.subscribers == {}


@pytest.mark.requirement("table:Message Rate Limits/Subscribe")
def test_both_must_share_the_limit_of_5_at_once() -> None:
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts="off")))
    alice = world.person("alice")
    a = alice.connect()
    for kind in ("SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"):
        a.send(kind, {"topics": [f"keys:{alice.address}"]})
    assert not a.of("ERROR")
    a.send("UNSUBSCRIBE", {"topics": [f"keys:{alice.address}"]})
    assert (a.error()["error_code"], a.error()["details"]["retry_after"]) == ("RATE_LIMITED", 6)
    assert len(held(world, a)) == 1


@pytest.mark.requirement("R-3.4", "R-7.2")
def test_subscriptions_must_live_with_the_session(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    a = alice.connect()
    subscribe(a, f"presence:{bob.address}")
    a.lose()
    a = alice.connect(resume=a.session["resume_token"])
    b = bob.connect()
    assert a.last("PRESENCE_UPDATE")["status"] == "online", "resumed"
    a.lose()
    a = alice.connect()
    b.lose()
    assert a.of("PRESENCE_UPDATE") == [], "a new session begins without"
    assert world.store.subscribers == {}
