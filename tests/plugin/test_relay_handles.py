"""The objects a test holds (``mockrelay.testing``), each against a relay in a thread, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from mockrelay.testing import ControlError, RelayServer, RelaySpace, VerificationFailed
from tests.plugin.plugin_support import app


@pytest.fixture(scope="module")
def server() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


@pytest.fixture
def relay(server: RelayServer) -> Iterator[RelaySpace]:
    space = server.space(users=["alice", "bob"], seed=7)
    yield space
    space.close()


def test_two_users_must_exchange_a_message_and_the_journal_must_verify_it(relay: RelaySpace) -> None:
    alice, bob = relay.user("alice"), relay.user("bob")
    with app(alice) as of_alice, app(bob) as of_bob:
        sent = of_alice.message(bob.address)
        assert of_alice.until("MESSAGE_ACK")["message_id"] == sent
        assert of_bob.until("MESSAGE_NEW")["from"] == alice.address
        assert [entry["user"] for entry in relay.connections()] == [alice.address, bob.address]
    relay.verify(type="MESSAGE_SEND", user="alice")
    relay.verify({"type": "MESSAGE_SEND"}, count=0, user="bob")
    relay.journal.verify_order(
        {"event": "frame_in", "type": "MESSAGE_SEND"}, {"event": "frame_out", "type": "MESSAGE_NEW", "user": "bob"}
    )


def test_the_control_apis_own_forms_must_do(relay: RelaySpace) -> None:
    """A whole rule, ``match`` by name, ``timeout_ms`` and bare milliseconds, as the control API has them."""
    rule = {"match": {"event": "frame_in", "type": "MESSAGE_SEND"}, "action": {"do": "drop"}, "times": 1}
    assert {**rule, **relay.rules.add(rule)} == relay.rules.list()[0]
    before = relay.clock.freeze()
    assert relay.clock.advance(1500) == before + 1500
    relay.verify(match={"event": "frame_in"}, count=0)
    relay.journal.verify(match={"event": "frame_out"}, count=0)
    assert relay.journal.wait_for(match={"event": "control"}, count=2, timeout_ms=0)[1]["event"] == "control"
    with pytest.raises(VerificationFailed, match=r"within 0\.001 s"):
        relay.journal.wait_for(event="frame_in", timeout_ms=1)


def test_the_same_seed_must_give_the_same_users(server: RelayServer) -> None:
    first, second = server.space(seed=5), server.space(seed=5)
    other = server.space(seed=6)
    assert first.user("carol").address == second.user("carol").address
    assert first.user("carol").address != other.user("carol").address
    for space in (first, second, other):
        space.close()


def test_a_user_must_be_registered_once_and_may_have_several_devices(relay: RelaySpace) -> None:
    carol = relay.user("carol", devices=[{"device_type": "mobile"}, {"device_type": "desktop"}])
    assert relay.user("carol") is carol
    assert len(carol.devices) == 2
    assert carol.device_id == carol.devices[0][0]
    assert carol.token not in repr(carol)


def test_a_failed_verification_must_name_the_nearest_miss_field_by_field(relay: RelaySpace) -> None:
    bob = relay.user("bob")
    with app(relay.user("alice")) as alice:
        alice.message(bob.address)
        alice.until("MESSAGE_ACK")
    with pytest.raises(VerificationFailed) as failure:
        relay.verify(event="frame_in", type="MESSAGE_SEND", payload={"message_type": "image"})
    lines = str(failure.value).splitlines()
    assert lines[0].startswith("expected exactly 1 journal entry matching {")
    assert lines[0].endswith("found 0")
    assert lines[1] == "nearest:"
    assert "frame_in MESSAGE_SEND" in lines[2]
    assert lines[3].strip() == 'payload.message_type: wanted "image", got "text"'
    assert failure.value.found == 0
    assert failure.value.nearest[0]["entry"]["type"] == "MESSAGE_SEND"


def test_an_order_that_was_not_met_must_be_told(relay: RelaySpace) -> None:
    with app(relay.user("alice")):
        pass
    with pytest.raises(VerificationFailed, match=r"order\[1\]"):
        relay.journal.verify_order({"type": "AUTH_RESPONSE"}, {"type": "AUTH_CHALLENGE"})


def test_wait_for_must_return_what_came_while_it_waited(relay: RelaySpace) -> None:
    """The app acts in another thread only once the wait is under way, so the wait itself is what finds it."""
    found: list[str] = []

    def wait() -> None:
        found.extend(entry["type"] for entry in relay.journal.wait_for(type="TYPING_STOP", user="alice"))

    waiting = threading.Thread(target=wait)
    with app(relay.user("alice")) as alice:
        waiting.start()
        alice.message(relay.user("bob").address)
        conversation = "conv_" + "0" * 16
        alice.send("TYPING_STOP", {"conversation_id": conversation})
        waiting.join(10)
    assert found == ["TYPING_STOP"]


def test_wait_for_must_fail_with_an_assertion_when_time_runs_out(relay: RelaySpace) -> None:
    with pytest.raises(VerificationFailed, match=r"at least 2 journal entries .* within 0.05 s, found 0"):
        relay.journal.wait_for({"type": "MESSAGE_SEND"}, count=2, timeout_s=0.05)


def test_wait_for_async_must_let_the_tests_own_loop_run(relay: RelaySpace) -> None:
    async def body() -> int:
        from websockets.asyncio.client import connect

        waiting = asyncio.create_task(relay.journal.wait_for_async(event="connected", user="alice"))
        async with connect(relay.user("alice").url, subprotocols=["zentalk.v1"], proxy=None):  # type: ignore[list-item]
            return len(await waiting)

    assert asyncio.run(body()) == 1


def test_a_mistyped_match_must_be_refused_with_the_nearest_name(relay: RelaySpace) -> None:
    with pytest.raises(ControlError, match="MESSAGE_SEND"):
        relay.verify(type="MESSAGE_SENT")


def test_rules_must_be_added_listed_removed_and_cleared(relay: RelaySpace) -> None:
    first = relay.rules.add({"type": "MESSAGE_SEND"}, "drop", times=1, comment="lose the first")
    relay.rules.add({"user": "bob", "event": "frame_out"}, {"do": "delay", "ms": 200})
    listed = relay.rules.list()
    assert len(listed) == 2
    assert (listed[0]["id"], listed[0]["comment"]) == (first["id"], "lose the first")
    relay.rules.remove(first["id"])
    assert len(relay.rules.list()) == 1
    relay.rules.clear()
    assert relay.rules.list() == []


def test_a_rule_must_strike_and_be_in_the_journal(relay: RelaySpace) -> None:
    bob = relay.user("bob")
    relay.rules.add({"type": "MESSAGE_SEND", "user": "alice"}, {"do": "close", "code": 1011}, comment="boom")
    with app(relay.user("alice")) as alice:
        alice.message(bob.address)
        with pytest.raises(ConnectionClosed) as end:
            alice.until("MESSAGE_ACK")
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1011
    relay.verify(rule="boom")


@pytest.mark.requirement("R-13.2")
def test_a_frozen_clock_must_stand_still_and_advance_by_what_is_said(server: RelayServer) -> None:
    relay = server.space(clock="frozen", users=["alice"])
    begin_ms = relay.clock.now_ms()
    assert relay.clock.now_ms() == begin_ms
    assert relay.clock.advance(ms=5, seconds=1.5, minutes=1) == begin_ms + 61_505
    assert relay.clock.advance(hours=1, days=1) == begin_ms + 61_505 + 90_000_000
    relay.clock.resume()
    relay.clock.freeze()
    assert relay.control("GET", "/admin/clock")["mode"] == "frozen"
    with pytest.raises(ControlError, match="ms"):
        relay.clock.advance(seconds=-1)
    relay.close()


def test_spaces_must_not_meet(server: RelayServer) -> None:
    one, other = server.space(users=["alice"], seed=1), server.space(users=["alice"], seed=1)
    with app(one.user("alice")):
        one.journal.wait_for(type="AUTH_RESPONSE")
    assert [entry for entry in other.journal.entries() if entry["event"] == "connected"] == []
    one.close()
    other.close()


def test_a_closed_space_must_be_gone_and_closing_twice_do_no_harm(server: RelayServer) -> None:
    space = server.space()
    space.close()
    space.close()
    with pytest.raises(ControlError):
        space.user("alice")


def test_the_journal_as_text_must_name_users_and_hide_tokens(relay: RelaySpace) -> None:
    with app(relay.user("alice")):
        pass
    relay.journal.wait_for(event="closed", user="alice")
    text = relay.journal_text()
    assert "alice" in text
    assert "AUTH_SUCCESS" in text
    assert "eyJ" not in text, "a session token was shown"
    assert max(map(len, text.splitlines())) <= 160
    assert relay.journal_text(last=2).splitlines()[0].endswith("earlier entries left out)")


def test_a_server_that_is_not_there_must_be_told_in_one_line(server: RelayServer) -> None:
    gone = RelayServer()
    gone.http_url, gone.admin_token = "http://127.0.0.1:9", "none"
    with pytest.raises(ControlError, match=r"no relay answers at http://127.0.0.1:9: "):
        gone.space()
