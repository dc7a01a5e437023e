"""Push notifications that are answered: a sleeping device on for a while, an app on screen again (R-6.7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.support import Outcome, run, run_for, world
from zentalk_sim.model.world import START_US, World
from zentalk_sim.protocol.client_state import ClientState

S = 1_000_000


def at_s(us: int) -> float:
    return (us - START_US) / S


def sleeping(push: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Bob's device sleeps from 20 s on, for ten minutes; Alice goes on writing to him."""
    return {
        "duration": "12m",
        "population": {"devices": 2},
        "workload": {"messages": {"interval": "20s"}, "start": {"ramp": "0s"}, "push": push},
        "faults": [{"at": "20s", "do": "device_offline", "devices": 1, "for": "10m"}],
        **changes,
    }


def latest_delivery_s(outcome: Outcome) -> float:
    return max((row["shown_us"] - row["sent_us"]) / S for row in outcome.messages if row["shown_us"] is not None)


@pytest.mark.requirement("R-6.7")
def test_without_answers_a_push_wakes_nobody_and_the_run_says_so() -> None:
    outcome = run(**sleeping({}))
    assert outcome.counts["push.sent"] > 5
    assert "push.woke" not in outcome.results.counts
    assert latest_delivery_s(outcome) > 300
    assert any("wakes nobody" in line for line in outcome.results.assumptions)


@pytest.mark.requirement("R-6.7")
def test_an_answered_push_has_a_sleeping_device_fetch_and_sleep_again() -> None:
    outcome = run(**sleeping({"wake_probability": 1.0, "delay": "2s", "stay": "15s"}))
    assert outcome.counts["push.woke"] >= 4
    # The heartbeat tells the relay of the silence after 120 s at most, and only then are pushes sent.
    assert 30 < latest_delivery_s(outcome) < 140
    assert not any("wakes nobody" in line for line in outcome.results.assumptions)
    connected = [row["value"] for row in outcome.timeseries if row["metric"] == "devices.connected"]
    assert {1.0, 2.0} <= set(connected[200:600]), "woken, and asleep again in between"


def test_only_the_share_that_is_answered_wakes() -> None:
    faults = [{"at": "20s", "do": "device_offline", "devices": 1, "for": "10m", "how": "orderly"}]
    every = sleeping({"wake_probability": 1.0, "delay": "1s", "stay": "1s"}, faults=faults)
    some = sleeping({"wake_probability": 0.2, "delay": "1s", "stay": "1s"}, faults=faults)
    woken = run(**every).counts["push.woke"]
    assert woken > 20
    assert 0 < run(**some).counts["push.woke"] < woken / 2


def test_the_option_moves_no_draw_of_a_world_in_which_no_push_is_sent() -> None:
    plain, wakes = run(), run(workload={"push": {"wake_probability": 1.0}})
    assert plain.results.digest == wakes.results.digest


def bob_asleep(*faults: dict[str, Any]) -> World:
    quiet = {"messages": {"rate_per_device": 0}, "start": {"ramp": "0s"}}
    made = world(population={"devices": 1}, workload=quiet, faults=list(faults), duration="10m")
    run_for(made, 15)
    return made


def test_a_device_woken_is_back_asleep_when_its_stay_is_over() -> None:
    made = bob_asleep({"at": "10s", "do": "device_offline", "fraction": 1.0, "for": "5m"})
    bob = made.devices[0]
    assert bob.offline
    assert bob.path.blocked
    assert bob.take_push(20 * S)
    run_for(made, 10)
    assert bob.client.state is ClientState.CONNECTED
    assert not bob.offline
    run_for(made, 15)
    assert bob.offline == 1
    assert bob.path.blocked
    assert bob.client.state is ClientState.DISCONNECTED
    run_for(made, 280)
    assert bob.client.state is ClientState.CONNECTED
    assert not bob.path.blocked


def test_a_sleep_that_ends_while_woken_leaves_the_device_on() -> None:
    made = bob_asleep({"at": "10s", "do": "device_offline", "fraction": 1.0, "for": "10s"})
    bob = made.devices[0]
    assert bob.take_push(60 * S)
    run_for(made, 120)
    assert bob.client.state is ClientState.CONNECTED
    assert (bob.offline, bob.woken, bob.path.blocked) == (0, False, False)


def test_another_fault_puts_a_woken_device_to_sleep_at_once_and_until_both_have_ended() -> None:
    made = bob_asleep(
        {"at": "10s", "do": "device_offline", "fraction": 1.0, "for": "60s"},
        {"at": "30s", "do": "device_offline", "fraction": 1.0, "how": "orderly", "for": "90s"},
    )
    bob = made.devices[0]
    assert bob.take_push(300 * S)
    run_for(made, 10)
    assert not bob.offline
    run_for(made, 10)
    assert (bob.offline, bob.path.blocked) == (2, True)
    run_for(made, 40)
    assert (bob.offline, bob.path.blocked) == (1, False)
    run_for(made, 60)
    assert bob.client.state is ClientState.CONNECTED


def test_a_partition_holds_a_woken_device_as_it_holds_any() -> None:
    made = bob_asleep(
        {"at": "5s", "do": "partition", "fraction": 1.0, "for": "5m"},
        {"at": "10s", "do": "device_offline", "fraction": 1.0, "for": "2m"},
    )
    bob = made.devices[0]
    assert bob.take_push(30 * S)
    run_for(made, 20)
    assert bob.path.blocked
    assert bob.client.state is not ClientState.CONNECTED


def test_a_push_brings_an_app_to_the_foreground_and_its_cycle_goes_on_from_there() -> None:
    cycle = {"on": "30s", "off": "10m"}
    quiet = {"messages": {"rate_per_device": 0}, "start": {"ramp": "0s"}, "foreground": cycle}
    made = world(population={"devices": 1}, workload=quiet, duration="20m")
    run_for(made, 60)
    bob = made.devices[0]
    assert bob.habits is not None
    assert bob.habits.background
    assert bob.take_push(S)
    assert not bob.habits.background
    assert not bob.take_push(S), "on screen and connected: nothing to do"
    run_for(made, 29)
    assert not bob.habits.background
    run_for(made, 2)
    assert bob.habits.background, "30 s on screen, as ever"
    run_for(made, 560)
    assert bob.habits.background, "the turn that stood before is void"


def test_a_push_that_is_taken_away_before_it_arrives_does_nothing() -> None:
    made = world(workload={"push": {"wake_probability": 1.0, "delay": "5s"}})
    run_for(made, 10)
    bob = made.devices[0]
    bob.go_offline(99, True)
    device_id = bob.member.device_id
    made.pushes.send(device_id)
    run_for(made, 1)
    made.pushes.clear(device_id)
    run_for(made, 10)
    assert bob.offline
    made.pushes.send(device_id)
    made.pushes.send(device_id)
    run_for(made, 10)
    assert bob.woken
    assert made.recorder.counts["push.woke"] == 1
