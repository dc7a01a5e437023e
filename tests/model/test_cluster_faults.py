"""Faults of the cluster: a deploy in turns, a slow node, a bus that is away."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.support import run, run_for, world
from zentalk_sim.model.world import START_US

S = 1_000_000


def at_s(us: int) -> float:
    return (us - START_US) / S


@pytest.mark.requirement("R-12.1")
def test_a_deploy_takes_the_nodes_in_turn_and_never_two_at_once() -> None:
    deploy = [{"at": "30s", "do": "rolling_deploy", "down": "5s", "gap": "20s"}]
    made = world(relay={"nodes": 3, "restart_time": "2s"}, population={"devices": 9}, faults=deploy, duration="3m")
    down = {}
    for second in range(160):
        run_for(made, 1)
        down[second + 1] = [node.index for node in made.nodes if not node.up]
    # 5 s down and 2 s starting, then 20 s until the next.
    for second in (31, 36):
        assert down[second] == [0]
    assert down[38] == []
    assert down[56] == []
    for second in (58, 63):
        assert down[second] == [1]
    for second in (85, 90):
        assert down[second] == [2]
    assert all(len(nodes) <= 1 for nodes in down.values())
    assert down[160] == []
    assert made.recorder.counts.get("connections.closed.1006", 0) == 0
    assert made.recorder.counts["connections.closed.1001"] >= 9
    assert made.faults.spans[0].end_us == START_US + 30 * S + 3 * 7 * S + 2 * 20 * S


def test_a_node_that_crashed_during_the_deploy_stays_down_until_its_own_fault_ends() -> None:
    faults = [
        {"at": "30s", "do": "rolling_deploy", "down": "5s", "gap": "5s"},
        {"at": "31s", "do": "crash_node", "node": 0, "for": "30s"},
    ]
    made = world(relay={"nodes": 2}, faults=faults, duration="3m")
    run_for(made, 45)
    assert [node.up for node in made.nodes] == [False, False], "the deploy went on to the second"
    run_for(made, 10)
    assert [node.up for node in made.nodes] == [False, True]
    run_for(made, 10)
    assert [node.up for node in made.nodes] == [True, True]


def test_a_slow_node_takes_longer_and_then_has_its_speed_back() -> None:
    slow = [{"at": "30s", "do": "slow_node", "node": 0, "factor": 1000, "for": "30s"}]
    work = {"messages": {"rate_per_device": "20/min"}}
    outcome = run(faults=slow, workload=work, relay={"ingress": {"workers": 1}})
    spans = {"before": [], "during": [], "after": []}
    for row in outcome.messages:
        at = at_s(row["sent_us"])
        phase = "before" if at < 30 else "during" if 31 < at < 58 else "after" if at > 65 else None
        if phase and row["acked_us"] is not None:
            spans[phase].append(row["acked_us"] - row["sent_us"])
    assert max(spans["before"]) < 10_000
    assert min(spans["during"]) >= 35_000, "35 µs a frame, a thousand times"
    assert max(spans["after"]) < 10_000


def test_slow_downs_multiply_and_end_each_on_its_own() -> None:
    faults = [
        {"at": "10s", "do": "slow_node", "node": 0, "factor": 10, "for": "30s"},
        {"at": "20s", "do": "slow_node", "node": 0, "factor": 3, "for": "40s"},
    ]
    made = world(faults=faults)
    costs = []
    for _ in range(7):
        run_for(made, 10)
        costs.append(made.nodes[0].costs.frame_us)
    # What happens at the end of a step belongs to the next.
    assert costs == [35, 350, 1050, 1050, 105, 105, 35]


@pytest.mark.requirement("R-12.5")
def test_what_a_bus_outage_loses_is_delivered_at_the_next_look_and_never_later() -> None:
    outage = [{"at": "40s", "do": "bus_outage", "for": "60s"}]
    population = {"devices": 12}
    outcome = run(duration="4m", relay={"nodes": 3}, population=population, faults=outage)
    during = [row for row in outcome.messages if 40 < at_s(row["sent_us"]) < 100]
    delays = [row["shown_us"] - row["sent_us"] for row in during]
    assert max(delays) > 5 * S, "some waited for the look"
    assert max(delays) <= 30 * S + 100_000
    after = [row["shown_us"] - row["sent_us"] for row in outcome.messages if 101 < at_s(row["sent_us"]) < 230]
    assert max(after) < 1 * S
    assert outcome.counts["bus.lost"] > 0
    assert outcome.counts["messages.failed"] == 0


def test_a_bus_that_loses_a_share_loses_about_that_share() -> None:
    outcome = run(relay={"nodes": 3, "bus_loss": 0.3}, population={"devices": 20})
    share = outcome.counts["bus.lost"] / outcome.counts["bus.sent"]
    assert outcome.counts["bus.sent"] > 300
    assert 0.2 < share < 0.4


def test_presence_told_to_many_keeps_the_cpu_busy() -> None:
    def busy_share(fan_out: str) -> float:
        work: dict[str, Any] = {
            "messages": {"rate_per_device": 0},
            "presence": {"subscribe": "contacts", "set_every": "70s"},
        }
        outcome = run(
            population={"devices": 15, "contacts": 14},
            workload=work,
            duration="5m",
            relay={"ingress": {"workers": 1, "costs": {"fan_out": fan_out}}},
        )
        assert outcome.counts["signals.presence"] > 15 * 14
        samples = [row["value"] for row in outcome.timeseries if row["metric"] == "cpu.utilisation"]
        return sum(samples) / len(samples)

    assert busy_share("10ms") > 2 * busy_share("0us")
