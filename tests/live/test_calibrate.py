"""Calibrating: what is measured of a live relay becomes settings that an experiment takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mockrelay.server import MockRelay
from tests.live.relay_thread import TOKEN, served
from zentalk_sim.cli import errors
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.experiment.calibrate import Measurements, costs, fragment
from zentalk_sim.experiment.fragment import overlaid
from zentalk_sim.experiment.loader import load, read
from zentalk_sim.files import yaml

BASE = """name: base
relay: {store_latency: 5ms, limits: {send_message: "off"}}
population: {devices: 20, networks: {wifi: 1, lte: 3}}
"""


@pytest.fixture(scope="module")
def relay() -> object:
    with served("alice", "bob") as found:
        yield found


def calibrate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zentalk_sim.cli", "calibrate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_calibration_must_be_a_fragment_that_an_experiment_takes(relay: MockRelay, tmp_path: Path) -> None:
    done = calibrate(
        relay.ws_url, "--http-url", relay.http_url, "--admin-token", TOKEN, "--samples", "5", "--burst", "60"
    )
    assert done.returncode == 0, done.stderr
    for words in ("TCP connect", "authentication", "MESSAGE_ACK", "throughput", "messages/s"):
        assert words in done.stdout
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "measured.yaml").write_text(done.stdout)
    tree = overlaid(yaml.load(tmp_path / "base.yaml"), yaml.load(tmp_path / "measured.yaml"))
    experiment = read(tree)
    assert experiment.population.networks == {"measured": 1}
    assert experiment.population.devices == 20
    assert experiment.network["measured"].latency.expected_ms > 0
    assert experiment.relay.ingress.costs.auth_us > 0
    assert experiment.relay.limits.send_message == "off"
    assert experiment.relay.store_latency_us != 5_000
    assert len(relay.spaces) == 0, "its space is gone"
    assert TOKEN not in done.stdout


def test_a_relay_that_is_not_there_must_be_an_error_in_a_line() -> None:
    done = calibrate("ws://127.0.0.1:1/ws/v1", "--http-url", "http://127.0.0.1:1", "--admin-token", "t")
    assert done.returncode == 2
    assert done.stderr.startswith("ws://127.0.0.1:1/ws/v1: ")
    assert "Traceback" not in done.stderr


def measured(**changes: object) -> Measurements:
    found = {
        "ws_url": "ws://h/ws/v1",
        "tcp_us": [900] * 5,
        "tls_us": [],
        "upgrade_us": [1_500] * 5,
        "auth_us": [2_000] * 5,
        "ping_us": [400, 500, 500, 500, 900],
        "ack_us": [1_100] * 5,
        "delivery_us": [1_300] * 5,
        "burst_messages": 100,
        "burst_us": 40_000,
    }
    return Measurements(**{**found, **changes})  # type: ignore[arg-type]


def test_costs_must_be_what_is_left_beyond_a_round_trip() -> None:
    assert costs(measured()) == {"tls_us": 1_000, "auth_us": 1_500, "frame_us": 200, "store_latency_us": 400}


def test_tls_must_count_with_the_upgrade_and_nothing_be_negative() -> None:
    assert costs(measured(tls_us=[3_500] * 5))["tls_us"] == 4_000
    assert costs(measured(ack_us=[300] * 5, burst_messages=0)) == {
        "tls_us": 1_000,
        "auth_us": 1_500,
        "frame_us": 0,
        "store_latency_us": 0,
    }


def test_the_link_must_have_half_of_each_round_trip() -> None:
    quantiles = fragment(measured())["network"]["measured"]["latency"]["quantiles_ms"]
    assert (quantiles[0], quantiles[-1]) == ([0.0, 0.2], [1.0, 0.45])
    assert quantiles == sorted(quantiles)


def test_a_fragment_must_keep_the_positions_of_its_faults(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "bad.yaml").write_text("relay:\n  ingress: {worker: 2}\n")
    tree = overlaid(yaml.load(tmp_path / "base.yaml"), yaml.load(tmp_path / "bad.yaml"))
    with pytest.raises(yaml.FileFaults, match=r"bad\.yaml:2:13: unknown key `worker`"):
        read(tree)


def test_a_fragment_must_replace_what_belongs_together() -> None:
    base = yaml.parse(
        "name: x\nnetwork: {a: {latency: {dist: constant, delay: 5ms}}}\nfaults: [{at: 1s, do: reset_connections}]\n"
        "population: {networks: {a: 1, wifi: 1}}\n",
        "base",
    )
    over = yaml.parse(
        "network: {a: {latency: {dist: uniform, min: 1ms, max: 2ms}}}\nfaults: []\npopulation: {networks: {a: 1}}\n",
        "over",
    )
    found = read(overlaid(base, over))
    assert (found.faults, found.population.networks) == ((), {"a": 1})
    assert found.network["a"].latency.expected_ms == 1.5


def test_run_must_take_a_fragment_over_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.yaml").write_text(BASE + "duration: 2s\nplots: false\n")
    (tmp_path / "over.yaml").write_text("population: {networks: {lan: 1}}\nrelay: {store_latency_us: 7}\n")
    asked = ["run", str(tmp_path / "base.yaml"), "--with", str(tmp_path / "over.yaml"), "--out", str(tmp_path / "run")]
    assert errors.run(command_line, [*asked, "-S", "population.devices=3"], "zsim") == 0
    kept = load(tmp_path / "run" / "experiment.yaml")
    assert (kept.population.networks, kept.population.devices, kept.relay.store_latency_us) == ({"lan": 1}, 3, 7)
    (tmp_path / "over.yaml").write_text("populaton: {}\n")
    assert errors.run(command_line, asked, "zsim") == 2
    assert "over.yaml:1:1: unknown key `populaton`" in capsys.readouterr().err


def test_a_url_that_is_none_must_be_told_before_the_token_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MOCKRELAY_ADMIN_TOKEN", raising=False)
    assert errors.run(command_line, ["calibrate", "nourl"], "zsim") == 2
    assert "nourl: not a ws:// or wss:// URL" in capsys.readouterr().err
    assert errors.run(command_line, ["calibrate", "ws://h"], "zsim") == 2
    assert "calibrate needs somebody to be: --admin-token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--http-url", "http://h"], "--http-url: only with --live WS_URL"),
        (["--network", "real"], "--network: only with --live WS_URL"),
        (["--live", "ws://h"], "--live needs somebody to be"),
        (["--live", "http://h", "--admin-token", "t"], "not a ws:// or wss:// URL"),
        (["--live", "ws://h", "--users", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--live", "ws://127.0.0.1:1", "--admin-token", "t", "-S", "faults=[{at: 1s, do: bus_outage}]"], "bus_outage"),
    ],
)
def test_options_that_do_not_fit_must_be_refused_in_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOCKRELAY_ADMIN_TOKEN", raising=False)
    Path("base.yaml").write_text(BASE.replace("relay: {", "relay: {nodes: 2, "))
    assert errors.run(command_line, ["run", "base.yaml", *arguments], "zsim") == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()
