"""Typing indicators: throttle, self-stop, and to whom they go (R-7.4)."""

from __future__ import annotations

import pytest
from relay_support import loose
from relay_world import Line, Person, RelayWorld

from zentalk_sim.protocol.config import Limit, Limits, RelayConfig, TypingConfig
from zentalk_sim.protocol.identity import conversation_id

RELAXED = Limits(auth_attempts="off", connection_rate="off")


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(RelayConfig(limits=RELAXED))


def pair(world: RelayWorld) -> tuple[Person, Line, Line, str]:
    """alice, her line, bob's line, and the id of their conversation."""
    alice, bob = world.person("alice"), world.person("bob")
    return alice, alice.connect(), bob.connect(), conversation_id(alice.address, bob.address)


def start(line: Line, conversation: str) -> None:
    line.send("TYPING_START", {"conversation_id": conversation})


def stop(line: Line, conversation: str) -> None:
    line.send("TYPING_STOP", {"conversation_id": conversation})


def seen(line: Line) -> list[tuple[str, int]]:
    """Typing frames with the instant of their arrival in µs since the world's start."""
    from relay_world import START_US

    pairs = zip(line.frames, line.arrived_us, strict=True)
    return [(f["type"], at - START_US) for f, at in pairs if f["type"].startswith("TYPING")]


@pytest.mark.requirement("R-7.4")
def test_typing_must_reach_the_peer_and_stop_by_itself_after_5_s(world: RelayWorld) -> None:
    alice, a, b, conversation = pair(world)
    start(a, conversation)
    assert b.last("TYPING_START") == {"conversation_id": conversation, "user_id": alice.address}
    world.advance(20)
    assert seen(b) == [("TYPING_START", 0), ("TYPING_STOP", 5_000_000)]
    assert b.last("TYPING_STOP") == {"conversation_id": conversation, "user_id": alice.address}
    assert seen(a) == []
    assert world.store.typing == {}, "nothing is kept of it"


@pytest.mark.requirement(
    "R-7.4", "table:Typing Indicators/Throttle interval", "table:Message Rate Limits/Typing indicator"
)
def test_a_start_sooner_than_3_s_after_the_last_accepted_must_be_ignored_without_an_error(world: RelayWorld) -> None:
    _, a, b, conversation = pair(world)
    start(a, conversation)
    world.advance_us(2_999_999)
    start(a, conversation)
    assert seen(b) == [("TYPING_START", 0)]
    world.advance_us(1)
    start(a, conversation)
    assert seen(b) == [("TYPING_START", 0), ("TYPING_START", 3_000_000)]
    world.advance(10)
    assert seen(b)[2:] == [("TYPING_STOP", 8_000_000)], "5 s after the last accepted one"
    assert not a.of("ERROR")


@pytest.mark.requirement("R-7.4")
def test_an_ignored_start_must_prolong_nothing(world: RelayWorld) -> None:
    _, a, b, conversation = pair(world)
    start(a, conversation)
    world.advance(2)
    start(a, conversation)
    world.advance(10)
    assert seen(b) == [("TYPING_START", 0), ("TYPING_STOP", 5_000_000)]


@pytest.mark.requirement("R-7.4")
def test_a_stop_must_always_pass_and_end_it_but_not_the_throttle(world: RelayWorld) -> None:
    _, a, b, conversation = pair(world)
    start(a, conversation)
    world.advance(1)
    stop(a, conversation)
    stop(a, conversation)
    start(a, conversation)
    world.advance(2)
    start(a, conversation)
    world.advance(0.5)
    stop(a, conversation)
    world.advance(20)
    assert seen(b) == [
        ("TYPING_START", 0),
        ("TYPING_STOP", 1_000_000),
        ("TYPING_STOP", 1_000_000),
        ("TYPING_START", 3_000_000),
        ("TYPING_STOP", 3_500_000),
    ], "no TYPING_STOP of the relay's own after the client's"
    assert world.store.typing == {}


@pytest.mark.requirement("R-7.4")
def test_a_stop_without_a_start_must_pass(world: RelayWorld) -> None:
    _, a, b, conversation = pair(world)
    stop(a, conversation)
    assert seen(b) == [("TYPING_STOP", 0)]


