"""Outboxes as R-12.4 has them, on links that are too slow for what is sent, and the memory that connections take."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from tests.model.support import Outcome, mapping, run, run_for, world
from zentalk_sim.experiment import loader
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.model.outbox import Outbox
from zentalk_sim.model.world import START_US, World

S = 1_000_000
SLOW = {"trickle": {"latency": "20ms", "down": {"rate": "16kbit"}}}
"""2 kB a second towards the device, and no bound on what the line may hold."""


def at_s(us: int) -> float:
    return (us - START_US) / S


def flood(outbox: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Alice writes to Bob, and Bob to Alice, far more than either's slow line can carry."""
    return {
        "population": {"devices": 2, "networks": {"trickle": 1}},
        "network": SLOW,
        "relay": {
            "limits": {"send_message": "off", "connection_rate": "off", "auth_attempts": "off"},
            "outbox": outbox,
        },
        "workload": {"messages": {"interval": "250ms", "size": "1500B"}, "start": {"ramp": "0s"}},
        "duration": "90s",
        **changes,
    }


# --- the law of the outbox ---------------------------------------------------------------------------


def test_frames_leave_in_order_at_their_instants() -> None:
    outbox = Outbox()
    outbox.add(100, 10)
    outbox.add(200, 20)
    assert outbox.load(99) == (2, 30)
    assert outbox.load(100) == (1, 20)
    assert outbox.load(200) == (0, 0)


def test_what_a_closed_path_holds_waits_until_it_is_released_and_then_leaves_behind_the_rest() -> None:
    outbox = Outbox()
    outbox.add(100, 10)
    outbox.hold(20)
    outbox.hold(30)
    assert outbox.load(1_000) == (2, 50)
    outbox.release([1_100])
    assert outbox.load(1_099) == (2, 50)
    assert outbox.load(1_100) == (1, 30)
    outbox.release([1_200, 1_300])
    assert outbox.load(1_200) == (0, 0)


def test_the_instant_of_room_is_that_of_the_frame_after_whose_leaving_both_bounds_hold() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.add(100 * (number + 1), 1_000)
    assert outbox.falls_to_us(5, 10_000) == 500
    assert outbox.falls_to_us(10, 2_500) == 800
    assert outbox.falls_to_us(10, 10_000) == 0
    outbox.hold(3_000)
    assert outbox.falls_to_us(5, 100_000) == 600
    assert outbox.falls_to_us(5, 2_000) is None, "not before the path opens"


# --- slow links --------------------------------------------------------------------------------------


@pytest.mark.requirement("R-12.4")
def test_a_link_too_slow_for_what_it_is_sent_fills_the_outbox_until_the_relay_drops_it() -> None:
    outcome = run(**flood({"max": "40kB"}))
    lost = [row for row in outcome.connections if row["end_us"] is not None]
    assert outcome.counts["connections.slow_consumer"] >= 2
    assert outcome.counts["connections.lost.slow_consumer"] == outcome.counts["connections.slow_consumer"]
    assert {row["close_code"] for row in lost} <= {1006, None}
    # 4 messages a second of about 2.2 kB each come in, 2 kB a second go out: 40 kB are full after some six seconds.
    first = min(at_s(row["end_us"]) for row in lost)
    assert 4 < first < 20


@pytest.mark.requirement("R-12.4")
def test_the_number_of_frames_bounds_an_outbox_too() -> None:
    assert run(**flood({"max_frames": 12})).counts["connections.slow_consumer"] >= 2


@pytest.mark.requirement("R-12.4")
def test_a_link_that_carries_what_it_is_sent_is_left_alone() -> None:
    fast = {"trickle": {"latency": "20ms", "down": {"rate": "1Mbit"}}}
    outcome = run(**flood({"max": "40kB"}, network=fast))
    assert outcome.counts["connections.slow_consumer"] == 0
    assert outcome.counts["connections.reading_paused"] == 0
    assert outcome.counts["connections.authenticated"] == 2


@pytest.mark.requirement("R-12.4")
def test_what_was_not_read_is_read_in_its_order_once_there_is_room() -> None:
    quiet = {"messages": {"rate_per_device": 0}, "start": {"ramp": "0s"}}
    made = world(**flood({"max": "1MB"}, workload=quiet, client={"queue": {"ack_timeout": "60s"}}))
    run_for(made, 5)
    alice = made.devices[0]
    socket = alice.socket
    assert socket is not None
    order: list[str] = []
    node = socket.node
    assert node is not None
    take = node.receive_frame

    def noted(sock: Any, frame: Any) -> None:
        if sock is socket:
            order.append(frame.id)
        take(sock, frame)

    node.receive_frame = noted  # type: ignore[method-assign]
    # More than half a megabyte of the relay's own, at once: 2 kB a second need minutes for it.
    outbox = socket._own_outbox()
    now = made.kernel.now
    outbox.add(now + 20 * S, 600_000)
    sent: list[str] = []
    for number in range(5):
        alice.send(made.devices[1].member.person, bytes(number + 1))
        sent.append(alice.client.last_id)
        run_for(made, 1)
    assert order == [], "nothing that arrived since is read"
    assert made.recorder.counts["connections.reading_paused"] == 1
    run_for(made, 17)
    assert order == sent
    assert alice.client.unacked == 0


