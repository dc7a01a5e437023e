"""An experiment over real sockets: the same folder, counts and figures as in simulated time.

Its time is that of a loop that jumps (``jump_loop``), so that what is planned happens at its instant however busy the
machine is; a program of its own runs in real time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mockrelay.server import MockRelay
from tests.live.jump_loop import jumping
from tests.live.relay_thread import TOKEN, served
from zentalk_sim.experiment import run as simulate
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.live.control import Control
from zentalk_sim.live.faults import refusals
from zentalk_sim.live.run import LiveError, Target, not_applied, run_live
from zentalk_sim.live.urls import UrlError, http_url_of, ws_url_of
from zentalk_sim.live.users import GivenUser, UsersError, read_users
from zentalk_sim.report.run import load
from zentalk_sim.report.summary import results_table
from zentalk_sim.trace.replay import replay_file

EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "duration": "3s",
    "relay": {"limits": {"send_message": "off"}, "ingress": {"enabled": False}, "store_latency": "0s"},
    "population": {"devices": 6, "devices_per_user": 2, "networks": {"near": 1}, "contacts": 2},
    "network": {"near": {"latency": {"dist": "constant", "delay": "20ms"}, "tls_round_trips": 0}},
    "workload": {
        "start": {"ramp": "200ms"},
        "messages": {"rate_per_device": "120/min"},
        "reads": {"probability": 0.5, "delay": "100ms"},
    },
    "faults": [{"at": "1500ms", "do": "reset_connections", "fraction": 0.5}],
    "plots": False,
}


BOUNDS = {
    "copies.stored": ["== 0"],
    "copies.pending": ["< 9"],
    "heartbeats.missed": ["== 0"],
    "errors.INTERNAL_ERROR": ["== 0"],
    "rtt_ms": ["count == 0"],
    "connections.syn_dropped": ["== 0"],
    "clients.gave_up": ["== 0"],
    "messages.rejected.too_large": ["== 0"],
}
"""What only the relay can tell, or nobody, and at last what the devices tell."""


def held(outcome: Any) -> dict[str, tuple[bool, Any]]:
    """Metric → whether its bound was kept, and what was found."""
    found = outcome.summary["thresholds"]
    return {entry["id"].partition(":")[0]: (entry["held"], entry["value"]) for entry in found}


@pytest.fixture(scope="module")
def relay() -> Any:
    """One in real time."""
    with served() as found:
        yield found


class Live:
    """A relay on a loop whose time jumps, and runs against it."""

    def __init__(self, relay: MockRelay, on_loop: Any) -> None:
        self.relay = relay
        self.on_loop = on_loop

    def run(self, experiment: dict[str, Any], folder: Path, on_loop: Any = None, **options: Any) -> Any:
        """What ``run_live`` says; with the control API unless users are given."""
        given = options or {"admin_token": TOKEN}
        return run_live(
            from_mapping(experiment),
            target(self.relay, **given),
            out=folder,
            plots=False,
            progress=False,
            on_loop=on_loop or self.on_loop,
        )


@pytest.fixture(scope="module")
def live() -> Any:
    with jumping("alice", "bob", "carol") as (relay, on_loop):
        yield Live(relay, on_loop)


def target(relay: MockRelay, **options: Any) -> Target:
    return Target(ws_url=relay.ws_url, http_url=relay.http_url, **options)


@pytest.fixture(scope="module")
def played(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live") / "run"
    outcome, interrupted = live.run(EXPERIMENT, folder)
    assert not interrupted
    assert outcome.folder == folder
    return folder


def test_a_live_run_must_leave_the_folder_of_any_run(played: Path) -> None:
    names = {path.name for path in played.iterdir()}
    assert {
        *("experiment.yaml", "summary.json", "results.json", "manifest.json", "report.html"),
        *("messages.parquet", "connections.parquet", "timeseries.parquet", "live.json", "recording.jsonl"),
    } <= names
    found = load(played)
    assert found.summary["checks"] == [{"id": "ledgers", "held": True, "value": None}]
    told = json.loads((played / "live.json").read_text())
    assert told["relay_facts"] is True
    assert told["late_ms"] == dict.fromkeys(("p50", "p90", "p99", "max"), 0.0), "this loop's time waits for what is due"
    assert TOKEN not in (played / "manifest.json").read_text()


def test_the_same_users_must_do_the_same_as_in_the_simulation(played: Path) -> None:
    """Every count is the simulation's, why connections were lost among them."""
    found, simulated = load(played), simulate(EXPERIMENT)
    mine, theirs = found.summary["counts"], simulated.summary["counts"]
    assert mine == theirs
    assert mine["connections.lost.reset"] == 3
    assert mine["messages.sent"] > 20
    assert mine["copies.stored"] == mine["copies.confirmed"] + mine["copies.pending"]
    assert mine["messages.delivered"] == mine["copies.confirmed"]
    sizes = [run.messages.sort_values("sent_us")["bytes"].tolist() for run in (found, simulated)]
    assert sizes[0] == sizes[1]


