"""What has a close code is accepted first and then closed with it: the order of R-3.2, and places by IP (R-10.3)."""

from __future__ import annotations

import itertools

import pytest
from relay_world import RelayWorld

from zentalk_sim.protocol.config import Limit, Limits, RelayConfig, UpgradeConfig
from zentalk_sim.protocol.control import IssueToken, Suspend
from zentalk_sim.protocol.tokens import Claims, JwtAuthority
from zentalk_sim.protocol.upgrade import UpgradeRequest


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@pytest.mark.requirement("R-3.1")
def test_a_refused_upgrade_must_leave_no_connection(world: RelayWorld) -> None:
    line = world.person("alice").open(path="/elsewhere")
    assert line.refused is not None
    assert line.refused.status == 404
    assert not line.accepted
    assert world.relay.connections == {}


@pytest.mark.requirement("R-3.1")
def test_the_connection_above_the_most_must_be_refused_with_retry_after() -> None:
    world = RelayWorld(RelayConfig(upgrade=UpgradeConfig(max_connections=2, retry_after_s=7)))
    alice = world.person("alice", devices=3)
    first = alice.open(0)
    alice.open(1)
    refused = alice.open(2).refused
    assert refused is not None
    assert (refused.status, refused.retry_after_s) == (503, 7)
    first.lose()
    assert alice.open(2).accepted


def sign_elsewhere(world: RelayWorld, address: str, device_id: str) -> str:
    now_s = world.now // 1_000_000
    return JwtAuthority(b"other" + bytes(27)).issue(Claims(address, now_s, now_s + 60, device_id, ()))


@pytest.mark.requirement("R-3.2", "table:WebSocket Close Codes/4000")
@pytest.mark.parametrize("flaw", ["garbage", "signature", "altered", "device", "sub"])
def test_a_token_that_is_not_good_must_be_told_and_closed_with_4000(world: RelayWorld, flaw: str) -> None:
    alice = world.person("alice", devices=2)
    good = alice.token()
    authority = JwtAuthority(world.store.signing_seed)
    now_s = world.now // 1_000_000
    token = {
        "garbage": "not.a.token",
        "signature": sign_elsewhere(world, alice.address, alice.devices[0]),
        "altered": good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8),
        "device": alice.token(1),
        "sub": authority.issue(Claims("0x" + "0" * 40, now_s, now_s + 60, alice.devices[0], ())),
    }[flaw]
    line = alice.open(token=token)
    assert line.accepted
    assert line.types() == ["AUTH_FAILED"]
    assert line.last("AUTH_FAILED")["error_code"] == "UNAUTHORIZED"
    assert line.last("AUTH_FAILED")["message"].startswith("token: ")
    assert line.close_code == 4000


@pytest.mark.requirement("R-3.2", "R-9.1", "table:WebSocket Close Codes/4001")
def test_a_token_past_its_grace_must_be_closed_with_4001_and_no_frame(world: RelayWorld) -> None:
    alice = world.person("alice")
    token = alice.token(lifetime_s=60)
    world.advance(60 + 300)
    in_grace = alice.open(token=token)
    assert in_grace.types() == ["AUTH_CHALLENGE"]
    in_grace.lose()
    world.advance_us(1)
    late = alice.open(token=token)
    assert late.accepted
    assert (late.frames, late.close_code) == ([], 4001)


@pytest.mark.requirement("R-3.2", "table:WebSocket Close Codes/4003")
def test_a_suspended_account_must_be_closed_with_4003_and_no_frame(world: RelayWorld) -> None:
    alice = world.person("alice")
    world.control(Suspend(alice.address))
    line = alice.open()
    assert line.accepted
    assert (line.frames, line.close_code) == ([], 4003)
    world.control(Suspend(alice.address, suspended=False))
    assert alice.connect().close_code is None