@pytest.mark.requirement("R-12.4")
def test_a_path_closed_one_way_pauses_reading_and_ends_by_the_heartbeat_at_the_latest() -> None:
    partition = {"at": "20s", "do": "partition", "devices": 1, "direction": "down", "for": "5m"}
    work = {"messages": {"interval": "200ms"}, "start": {"ramp": "0s"}}
    outcome = run(
        population={"devices": 2},
        relay={"limits": {"send_message": "off"}, "outbox": {"max_frames": 100}},
        workload=work,
        faults=[partition],
        duration="3m",
    )
    assert outcome.counts["connections.reading_paused"] >= 1
    assert outcome.counts["connections.slow_consumer"] >= 1


# --- memory ------------------------------------------------------------------------------------------


def memory(outcome: Outcome) -> list[float]:
    return [row["value"] for row in outcome.timeseries if row["metric"] == "memory_bytes"]


def test_connections_take_memory_and_give_it_back() -> None:
    limits = {"connection": "10kB", "tls": "30kB"}
    offline = {"at": "60s", "do": "device_offline", "fraction": 1.0, "how": "orderly"}
    outcome = run(relay={"ingress": {"memory": limits}}, faults=[offline])
    series = memory(outcome)
    assert series[0] == 0
    assert series[50] == 6 * 40_000
    assert series[100] == 0


def test_what_waits_in_outboxes_counts_as_memory() -> None:
    changes = flood({"max": "1MB"})
    changes["relay"]["ingress"] = {"memory": {"connection": "0B", "tls": "0B"}}
    series = memory(run(**changes))
    assert max(series) > 100_000


def filled(limit: str) -> World:
    changes = {"memory": {"limit": limit, "connection": "10kB", "tls": "30kB"}}
    made = world(relay={"ingress": changes}, population={"devices": 10})
    run_for(made, 60)
    return made


def test_a_node_whose_memory_is_full_refuses_upgrades_and_keeps_what_it_has() -> None:
    made = filled("200kB")
    assert len(made.nodes[0].sockets) == 5
    counts = made.recorder.counts
    assert counts["upgrades.refused_for_memory"] == counts["connections.refused.503"] == counts["upgrades.refused"] > 5
    made = filled("1MB")
    assert len(made.nodes[0].sockets) == 10
    assert "upgrades.refused_for_memory" not in made.recorder.counts


def refused_requests(**settings: Any) -> World:
    """Ten devices with WebSockets, and bob's requests to a node whose memory they fill."""
    limits = {"limit": "405kB", "connection": "10kB", "tls": "30kB"}
    made = world(relay={"ingress": {"memory": limits}}, population={"devices": 10}, **settings)
    run_for(made, 60)
    return made


@pytest.mark.parametrize("fidelity", ["frames", "wire"])
def test_a_node_whose_memory_is_full_refuses_rest_connections_too(fidelity: str) -> None:
    made = refused_requests(fidelity=fidelity)
    node, device, counts = made.nodes[0], made.devices[0], made.recorder.counts
    before = counts.get("requests.refused_for_memory", 0)
    assert (node.open_connections, len(node.sockets)) == (10, 10)
    answers: list[int] = []
    line = made.rest_line_type(device)
    line.open()
    for _ in range(2):
        line.request("GET", "/api/messages", device.client.token, None, lambda status, body: answers.append(status))
    run_for(made, 2)
    assert sorted(answers) == [0, 503], "the connection is over, and with it what was asked behind"
    assert not line.usable(made.kernel.now)
    assert (node.open_connections, counts["requests.refused_for_memory"] - before) == (10, 1)


def test_a_rest_connection_that_stands_is_kept_by_a_full_node() -> None:
    made = refused_requests()
    device, answers, counts = made.devices[0], list[int](), made.recorder.counts
    before = counts.get("requests.refused_for_memory", 0)
    limit = made.experiment.relay.ingress.memory.limit_bytes
    line = made.rest_line_type(device)

    def ask(memory_limit: int | None) -> None:
        memory = structs.replace(made.experiment.relay.ingress.memory, limit_bytes=memory_limit)
        ingress = structs.replace(made.experiment.relay.ingress, memory=memory)
        made.experiment = structs.replace(
            made.experiment, relay=structs.replace(made.experiment.relay, ingress=ingress)
        )
        line.request("GET", "/api/messages", device.client.token, None, lambda status, body: answers.append(status))
        run_for(made, 2)

    line.open()
    ask(None)
    ask(limit)
    assert answers == [200, 200]
    assert counts.get("requests.refused_for_memory", 0) == before


def test_a_full_node_takes_devices_again_once_others_have_left() -> None:
    faults = [{"at": "30s", "do": "device_offline", "devices": 5, "how": "orderly"}]
    limits = {"limit": "240kB", "connection": "10kB", "tls": "30kB"}
    outcome = run(
        relay={"ingress": {"memory": limits}},
        population={"devices": 10, "on_failed": {"retry_after": "10s"}},
        client={"backoff": {"cap": "4s"}},
        faults=faults,
        duration="3m",
    )
    assert outcome.counts["upgrades.refused_for_memory"] > 0
    assert len({row["device"] for row in outcome.connections if row["auth_us"] is not None}) > 6


@pytest.mark.parametrize(
    ("memory_limit", "fault"),
    [("0B", "`relay.ingress.memory.limit` must be at least 1B"), ("5", "is a size and needs a unit")],
)
def test_a_bound_that_is_none_is_refused(memory_limit: str, fault: str) -> None:
    value: Any = int(memory_limit) if memory_limit.isdigit() else memory_limit
    with pytest.raises(FileFaults, match=fault.replace(".", r"\.")):
        loader.from_mapping(mapping(relay={"ingress": {"memory": {"limit": value}}}))
