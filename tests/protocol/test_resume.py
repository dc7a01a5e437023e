"""Resumption: one reconnection of the same device keeps session, counters and subscriptions (R-3.4)."""

from __future__ import annotations

import pytest
from relay_world import Line, Person, RelayWorld

from zentalk_sim.protocol.config import Limits, RelayConfig, ResumeConfig
from zentalk_sim.protocol.control import CloseConn, MakeContacts, Stop, Suspend
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.streams import Streams

SECOND = 1_000_000
FREE = Limits(auth_attempts="off", connection_rate="off")


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(RelayConfig(limits=FREE))


@pytest.fixture
def alice(world: RelayWorld) -> Person:
    return world.person("alice", devices=2)


def resume_token(line: Line) -> str:
    return str(line.session["resume_token"])


def kept(old: Line, new: Line) -> bool:
    """Whether the new connection resumed the old one's session; both ways of telling must agree."""
    same = str(new.session["session_id"]) == str(old.session["session_id"])
    assert (new.session["resumed"] is True) == same
    return same


@pytest.mark.requirement("R-3.4", "R-1.3")
def test_a_resumed_session_must_keep_its_id_and_go_on_counting(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    line.send("MESSAGE_RECEIVED", {"message_id": world.uuid()}, seq=7)
    sent = line.frames[-1]["seq"]
    line.lose()
    world.advance(60)
    again = alice.connect(resume=resume_token(line))
    assert kept(line, again)
    assert again.of("AUTH_SUCCESS")[0]["seq"] == sent + 1
    again.send("MESSAGE_RECEIVED", {"message_id": world.uuid()}, seq=7)
    assert again.reason() == "sequence_replayed"
    assert again.frames[-1]["seq"] == sent + 2


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize("resume", [True, False])
def test_subscriptions_must_be_kept_by_a_resumption_and_only_by_that(
    world: RelayWorld, alice: Person, resume: bool
) -> None:
    bob = world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    line = alice.connect()
    line.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    line.lose()
    again = alice.connect(resume=resume_token(line) if resume else None)
    bob.connect()
    assert len(again.of("PRESENCE_UPDATE")) == resume


@pytest.mark.requirement("R-3.4")
def test_authentication_must_be_done_in_full(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    line.lose()
    again = alice.open(resume=resume_token(line))
    assert again.types() == ["AUTH_CHALLENGE"]
    again.authenticate(signature="A" * 86 + "==")
    assert again.close_code == 4000
    assert kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize(("after_us", "good"), [(0, True), (300 * SECOND, True), (300 * SECOND + 1, False)])
def test_a_token_must_be_good_for_five_minutes_from_the_loss(
    world: RelayWorld, alice: Person, after_us: int, good: bool
) -> None:
    line = alice.connect()
    world.advance(20)
    line.lose()
    world.advance_us(after_us)
    again = alice.connect(resume=resume_token(line))
    assert kept(line, again) is good
    assert not again.of("ERROR")


@pytest.mark.requirement("R-3.4", "R-10.3")
def test_a_token_must_be_good_while_the_old_connection_stands(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    for _ in range(20):
        world.advance(30)
        line.pong()
    again = alice.connect(resume=resume_token(line))
    assert kept(line, again)
    assert line.end == (1000, "replaced")
    line.lose()
    world.advance(1)
    third = alice.connect(resume=resume_token(again))
    assert kept(again, third)


@pytest.mark.requirement("R-3.4")
def test_a_token_must_be_good_for_one_reconnection(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    line.lose()
    again = alice.connect(resume=resume_token(line))
    assert resume_token(again) != resume_token(line)
    again.lose()
    third = alice.connect(resume=resume_token(line))
    assert not kept(again, third)
    assert third.of("AUTH_SUCCESS")[0]["seq"] == 1


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize("token", ["", "res_unknown", "é", "x" * 5_000])
def test_an_unknown_token_must_be_no_error(alice: Person, token: str) -> None:
    line = alice.connect(resume=token)
    assert line.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS"]
    assert line.session["resumed"] is False


@pytest.mark.requirement("R-3.4")
def test_a_foreign_token_must_be_no_error_and_not_used_up(world: RelayWorld, alice: Person) -> None:
    bob = world.person("bob")
    line = alice.connect(0)
    line.lose()
    for thief in (alice.connect(1, resume=resume_token(line)), bob.connect(resume=resume_token(line))):
        assert not kept(line, thief)
    assert kept(line, alice.connect(0, resume=resume_token(line)))


@pytest.mark.requirement("R-3.4")
def test_a_first_connection_must_be_no_resumption(alice: Person) -> None:
    assert alice.connect().session["resumed"] is False


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1008, 1011, 4001, 4002, None])
def test_any_other_end_must_count_as_a_loss(world: RelayWorld, alice: Person, code: int | None) -> None:
    line = alice.connect()
    world.control(CloseConn(line.conn, code))
    line.lose()
    world.advance(299)
    assert kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize("code", [4000, 4003, 4004])
def test_4000_4003_and_4004_must_end_the_session_for_good(world: RelayWorld, alice: Person, code: int) -> None:
    line = alice.connect()
    world.control(CloseConn(line.conn, code))
    line.lose()
    assert not kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4", "R-3.2")
def test_a_suspension_must_end_the_session_for_good(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    world.control(Suspend(alice.address))
    world.control(Suspend(alice.address, suspended=False))
    assert not kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4", "R-12.1")
def test_a_session_must_outlive_an_orderly_stop(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    world.control(Stop())
    assert line.close_code == 1001
    assert kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4", "R-8.1")
def test_the_window_must_begin_when_the_relay_notices_the_loss(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    world.advance(120)
    assert line.close_code == 1006
    world.advance(300)
    line.lose()
    assert kept(line, alice.connect(resume=resume_token(line)))


@pytest.mark.requirement("R-3.4", "R-12.5")
def test_a_session_must_be_resumed_on_another_node() -> None:
    world = RelayWorld(RelayConfig(limits=FREE), nodes=2)
    alice = world.person("alice")
    line = alice.connect(relay=0)
    again = alice.connect(relay=1, resume=resume_token(line))
    assert kept(line, again)
    assert line.end == (1000, "replaced")
    line.lose()
    again.lose()
    third = alice.connect(relay=0, resume=resume_token(again))
    assert kept(again, third)
    assert third.of("AUTH_SUCCESS")[0]["seq"] == again.frames[-1]["seq"] + 1


@pytest.mark.requirement("R-3.4", "R-12.1")
def test_a_node_that_crashed_and_came_back_under_its_name_must_take_its_devices_again(world: RelayWorld) -> None:
    """The store still names the connection that the crash took; there is nothing left to close."""
    alice = world.person("alice")
    line = alice.connect()
    world.relays[0] = Relay(world.config, streams=Streams("after"), store=world.store, node=world.relay.name)
    again = alice.connect(resume=resume_token(line))
    assert kept(line, again)
    assert line.close_code is None


@pytest.mark.requirement("R-3.4")
def test_the_replaced_connections_loss_must_not_end_the_resumed_session(world: RelayWorld, alice: Person) -> None:
    line = alice.connect()
    again = alice.connect(resume=resume_token(line))
    line.lose()
    for _ in range(20):
        world.advance(30)
        again.pong()
    third = alice.connect(resume=resume_token(again))
    assert kept(again, third)


@pytest.mark.requirement("R-3.4", "R-10.4")
def test_the_window_must_be_a_setting() -> None:
    world = RelayWorld(RelayConfig(resume=ResumeConfig(window_ms=0)))
    alice = world.person("alice")
    line = alice.connect()
    line.lose()
    again = alice.connect(resume=resume_token(line))
    assert kept(line, again)
    again.lose()
    world.advance_us(1)
    assert not kept(again, alice.connect(resume=resume_token(again)))
