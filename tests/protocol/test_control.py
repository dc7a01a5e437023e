"""Commands of the operator: users, tokens, suspension, connections, stop (R-3.2, R-12.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from relay_support import loose, pending
from relay_world import Person, RelayWorld

from zentalk_sim.protocol.control import (
    AddDevice,
    AddUser,
    ChangeSettings,
    CloseConn,
    Command,
    IssueToken,
    MakeContacts,
    RemoveDevice,
    RotateKey,
    SendFrame,
    Stop,
    Suspend,
)
from zentalk_sim.protocol.errors import ProtocolError


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


NOBODY = "0x" + "00" * 20


@pytest.mark.parametrize(
    "command",
    [
        AddDevice(NOBODY, "11111111-1111-4111-8111-111111111111"),
        RemoveDevice(NOBODY, "x"),
        IssueToken(NOBODY, "x"),
        Suspend(NOBODY),
        ChangeSettings(NOBODY, {}),
        RotateKey(NOBODY, bytes(32)),
        MakeContacts(NOBODY, NOBODY),
        CloseConn(77),
        SendFrame(77, "PING", {}),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_there_is_not_must_be_not_found(world: RelayWorld, command: Command) -> None:
    with pytest.raises(ProtocolError) as caught:
        world.control(command)
    assert caught.value.code == "NOT_FOUND"


BAD: dict[str, tuple[Callable[[Person], Command], str]] = {
    "key": (lambda alice: AddUser(b"short"), "identity_key"),
    "address": (lambda alice: AddUser(bytes(32), "alice"), "address"),
    "device": (lambda alice: AddDevice(alice.address, "phone"), "device_id"),
    "settings": (lambda alice: ChangeSettings(alice.address, {"share_presence": 1}), "share_presence"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_of_another_form_must_be_malformed_by_field(world: RelayWorld, name: str) -> None:
    make, field = BAD[name]
    with pytest.raises(ProtocolError) as caught:
        world.control(make(world.person("alice")))
    assert (caught.value.code, caught.value.reason) == ("INVALID_MESSAGE", "malformed")
    assert caught.value.details["field"] == field


@pytest.mark.requirement("R-6.1")
def test_a_user_must_be_added_once_and_under_any_address(world: RelayWorld) -> None:
    shout = "0x" + "AB" * 20
    assert world.control(AddUser(b"u" * 32, shout)) == shout.lower()
    assert world.control(AddUser(b"u" * 32, shout.lower())) == shout.lower()
    with pytest.raises(ProtocolError, match="registered with another key"):
        world.control(AddUser(b"v" * 32, shout))
    assert world.store.users[shout.lower()].identity_key == b"u" * 32


def test_removing_an_unknown_device_must_be_not_found(world: RelayWorld) -> None:
    alice = world.person("alice")
    with pytest.raises(ProtocolError, match="no device"):
        world.control(RemoveDevice(alice.address, world.uuid()))
    world.control(RemoveDevice(alice.address.upper().replace("0X", "0x"), alice.devices[0].upper()))
    assert world.store.users[alice.address].devices == {}


@pytest.mark.requirement("R-3.2", "R-3.4")
def test_suspension_must_close_every_connection_at_once_and_end_its_sessions(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=3), world.person("bob")
    lines = [alice.connect(0), alice.connect(1), alice.open(2)]
    b = bob.connect()
    world.control(Suspend(alice.address))
    assert [line.close_code for line in lines] == [4003] * 3
    assert lines[0].types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS"], "without a frame before"
    assert b.close_code is None
    late = alice.open(0)
    assert (late.close_code, late.frames) == (4003, [])
    world.control(Suspend(alice.address, False))
    again = alice.connect(0, resume=lines[0].session["resume_token"])
    assert again.session["resumed"] is False


@pytest.mark.requirement("R-12.1")
def test_an_orderly_stop_must_close_every_connection_with_1001(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.open()
    a.message(bob)
    world.control(Stop())
    assert [a.close_code, b.close_code] == [1001, 1001]
    assert pending(world) == 1
    assert world.store.presence == {}
    world.control(Stop())
    assert alice.connect(resume=a.session["resume_token"]).session["resumed"] is True, "a loss, not an end"


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize(("code", "resumed"), [(1000, True), (1011, True), (4000, False), (4003, False), (4004, False)])
def test_closing_by_hand_must_end_the_session_only_with_the_codes_that_end_it(
    world: RelayWorld, code: int, resumed: bool
) -> None:
    alice = world.person("alice")
    a = alice.connect()
    world.control(CloseConn(a.conn, code, "by hand"))
    assert a.end == (code, "by hand")
    with pytest.raises(ProtocolError):
        world.control(CloseConn(a.conn))
    a.lose()
    assert alice.connect(resume=a.session["resume_token"]).session["resumed"] is resumed


def test_aborting_and_sending_by_hand_must_reach_the_connection(world: RelayWorld) -> None:
    alice = world.person("alice")
    a, challenged = alice.connect(), alice.open()
    world.control(SendFrame(a.conn, "PRESENCE_UPDATE", {"user_id": alice.address, "status": "away"}))
    assert a.frames[-1]["payload"] == {"user_id": alice.address, "status": "away"}
    assert a.frames[-1]["seq"] == 2
    world.control(CloseConn(a.conn, None))
    assert a.end == (1006, "operator")
    world.control(CloseConn(challenged.conn, 4000))
    assert challenged.close_code == 4000


@pytest.mark.requirement("R-7.3")
def test_settings_by_hand_must_merge_and_be_seen_at_once(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    alice.connect()
    b = bob.connect()
    b.send("SUBSCRIBE", {"topics": [f"presence:{alice.address}"]})
    world.control(ChangeSettings(alice.address, {"share_presence": False}))
    assert b.last("PRESENCE_UPDATE")["status"] == "offline"


@pytest.mark.requirement("R-13.1")
def test_a_refused_command_must_not_lose_what_timers_said_before_it(world: RelayWorld) -> None:
    alice = world.person("alice")
    a = alice.connect()
    world.now += 31_000_000
    with pytest.raises(ProtocolError):
        world.control(CloseConn(77))
    world.apply(world.relay.handle_timeout(world.now))
    assert a.arrived_us[-1] == world.now
    assert a.types()[-1] == "PING"
    assert a.last("PING")["timestamp"] == world.now_ms - 1000


def test_token_options_must_be_kept(world: RelayWorld) -> None:
    alice = world.person("alice")
    token, expires_at = world.control(
        IssueToken(alice.address, alice.devices[0].upper(), lifetime_s=60, capabilities=("presence",))
    )
    assert expires_at == world.now_ms + 60_000
    assert alice.connect(token=token).session["capabilities"] == ["presence"]
