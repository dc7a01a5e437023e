"""A recording of a relay under fault rules: it replays exactly, and keeps the core's bytes and the wire's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx

from tests.mockrelay.fault_support import rule, space_of, written
from tests.mockrelay.live_support import PATIENCE_S, connected, run, serving, user_of
from zentalk_sim.checks.engine import Engine
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.replay import replay_file

SENT = {"event": "frame_in", "type": "MESSAGE_SEND"}
ACKED = {"event": "frame_out", "type": "MESSAGE_ACK"}
PROBE = {"type": "PROBE"}


def wire_lines(path: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if line.get("e") == "wire"]


def test_a_recording_with_every_change_must_replay_and_keep_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"

    async def body() -> None:
        async with serving("alice", "bob", record=str(path), settings={"limits": {"send_message": "off"}}) as relay:
            bob = user_of(relay, "bob")
            async with connected(relay, "alice") as alice:
                actions: list[tuple[dict[str, str], str, dict[str, Any]]] = [
                    (SENT, "drop", {}),
                    (SENT, "corrupt", {"kind": "bad_json"}),
                    (SENT, "duplicate", {}),
                    (SENT, "replace", {"frame": PROBE}),
                    (SENT, "inject", {"frame": PROBE}),
                    (SENT, "error", {"error_code": "INTERNAL_ERROR"}),
                    (ACKED, "drop", {}),
                    (ACKED, "corrupt", {"kind": "bit_flip"}),
                    (ACKED, "duplicate", {}),
                    (ACKED, "replace", {"frame": PROBE}),
                    (ACKED, "inject", {"frame": PROBE}),
                ]
                for match, do, parameters in actions:
                    rule(relay, match, do, times=1, **parameters)
                for _ in range(len(actions) + 1):
                    await alice.message(bob)
                await written(relay, len(actions) + 1, **SENT)
                rule(relay, SENT, "close", code=4321)
                await alice.message(bob)
                await alice.ws.wait_closed()

    run(body())
    result = replay_file(path)
    assert result.first_difference is None, result
    lines = wire_lines(path)
    said = [(line["dir"], line["did"], "of" in line, "data" in line or "data64" in line) for line in lines]
    assert sorted(said) == sorted(
        [
            # direction, action, the core knows of the frame, it was on the wire
            ("in", "drop", False, True),
            ("in", "corrupt", True, True),
            ("in", "duplicate", True, False),
            ("in", "replace", True, True),
            ("in", "inject", True, False),
            ("in", "error", False, True),
            ("in", "close", False, True),
            ("out", "drop", True, False),
            ("out", "corrupt", True, True),
            ("out", "duplicate", False, True),
            ("out", "replace", True, True),
            ("out", "inject", False, True),
        ]
    )
    assert {line["rule"] for line in lines} == {f"test {line['did']}" for line in lines}


def test_delays_and_errors_must_not_keep_a_recording_from_replaying(tmp_path: Path) -> None:
    path = tmp_path / "delays.jsonl"

    async def body() -> None:
        async with serving("alice", "bob", record=str(path)) as relay:
            rule(relay, SENT, "delay", ms=5, jitter_ms=10)
            rule(relay, ACKED, "delay", ms=5, jitter_ms=10)
            async with connected(relay, "alice") as alice, connected(relay, "bob") as bob:
                sent = [await alice.message(bob.user) for _ in range(5)]
                assert [(await bob.until("MESSAGE_NEW"))["id"] for _ in sent] == sent
                assert [(await alice.until("MESSAGE_ACK"))["payload"]["message_id"] for _ in sent] == sent

    run(body())
    assert replay_file(path).first_difference is None
    lines = wire_lines(path)
    assert [(line["dir"], line["did"]) for line in lines].count(("in", "delay")) == 5
    assert [(line["dir"], line["did"]) for line in lines].count(("out", "delay")) == 5
    for line in lines:
        digest = hashlib.sha256(line["data"].encode()).hexdigest()[:16]
        assert line["of"] == digest, "late, but the same on both sides"


def test_a_rule_at_a_rest_call_must_be_told_of_its_devices_connection_and_of_no_other(tmp_path: Path) -> None:
    """The client's checks pass such a connection over: it heard what the core never said."""
    path = tmp_path / "rest.jsonl"
    conns: dict[bool, int] = {}

    async def body() -> None:
        async with serving("alice", "bob", record=str(path)) as relay:
            rule(relay, {"event": "rest", "path": "/api/messages"}, "refuse", times=1, status=503)
            alice = user_of(relay, "alice")
            client = httpx.AsyncClient(base_url=relay.http_url, trust_env=False, timeout=PATIENCE_S)
            async with connected(relay, "bob"), connected(relay, "alice"), client:
                gates = space_of(relay).faults.gates
                conns.update({gate.party.device == alice.device_id: conn for conn, gate in gates.items()})
                bearer = {"Authorization": f"Bearer {alice.token}"}
                asked = [await client.get("/api/messages", headers=bearer) for _ in range(2)]
                assert [answer.status_code for answer in asked] == [503, 200]

    run(body())
    assert replay_file(path).first_difference is None
    (told,) = wire_lines(path)
    assert {name: told[name] for name in ("c", "dir", "rule", "did")} == {
        "c": conns[True],
        "dir": "in",
        "rule": "test refuse",
        "did": "refuse",
    }
    assert not {"of", "data", "data64"} & set(told)
    world = Engine().world
    faulted = set()
    for event in read_events(path):
        world.prepare(event)
        world.settle(event)
        faulted |= {conn for conn in conns.values() if conn in world.conns and world.conns[conn].faulted}
    assert faulted == {conns[True]}
