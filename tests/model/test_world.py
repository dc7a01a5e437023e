"""A small world at work: messages get through, backlogs are fetched, connections take the time they must."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from tests.model.support import mapping, run, run_for, world
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.model.device import Device
from zentalk_sim.model.workload import ciphertext
from zentalk_sim.model.world import START_US
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import OutboxConfig

QUIET = {"start": {"ramp": "0s"}, "messages": {"rate_per_device": "0/min"}}
PLAIN_LINK = {"flat": {"latency": {"kind": "constant", "value": "10ms"}}}
FLAT = {
    "population": {"devices": 2, "networks": {"flat": 1}},
    "network": {"flat": {"like": "ideal", "latency": "10ms"}},
    "workload": QUIET,
}


def pair(**changes: Any) -> tuple[Any, Device, Device]:
    """A world of alice and bob, connected and silent."""
    made = world(**{"population": {"devices": 2}, "workload": QUIET, **changes})
    run_for(made, 2)
    alice, bob = made.devices
    return made, alice, bob


def only_message(made: Any) -> Any:
    (message,) = made.recorder._sent.values()
    return message


@pytest.mark.requirement("R-6.2")
def test_a_message_must_get_through() -> None:
    made, alice, bob = pair()
    alice.send(bob.member.person, ciphertext(256))
    run_for(made, 1)
    message = only_message(made)
    copy = message.copies[bob.member.device_id]
    assert message.outcome == "acked"
    assert copy.via == "push"
    assert message.sent_us < copy.pushed_us < copy.shown_us < copy.received_us
    assert made.recorder.counts["messages.delivered"] == 1
    assert made.pending_copies() == 0


@pytest.mark.requirement("R-6.6")
def test_an_offline_backlog_must_be_fetched_at_the_next_connect() -> None:
    made, alice, bob = pair()
    bob.apply(bob.client.close(made.kernel.now))
    run_for(made, 1)
    assert bob.client.state is ClientState.DISCONNECTED
    for _ in range(5):
        alice.send(bob.member.person, ciphertext(100))
        run_for(made, 2)
    assert made.pending_copies() == 5
    bob.connect()
    run_for(made, 2)
    vias = [message.copies[bob.member.device_id].via for message in made.recorder._sent.values()]
    assert vias == ["fetch"] * 5
    assert made.pending_copies() == 0


def test_an_attempt_takes_the_round_trips_and_cpu_time_that_it_must() -> None:
    """20 ms round trip: TCP one, TLS one and its CPU time, upgrade one, challenge and answer one with theirs."""
    outcome = run(duration="10s", **FLAT)
    for row in outcome.connections:
        assert row["tcp_us"] - row["start_us"] == 20_000
        assert row["tls_us"] - row["tcp_us"] in (21_000, 22_000)
        assert row["upgraded_us"] - row["tls_us"] == 20_000 + 1_000
        assert row["auth_us"] - row["upgraded_us"] in range(20_000 + 500 + 1_000, 20_000 + 1_000 + 1_001)


def test_free_ingress_and_store_cost_no_time_at_all() -> None:
    free = {"ingress": {"enabled": False}, "store_latency": "0s"}
    outcome = run(duration="10s", relay=free, **FLAT)
    for row in outcome.connections:
        assert (row["tls_us"] - row["tcp_us"], row["upgraded_us"] - row["tls_us"]) == (20_000, 20_000)
        assert row["auth_us"] - row["upgraded_us"] == 20_000
    assert outcome.results.metrics["queue_depth"].count == 0


def test_heartbeats_measure_the_round_trip() -> None:
    outcome = run(duration="95s", relay={"ingress": {"enabled": False}, "store_latency": "0s"}, **FLAT)
    rtt = outcome.results.metrics["rtt_ms"]
    assert (rtt.count, rtt.min, rtt.max) == (6, 20_000, 20_000)
    assert outcome.counts["heartbeats.sent"] == 6
    assert outcome.counts["heartbeats.missed"] == 0


def test_every_device_of_a_user_gets_its_copy() -> None:
    outcome = run(population={"devices": 6, "devices_per_user": 3})
    assert outcome.counts["copies.stored"] == 3 * outcome.counts["messages.sent"]
    assert outcome.counts["messages.shown"] == outcome.counts["copies.stored"]


@pytest.mark.requirement("R-6.3")
def test_reads_are_noted_after_their_delay() -> None:
    delay = {"kind": "constant", "value": "3s"}
    outcome = run(workload={"reads": {"probability": 1.0, "delay": delay}})
    read = [row for row in outcome.messages if row["read_us"] is not None]
    assert read
    assert all(row["read_us"] - row["shown_us"] >= 3_000_000 for row in read)
    late = [row for row in outcome.messages if row["read_us"] is None]
    assert all(row["shown_us"] is None or row["shown_us"] > START_US + 110_000_000 for row in late)


@pytest.mark.requirement("R-10.3")
def test_many_devices_behind_one_address_must_meet_the_limit_per_ip() -> None:
    outcome = run(population={"devices": 14, "nat_group_size": 14}, duration="30s")
    assert outcome.counts["rate_limited.connections_per_ip"] > 0 or outcome.counts["rate_limited.auth_attempts"] > 0
    assert outcome.counts["connections.closed.4002"] > 0


def test_a_small_backlog_drops_syns_which_are_sent_again_after_a_second() -> None:
    costs = {"tls": "400ms"}
    outcome = run(
        relay={"ingress": {"accept_backlog": 1, "workers": 1, "costs": costs}},
        workload=QUIET,
        population={"devices": 5},
        duration="30s",
    )
    waited = sorted(row["tcp_us"] - row["start_us"] for row in outcome.connections if row["auth_us"] is not None)
    assert waited[0] < 10_000
    assert waited[2] >= 1_000_000
    assert waited[-1] >= 3_000_000
    assert outcome.counts["connections.syn_dropped"] == 4


@pytest.mark.requirement("R-4.3")
def test_an_answer_that_waits_for_the_cpu_must_not_count_as_late() -> None:
    """Each signature takes 4 s of the one worker: the relay knows the answers came, the clients wait 5 s and retry."""
    slow = {"ingress": {"workers": 1, "costs": {"auth": "4s"}}}
    outcome = run(relay=slow, workload=QUIET, population={"devices": 3}, duration="20s")
    assert outcome.counts["connections.auth_timeout"] == 0
    assert outcome.counts["client.connections.auth_timeout"] > 0
    assert outcome.counts["connections.authenticated"] > 0


def test_work_queues_for_the_cpu_and_the_queue_is_measured() -> None:
    slow = {"ingress": {"workers": 1, "costs": {"frame": "300ms"}}}
    outcome = run(relay=slow, duration="60s")
    assert outcome.results.metrics["queue_depth"].max
    busy = [row["value"] for row in outcome.timeseries if row["metric"] == "cpu.utilisation"]
    assert all(0 <= value <= 1 for value in busy)
    assert max(busy) > 0.9


@pytest.mark.parametrize("balancer", ["round_robin", "least_connections", "sticky"])
def test_every_balancer_spreads_devices_over_the_nodes(balancer: str) -> None:
    outcome = run(population={"devices": 20}, relay={"nodes": 3, "balancer": balancer}, duration="20s")
    assert {row["node"] for row in outcome.connections} == {"relay-0", "relay-1", "relay-2"}
    assert outcome.counts["messages.shown"] > 0


def test_devices_that_return_within_one_round_trip_spread_over_the_nodes_that_are_left() -> None:
    """A balancer that counted only what nodes have answered would send them all to the same one."""
    outcome = run(
        population={"devices": 60},
        relay={"nodes": 3, "balancer": "least_connections", "ingress": {"accept_backlog": 100}},
        workload=QUIET,
        faults=[{"at": "30s", "do": "crash_node", "nodes": 1, "host": "alive", "for": "20s"}],
        duration="60s",
    )
    again = [row["node"] for row in outcome.connections if row["attempt"] == 2]
    assert len(again) == 20
    assert {again.count(node) for node in set(again)} == {10}


def test_a_syn_sent_again_reaches_the_node_it_was_sent_to_unless_that_is_known_to_be_dead() -> None:
    made, alice, bob = pair(
        relay={"nodes": 2, "balancer": "least_connections", "failure_detection": "2s", "ingress": {"accept_backlog": 1}}
    )
    full, other = alice.socket.node, bob.socket.node
    full.ingress.backlog = 0
    other.open_connections += 9
    alice.socket.reset_both()
    run_for(made, 3)
    assert made.recorder.counts["connections.syn_dropped"] > 0
    assert (alice.socket.node, full.opening_connections) == (full, 1)
    other.open_connections -= 9
    run_for(made, 1)
    assert alice.socket.node is full
    full.halt("dead")
    run_for(made, 10)
    assert (alice.socket.node, alice.socket.tcp_us is None) == (other, False)
    assert (full.opening_connections, other.opening_connections, other.open_connections) == (0, 0, 2)


def test_the_open_connections_of_a_node_are_counted_back() -> None:
    made, alice, bob = pair()
    (node,) = made.nodes
    assert node.open_connections == 2
    bob.apply(bob.client.close(made.kernel.now))
    run_for(made, 1)
    assert node.open_connections == 1
    assert len(node.sockets) == 1
    alice.socket.abandon()
    run_for(made, 1)
    assert node.open_connections == 0


@pytest.mark.requirement("R-11.3")
def test_an_expired_token_is_replaced_by_asking_the_relay() -> None:
    outcome = run(relay={"token": {"lifetime": "60s", "refresh_window": "0s", "grace": "0s"}}, duration="5m")
    assert outcome.counts["connections.closed.4001"] > 0
    still = [row for row in outcome.connections if row["end_us"] is None]
    assert len(still) == 6


@pytest.mark.requirement("R-3.4")
def test_a_reconnection_resumes_the_session() -> None:
    made, alice, _ = pair()
    first = alice.client.session.session_id
    alice.socket.reset_both()
    run_for(made, 5)
    assert alice.client.session.session_id == first
    assert alice.socket.resumed


def test_warm_up_is_left_out_of_metrics_but_not_of_counts() -> None:
    whole, warm = run(), run(warm_up="60s")
    assert whole.counts == warm.counts
    assert 0 < warm.results.metrics["ack_latency_ms"].count < whole.results.metrics["ack_latency_ms"].count
    assert whole.results.digest == warm.results.digest


def test_a_device_that_gave_up_tries_again_only_where_its_population_says_so() -> None:
    dead = [{"at": "0s", "do": "stop_node", "node": 0}]
    never = run(faults=dead, duration="15m")
    assert never.counts["clients.gave_up"] == 6
    assert never.counts["connections.attempted"] == 60
    again = run(faults=dead, duration="15m", population={"on_failed": {"retry_after": "60s"}})
    assert again.counts["clients.gave_up"] > 6


@pytest.mark.requirement("R-3.1")
def test_a_full_node_refuses_the_upgrade_and_the_device_tries_again() -> None:
    outcome = run(relay={"upgrade": {"max_connections": 4}}, workload=QUIET, duration="10s")
    assert outcome.counts["connections.refused.503"] > 2
    assert outcome.counts["connections.authenticated"] == 4
    assert {row["cause"] for row in outcome.connections if row["end_us"] is not None} == {"refused with 503"}


@pytest.mark.requirement("R-12.4")
@pytest.mark.parametrize("fidelity", ["frames", "wire"])
@pytest.mark.parametrize(("limit", "size"), [({"max_frames": 5}, 10), ({"max_bytes": 5000}, 3000)])
def test_a_peer_that_takes_nothing_is_dropped_once_its_outbox_is_full(
    fidelity: str, limit: dict[str, int], size: int
) -> None:
    made, alice, bob = pair(fidelity=fidelity)
    made.protocol = structs.replace(made.protocol, outbox=OutboxConfig(**limit))
    bob.cut("down")
    for _ in range(8):
        alice.send(bob.member.person, ciphertext(size))
        run_for(made, 1.5)
    assert made.recorder.counts["connections.slow_consumer"] == 1
    assert made.recorder.counts["connections.lost.slow_consumer"] == 1
    assert made.pending_copies() == 8
    bob.heal("down")
    run_for(made, 200)
    assert made.pending_copies() == 0


def test_a_request_without_an_answer_takes_its_connection_with_it() -> None:
    made, _, bob = pair(client={"fetch_timeout": "5s"})
    answers: list[int] = []
    line = bob._rest_line()
    line.request("GET", "/api/messages", bob.client.token, None, lambda status, body: answers.append(status))
    assert bob._rest_line() is line
    run_for(made, 1)
    assert answers == [200]
    assert bob._rest_line() is line
    bob.cut("both")
    line.request("GET", "/api/messages", bob.client.token, None, lambda status, body: answers.append(status))
    run_for(made, 6)
    assert bob._rest_line() is not line
    assert line.over


def test_an_idle_rest_connection_is_closed_by_the_device() -> None:
    made, _, bob = pair()
    line = bob._rest_line()
    line.request("GET", "/api/messages", bob.client.token, None, lambda status, body: None)
    run_for(made, 10)
    assert made.nodes[0].open_connections == 3
    run_for(made, 10)
    assert line.over
    assert made.nodes[0].open_connections == 2


def test_an_experiment_without_devices_is_refused_with_its_place() -> None:
    from zentalk_sim.files.yaml import FileFaults

    with pytest.raises(FileFaults, match="devices"):
        from_mapping(mapping(population={"devices": 0}))


def test_one_device_alone_has_nobody_to_write_to() -> None:
    outcome = run(population={"devices": 1})
    assert outcome.counts["messages.sent"] == 0
    assert outcome.counts["connections.authenticated"] == 1


def test_a_run_shorter_than_its_ramp_and_its_step_still_ends() -> None:
    outcome = run(duration="1s", measure={"interval": "10s"}, workload={"start": {"ramp": "1h"}})
    assert outcome.counts["connections.attempted"] == 0
    assert {row["t_us"] - START_US for row in outcome.timeseries} == {0, 1_000_000}