def test_no_message_may_be_quicker_than_its_links(played: Path) -> None:
    """Two hops of 20 ms; a clock and a timer of one machine agree to a millisecond."""
    messages = load(played).messages
    shown = messages[messages["shown_us"].notna()]
    assert len(shown) > 20
    assert (shown["shown_us"] - shown["sent_us"]).min() >= 39_000
    assert (shown["pushed_us"].dropna() >= shown["sent_us"].loc[shown["pushed_us"].dropna().index] + 18_000).all()
    assert messages["received_us"].notna().any()
    assert messages["read_us"].notna().any()


def test_stages_of_connecting_must_stand_in_order_and_resets_be_seen(played: Path) -> None:
    attempts = load(played).connections
    done = attempts[attempts["auth_us"].notna()]
    assert (done["tcp_us"] - done["start_us"] >= 39_000).all()
    assert (done["upgraded_us"] >= done["tls_us"]).all()
    assert (done["auth_us"] - done["upgraded_us"] >= 39_000).all()
    assert (attempts["close_code"] == 1006).sum() == 3, "half of six connections were reset"
    assert done["resumed"].any()


def test_the_recording_of_a_live_run_must_replay(played: Path) -> None:
    result = replay_file(played / "recording.jsonl")
    assert result.first_difference is None
    assert result.outputs > 100
    assert (played / "recording.jsonl").stat().st_mode & 0o777 == 0o600


def test_without_a_control_api_counts_of_the_relay_must_be_left_out(live: Live, tmp_path: Path) -> None:
    small = {**EXPERIMENT, "duration": "1200ms", "faults": [], "relay": {}, "thresholds": BOUNDS}
    small["population"] = {"devices": 3, "networks": {"near": 1}, "contacts": 1}
    from base64 import b64encode

    users = [
        GivenUser(user.address, b64encode(user.identity_secret).decode(), user.device_id, user.token)
        for user in live.relay.users
    ]
    outcome, _ = live.run(small, tmp_path / "run", users=users)
    counts = outcome.summary["counts"]
    assert counts["messages.sent"] > 0
    assert counts["messages.acked"] > 0
    assert counts["connections.authenticated"] == 3
    assert not any(name.startswith(("copies.", "heartbeats.", "push.")) for name in counts)
    assert "rtt_ms" not in outcome.summary["metrics"]
    assert not (tmp_path / "run" / "recording.jsonl").exists()
    assert any("not known" in text for text in outcome.results.assumptions)
    # A bound on what nobody counted does not hold, and the run says why.
    kept = held(outcome)
    assert {name: kept.pop(name) for name in list(kept)[:-2]} == dict.fromkeys(list(BOUNDS)[:-2], (False, None))
    assert set(kept.values()) == {(True, 0)}
    assert len(outcome.failed_thresholds) == 6
    table = results_table(outcome.summary)
    assert "BROKEN  copies.stored: == 0  (not known)" in table
    assert "held    ledgers  (found the ledger of copies.stored is not known)" in table


def test_a_partition_must_hold_messages_until_it_heals(live: Live, tmp_path: Path) -> None:
    cut = {
        **EXPERIMENT,
        "duration": "2500ms",
        "population": {"devices": 2, "networks": {"near": 1}, "contacts": 1},
        "faults": [{"at": "800ms", "do": "partition", "fraction": 1.0, "for": "700ms"}],
    }
    outcome, _ = live.run(cut, tmp_path / "run")
    found = load(outcome.folder)
    start = found.start_us
    during = found.messages[
        (found.messages["sent_us"] > start + 850_000) & (found.messages["sent_us"] < start + 1_400_000)
    ]
    assert len(during) > 0
    assert (during["shown_us"].dropna() >= start + 1_500_000).all()
    assert outcome.summary["counts"]["connections.attempted"] == 2, "a connection outlives a short partition"
    assert [fault.label for fault in outcome.results.faults] == ["partition, all devices"]


def test_a_relay_that_restarts_must_be_seen_as_one(live: Live, tmp_path: Path) -> None:
    stopped = {
        **EXPERIMENT,
        "duration": "3s",
        "population": {"devices": 3, "networks": {"near": 1}, "contacts": 1},
        "faults": [{"at": "700ms", "do": "stop_node", "node": 0, "for": "300ms"}],
    }
    outcome, _ = live.run(stopped, tmp_path / "run")
    counts = outcome.summary["counts"]
    assert counts["connections.closed.1001"] == 3
    assert counts["connections.authenticated"] == 6
    assert outcome.summary["checks"][0]["held"]


