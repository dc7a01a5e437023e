"""Settings that take each other's effect away are told as notes, and no file of the library has any."""

from __future__ import annotations

from pathlib import Path

import pytest

from zentalk_sim.cli import zsim as command_line
from zentalk_sim.experiment import loader
from zentalk_sim.experiment.doubts import doubts
from zentalk_sim.experiment.runner import assumptions

LIBRARY = Path(__file__).parents[2] / "experiments"


def told(text: str) -> list[str]:
    return doubts(loader.from_text(f"name: x\n{text}\n", "f.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "relay: {token: {lifetime: 10s, refresh_window: 2h}}",
            "`relay.token`: its `lifetime`, 10s, is shorter than its `refresh_window`, 2h",
        ),
        (
            "relay: {limits: {send_message: {limit: 5, burst: 500}}}",
            "a `burst` of 500 is never reached, since no more than 5 are admitted in 1m",
        ),
        (
            "population: {devices_per_user: 6}",
            "a user with 6 devices has 1 that cannot connect beside the others (4004)",
        ),
        ("population: {devices_per_user: [1, 0, 0, 0, 0, 0, 2]}", "a user with 7 devices has 2 that cannot connect"),
        ("relay: {frames: {max: 600B}}", "reaches 256B, and the relay closes a connection that brings a frame"),
        ("relay: {frames: {max_text_payload: 400B}}", "the relay refuses text frames with a payload above"),
        ("relay: {frames: {max_text_payload: 200B}}", "not even AUTH_RESPONSE fits"),
    ],
)
def test_what_may_be_meant_and_seldom_is_must_be_a_note(text: str, words: str) -> None:
    (found,) = told(text)
    assert words in found
    assert found in assumptions(loader.from_text(f"name: x\n{text}\n", "f.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        # The burst stays as specified, and the file says nothing of it.
        "relay: {limits: {send_message: {limit: 5}}}",
        "relay: {limits: {send_message: {limit: 500, burst: 500}, connections_per_user: off}}",
        "population: {devices_per_user: 5}",
        "population: {devices: 4, devices_per_user: 6}",
        "population: {devices_per_user: [1, 2, 0, 0, 0, 0]}",
        "relay: {limits: {connections_per_user: off}}\npopulation: {devices_per_user: 9}",
        "relay: {token: {lifetime: 2h}}",
        "relay: {frames: {max: 1000B, max_text_payload: 700B}}",
        "relay: {frames: {max: 600B}}\nworkload: {messages: {rate_per_device: 0/min}}",
        "workload: {messages: {size: 500KiB}}",
    ],
)
def test_what_is_plainly_meant_must_be_left_alone(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_experiment_of_the_library_may_have_a_doubt(path: Path) -> None:
    assert doubts(loader.load(path, set_aside=[])) == []


def test_the_commands_must_tell_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = "name: x\nduration: 2s\nplots: false\npopulation: {devices: 6, devices_per_user: 6}\n"
    (tmp_path / "x.yaml").write_text(small)
    command_line.main(["validate", "x.yaml"], standalone_mode=False)
    validated = capsys.readouterr().out
    command_line.main(["run", "x.yaml", "--out", "out"], standalone_mode=False)
    for text in (validated, capsys.readouterr().err):
        assert "note: `population.devices_per_user`: a user with 6 devices has 1 that cannot connect" in text


def test_limits_must_be_described_as_the_rulings_have_them() -> None:
    """R-3.2: the connection rate is a device's. R-4.4: every AUTH_RESPONSE of an IP counts."""
    from zentalk_sim.experiment.descriptions import _TABLE

    assert "per device" in _TABLE["Limits.connection_rate"]
    assert "IP address" in _TABLE["Limits.auth_attempts"]
    assert "Failed" not in _TABLE["Limits.auth_attempts"]
