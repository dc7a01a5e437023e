"""An experiment's fault rules in real time: given to the relay's space, fired there as in simulated time, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.jump_loop import jumping
from tests.live.relay_thread import TOKEN
from tests.live.test_live_run import EXPERIMENT
from zentalk_sim.experiment import run as simulate
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.live.faults import refusals
from zentalk_sim.live.run import Refused, Target, run_live
from zentalk_sim.report.run import load

RULES: list[dict[str, Any]] = [
    {"match": {"type": "MESSAGE_ACK", "nth": 3}, "action": {"do": "drop"}, "comment": "third ACK lost"},
    {"match": {"event": "upgrade", "user": "user-1"}, "action": {"do": "refuse", "status": 503}, "times": 2},
    {"match": {"type": "MESSAGE_NEW", "device": "device-0", "nth": 1}, "action": {"do": "duplicate"}},
    {
        "match": {"event": "connected", "user": "user-2", "after_ms": 60000},
        "action": {"do": "abort"},
        "comment": "never",
    },
]
RULED = {**EXPERIMENT, "faults": RULES}
COUNTS = ("faults.fired.drop", "faults.fired.refuse", "faults.fired.duplicate", "faults.fired.abort")


def test_rules_must_fire_on_a_live_relay_as_in_simulated_time(tmp_path: Path) -> None:
    with jumping("alice") as (relay, on_loop):
        target = Target(ws_url=relay.ws_url, http_url=relay.http_url, admin_token=TOKEN)
        run_live(from_mapping(RULED), target, out=tmp_path / "run", plots=False, progress=False, on_loop=on_loop)
    live, simulated = load(tmp_path / "run"), simulate(RULED)
    mine, theirs = live.summary["counts"], simulated.summary["counts"]
    assert {name: mine[name] for name in COUNTS} == dict(zip(COUNTS, (1, 2, 1, 0), strict=True))
    assert {name: theirs[name] for name in COUNTS} == {name: mine[name] for name in COUNTS}
    # Live, what was pushed while it was being fetched comes twice, too.
    assert mine["messages.duplicate"] >= theirs["messages.duplicate"] == 1
    assert mine["connections.attempted"] == theirs["connections.attempted"] == 8
    refused = [row for row in live.connections.to_dict("records") if row["cause"] == "refused with 503"]
    assert len(refused) == 2
    assert (
        "Fault rules that never fired: never."
        in json.loads((tmp_path / "run" / "results.json").read_text())["assumptions"]
    )
    page = (tmp_path / "run" / "report.html").read_text()
    assert "in real time" in page
    assert "simulated" not in page.partition("<h2")[0]
    assert "of simulated time" not in page
    lines = [json.loads(line) for line in (tmp_path / "run" / "recording.jsonl").read_text().splitlines()]
    wire = [(line["rule"], line["did"]) for line in lines if line.get("e") == "wire"]
    assert ("third ACK lost", "drop") in wire


def test_without_the_control_api_rules_must_be_refused_before_anything_starts(tmp_path: Path) -> None:
    experiment = from_mapping(RULED)
    assert len(refusals(experiment, has_control=False)) == len(RULES)
    assert refusals(experiment, has_control=True) == []
    target = Target(ws_url="ws://127.0.0.1:9", http_url="http://127.0.0.1:9")
    with pytest.raises(Refused, match=r"faults\.0: a rule needs the relay's control API \(--admin-token\)"):
        run_live(experiment, target, out=tmp_path / "run", plots=False, progress=False)
    assert not (tmp_path / "run").exists()