def test_a_relay_that_dies_unnoticed_must_count_as_lost_from_then(live: Live, tmp_path: Path) -> None:
    """As in a simulation: ``reconnect_time_s`` begins with the death, not with the notice."""
    crash = {"at": "1s", "do": "crash_node", "node": 0, "for": "2s"}
    few = {"start": {"ramp": "200ms"}, "messages": {"rate_per_device": "4/min"}}
    outcome, _ = live.run({**EXPERIMENT, "duration": "60s", "faults": [crash], "workload": few}, tmp_path / "run")
    run = load(tmp_path / "run")
    died_us = run.start_us + 1_000_000
    noticed = run.connections[run.connections["end_us"].notna()]["end_us"]
    metric = outcome.summary["metrics"]["reconnect_time_s"]
    assert metric["count"] == len(noticed) > 0
    assert metric["max"] >= (max(noticed) - died_us) / 1e6 > 2
    assert metric["censored"] == 6 - len(noticed)


@pytest.mark.parametrize(
    ("fault", "has_control", "message"),
    [
        ({"do": "slow_node", "node": 0}, True, "`slow_node` cannot be done to a live relay from outside"),
        ({"do": "bus_outage"}, True, "`bus_outage` cannot be done"),
        ({"do": "store_outage"}, True, "`store_outage` cannot be done"),
        ({"do": "stop_node", "node": 0, "for": "1s"}, False, "`stop_node` needs the relay's control API"),
        ({"do": "crash_node", "node": 1, "for": "1s"}, True, "`crash_node`: a live relay is one node"),
        ({"do": "crash_node", "node": 0}, True, "`crash_node` needs `for`"),
        ({"do": "reset_connections"}, False, None),
        ({"do": "handover", "devices": 1, "to": "lte"}, False, None),
        ({"do": "restart_node", "node": 0}, True, None),
    ],
)
def test_what_cannot_be_done_to_a_live_relay_must_be_refused_by_name(
    fault: dict[str, Any], has_control: bool, message: str | None
) -> None:
    experiment = from_mapping(
        {"name": "x", "relay": {"nodes": 2}, "faults": [{"at": "1s", "do": "reset_connections"}, {"at": "1s", **fault}]}
    )
    found = refusals(experiment, has_control=has_control)
    assert [text.startswith("faults.1: ") and message in text for text in found] == ([True] if message else [])


def test_a_refused_fault_must_stop_the_run_before_it_begins(tmp_path: Path) -> None:
    experiment = from_mapping({"name": "x", "faults": [{"at": "1s", "do": "bus_outage"}], "relay": {"nodes": 2}})
    nowhere = Target(ws_url="ws://127.0.0.1:1/ws/v1", http_url="http://127.0.0.1:1", admin_token="t")
    with pytest.raises(LiveError, match="bus_outage"):
        run_live(experiment, nowhere, out=tmp_path / "run", plots=False, progress=False)
    assert not (tmp_path / "run").exists()


def test_a_relay_that_is_not_there_must_be_named(tmp_path: Path) -> None:
    nowhere = Target(ws_url="ws://127.0.0.1:1/ws/v1", http_url="http://127.0.0.1:1", admin_token="t")
    with pytest.raises(
        LiveError, match=r"http://127\.0\.0\.1:1: no answer to POST /admin/spaces.*--http-url says where"
    ):
        run_live(from_mapping({"name": "x"}), nowhere, out=tmp_path / "run", plots=False, progress=False)


def test_the_wrong_port_must_be_told_with_the_option_that_names_the_right_one(relay: MockRelay, tmp_path: Path) -> None:
    """As it is guessed for a relay on ports of its own; a refusal by the control API itself is none of this."""

    def said(http_url: str) -> str:
        target = Target(ws_url=relay.ws_url, http_url=http_url, admin_token="no such token")
        with pytest.raises(LiveError) as caught:
            run_live(from_mapping({"name": "x"}), target, out=tmp_path / "run", plots=False, progress=False)
        return str(caught.value)

    assert said(relay.ws_url.replace("ws:", "http:").removesuffix("/ws/v1")).endswith("--http-url says where")
    assert "was answered 401" in said(relay.http_url)
    assert "--http-url" not in said(relay.http_url)


