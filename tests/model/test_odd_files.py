"""Odd files: each has an answer, or is refused with a sentence that names the place; none hangs."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest

from tests.model.support import Outcome, run
from zentalk_sim.experiment import loader
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.model.workload import ciphertext
from zentalk_sim.model.world import START_US

S = 1_000_000
EVERYBODY = {"fraction": 1.0}


def at_s(us: int) -> float:
    return (us - START_US) / S


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("population: {devices: 0}", "`population.devices` must be at least 1, and is 0"),
        ("population: {users: 0}", "`population.users` must be a whole number of at least 1, not `0`"),
        ("duration: 1m\nwarm_up: 1m", "`warm_up` must be shorter than the duration, 1m"),
        ("duration: 30s\nwarm_up: 1m", "`warm_up` must be shorter than the duration, 30s"),
        ("duration: 0s", "`duration` must be at least 1us, and is 0s"),
        ("duration: 1m\nfaults: [{at: 1m, do: reset_connections}]", "`faults.0.at` must be before the end, 1m"),
        ("faults: [{at: -1s, do: reset_connections}]", "`faults.0.at`"),
        ("faults: [{at: 1s, do: partition, devices: 0}]", "`faults.0.devices` must be at least 1, and is 0"),
        ("faults: [{at: 1s, do: partition, fraction: 0}]", "`faults.0.fraction` must be greater than 0, and is 0"),
        ("faults: [{at: 1s, do: partition, fraction: 0.5, for: 0}]", "`faults.0.for` must be at least 1us"),
        ("population: {networks: {}}", "`population.networks` needs a weight greater than 0"),
        ("measure: {interval: 0}", "`measure.interval` must be at least 1us"),
        ("relay: {nodes: 1000000}", "`relay.nodes` must be at most 1024, and is 1000000"),
        (
            "relay: {ingress: {workers: 1000000000}}",
            "`relay.ingress.workers` must be at most 1024, and is 1000000000",
        ),
        (
            "thresholds: {rtt_ms: ['p99 < 1.2.3']}",
            "odd.yaml:2:23: `thresholds.rtt_ms`: `1.2.3` is no duration; write a number and a unit",
        ),
    ],
)
def test_what_has_no_answer_is_refused_at_its_place(text: str, fault: str) -> None:
    with pytest.raises(FileFaults) as caught:
        loader.from_text(f"name: odd\n{text}\n", "odd.yaml")
    assert len(caught.value.faults) == 1
    told = str(caught.value.faults[0])
    assert told.startswith("odd.yaml:")
    assert fault in told


def test_a_single_device_connects_and_has_nobody_to_write_to() -> None:
    outcome = run(population={"devices": 1})
    assert outcome.counts["connections.authenticated"] == 1
    assert outcome.counts["messages.sent"] == 0
    assert outcome.results.metrics["delivery_latency_ms"].count == 0


def test_a_single_device_under_every_fault_of_devices_at_once() -> None:
    faults = [
        {"at": "0s", "do": "partition", **EVERYBODY, "for": "20s"},
        {"at": "0s", "do": "device_offline", **EVERYBODY, "for": "30s"},
        {"at": "0s", "do": "handover", **EVERYBODY, "to": "wifi"},
        {"at": "0s", "do": "reset_connections"},
    ]
    outcome = run(population={"devices": 1}, faults=faults)
    assert outcome.counts["connections.authenticated"] == 1
    # The handover at once is to a path that no partition cut, but the device is off until its sleep ends.
    assert min(at_s(row["auth_us"]) for row in outcome.connections if row["auth_us"]) >= 30


@pytest.mark.parametrize(
    ("fault", "back_s"),
    [
        ({"do": "crash_node", "node": 0, "for": "10s"}, 12),
        ({"do": "crash_node", "node": 0, "for": "10s", "host": "alive"}, 12),
        ({"do": "stop_node", "node": 0, "for": "10s"}, 12),
        ({"do": "restart_node", "node": 0}, 2),
        ({"do": "rolling_deploy", "down": "10s"}, 12),
        ({"do": "store_outage", "for": "10s"}, 10),
        ({"do": "slow_store", "latency": "1s", "for": "10s"}, 1),
        ({"do": "slow_node", "node": 0, "factor": 100, "for": "10s"}, 0),
        ({"do": "partition", **EVERYBODY, "for": "10s"}, 10),
        ({"do": "device_offline", **EVERYBODY, "for": "10s"}, 10),
        ({"do": "handover", **EVERYBODY, "to": "wifi"}, 0),
        ({"do": "reset_connections"}, 0),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else "",
)
def test_a_fault_at_time_zero_strikes_before_the_first_connection_and_is_got_over(
    fault: dict[str, Any], back_s: float
) -> None:
    outcome = run(faults=[{"at": "0s", **fault}], workload={"start": {"ramp": "0s"}})
    first = {}
    for row in outcome.connections:
        if row["auth_us"] is not None:
            first.setdefault(row["device"], at_s(row["auth_us"]))
    assert len(first) == 6
    assert min(first.values()) >= back_s
    assert outcome.counts["messages.failed"] == 0


def connected(outcome: Outcome) -> list[float]:
    return [row["value"] for row in outcome.timeseries if row["metric"] == "devices.connected"]


def test_overlapping_partitions_hold_until_the_last_has_ended() -> None:
    faults = [
        {"at": "20s", "do": "partition", **EVERYBODY, "for": "10s", "direction": "up"},
        {"at": "25s", "do": "partition", **EVERYBODY, "for": "30s", "direction": "down"},
        {"at": "25s", "do": "partition", "devices": 3, "for": "40s"},
        {"at": "25s", "do": "partition", "network": "lan", "for": "5s"},
    ]
    outcome = run(faults=faults, duration="4m")
    during = [row for row in outcome.messages if row["shown_us"] and 26 < at_s(row["shown_us"]) < 54.9]
    assert during == [], "nothing reaches any device while the way down is cut"
    assert all(row["shown_us"] is not None for row in outcome.messages if at_s(row["sent_us"]) < 180)
    assert connected(outcome)[-1] == 6


def test_the_same_fault_twice_is_as_good_as_once() -> None:
    fault = {"at": "20s", "do": "partition", **EVERYBODY, "for": "30s"}
    once, twice = run(faults=[fault], duration="3m"), run(faults=[fault, fault], duration="3m")
    assert once.results.digest == twice.results.digest


def test_a_run_shorter_than_its_ramp_ends_with_devices_that_never_began() -> None:
    outcome = run(duration="2s", workload={"start": {"ramp": "1h"}})
    assert outcome.counts["connections.attempted"] == 0
    assert connected(outcome)[-1] == 0


def test_a_run_of_a_microsecond_has_an_answer() -> None:
    outcome = run(duration="1us")
    assert outcome.results.simulated_us == 1
    assert outcome.counts["messages.sent"] == 0


def test_faults_without_an_end_leave_a_world_that_ends_all_the_same() -> None:
    faults = [
        {"at": "10s", "do": "crash_node", "node": 0},
        {"at": "20s", "do": "partition", **EVERYBODY},
        {"at": "30s", "do": "device_offline", **EVERYBODY},
        {"at": "40s", "do": "store_outage"},
    ]
    outcome = run(faults=faults, duration="10m")
    assert connected(outcome)[-1] == 0


def test_the_largest_cluster_that_is_taken_runs() -> None:
    outcome = run(relay={"nodes": 1024, "ingress": {"workers": 1024}}, duration="15s", measure={"interval": "15s"})
    assert outcome.counts["connections.authenticated"] == 6


def test_bodies_are_shared_by_size_and_few_long_ones_are_kept() -> None:
    assert ciphertext(256) is ciphertext(256)
    assert ciphertext(1 << 20) is ciphertext(1 << 20), "a constant size is one object, however many messages"
    gc.collect()
    tracemalloc.start()
    for size in range(1 << 20, (1 << 20) + 64):
        assert len(ciphertext(size)) == size
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 << 20, "of 64 sizes of a mebibyte one is kept"