@pytest.mark.requirement("R-3.2")
def test_a_suspended_user_must_be_closed_at_once_in_any_state(world: RelayWorld) -> None:
    alice = world.person("alice", devices=2)
    ready, challenged = alice.connect(0), alice.open(1)
    world.control(Suspend(alice.address))
    assert (ready.close_code, challenged.close_code) == (4003, 4003)


@pytest.mark.requirement("R-3.2", "R-12.5")
def test_a_user_suspended_through_another_node_must_not_get_in_by_a_challenge_already_sent() -> None:
    world = RelayWorld(nodes=2)
    alice = world.person("alice")
    challenged = alice.open(relay=1)
    world.control(Suspend(alice.address))
    challenged.authenticate()
    assert challenged.close_code == 4003
    assert challenged.types() == ["AUTH_CHALLENGE"]


@pytest.mark.requirement("R-3.2", "R-12.5")
def test_a_suspended_user_must_be_closed_at_the_next_frame_where_the_bus_lost_the_word() -> None:
    world = RelayWorld(nodes=2)
    alice = world.person("alice")
    line = alice.connect(relay=1)
    world.bus_up = False
    world.control(Suspend(alice.address))
    assert line.close_code is None
    line.send("PRESENCE_SET", {"status": "away"})
    assert line.close_code == 4003
    world.control(Suspend(alice.address, suspended=False))
    assert alice.connect(resume=line.session["resume_token"]).session["resumed"] is False


def attempts(config: RelayConfig, count: int) -> list[int | None]:
    """Close codes of this many upgrades in a row by one device, each lost at once."""
    world = RelayWorld(config)
    alice = world.person("alice")
    codes = []
    for _ in range(count):
        line = alice.open()
        codes.append(line.close_code)
        line.lose()
    return codes


@pytest.mark.requirement("R-3.2", "table:Connection Limits/Connection rate", "table:WebSocket Close Codes/4002")
def test_the_eleventh_connection_of_a_device_in_a_minute_must_be_refused_with_4002(world: RelayWorld) -> None:
    assert attempts(RelayConfig(), 12) == [None] * 10 + [4002] * 2
    alice = world.person("alice", devices=2)
    for _ in range(10):
        alice.open().lose()
    line = alice.open()
    assert line.types() == ["ERROR"]
    error = line.error()
    assert error["error_code"] == "RATE_LIMITED"
    assert error["details"] == {
        "limit": 10,
        "window_seconds": 60,
        "current_count": 10,
        "retry_after": 60,
        "reset_at": world.now_ms + 60_000,
        "reason": "window",
    }
    assert alice.open(1).close_code is None
    world.advance(60)
    assert alice.open().close_code is None


@pytest.mark.requirement("R-3.2")
def test_attempts_that_fail_earlier_must_not_count_for_the_connection_rate(world: RelayWorld) -> None:
    alice = world.person("alice")
    expired = alice.token(lifetime_s=0)
    world.advance(301)
    for _ in range(12):
        alice.open(token="not.a.token").lose()
        alice.open(token=expired).lose()
        alice.open(path="/elsewhere")
    world.control(Suspend(alice.address))
    for _ in range(12):
        alice.open().lose()
    world.control(Suspend(alice.address, suspended=False))
    assert [alice.open().close_code for _ in range(11)] == [None] * 10 + [4002]


@pytest.mark.requirement("R-10.4")
def test_the_connection_rate_must_be_configurable_and_off_able() -> None:
    off = RelayConfig(limits=Limits(connection_rate="off"))
    assert attempts(off, 30) == [None] * 30
    two = RelayConfig(limits=Limits(connection_rate=Limit(limit=2, window_s=5)))
    assert attempts(two, 3) == [None, None, 4002]


@pytest.mark.requirement("R-3.2", "table:Connection Limits/Max connections per IP")
def test_the_eleventh_connection_of_an_ip_must_be_refused_with_4002(world: RelayWorld) -> None:
    people = [world.person(f"p{i}") for i in range(12)]
    lines = [person.open() for person in people[:10]]
    refused = people[10].open()
    assert refused.types() == ["ERROR"]
    assert refused.error()["error_code"] == "RATE_LIMITED"
    assert refused.close_code == 4002
    assert people[11].open(ip="203.0.113.2").close_code is None
    lines[0].lose()
    assert people[10].open().close_code is None


