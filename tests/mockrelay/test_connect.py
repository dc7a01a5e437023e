"""``mockrelay connect`` as a script drives it: lines piped in, lines read out, an exit code."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mockrelay.cli import cli
from mockrelay.connect import printable
from mockrelay.connect_identity import ConnectError, Directory, introduce, is_address
from mockrelay.testing import RelayServer, RelaySpace
from tests.plugin.plugin_support import app

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


@pytest.fixture
def relay(server: RelayServer) -> Iterator[RelaySpace]:
    space = server.space(seed=7)
    yield space
    space.close()


def start(relay: RelaySpace, user: str, *options: str, admin: bool = False) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOCKRELAY_")}
    environment["PYTHONPATH"] = str(ROOT)
    if admin:
        environment["MOCKRELAY_ADMIN_TOKEN"] = relay.admin_token
    command = [sys.executable, "-m", "mockrelay", "connect", relay.ws_url, "--user", user]
    process = subprocess.Popen(
        [*command, "--http-url", relay.http_url, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    # A session that says nothing fails the test that waits for its line, and does not hang it.
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process


def converse(relay: RelaySpace, user: str, script: str, *options: str, admin: bool = False) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a session whose whole input is known beforehand."""
    with start(relay, user, *options, admin=admin) as process:
        out, err = process.communicate(script, timeout=PATIENCE_S)
    return process.returncode, out, err


def test_two_people_must_be_able_to_talk(relay: RelaySpace) -> None:
    with start(relay, "dave") as dave, start(relay, "carol") as carol:
        assert dave.stdin is not None
        assert dave.stdout is not None
        assert carol.stdin is not None
        assert carol.stdout is not None
        try:
            dave.stdin.write("who\n")
            dave.stdin.flush()
            assert dave.stdout.readline().startswith("dave 0x")
            carol.stdin.write("to dave hello there\n")
            carol.stdin.flush()
            assert dave.stdout.readline().endswith("…: hello there\n")
            dave.stdin.write("read\nto carol hi\n")
            dave.stdin.flush()
            # Receipts and the answer have no order between them but that receipt comes before reading.
            heard = [carol.stdout.readline() for _ in range(3)]
            receipts = ["* dave has received your message\n", "* dave has read your message\n"]
            assert [line for line in heard if line.startswith("*")] == receipts
            assert [line for line in heard if not line.startswith("*")] == ["dave: hi\n"]
            carol.stdin.write("typing dave\npresence away\nquit\n")
            carol.stdin.flush()
            assert dave.stdout.readline() == "* carol has received your message\n"
            assert dave.stdout.readline() == "* carol is typing\n"
            assert carol.wait(15) == 0
            dave.stdin.close()
            assert dave.wait(15) == 0
        finally:
            dave.kill()
            carol.kill()
    relay.verify(type="PRESENCE_SET", payload={"status": "away"})
    relay.verify(event="closed", direction="in", close_code=1000, count=2)


def test_it_must_say_that_nothing_is_encrypted_and_send_plain_text(relay: RelaySpace) -> None:
    bot = relay.bots.add("reader", user="bob")
    code, out, err = converse(relay, "carol", f"to {bot.address} grüße\n")
    assert code == 0
    assert all(line.startswith(f"* {bot.address} has ") for line in out.splitlines()), "receipts may have come in time"
    assert "not encrypted" in err
    assert "accepted by the relay (queued)" in err
    relay.verify(event="frame_in", type="MESSAGE_SEND", payload={"ciphertext": b64encode("grüße".encode()).decode()})


def test_with_the_admin_token_it_must_be_the_relays_own_user(relay: RelaySpace) -> None:
    alice = relay.user("alice")
    relay.user("bob")
    code, out, err = converse(relay, "alice", "who\nto bob hi", admin=True)
    assert (code, out.splitlines()[0]) == (0, f"alice {alice.address}")
    assert "to bob: accepted" in err
    relay.verify(event="frame_in", type="MESSAGE_SEND", user="alice", device=alice.device_id)


def test_with_the_admin_token_a_new_name_must_be_known_to_the_relay(relay: RelaySpace) -> None:
    assert converse(relay, "carol", "", admin=True)[0] == 0
    relay.verify(event="frame_in", type="AUTH_RESPONSE", user="carol")


def test_an_identity_secret_must_be_used(relay: RelaySpace) -> None:
    alice = relay.user("alice")
    secret = b64encode(alice.identity_secret).decode()
    assert converse(relay, "me", "who\n", "--identity-secret", secret)[1] == f"me {alice.address}\n"


def test_what_did_not_get_through_must_end_with_99(relay: RelaySpace) -> None:
    code, _, err = converse(relay, "carol", "to nobody-there hello\n")
    assert code == 99
    assert "to nobody-there: refused (RECIPIENT_NOT_FOUND)" in err
    code, _, err = converse(relay, "carol", "say hello\nto bob\npresence gone\ntyping\nwatch\n")
    assert code == 99
    for said in ("unknown command 'say'", "to NAME TEXT", "online, away or invisible", "typing NAME", "watch NAME"):
        assert said in err
    assert "Traceback" not in err