@pytest.mark.requirement("R-7.4")
def test_throttle_and_time_out_must_be_kept_by_device_and_conversation(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice", devices=2), world.person("bob"), world.person("carol")
    first, second, b, c = alice.connect(0), alice.connect(1), bob.connect(), carol.connect()
    with_bob = conversation_id(alice.address, bob.address)
    start(first, with_bob)
    start(second, with_bob)
    start(first, conversation_id(alice.address, carol.address))
    assert len(b.of("TYPING_START")) == 2
    assert len(c.of("TYPING_START")) == 1
    assert seen(second) == [], "one's own devices are not told"


@pytest.mark.requirement("R-7.4")
def test_typing_must_reach_every_connected_device_and_end_after_a_loss_too(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a, first, second = alice.connect(), bob.connect(0), bob.connect(1)
    start(a, conversation_id(alice.address, bob.address))
    a.lose()
    world.advance(5)
    for line in (first, second):
        assert seen(line) == [("TYPING_START", 0), ("TYPING_STOP", 5_000_000)]


@pytest.mark.requirement("R-7.4", "R-10.1")
def test_the_throttle_must_survive_a_reconnection(world: RelayWorld) -> None:
    alice, a, b, conversation = pair(world)
    start(a, conversation)
    a.lose()
    start(alice.connect(), conversation)
    assert len(b.of("TYPING_START")) == 1


@pytest.mark.requirement("R-7.3", "table:Presence Privacy/Typing indicators")
def test_typing_must_not_be_sent_to_those_it_is_disabled_for(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    conversation = conversation_id(alice.address, bob.address)
    alice.rest("PUT", "/api/settings", {"typing_disabled_for": [bob.address]})
    start(a, conversation)
    stop(a, conversation)
    world.advance(10)
    start(b, conversation)
    assert seen(b) == []
    assert len(a.of("TYPING_START")) == 1, "hers still reaches me"


@pytest.mark.requirement("R-7.4")
@pytest.mark.parametrize("kind", ["TYPING_START", "TYPING_STOP"])
def test_an_unknown_conversation_must_be_not_found_and_one_of_others_forbidden(world: RelayWorld, kind: str) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, c = alice.connect(), carol.connect()
    a.message(bob, conversation_id="conv_named")
    for conversation, code in (
        ("conv_unknown", "NOT_FOUND"),
        ("conv_0123456789abcdef", "NOT_FOUND"),
        ("conv_named", "FORBIDDEN"),
        (conversation_id(alice.address, bob.address), "FORBIDDEN"),
    ):
        c.send(kind, {"conversation_id": conversation})
        assert c.error()["error_code"] == code


@pytest.mark.requirement("R-7.4")
def test_the_self_stop_of_one_who_is_no_member_any_more_must_be_dropped(world: RelayWorld) -> None:
    """A derived id named by others goes to its own two with their first message, in the midst of typing."""
    from zentalk_sim.protocol.identity import address_of
    from zentalk_sim.protocol.streams import Streams

    bobs = address_of(world.crypto.public_key(Streams("people 1").stream("secret/bob").bytes(32)))
    alice, mallory, carol = world.person("alice"), world.person("mallory"), world.person("carol")
    m, c = mallory.connect(), carol.connect()
    stolen = conversation_id(alice.address, bobs)
    m.message(carol, conversation_id=stolen)
    start(m, stolen)
    alice.connect().message(world.person("bob"))
    world.advance(6)
    assert [kind for kind, _ in seen(c)] == ["TYPING_START"]


@pytest.mark.requirement("R-10.4")
def test_throttle_and_time_out_must_be_settings() -> None:
    limits = Limits(auth_attempts="off", typing=Limit(limit=1, window_s=10))
    world = RelayWorld(RelayConfig(limits=limits, typing=TypingConfig(timeout_ms=2000)))
    _, a, b, conversation = pair(world)
    start(a, conversation)
    world.advance(9)
    start(a, conversation)
    world.advance(1)
    assert world.store.typing == {}
    start(a, conversation)
    assert seen(b) == [("TYPING_START", 0), ("TYPING_STOP", 2_000_000), ("TYPING_START", 10_000_000)]


@pytest.mark.requirement("R-10.4")
def test_the_throttle_must_be_off_able() -> None:
    world = RelayWorld(loose())
    _, a, b, conversation = pair(world)
    for _ in range(3):
        start(a, conversation)
    world.advance(6)
    assert [kind for kind, _ in seen(b)] == ["TYPING_START"] * 3 + ["TYPING_STOP"]
