"""``mockrelay serve`` as a user runs it: its start message, its signals, its refusals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import pytest
from click.testing import CliRunner
from nacl.signing import SigningKey

from mockrelay.cli import cli, deviations, main
from mockrelay.server import MockUser
from tests.live.jump_loop import jump
from tests.mockrelay.live_support import PATIENCE_S, Peer, config, raw_upgraded, run, serving
from zentalk_sim.protocol.config import RelayConfig

FREE = ("--port", "0", "--http-port", "0")


@contextmanager
def served(*arguments: str, stderr: int | IO[Any] = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "MOCKRELAY_ADMIN_TOKEN"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mockrelay", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def test_the_json_start_line_must_be_enough_to_connect_with() -> None:
    async def talk(start: dict[str, Any]) -> None:
        from websockets.asyncio.client import connect

        entry = start["users"][1]
        secret = b64decode(entry["identity_secret"])
        assert bytes(SigningKey(secret).verify_key) == b64decode(entry["identity_key"])
        user = MockUser("bob", entry["address"], b64decode(entry["identity_key"]), secret, entry["device_id"], "")
        url = f"{start['ws_url']}?token={entry['token']}&device_id={entry['device_id']}"
        async with connect(url, subprotocols=["zentalk.v1"], proxy=None) as ws:  # type: ignore[list-item]
            success = await Peer(user, ws).authenticate()
            assert success["capabilities"] == ["send_message", "receive_message", "presence"]

    with served("--user", "alice", "--user", "bob", "--json", *FREE) as process:
        start = started(process)
        assert set(start) == {"ws_url", "http_url", "inspector_url", "admin_token", "users"}
        assert start["ws_url"].endswith("/ws/v1")
        keys = {"name", "address", "identity_key", "identity_secret", "device_id", "token"}
        assert [(set(user), user["name"]) for user in start["users"]] == [(keys, "alice"), (keys, "bob")]
        run(talk(start))


def test_a_seed_must_give_the_same_users_and_none_must_not() -> None:
    def addresses(*arguments: str) -> list[str]:
        with served("--user", "alice", "--json", *arguments, *FREE) as process:
            return [user["address"] for user in started(process)["users"]]

    assert addresses("--seed", "7") == addresses("--seed", "7")
    assert addresses() != addresses()


@pytest.mark.requirement("R-12.1")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_must_stop_it_in_order(number: signal.Signals, status: int) -> None:
    async def watch(start: dict[str, Any], process: subprocess.Popen[str]) -> int | None:
        from websockets.asyncio.client import connect

        user = start["users"][0]
        url = f"{start['ws_url']}?token={user['token']}&device_id={user['device_id']}"
        async with connect(url, subprotocols=["zentalk.v1"], proxy=None) as ws:  # type: ignore[list-item]
            await ws.recv()
            process.send_signal(number)
            await ws.wait_closed()
            return ws.close_code

    with served("--user", "alice", "--json", *FREE) as process:
        start = started(process)
        assert run(watch(start, process)) == 1001
        assert process.wait(PATIENCE_S) == status


def test_a_stop_must_take_a_second_at_most_even_where_a_peer_does_not_answer() -> None:
    """By the loop's own time: how soon it gets to run is the machine's affair."""

    async def body() -> float:
        loop = asyncio.get_running_loop()
        async with serving("alice") as relay, raw_upgraded(relay):
            began_s = loop.time()
            await relay.stop()
            return loop.time() - began_s

    assert 0 < jump(body()) <= 1.0


def test_shutdown_over_http_must_end_the_program() -> None:
    async def ask(start: dict[str, Any]) -> int:
        from zentalk_sim.live.http import request

        return (await request(f"{start['http_url']}/admin/shutdown", "POST", bearer=start["admin_token"]))[0]

    with served("--json", *FREE) as process:
        assert run(ask(started(process))) == 202
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_a_port_in_use_must_be_refused_with_the_options_name(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = [*FREE, option, port]
        with served(*arguments, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert out == ""
    assert err.splitlines()[-1].startswith(f"mockrelay: {option}: cannot listen on 127.0.0.1 port {port}: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "70000"], "--port"),
        (["--port", "9000", "--http-port", "9000"], "--http-port"),
        (["--user", "alice", "--user", "alice"], "twice"),
        (["--user", " "], "1 to 64 printable"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--allow-origin", "localhost"], "scheme://host"),
        (["--profile", "strict"], "--profile"),
        (["--no-such-option"], "--no-such-option"),
        ([*FREE, "--record", "/no/such/folder/r.jsonl"], "--record: /no/such/folder/r.jsonl"),
        ([*FREE, "--tls-cert", "/none.pem", "--tls-key", "/none.key"], "/none.pem: no such file"),
        ([*FREE, "--host", "198.51.100.7"], "198.51.100.7"),
    ],
)
def test_bad_usage_must_end_with_2_and_name_what_is_wrong(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(cli, ["serve", *arguments])
    assert result.exit_code == 2, result.output
    assert named in result.output


def test_an_address_that_is_not_this_machines_must_be_refused_as_the_hosts_fault() -> None:
    result = CliRunner().invoke(cli, ["serve", "--host", "192.0.2.1", "--port", "0", "--http-port", "0"])
    assert result.exit_code == 2
    assert "mockrelay: --host: cannot listen on 192.0.2.1" in result.output


def test_an_interrupt_while_it_starts_must_end_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mockrelay.serve_cli.set_up", interrupted)
    monkeypatch.setattr(sys, "argv", ["mockrelay", "serve"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_help_and_version_must_be_there_with_an_example() -> None:
    for arguments in (["--help"], ["serve", "--help"]):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0
        assert "mockrelay serve --user alice --user bob" in result.output
    assert CliRunner().invoke(cli, ["--version"]).output.startswith("mockrelay 0")


def _commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from _commands(inner, *path, name)


@pytest.mark.parametrize("path", [*_commands(cli)], ids=" ".join)
def test_every_command_must_have_help_with_an_example_and_a_version(path: tuple[str, ...]) -> None:
    told = CliRunner().invoke(cli, [*path, "--help"])
    assert told.exit_code == 0
    assert "Example" in told.output
    assert CliRunner().invoke(cli, [*path, "--version"]).output.startswith("mockrelay 0")


def test_help_must_load_neither_the_core_nor_the_simulator() -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom mockrelay.cli import cli\n"
        "CliRunner().invoke(cli, ['serve', '--help'])\n"
        "print([m for m in ('uvicorn', 'websockets', 'nacl', 'simpy', 'numpy', 'msgspec') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.requirement("R-3.5")
def test_deviations_from_profile_spec_must_be_listed_on_stderr() -> None:
    assert deviations(RelayConfig()) == []
    assert len(deviations(config())) == 4
    with served(*FREE, "--allow-origin", "http://app.test", "--json", stderr=subprocess.PIPE) as process:
        started(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("deviates from profile spec: ") for line in lines)
    assert "http://app.test" in lines[-1]


def test_the_start_message_for_people_must_hold_a_ready_made_url(tmp_path: Path) -> None:
    recording = tmp_path / "session.jsonl"
    with served(*FREE, "--user", "alice", "--record", str(recording)) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].strip().startswith("connect")):
            lines.append(process.stdout.readline())
        url = lines[-1].split()[1]
        assert url.startswith("ws://127.0.0.1:")
        assert "/ws/v1?token=ey" in url
        assert any("REST" in line for line in lines)
        assert recording.stat().st_mode & 0o777 == 0o600


def test_a_free_event_loop_is_left_behind() -> None:
    """``asyncio.run`` of a whole relay leaves no task and no socket open; warnings are errors here."""
    from tests.mockrelay.live_support import serving

    async def body() -> set[asyncio.Task[Any]]:
        async with serving("alice"):
            pass
        return asyncio.all_tasks() - {asyncio.current_task()}

    tasks = asyncio.run(body())
    assert tasks == set()


def test_the_command_must_run_as_a_module_too() -> None:
    for module in ("mockrelay", "mockrelay.cli"):
        asked = [sys.executable, "-m", module, "--version"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.startswith("mockrelay "), module