def test_a_close_that_a_client_stops_on_must_end_it_with_its_cause(relay: RelaySpace) -> None:
    with start(relay, "carol", admin=True) as process:
        try:
            relay.journal.wait_for(event="frame_out", type="AUTH_SUCCESS", timeout_s=PATIENCE_S)
            address = relay.control("GET", "/admin/users")[0]["address"]
            relay.control("PATCH", f"/admin/users/{address}", {"suspended": True})
            assert process.wait(15) == 99
            assert process.stderr is not None
            assert "the connection ended (" in process.stderr.read()
        finally:
            process.kill()


def test_control_characters_of_a_peer_must_not_reach_the_terminal(relay: RelaySpace) -> None:
    with start(relay, "carol", admin=True) as process:
        assert process.stdout is not None
        try:
            relay.journal.wait_for(event="frame_out", type="AUTH_SUCCESS", timeout_s=PATIENCE_S)
            carol = relay.control("GET", "/admin/users")[0]["address"]
            with app(relay.user("mallory")) as mallory:
                mallory.message(carol, "\x1b]0;owned\x07 \u202e\r\n".encode())
                mallory.message(carol, b"\xff\xfe")
                assert process.stdout.readline() == "mallory: \\x1b]0;owned\\x07 \\u202e\\r\\n\n"
                assert process.stdout.readline() == "mallory: (2 bytes that are no text; this program cannot decrypt)\n"
        finally:
            process.kill()
            process.communicate()
    assert printable("a\x1b[2Jb") == "a\\x1b[2Jb"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1/ws/v1", "--user", "a"], "no WebSocket URL of a relay"),
        (["ws://127.0.0.1:1/ws", "--user", "a"], "no WebSocket URL of a relay"),
        (["ws://127.0.0.1:99999/ws/v1", "--user", "a"], "no WebSocket URL of a relay"),
        (["ws://127.0.0.1:9/ws/v1", "--user", "a b"], "--user"),
        (["ws://127.0.0.1:9/ws/v1", "--user", "a"], "no relay answers at http://127.0.0.1:10"),
        (["ws://127.0.0.1:9/ws/v1", "--user", "a", "--http-url", "ws://x"], "--http-url"),
        (["ws://127.0.0.1:9/ws/v1", "--user", "a", "--identity-secret", "x"], "--identity-secret: must be 32 bytes"),
        (["wss://127.0.0.1:9/ws/v1", "--user", "a", "--ca", "/no/such.pem"], "--ca: /no/such.pem"),
        (["ws://127.0.0.1:9/ws/v1"], "--user"),
    ],
)
def test_bad_usage_must_end_with_2_and_name_what_is_wrong(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["connect", *arguments], env={"MOCKRELAY_ADMIN_TOKEN": None})
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_wrong_admin_token_and_a_foreign_key_must_be_told(relay: RelaySpace) -> None:
    with pytest.raises(ConnectError, match="the admin token is not that of the relay"):
        introduce(relay.ws_url, "carol", http_url=relay.http_url, admin_token="wrong")
    relay.control("POST", "/admin/users", {"name": "keyed", "identity_key": b64encode(b"k" * 32).decode()})
    with pytest.raises(ConnectError, match="keyed is registered with a key that is not here"):
        introduce(relay.ws_url, "keyed", http_url=relay.http_url, admin_token=relay.admin_token)


def test_a_relay_that_registers_nobody_must_be_told(server: RelayServer) -> None:
    space = server.space(config={"upgrade": {"profile": "spec", "hosts": ["127.0.0.1"]}})
    with pytest.raises(ConnectError, match="admits no unknown user carol"):
        introduce(space.ws_url, "carol", http_url=space.http_url)
    space.close()


def test_a_name_must_have_the_same_address_for_everybody(relay: RelaySpace) -> None:
    who, _ = introduce(relay.ws_url, "carol", http_url=relay.http_url)
    again, _ = introduce(relay.ws_url + "?token=old", "carol", http_url=relay.http_url + "/")
    assert (who.address, who.device_id) == (again.address, again.device_id)
    assert asyncio.run(Directory(None).address("carol")) == who.address
    assert asyncio.run(Directory(None).address("0x" + "AB" * 20)) == "0x" + "ab" * 20
    assert not is_address("0x" + "zz" * 20)
    assert who.token not in repr(who)


def test_help_must_have_an_example() -> None:
    result = CliRunner().invoke(cli, ["connect", "--help"])
    assert result.exit_code == 0
    assert "mockrelay connect ws://127.0.0.1:8765/ws/v1 --user carol" in result.output
    assert "Nothing is encrypted" in result.output