@pytest.mark.requirement("R-3.2")
def test_a_connection_must_give_up_its_ips_place_once_however_it_ends(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    for i, person in enumerate([alice, bob] * 4):
        line = person.open()
        if i % 2:
            line.raw(b"")
            assert line.close_code == 1002
        assert len(world.store.ip_connections) == (0 if i % 2 else 1)
        line.lose()
    assert world.store.ip_connections == {}


@pytest.mark.requirement("R-10.3")
def test_connections_about_to_be_replaced_must_not_count_twice_for_their_ip() -> None:
    """Ten devices behind one address lose their path unnoticed, and all come again at once."""
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts="off")))
    people = [world.person(f"p{i}") for i in range(11)]
    old = [person.connect() for person in people[:10]]
    again = [person.open() for person in people[:10]]
    assert [line.close_code for line in again] == [None] * 10
    assert people[10].open().close_code == 4002
    for line in again[:5]:
        line.authenticate()
    assert [line.close_code for line in old] == [1000] * 5 + [None] * 5
    assert world.store.ip_connections == {"203.0.113.1": 10}
    for line in again[5:]:
        line.lose()
    for line in again[:5] + old[5:]:
        line.lose()
    assert world.store.ip_connections == {}


@pytest.mark.requirement("R-10.3")
def test_a_place_given_up_meanwhile_must_be_taken_anew_or_refused(world: RelayWorld) -> None:
    people = [world.person(f"p{i}") for i in range(11)]
    old = people[0].connect()
    again = people[0].open()
    old.lose()
    others = [person.open() for person in people[1:11]]
    assert [line.close_code for line in others] == [None] * 10
    again.authenticate()
    assert again.types() == ["AUTH_CHALLENGE", "ERROR"]
    assert again.close_code == 4002
    assert world.store.ip_connections == {"203.0.113.1": 10}
    others[0].lose()
    third = people[0].open()
    third.authenticate()
    assert third.close_code is None


@pytest.mark.requirement("R-3.5", "R-10.4")
def test_in_profile_dev_a_private_address_must_have_no_per_ip_limit() -> None:
    for ip, ends in (("192.168.1.7", [None] * 15), ("203.0.113.1", [None] * 10 + [4002] * 5)):
        world = RelayWorld(RelayConfig(upgrade=UpgradeConfig(profile="dev")))
        assert [world.person(f"p{i}").open(ip=ip).close_code for i in range(15)] == ends


FLAWS = ["signature", "expired", "suspended", "rate"]


@pytest.mark.requirement("R-3.2")
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(FLAWS, 2)))
def test_of_two_flaws_the_earlier_must_decide_the_close_code(first: str, second: str) -> None:
    world = RelayWorld(RelayConfig(limits=Limits(connection_rate=Limit(limit=1, window_s=3600))))
    alice = world.person("alice")
    token, _ = world.control(IssueToken(alice.address, alice.devices[0], lifetime_s=1))
    alice.open().lose()
    world.advance(302)
    flaws = {first, second}
    fresh, _ = world.control(IssueToken(alice.address, alice.devices[0]))
    used = token if "expired" in flaws else fresh
    if "signature" in flaws:
        used = used[:-6] + "AAAAAA"
    if "suspended" in flaws:
        world.control(Suspend(alice.address))
    # The one connection of this hour is used up already: "rate" is always among what is wrong.
    line = alice.open(token=used)
    assert line.close_code == {"signature": 4000, "expired": 4001, "suspended": 4003, "rate": 4002}[first]


def test_a_connection_number_in_use_must_be_the_callers_error(world: RelayWorld) -> None:
    line = world.person("alice").open()
    with pytest.raises(ValueError, match="in use"):
        world.relay.connect(line.conn, UpgradeRequest("/ws/v1", {}, {}, "x"), world.now)
