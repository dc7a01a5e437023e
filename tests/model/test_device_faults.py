"""What befalls devices: sleep and days offline, a change of network; that overlapping ones end each on its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.support import run, run_for, world
from zentalk_sim.model.population import ip_of, roaming_ip
from zentalk_sim.model.world import START_US
from zentalk_sim.protocol.client_state import ClientState

S = 1_000_000


@pytest.mark.requirement("R-8.1")
@pytest.mark.parametrize(("how", "cause"), [("silent", "heartbeat"), ("orderly", "client_closed")])
def test_the_relay_learns_of_a_sleeping_device_by_its_heartbeat_or_is_told(how: str, cause: str) -> None:
    off = [{"at": "40s", "do": "device_offline", "devices": 2, "how": how, "for": "4m"}]
    outcome = run(duration="7m", faults=off)
    assert outcome.counts[f"connections.lost.{cause}"] == 2
    half_open = outcome.results.metrics["half_open_s"]
    assert half_open.count == (2 if how == "silent" else 0)
    if half_open.count:
        assert 80 * S < (half_open.quantile(0.0) or 0) <= (half_open.max or 0) <= 121 * S
    back = [row for row in outcome.connections if row["attempt"] == 2]
    assert [row["start_us"] - START_US for row in back] == [280 * S] * 2
    assert outcome.counts["connections.authenticated"] == 8
    assert outcome.results.metrics["reconnect_time_s"].count == 0, "nobody waits on a device that is off"
    assert outcome.counts["messages.failed"] == 0


def test_a_device_that_is_off_writes_nothing_and_finds_what_came_meanwhile() -> None:
    off = [{"at": "40s", "do": "device_offline", "devices": 1, "how": "orderly", "for": "100s"}]
    outcome = run(duration="4m", population={"devices": 2}, faults=off)
    back = next(row for row in outcome.connections if row["attempt"] == 2)
    meanwhile = [row for row in outcome.messages if START_US + 41 * S < row["sent_us"] < START_US + 140 * S]
    assert meanwhile
    assert {row["device"] for row in meanwhile} == {back["device"]}, "only the other one wrote"
    assert {row["via"] for row in meanwhile} == {"fetch"}


def test_two_reasons_to_be_off_must_both_end_before_it_is_back() -> None:
    faults = [
        {"at": "20s", "do": "device_offline", "fraction": 1.0, "for": "60s"},
        {"at": "30s", "do": "device_offline", "fraction": 1.0, "how": "orderly", "for": "20s"},
        {"at": "40s", "do": "partition", "fraction": 1.0, "for": "60s"},
    ]
    made = world(faults=faults, duration="4m")
    run_for(made, 60)
    assert {device.client.state for device in made.devices} == {ClientState.DISCONNECTED}
    run_for(made, 30)
    assert {device.client.state for device in made.devices} == {ClientState.CONNECTING, ClientState.FAILED} & {
        device.client.state for device in made.devices
    }, "on again, but cut off"
    run_for(made, 40)
    assert {device.client.state for device in made.devices} == {ClientState.CONNECTED}


def test_a_device_off_before_its_first_connection_makes_it_when_back() -> None:
    off = [{"at": "0s", "do": "device_offline", "fraction": 1.0, "for": "30s", "spread": "10s"}]
    outcome = run(faults=off)
    starts = [row["start_us"] - START_US for row in outcome.connections]
    assert len(starts) == 6
    assert all(30 * S <= at <= 40 * S for at in starts)
    assert len(set(starts)) == 6


@pytest.mark.requirement("R-11.2")
def test_a_handover_reconnects_at_once_over_the_new_network_with_a_new_address() -> None:
    change = [{"at": "40s", "do": "handover", "fraction": 1.0, "to": "satellite"}]
    made = world(faults=change)
    run_for(made, 39)
    assert {device.ip for device in made.devices} == {ip_of(index) for index in range(6)}
    run_for(made, 60)
    assert {device.ip for device in made.devices} == {roaming_ip(index) for index in range(6)}
    assert {device.client.state for device in made.devices} == {ClientState.CONNECTED}
    outcome = run(faults=change)
    seconds = [row for row in outcome.connections if row["attempt"] == 2]
    assert [row["start_us"] - START_US for row in seconds] == [40 * S] * 6
    assert all(row["auth_us"] - row["start_us"] > 2 * S for row in seconds), "several round trips of 600 ms"
    assert outcome.counts["messages.failed"] == 0
    # The old connection is dead for the relay too: nobody sent it a word.
    assert outcome.counts["connections.lost.close_timeout"] == 6


def test_a_device_that_changes_networks_leaves_a_partition_behind() -> None:
    faults = [
        {"at": "30s", "do": "partition", "fraction": 1.0, "for": "60s"},
        {"at": "40s", "do": "handover", "fraction": 0.5, "to": "lte"},
    ]
    made = world(faults=faults, duration="4m")
    run_for(made, 60)
    assert sum(device.path.blocked for device in made.devices) == 3
    away = [device for device in made.devices if not device.path.blocked]
    assert {device.client.state for device in away} == {ClientState.CONNECTED}
    run_for(made, 120)
    assert not any(device.path.blocked for device in made.devices)
    assert {device.client.state for device in made.devices} == {ClientState.CONNECTED}


def test_a_token_request_lost_with_its_network_is_made_again() -> None:
    """The token has expired while the device was off; the request for a new one dies with the network it went over."""
    changes: dict[str, Any] = {
        "relay": {"token": {"lifetime": "60s", "refresh_window": "1s", "grace": "1s"}},
        "client": {"token_refresh": "never"},
        "duration": "6m",
        "faults": [
            {"at": "20s", "do": "device_offline", "fraction": 1.0, "how": "orderly", "for": "100s"},
            {"at": "120s", "do": "handover", "fraction": 1.0, "to": "edge"},
            {"at": "123s", "do": "handover", "fraction": 1.0, "to": "satellite"},
            {"at": "125s", "do": "handover", "fraction": 1.0, "to": "lan"},
        ],
    }
    made = world(**changes)
    run_for(made, 170)
    assert {device.client.state for device in made.devices} == {ClientState.CONNECTED}


@pytest.mark.requirement("R-6.6")
def test_a_backlog_of_many_pages_comes_once_where_pages_are_confirmed_by_rest() -> None:
    def duplicates(ack_by: str) -> int:
        outcome = run(
            duration="6m",
            population={"devices": 3, "networks": {"wifi": 1}},
            client={"ack_by": ack_by, "fetch_page": 10},
            workload={"messages": {"interval": "4s"}, "start": {"ramp": "1s"}},
            faults=[{"at": "20s", "do": "device_offline", "devices": 1, "how": "orderly", "for": "4m"}],
        )
        assert outcome.results.metrics["delivery_latency_ms.fetch"].count > 30
        assert outcome.counts["copies.pending"] == 0
        return outcome.counts["messages.duplicate"]

    assert duplicates("rest") == 0
    assert duplicates("frame") > 0
