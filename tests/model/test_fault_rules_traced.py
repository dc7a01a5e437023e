"""Full traces of runs with fault rules: both sides of each frame that a rule touched, and checks that know of it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.model.support import mapping
from tests.model.test_fault_rules_simulated import CASES, rule
from zentalk_sim.checks.engine import run_file
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.faults.vocabulary import CORRUPTIONS
from zentalk_sim.model.tracer import open_trace
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

ALL: dict[str, list[dict[str, Any]]] = {
    **{name: faults for name, (faults, _) in CASES.items()},
    **{
        f"{kind} {of}": [rule({"type": of, "nth": 2}, "corrupt", kind=kind)]
        for kind in CORRUPTIONS
        for of in ("MESSAGE_SEND", "MESSAGE_NEW")
    },
    "delay": [rule({"type": "MESSAGE_SEND", "every": 4}, "delay", ms=700, jitter_ms=300)],
    "reorder": [rule({"type": "MESSAGE_NEW", "every": 5}, "reorder")],
    "throttle": [rule({"event": "connected", "user": "user-1"}, "throttle", bytes_per_s=4000)],
    "blackhole": [rule({"event": "frame_in", "after_ms": 5000}, "blackhole", times=1)],
    "slow close": [
        rule({"event": "connected", "after_ms": 5000}, "close", code=1001, times=1),
        rule({"event": "connected"}, "slow_close", ms=1500),
    ],
    "chance": [rule({"event": "frame_out", "probability": 0.1}, "drop")],
}


def traced(path: Path, faults: list[dict[str, Any]], extent: str = "full", **changes: Any) -> list[dict[str, Any]]:
    """The lines of a run's trace, without its header."""
    made = {"population": {"devices": 2}, "workload": {"messages": {"rate_per_device": "30/min"}}, **changes}
    experiment = from_mapping(mapping(**{"duration": "40s", **made, "faults": faults}))
    with open_trace(path, extent) as tracer:
        simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS}, tracer=tracer)
    return [json.loads(line) for line in path.read_bytes().splitlines()[1:]]


def digest_of(line: dict[str, Any]) -> str:
    return sha256(line["data"].encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", ALL)
def test_checks_must_not_blame_the_relay_for_what_a_rule_did(name: str, tmp_path: Path) -> None:
    """What a client did on a touched connection is not judged; the relay must have kept every requirement."""
    lines = traced(tmp_path / "trace.jsonl", ALL[name], fidelity="frames" if "SEND" in name else "wire")
    report = run_file(tmp_path / "trace.jsonl")
    assert [result.id for result in report.results if result.verdict == "broken"] == []
    if not any(fault.get("match", {}).get("event") == "rest" for fault in ALL[name]):
        did = [line["did"] for line in lines if line["e"] == "wire"]
        fired = [fault["action"]["do"] for fault in ALL[name] if "action" in fault and fault["action"]["do"] != "pass"]
        assert set(did) == set(fired)


@pytest.mark.parametrize("fidelity", ["frames", "wire"])
def test_each_side_of_a_frame_must_be_kept(fidelity: str, tmp_path: Path) -> None:
    faults = [
        rule({"type": "MESSAGE_ACK", "nth": 2}, "drop"),
        rule({"type": "MESSAGE_ACK", "nth": 4}, "replace", frame="this is no JSON"),
        rule({"type": "MESSAGE_ACK", "nth": 6}, "duplicate"),
        rule({"type": "MESSAGE_SEND", "nth": 5}, "corrupt", kind="bad_utf8"),
        rule({"type": "MESSAGE_SEND", "nth": 8}, "drop"),
        rule({"type": "MESSAGE_NEW", "nth": 3}, "delay", ms=200),
    ]
    lines = traced(tmp_path / "trace.jsonl", faults, fidelity=fidelity)
    said = {digest_of(line) for line in lines if line["e"] == "send"}
    heard = {line["data"] for line in lines if line["e"] == "text"}
    found = {(line["dir"], line["did"], line["rule"]): line for line in lines if line["e"] == "wire"}
    lost, replaced, twice = (found["out", do, f"test {do}"] for do in ("drop", "replace", "duplicate"))
    assert lost["of"] in said
    assert "data" not in lost
    assert replaced["of"] in said
    assert replaced["data"] == "this is no JSON"
    assert "of" not in twice
    assert digest_of(twice) in said
    spoilt, unheard = found["in", "corrupt", "test corrupt"], found["in", "drop", "test drop"]
    assert any(line["e"] == "bad_text" for line in lines)
    assert spoilt["data"] not in heard
    assert "of" not in unheard
    assert unheard["data"] not in heard
    assert json.loads(unheard["data"])["id"] in {json.loads(text)["id"] for text in heard}, "sent again, with a new seq"
    late = found["out", "delay", "test delay"]
    assert late["of"] == digest_of(late)
    assert late["of"] in said


def test_of_several_nodes_each_must_be_known_whose_frame_it_was(tmp_path: Path) -> None:
    faults = [rule({"type": "MESSAGE_ACK", "every": 3}, "drop")]
    lines = traced(tmp_path / "trace.jsonl", faults, relay={"nodes": 2}, population={"devices": 4})
    conns: dict[int, str] = {}
    node = ""
    for line in lines:
        node = line["node"] if line["e"] == "turn" else node
        if line["e"] == "upgrade":
            conns[line["c"]] = node
        elif line["e"] == "wire":
            assert conns[line["c"]] == node
    assert set(conns.values()) == {"relay-0", "relay-1"}
    assert run_file(tmp_path / "trace.jsonl").held


def test_a_sample_must_say_which_rule_fired(tmp_path: Path) -> None:
    lines = traced(tmp_path / "trace.jsonl", [rule({"type": "PING", "user": "user-0"}, "duplicate")], "sample")
    fired = [line for line in lines if line["e"] == "rule"]
    assert fired
    assert {(line["rule"], line["did"]) for line in fired} == {("test duplicate", "duplicate")}
