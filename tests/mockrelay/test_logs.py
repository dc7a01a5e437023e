"""The log of the relay: what it tells, at which level, in which form, and what it never tells."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from mockrelay import logs
from mockrelay.cli import cli
from mockrelay.server import MockUser
from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import connected, run, serving, user_of


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.log.setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def _session(close_reason: str = "bye") -> tuple[MockUser, str]:
    rules = ({"match": {"event": "frame_out", "type": "MESSAGE_ACK"}, "action": {"do": "drop"}, "comment": "no ACK"},)
    async with (
        serving("alice", "bob", rules=rules) as relay,
        connected(relay, "alice") as alice,
        connected(relay, "bob") as bob,
        controlling(relay) as admin,
    ):
        await alice.message(user_of(relay, "bob"), b"a secret")
        await bob.until("MESSAGE_NEW")
        await admin.post("/clock", {"action": "freeze"})
        await alice.ws.close(4321, close_reason)
        await admin.post("/journal/wait", {"match": {"event": "closed", "close_code": 4321}})
        return user_of(relay, "alice"), relay.admin_token


def test_info_must_tell_who_came_and_went_and_which_rule_fired_and_no_frame() -> None:
    stream = io.StringIO()
    logs.set_up("info", "json", stream)
    run(_session())
    told = lines(stream)
    assert [line["user"] for line in told if line["message"] == "connected"] == ["alice", "bob"]
    ended = next(line for line in told if line.get("close_code") == 4321)
    assert (ended["message"], ended["user"], ended["reason"], ended["direction"]) == ("closed", "alice", "bye", "in")
    fired = [(line["type"], line["do"], line["rule"]) for line in told if "rule" in line]
    assert fired == [("MESSAGE_ACK", "drop", "no ACK")]
    assert [line["action"] for line in told if line["message"] == "was told by the control API"] == ["clock_freeze"]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in told)
    assert {line["event"] for line in told if line["event"].startswith("frame")} == {"frame_out"}


@pytest.mark.parametrize("form", logs.FORMATS)
def test_debug_must_tell_each_frames_type_and_never_a_content_a_token_or_a_key(form: str) -> None:
    stream = io.StringIO()
    logs.set_up("debug", form, stream)
    alice, admin_token = run(_session())
    text = stream.getvalue()
    assert "MESSAGE_SEND" in text
    assert "AUTH_RESPONSE" in text
    for secret in (alice.token, admin_token, "YSBzZWNyZXQ", "a secret", alice.identity_secret.hex()):
        assert secret not in text


def test_text_that_a_peer_chose_must_neither_end_a_line_nor_move_the_cursor() -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    run(_session('x\n2026 ERROR forged="1"\x1b[2J\u202e'))
    text = stream.getvalue()
    assert '"x\\n2026 ERROR forged=\\"1\\"\\u001b[2J\\u202e"' in text
    assert all(line[:2] == "20" and line[23] == "Z" for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_warning_must_tell_nothing_of_a_session_that_goes_well_and_cost_no_listener() -> None:
    stream = io.StringIO()
    logs.set_up("warning", "text", stream)

    async def body() -> int:
        async with serving("alice") as relay:
            return len(relay.default.journal.listeners)

    assert run(body()) == 0
    run(_session())
    assert stream.getvalue() == ""


def test_a_fault_of_the_program_must_be_told_with_its_traceback_on_one_line_of_json() -> None:
    stream = io.StringIO()
    logs.set_up("warning", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logs.log.exception("an input was refused")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["traceback"].endswith("ValueError: broken")


@pytest.mark.parametrize("option", [("--log-level", "loud"), ("--log-format", "xml")])
def test_an_unknown_level_or_format_must_be_refused(option: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli, ["serve", *option])
    assert result.exit_code == 2
    assert option[1] in result.output
