"""Faults: what each does to connections and messages, that they overlap without harm, and that ledgers balance."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.model.support import Outcome, run, run_for, world
from zentalk_sim.model.world import START_US
from zentalk_sim.protocol.client_state import ClientState

S = 1_000_000
FAULTS: dict[str, list[dict[str, Any]]] = {
    "crash and return": [{"at": "30s", "do": "crash_node", "node": 0, "for": "10s"}],
    "crash for good": [{"at": "30s", "do": "crash_node", "node": 0}],
    "all nodes crash": [{"at": "30s", "do": "crash_node", "nodes": 2, "for": "3s"}],
    "restart": [{"at": "30s", "do": "restart_node", "node": 1}],
    "stop": [{"at": "30s", "do": "stop_node", "node": 1, "for": "20s"}],
    "stop for good": [{"at": "30s", "do": "stop_node", "node": 0}],
    "partition": [{"at": "30s", "do": "partition", "fraction": 1.0, "for": "15s"}],
    "long partition": [{"at": "30s", "do": "partition", "devices": 3, "for": "3m"}],
    "partition up": [{"at": "30s", "do": "partition", "network": "lan", "direction": "up", "for": "50s"}],
    "partition down": [{"at": "30s", "do": "partition", "fraction": 0.5, "direction": "down", "for": "50s"}],
    "partition for good": [{"at": "30s", "do": "partition", "devices": 2}],
    "resets": [{"at": "30s", "do": "reset_connections", "fraction": 0.7}],
    "at time zero": [
        {"at": "0s", "do": "crash_node", "node": 0, "for": "5s"},
        {"at": "0s", "do": "partition", "devices": 2, "for": "5s"},
        {"at": "0s", "do": "reset_connections"},
    ],
    "overlapping partitions": [
        {"at": "10s", "do": "partition", "fraction": 1.0, "for": "40s"},
        {"at": "30s", "do": "partition", "devices": 3, "direction": "up", "for": "40s"},
        {"at": "35s", "do": "partition", "devices": 4, "direction": "down", "for": "5s"},
    ],
    "overlapping crashes": [
        {"at": "30s", "do": "crash_node", "node": 0, "for": "30s"},
        {"at": "40s", "do": "crash_node", "node": 0, "for": "5s"},
        {"at": "58s", "do": "stop_node", "node": 0, "for": "3s"},
        {"at": "61s", "do": "restart_node", "node": 0},
        {"at": "62s", "do": "crash_node", "nodes": 1, "for": "2s"},
    ],
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("network", ["lan", "3g"])
def test_ledgers_must_balance_under_every_fault(name: str, network: str) -> None:
    """`run` holds the ledgers; here also that the tables agree with the counts."""
    faults = [{**fault, **({"network": network} if "network" in fault else {})} for fault in FAULTS[name]]
    population = {"devices": 8, "devices_per_user": 2, "networks": {network: 1}}
    outcome = run(duration="4m", population=population, relay={"nodes": 2}, faults=faults)
    counts = outcome.counts
    shown = [row for row in outcome.messages if row["shown_us"] is not None]
    assert len(shown) == counts["messages.shown"]
    assert len({row["message_id"] for row in outcome.messages}) == counts["messages.sent"]
    assert len(outcome.connections) == counts["connections.attempted"]
    closed = [row for row in outcome.connections if row["close_code"] is not None]
    assert len(closed) == sum(count for name, count in counts.items() if name.startswith("connections.closed."))
    assert len(outcome.results.faults) == len(faults)
    for row in outcome.connections:
        instants = [row[f"{stage}_us"] for stage in ("start", "tcp", "tls", "upgraded", "auth", "end")]
        known = [instant for instant in instants if instant is not None]
        assert known == sorted(known)
    for row in shown:
        assert row["sent_us"] < row["shown_us"]


def connected_at_end(outcome: Outcome) -> int:
    return sum(row["auth_us"] is not None and row["end_us"] is None for row in outcome.connections)


@pytest.mark.requirement("R-11.2")
def test_after_a_crash_all_must_reconnect_within_the_backoffs_bounds() -> None:
    crash = [{"at": "30s", "do": "crash_node", "node": 0, "for": "5s"}]
    outcome = run(population={"devices": 20}, duration="5m", faults=crash)
    assert connected_at_end(outcome) == 20
    assert outcome.counts["connections.closed.1006"] == 20
    by_device: dict[str, list[dict[str, Any]]] = {}
    for row in outcome.connections:
        by_device.setdefault(row["device"], []).append(row)
    for rows in by_device.values():
        rows.sort(key=lambda row: row["attempt"])
        assert [row["attempt"] for row in rows] == list(range(1, len(rows) + 1))
        failures = 0
        for before, after in pairwise(rows):
            assert before["end_us"] is not None
            failures = 0 if before["auth_us"] is not None else failures + 1
            wait_us = after["start_us"] - before["end_us"]
            least_us = min(30 * S, S << failures)
            assert least_us <= wait_us <= least_us * 1.1 + 1


def test_a_crash_is_silent_until_the_host_answers_again() -> None:
    crash = [{"at": "30s", "do": "crash_node", "node": 0, "for": "10s"}]
    outcome = run(duration="4m", faults=crash, workload={"messages": {"rate_per_device": "60/min"}})
    ended = [row["end_us"] - START_US for row in outcome.connections if row["close_code"] == 1006]
    assert ended
    assert min(ended) > 40 * S


@pytest.mark.requirement("R-8.3")
def test_a_device_with_nothing_to_say_notices_a_dead_node_by_its_silence() -> None:
    crash = [{"at": "70s", "do": "crash_node", "node": 0}]
    outcome = run(duration="5m", faults=crash, workload={"messages": {"rate_per_device": "0/min"}})
    ended = [row["end_us"] - row["auth_us"] for row in outcome.connections if row["auth_us"] is not None]
    # The last sign of life was the PING 60 s after AUTH_SUCCESS.
    assert all(180 * S - 50_000 <= after <= 180 * S + 50_000 for after in ended)


@pytest.mark.requirement("R-12.1")
def test_an_orderly_stop_closes_with_1001_and_the_others_take_over() -> None:
    stop = [{"at": "30s", "do": "stop_node", "node": 0}]
    outcome = run(relay={"nodes": 2}, population={"devices": 8}, faults=stop)
    codes = {row["close_code"] for row in outcome.connections if row["close_code"] is not None}
    assert codes == {1001}
    assert connected_at_end(outcome) == 8
    assert {row["node"] for row in outcome.connections if row["end_us"] is None} == {"relay-1"}
    assert outcome.counts["messages.failed"] == 0


def test_a_refused_connection_fails_at_once_and_a_silent_one_by_the_clients_time_out() -> None:
    refused = run(faults=[{"at": "0s", "do": "stop_node", "node": 0}], duration="60s")
    assert {row["cause"] for row in refused.connections if row["end_us"] is not None} == {"no connection"}
    silent = run(faults=[{"at": "0s", "do": "crash_node", "node": 0}], duration="60s")
    first = [row for row in silent.connections if row["attempt"] == 1]
    early = [row for row in first if row["start_us"] - START_US < S]
    assert early
    # The balancer notices after 10 s: a SYN sent again by then is refused, before the client's 10 s are over or not.
    assert all(7 * S <= row["end_us"] - row["start_us"] <= 10 * S for row in early)


def test_messages_wait_out_a_partition_and_then_all_arrive() -> None:
    cut = [{"at": "30s", "do": "partition", "fraction": 1.0, "for": "15s"}]
    outcome = run(duration="3m", faults=cut)
    assert outcome.counts["messages.failed"] == 0
    held = [row for row in outcome.messages if 30 * S < row["sent_us"] - START_US < 45 * S]
    assert held
    assert all(row["shown_us"] is not None and row["shown_us"] - START_US > 45 * S for row in held)
    assert outcome.counts["connections.closed.1006"] == 0


def test_of_two_overlapping_partitions_the_first_to_end_must_not_heal_the_second() -> None:
    made = world(
        population={"devices": 2},
        faults=[
            {"at": "10s", "do": "partition", "fraction": 1.0, "for": "20s"},
            {"at": "20s", "do": "partition", "fraction": 1.0, "for": "40s"},
        ],
    )
    run_for(made, 35)
    assert all(device.path.blocked for device in made.devices)
    run_for(made, 30)
    assert not any(device.path.blocked for device in made.devices)


def test_a_node_stays_down_until_the_last_fault_that_holds_it_has_ended() -> None:
    made = world(
        relay={"restart_time": "2s"},
        faults=[
            {"at": "10s", "do": "crash_node", "node": 0, "for": "10s"},
            {"at": "21s", "do": "crash_node", "node": 0, "for": "1s"},
        ],
    )
    (node,) = made.nodes
    states = []
    for _ in range(30):
        run_for(made, 1)
        states.append(node.state)
    assert states[8] == "up"
    assert set(states[10:18]) == {"dead"}
    # Back at 20 s and starting; dead again at 21 s, starting at 22 s: up at 24 s and not at the first start's 22 s.
    assert states[22] == "refusing"
    assert states[24] == "up"


def test_survivors_learn_of_a_dead_node_and_free_its_connections() -> None:
    made = world(relay={"nodes": 2}, faults=[{"at": "30s", "do": "crash_node", "node": 0}])
    run_for(made, 35)
    assert list(made.store.connections_of_node("relay-0"))
    run_for(made, 10)
    assert not list(made.store.connections_of_node("relay-0"))


def test_a_restarted_node_frees_what_its_dead_instance_left() -> None:
    made = world(
        faults=[{"at": "30s", "do": "restart_node", "node": 0}], workload={"messages": {"rate_per_device": "0/min"}}
    )
    run_for(made, 33)
    assert not list(made.store.connections_of_node("relay-0"))
    assert not made.store.ip_connections


def test_a_partition_from_the_start_keeps_devices_out_until_it_heals() -> None:
    outcome = run(faults=[{"at": "0s", "do": "partition", "fraction": 1.0, "for": "30s"}])
    authenticated = [row["auth_us"] - START_US for row in outcome.connections if row["auth_us"] is not None]
    assert len(authenticated) == 6
    assert min(authenticated) > 30 * S


def test_resets_are_seen_by_both_ends_at_once() -> None:
    made = world(faults=[{"at": "30s", "do": "reset_connections"}])
    run_for(made, 29.999)
    assert len(made.nodes[0].sockets) == 6
    run_for(made, 0.002)
    assert len(made.nodes[0].sockets) == 0
    assert all(device.client.state is ClientState.FAILED for device in made.devices)
