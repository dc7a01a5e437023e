"""Bots, as an app meets them: over real sockets to the app, in memory to the bot."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest

from mockrelay.testing import ControlError, RelayServer, RelaySpace
from tests.plugin.plugin_support import App, app

Json = dict[str, Any]
BYTES = b"\x00\xff no text at all \xfe"


@pytest.fixture(scope="module")
def server() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


@pytest.fixture
def relay(server: RelayServer) -> Iterator[RelaySpace]:
    space = server.space(users=["alice"], seed=7)
    yield space
    space.close()


@pytest.fixture
def frozen(server: RelayServer) -> Iterator[RelaySpace]:
    space = server.space(users=["alice"], seed=7, clock="frozen")
    yield space
    space.close()


def kinds(alice: App, until: str) -> list[str]:
    """The types of the frames up to the next one of a type."""
    begin = len(alice.seen)
    alice.until(until)
    return [frame["type"] for frame in alice.seen[begin:]]


def ready(relay: RelaySpace, user: str, count: int = 1) -> None:
    relay.journal.wait_for(event="frame_out", type="AUTH_SUCCESS", user=user, count=count)


# --- kinds -------------------------------------------------------------------------------------------


def test_an_echo_must_read_a_message_and_send_the_same_bytes_back(relay: RelaySpace) -> None:
    bot = relay.bots.add("echo")
    assert (bot.kind, bot.user) == ("echo", "echo-1")
    with app(relay.user("alice")) as alice:
        alice.message(bot.address, BYTES)
        assert set(kinds(alice, "MESSAGE_NEW")) == {"MESSAGE_ACK", "MESSAGE_DELIVERED", "MESSAGE_READ", "MESSAGE_NEW"}
        came = alice.seen[-1]["payload"]
    assert came["from"] == bot.address
    assert b64decode(came["ciphertext"]) == BYTES
    assert relay.bots.list()[0]["decrypts"] is False


def test_a_reader_must_read_and_say_nothing(relay: RelaySpace) -> None:
    bot = relay.bots.add("reader", user="bob")
    with app(relay.user("alice")) as alice:
        sent = alice.message(bot.address)
        assert alice.until("MESSAGE_READ") == {
            "message_id": sent,
            "read_by": bot.address,
            "timestamp": alice.seen[-1]["payload"]["timestamp"],
        }
    relay.verify(type="MESSAGE_RECEIVED", user="bob")
    relay.verify(type="MESSAGE_SEND", user="bob", count=0)


@pytest.mark.requirement("R-7.4")
def test_a_typist_must_type_for_four_seconds_of_the_spaces_time(frozen: RelaySpace) -> None:
    bot = frozen.bots.add("typist")
    with app(frozen.user("alice")) as alice:
        alice.message(bot.address, BYTES)
        alice.until("TYPING_START")
        frozen.clock.advance(seconds=3)
        alice.until("TYPING_START")
        frozen.clock.advance(ms=999)
        frozen.verify(event="frame_in", type="TYPING_STOP", user="typist-1", count=0)
        frozen.clock.advance(ms=1)
        assert kinds(alice, "MESSAGE_NEW") == ["TYPING_STOP", "MESSAGE_NEW"]
        assert b64decode(alice.seen[-1]["payload"]["ciphertext"]) == BYTES


def test_a_flaky_bot_must_break_at_every_second_message_and_come_back_to_answer(frozen: RelaySpace) -> None:
    bot = frozen.bots.add("flaky")
    with app(frozen.user("alice")) as alice:
        alice.message(bot.address, b"one")
        assert alice.until("MESSAGE_NEW")["ciphertext"] == b64encode(b"one").decode()
        alice.message(bot.address, b"two")
        frozen.journal.wait_for(event="lost", user=bot.user)
        frozen.clock.advance(seconds=2)
        assert alice.until("MESSAGE_NEW")["ciphertext"] == b64encode(b"two").decode()
    frozen.verify(event="upgrade", user=bot.user, count=2)


# --- webhook -----------------------------------------------------------------------------------------

Answer = Callable[[Json], tuple[int, bytes, dict[str, str]]]


@contextmanager
def hook(answer: Answer) -> Iterator[tuple[str, list[Json]]]:
    """An HTTP server: its URL, and the envelopes it was given."""
    given: list[Json] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given.append({"path": self.path, **json.loads(self.rfile.read(int(self.headers["content-length"])))})
            status, body, headers = answer(given[-1])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/hook", given
        finally:
            http.shutdown()
            thread.join()


def encoded(text: bytes) -> str:
    return b64encode(text).decode()


def test_a_webhook_must_post_the_envelope_and_send_back_what_is_returned(relay: RelaySpace) -> None:
    def answer(envelope: Json) -> tuple[int, bytes, dict[str, str]]:
        turned = b64decode(envelope["payload"]["ciphertext"])[::-1]
        body = {"ciphertext": encoded(turned), "message_type": "image"}
        return 200, json.dumps(body).encode(), {}

    with hook(answer) as (url, given), app(relay.user("alice")) as alice:
        bot = relay.bots.add("webhook", url=url)
        sent = alice.message(bot.address, b"stressed")
        came = alice.until("MESSAGE_NEW")
        assert (b64decode(came["ciphertext"]), came["message_type"]) == (b"desserts", "image")
        assert given[0]["path"] == "/hook"
        assert (given[0]["type"], given[0]["id"]) == ("MESSAGE_NEW", sent)
        assert given[0]["payload"]["from"] == alice.user.address


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b"", []),
        (b"[]", []),
        (
            json.dumps([{"ciphertext": encoded(b"1")}, {"payload": {"ciphertext": encoded(b"2")}}]).encode(),
            [b"1", b"2"],
        ),
    ],
)
def test_a_webhook_may_return_nothing_or_several(relay: RelaySpace, body: bytes, texts: list[bytes]) -> None:
    posted: Queue[Json] = Queue()

    def answer(envelope: Json) -> tuple[int, bytes, dict[str, str]]:
        posted.put(envelope)
        return 200, body, {}

    with hook(answer) as (url, _), app(relay.user("alice")) as alice:
        bot = relay.bots.add("webhook", url=url)
        alice.message(bot.address)
        alice.message(bot.address)
        for _ in range(2):
            # The second is posted only once the answer to the first is dealt with.
            posted.get(timeout=10)
        found = [b64decode(alice.until("MESSAGE_NEW")["ciphertext"]) for _ in texts]
    assert found == texts
    if not texts:
        relay.verify(event="frame_in", type="MESSAGE_SEND", user=bot.user, count=0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, b"", {}), "answered 500"),
        ((302, b"", {"Location": "/elsewhere"}), "answered 302"),
        ((200, b"not json", {}), "no message"),
        ((200, b'{"ciphertext": 3}', {}), "no message"),
        ((200, b"[" + b"null," * 10 + b"null]", {}), "at most 10"),
        ((200, b" " * (1 << 20) + b"[]", {}), "exceeds"),
    ],
)
def test_what_a_webhook_gets_wrong_must_be_in_the_journal_and_end_nothing(
    relay: RelaySpace, answer: tuple[int, bytes, dict[str, str]], reason: str
) -> None:
    good = (200, json.dumps({"ciphertext": encoded(b"good")}).encode(), {})
    answers = [answer, good]
    with hook(lambda _: answers.pop(0)) as (url, given), app(relay.user("alice")) as alice:
        bot = relay.bots.add("webhook", url=url)
        alice.message(bot.address)
        alice.message(bot.address)
        assert b64decode(alice.until("MESSAGE_NEW")["ciphertext"]) == b"good"
    assert [one["path"] for one in given] == ["/hook", "/hook"], "nothing but the given URL may be asked"
    failures = [entry for entry in relay.journal.entries() if entry.get("action") == "webhook_failed"]
    assert len(failures) == 1
    assert reason in failures[0]["reason"]


def test_a_webhook_that_nobody_serves_must_be_in_the_journal(relay: RelaySpace) -> None:
    bot = relay.bots.add("webhook", url="http://127.0.0.1:9/hook")
    with app(relay.user("alice")) as alice:
        alice.message(bot.address)
        actions = [entry["action"] for entry in relay.journal.wait_for(event="control", count=2)]
    assert actions == ["add_bot", "webhook_failed"]


# --- as any client -----------------------------------------------------------------------------------


def test_a_bots_frames_must_meet_the_fault_rules(frozen: RelaySpace) -> None:
    bot = frozen.bots.add("echo")
    ready(frozen, bot.user)
    frozen.rules.add({"event": "frame_in", "type": "MESSAGE_SEND", "user": bot.user}, "drop", times=1, comment="lost")
    with app(frozen.user("alice")) as alice:
        alice.message(bot.address)
        frozen.journal.wait_for(rule="lost")
        frozen.clock.advance(seconds=11)
        assert alice.until("MESSAGE_NEW")["from"] == bot.address, "R-11.4: sent again after 10 s"


@pytest.mark.requirement("R-13.2")
def test_a_bot_must_get_through_days_that_pass_at_once(frozen: RelaySpace) -> None:
    bot = frozen.bots.add("echo")
    ready(frozen, bot.user)
    for days in (1, 3, 0.9):
        frozen.clock.advance(days=days)
    begin = len(frozen.connections())
    assert begin == 1
    address = bot.address
    message = frozen.control("POST", "/admin/messages", {"from": "alice", "to": address, "payload": {"ciphertext": ""}})
    assert message["recipient_devices"] == 1
    frozen.journal.wait_for(event="frame_in", type="MESSAGE_READ", user=bot.user)
    frozen.journal.wait_for(event="frame_in", type="MESSAGE_SEND", user=bot.user)


def test_a_restart_must_find_it_back(frozen: RelaySpace) -> None:
    bot = frozen.bots.add("echo")
    ready(frozen, bot.user)
    frozen.control("POST", "/admin/restart")
    frozen.journal.wait_for(event="closed", user=bot.user)
    frozen.clock.advance(seconds=2)
    ready(frozen, bot.user, count=2)


def test_a_reset_must_forget_it(relay: RelaySpace) -> None:
    bot = relay.bots.add("echo")
    ready(relay, bot.user)
    relay.control("POST", "/admin/reset")
    assert relay.bots.list() == []


def test_bots_must_not_talk_to_each_other_for_ever(relay: RelaySpace) -> None:
    one, other = relay.bots.add("echo", user="one"), relay.bots.add("echo", user="other")
    relay.control("POST", "/admin/messages", {"from": "one", "to": other.address, "payload": {"ciphertext": ""}})
    relay.journal.wait_for(type="MESSAGE_READ", user="other")
    relay.verify(type="MESSAGE_SEND", count=0)
    assert relay.control("GET", "/admin/stats")["messages"] == 1
    assert one.address != other.address


def test_profile_spec_must_admit_bots_and_not_count_them_with_the_apps(server: RelayServer) -> None:
    space = server.space(config={"upgrade": {"profile": "spec", "hosts": ["127.0.0.1"]}}, users=["alice"])
    bots = [space.bots.add("reader") for _ in range(12)]
    for bot in bots:
        ready(space, bot.user)
    with app(space.user("alice")) as alice:
        alice.message(bots[-1].address)
        alice.until("MESSAGE_READ")
    space.close()


# --- the control API ---------------------------------------------------------------------------------


def test_deleting_a_bot_must_close_with_1000_and_leave_its_user(relay: RelaySpace) -> None:
    bot = relay.bots.add("echo", user="bob")
    ready(relay, "bob")
    relay.bots.remove(bot)
    relay.journal.wait_for(event="closed", user="bob", close_code=1000)
    assert relay.bots.list() == []
    assert "bob" in [user["name"] for user in relay.control("GET", "/admin/users")]
    with pytest.raises(ControlError, match="404 NOT_FOUND: no bot bot_1"):
        relay.bots.remove(bot)


def test_a_bot_must_take_a_users_free_device_or_another(relay: RelaySpace) -> None:
    bob = relay.user("bob")
    assert relay.bots.list() == []
    with app(bob):
        relay.bots.add("reader", user="bob")
        ready(relay, "bob", count=2)
        assert [entry["user"] for entry in relay.connections()] == [bob.address] * 2
    relay.bots.add("reader", user="bob")
    devices = [entry["device_id"] for entry in relay.bots.list()]
    assert devices[0] != bob.device_id
    assert devices[1] == bob.device_id


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"kind": "webhook"}, 400, "needs the url"),
        ({"kind": "echo", "url": "http://127.0.0.1:9/"}, 400, "only a webhook has a url"),
        ({"kind": "webhook", "url": "ftp://127.0.0.1/"}, 400, "http:// or https://"),
        ({"kind": "webhook", "url": "http://user:secret@127.0.0.1/"}, 400, "no user name"),
        ({"kind": "webhook", "url": "http://127.0.0.1:99999/"}, 400, "http:// or https://"),
        ({"kind": "parrot"}, 400, "kind"),
        ({"kind": "echo", "usr": "bob"}, 400, "user"),
        ({"kind": "echo", "user": "0x" + "1" * 40}, 404, "no user"),
        ({"kind": "echo", "user": " "}, 400, "printable"),
        ({"kind": "echo", "user": "keyed"}, 400, "does not hold keyed's identity secret"),
    ],
)
def test_what_is_no_bot_must_be_refused_by_name(relay: RelaySpace, body: Json, status: int, said: str) -> None:
    relay.control("POST", "/admin/users", {"name": "keyed", "identity_key": encoded(b"k" * 32)})
    with pytest.raises(ControlError) as refusal:
        relay.control("POST", "/admin/bots", body)
    assert refusal.value.status == status
    assert said in str(refusal.value)
    assert relay.bots.list() == []


def test_a_space_must_hold_a_hundred_bots_at_most(relay: RelaySpace) -> None:
    for _ in range(100):
        relay.bots.add("reader")
    with pytest.raises(ControlError, match="at most 100 bots"):
        relay.bots.add("reader")