def test_settings_that_a_live_relay_has_by_itself_must_be_told() -> None:
    experiment = from_mapping({"name": "x", "relay": {"nodes": 2, "heartbeat": {"interval": "5s"}}})
    with_control = Target(ws_url="", http_url="", admin_token="t")
    assert not_applied(experiment, with_control) == ["A live relay has its own, so not applied: `relay.nodes`."]
    without = "\n".join(not_applied(experiment, Target(ws_url="", http_url="", users=[], shaped=False)))
    assert "without its control API none is set" in without
    assert "`population.networks` and `network` are not applied" in without


def test_a_relay_that_goes_away_amid_a_run_must_not_take_the_results_with_it(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def end_space() -> None:
        await asyncio.sleep(1.5)
        for space in list(live.relay.spaces):
            await Control(live.relay.http_url, TOKEN).call("DELETE", f"/admin/spaces/{space.id}")

    def on_loop(play: Any) -> None:
        async def both() -> None:
            await asyncio.gather(play, end_space())

        live.on_loop(both())

    lost = {**EXPERIMENT, "duration": "2500ms", "faults": [], "thresholds": BOUNDS}
    outcome, _ = live.run(lost, tmp_path / "run", on_loop)
    assert [name for name, (kept, _) in held(outcome).items() if kept] == list(BOUNDS)[-2:]
    counts = outcome.summary["counts"]
    assert counts["messages.shown"] > 0
    assert counts["connections.closed.1001"] == 6
    assert "copies.stored" not in counts
    assert "What the relay counted is not known" in capsys.readouterr().err


def test_an_interrupt_must_end_the_run_soon_and_keep_its_results(relay: MockRelay, tmp_path: Path) -> None:
    experiment = tmp_path / "long.json"
    experiment.write_text(json.dumps({**EXPERIMENT, "duration": "120s", "faults": []}))
    command = [sys.executable, "-m", "zentalk_sim.cli", "run", str(experiment), "--live", relay.ws_url]
    command += ["--http-url", relay.http_url, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, env={**os.environ, "MOCKRELAY_ADMIN_TOKEN": TOKEN}, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 300
        while len(relay.spaces) == 0 or not next(iter(relay.spaces)).driver.relay.connections:
            assert time.monotonic() < deadline, "nobody connects"
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 < summary["simulated_s"] < 120
    assert json.loads((tmp_path / "run" / "live.json").read_text())["interrupted"] is True
    assert len(relay.spaces) == 0, "its space is gone"


# --- where to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "ws", "http"),
    [
        ("ws://127.0.0.1:8765", "ws://127.0.0.1:8765/ws/v1", "http://127.0.0.1:8766"),
        ("ws://h:9000/ws/v1/", "ws://h:9000/ws/v1", "http://h:9000"),
        ("wss://relay.example/ws/v1", "wss://relay.example/ws/v1", "https://relay.example"),
        ("ws://h:8765/spaces/sp_1/ws/v1", "ws://h:8765/spaces/sp_1/ws/v1", "http://h:8766/spaces/sp_1"),
        ("ws://[::1]:8765", "ws://[::1]:8765/ws/v1", "http://[::1]:8766"),
    ],
)
def test_the_rest_url_must_follow_from_the_sockets(given: str, ws: str, http: str) -> None:
    assert (ws_url_of(given), http_url_of(given, None)) == (ws, http)
    assert http_url_of(given, "https://api.example/") == "https://api.example"


@pytest.mark.parametrize("given", ["http://h", "h:80", "ws://", "ws://h:x", "ws://h/other", "ws://h/ws/v1?token=x"])
def test_what_is_no_url_of_a_relay_must_be_refused(given: str) -> None:
    with pytest.raises(UrlError, match="ws"):
        ws_url_of(given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not a list of users"),
        ("{}", "an object without `users`"),
        ('[{"address": "0x1"}]', "not a list of users"),
        ('[{"address": "0x1", "identity_secret": "AAAA"}]', r"users\.0\.identity_secret is not 32 bytes"),
        (json.dumps([{"address": "0x1", "identity_secret": "A" * 43 + "="}]), r"users\.0 has no `device_id`"),
    ],
)
def test_a_file_of_users_that_cannot_be_used_must_be_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(content)
    with pytest.raises(UsersError, match=message) as caught:
        read_users(path)
    assert str(caught.value).startswith(str(path))


def test_too_few_users_must_be_refused_with_the_way_out(relay: MockRelay, tmp_path: Path) -> None:
    with pytest.raises(LiveError, match=r"--users has 0 users, the experiment 3; .*-S population.users=0"):
        run_live(
            from_mapping({**EXPERIMENT, "faults": []}),
            target(relay, users=[]),
            out=tmp_path,
            plots=False,
            progress=False,
        )
