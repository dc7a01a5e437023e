"""``mockrelay serve``'s settings by file, environment and flag, and ``mockrelay token``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mockrelay.serve_cli
from mockrelay.cli import cli, deviations
from mockrelay.flag_checks import stray_variables
from mockrelay.server import Options
from mockrelay.settings import clock_of, read_file, read_rules
from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import config, run, serving
from zentalk_sim.files.yaml import FileFaults

FILE = """\
host: 127.0.0.1
port: 9000
users: [alice, bob]
seed: 7
clock: x60
allow-origins:
  - http://app.test
config:
  integrity: require
  limits:
    send_message: off
rules:
  - match: {event: frame_in, type: MESSAGE_SEND}
    action: {do: drop}
"""


def served(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str) -> Options:
    """The options that ``serve`` with these arguments would run with."""
    found: list[Options] = []

    def keep(options: Options, as_json: bool) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr(mockrelay.serve_cli, "_run", keep)
    result = CliRunner().invoke(cli, ["serve", *arguments], env={f"MOCKRELAY_{k}": v for k, v in environment.items()})
    assert result.exit_code == 0, result.output
    return found[0]


def test_a_file_must_set_what_the_flags_set_and_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(FILE)
    options = served(monkeypatch, "--config", str(path))
    assert (options.port, options.users, options.seed) == (9000, ("alice", "bob"), 7)
    assert options.clock.scale == 60
    assert options.config.integrity == "require"
    assert options.config.limits.send_message == "off"
    assert options.config.limits.typing != "off"
    assert options.config.upgrade.profile == "dev"
    assert "http://app.test" in options.config.upgrade.origins
    assert len(options.rules) == 1


def test_the_environment_must_win_over_the_file_and_flags_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(FILE)
    environment = {"CONFIG": str(path), "PORT": "9001", "USERS": "carol dave", "HTTP_PORT": "9002"}
    options = served(monkeypatch, "--http-port", "9003", **environment)
    assert (options.port, options.http_port) == (9001, 9003)
    assert options.users == ("carol", "dave")
    assert options.seed == 7, "what neither names stays the file's"
    assert served(monkeypatch, "--user", "erin", "--clock", "frozen", **environment).users == ("erin",)


def test_a_repeatable_flags_variable_must_be_taken_under_the_flags_own_name_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {"USER": "carol dave", "ALLOW_HOST": "relay.test", "ALLOW_ORIGIN": "http://app.test"}
    options = served(monkeypatch, **environment, BOUND="spaces=3")
    assert options.users == ("carol", "dave")
    assert "relay.test" in options.config.upgrade.hosts
    assert "http://app.test" in options.config.upgrade.origins
    assert options.bounds.spaces == 3


def test_a_variable_that_is_nearly_a_setting_must_be_told_and_any_other_passed_over() -> None:
    environment = {
        "MOCKRELAY_HTTPPORT": "0",
        "MOCKRELAY_PROFIL": "spec",
        "MOCKRELAY_USERS": "alice",
        "MOCKRELAY_USER": "alice",
        "MOCKRELAY_ADMIN_TOKEN": "t",
        "MOCKRELAY_HTTP_URL": "http://127.0.0.1:8766",
        "MOCKRELAY_SERVICE_HOST": "10.0.0.1",
        "HTTPPORT": "0",
    }
    assert stray_variables(mockrelay.serve_cli.serve, environment) == [
        "MOCKRELAY_HTTPPORT is no setting; did you mean MOCKRELAY_HTTP_PORT?",
        "MOCKRELAY_PROFIL is no setting; did you mean MOCKRELAY_PROFILE?",
    ]


def test_flags_without_a_command_must_be_those_of_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Options] = []

    def keep(options: Options, as_json: bool) -> int:
        assert as_json
        found.append(options)
        return 0

    monkeypatch.setattr(mockrelay.serve_cli, "_run", keep)
    assert CliRunner().invoke(cli, ["--port", "0", "--json", "--user", "alice"]).exit_code == 0
    assert (found[0].port, found[0].users) == (0, ("alice",))
    refused = CliRunner().invoke(cli, ["--prot", "0"])
    assert refused.exit_code == 2
    assert "No such option '--prot'" in refused.output


def test_rules_in_a_file_of_their_own_must_be_read_from_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("- match: {event: upgrade}\n  action: {do: refuse, status: 503}\n")
    (tmp_path / "relay.yaml").write_text("rules: rules.yaml\nrecord: r.jsonl\nstore: sqlite:r.db\n")
    settings = read_file(str(tmp_path / "relay.yaml"))
    assert settings.rules is not None
    assert read_rules(settings.rules)[0]["action"] == {"do": "refuse", "status": 503}
    assert settings.flags == {"record": str(tmp_path / "r.jsonl"), "store": f"sqlite:{tmp_path / 'r.db'}"}


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("prot: 1\n", "1:1", "did you mean `port`"),
        ("host: a\nusers: alice\n", "2:8", "list of texts"),
        ("port: [1]\n", "1:7", "single value"),
        ("config:\n  limits:\n    send_mesage: off\n", "3:5", "did you mean `send_message`"),
        ("config:\n  integrity: maybe\n", "2:3", "maybe"),
        ("- a\n", "1:1", "mapping"),
        ("rules:\n  - match: {event: frame_inn}\n    action: {do: drop}\n", "2:13", "frame_in"),
        ("rules: {a: 1}\n", "1:8", "list of rules"),
    ],
)
def test_a_bad_file_must_be_refused_with_its_place(tmp_path: Path, text: str, place: str, said: str) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(text)
    result = CliRunner().invoke(cli, ["serve", "--config", str(path)])
    assert result.exit_code == 2
    assert result.output.startswith(f"{path}:{place}: "), result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_all_faults_of_a_file_must_be_told_at_once_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(
        "prot: 1\nport: x\nconfig:\n  limits:\n    send_mesage: off\n    typing: of\n  integrity: requir\n"
        "clock: fast\nallow_hosts: [a/b]\nbounds: {journal_entries: 0}\nrules:\n  - match: {event: frame_inn}\n"
    )
    result = CliRunner().invoke(cli, ["serve", "--config", str(path)])
    assert result.exit_code == 2
    lines = [line.removeprefix(f"{path}:") for line in result.output.splitlines()]
    places = ["1:1", "2:7", "5:5", "6:5", "7:3", "8:8", "9:14", "10:10", "12:5", "12:13"]
    assert [line.partition(": ")[0] for line in lines] == places
    assert "port: 'x' is not a valid port" in lines[1]
    assert "did you mean `off`" in lines[3]
    assert "did you mean `require`" in lines[4]


def test_settings_that_hold_only_together_must_be_told_as_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("config:\n  dedup:\n    bloom_capacity: 999999999\n")
    result = CliRunner().invoke(cli, ["serve", "--config", str(path)])
    assert result.output == f"{path}:3:5: dedup.bloom_capacity must be at most 10000000\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "0xabc"], "may not begin with 0x"),
        (["--allow-host", "http://relay.test/"], "a host is a name or an address"),
        (["--bound", "journal_entries=0"], "from 1 to"),
        (["--port", "x"], "is not a valid port"),
    ],
)
def test_a_flag_that_could_not_work_must_be_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["serve", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_missing_files_and_bad_clocks_and_stores_must_be_refused(tmp_path: Path) -> None:
    for arguments, said in (
        (["--config", str(tmp_path / "no.yaml")], "no such file"),
        (["--rules", str(tmp_path / "no.yaml")], "no such file"),
        (["--clock", "fast"], "real, frozen, or xN"),
        (["--clock", "x0"], "real, frozen, or xN"),
        (["--store", "redis:x", "--port", "0", "--http-port", "0"], "--store"),
    ):
        result = CliRunner().invoke(cli, ["serve", *arguments])
        assert result.exit_code == 2, result.output
        assert said in result.output
    assert clock_of("real").mode == "real"
    with pytest.raises(FileFaults):
        read_file(str(tmp_path))


@pytest.mark.requirement("R-3.5")
def test_settings_that_are_not_the_specifications_must_be_told_at_the_start() -> None:
    changed = config(limits={"typing": "off", "send_message": {"limit": 5}}, heartbeat={"interval_ms": 1})
    assert deviations(changed)[4:] == [
        "limits.send_message.limit is 5 (specified: 60)",
        "limits.send_message.burst is None (specified: 10)",
        "limits.typing is off (specified: {limit: 1, window_s: 3, burst: 1})",
        "heartbeat.interval_ms is 1 (specified: 30000)",
    ]


def token_of(relay_url: str, admin_token: str, *arguments: str) -> Any:
    environment = {"MOCKRELAY_URL": relay_url, "MOCKRELAY_ADMIN_TOKEN": admin_token}
    return CliRunner().invoke(cli, ["token", *arguments], env=environment)


def test_token_must_print_a_token_that_the_relay_takes() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:

            async def ask(*arguments: str) -> Any:
                return await asyncio.to_thread(token_of, relay.http_url, relay.admin_token, *arguments)

            result = await ask("--user", "alice", "--lifetime", "10m", "--capability", "receive_message")
            assert result.exit_code == 0, result.output
            headers = {"Authorization": f"Bearer {result.output.strip()}"}
            found = await admin.client.get(f"{relay.http_url}/api/messages", headers=headers)
            assert found.status_code == 200
            sent = await admin.client.post(f"{relay.http_url}/api/messages", headers=headers, content=json.dumps({}))
            assert sent.status_code == 403
            for arguments, said in (
                (("--user", "nobody"), "no user nobody"),
                (("--user", "alice", "--lifetime", "soon"), "lifetime"),
                (("--user", "alice", "--device", "7"), "UUID"),
            ):
                refused = await ask(*arguments)
                assert refused.exit_code == 2, refused.output
                assert said in refused.output

    run(body())


def test_token_must_say_where_no_relay_answers() -> None:
    result = token_of("http://127.0.0.1:1", "t", "--user", "alice")
    assert result.exit_code == 2
    assert "no relay answers at http://127.0.0.1:1" in result.output
