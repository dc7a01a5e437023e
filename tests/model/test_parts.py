"""Ingress, balancer, bus and population, each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.support import mapping
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.model.balancer import Backend, Balancer
from zentalk_sim.model.bus import Bus
from zentalk_sim.model.contacts import pick_contacts
from zentalk_sim.model.faults_schedule import choose
from zentalk_sim.model.ingress import Ingress
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.model.population import build_population, ip_of, pick_weighted
from zentalk_sim.protocol.crypto import Ed25519, Modelled
from zentalk_sim.protocol.effects import Kick
from zentalk_sim.protocol.streams import Streams

# --- ingress ---------------------------------------------------------------------------------------------


def test_work_waits_for_the_first_free_worker() -> None:
    ingress = Ingress(workers=2, backlog=10, now_us=0)
    assert [ingress.serve(0, 100) for _ in range(5)] == [100, 100, 200, 200, 300]
    assert ingress.serve(1000, 7) == 1007


def test_a_full_backlog_drops_the_syn_until_a_worker_takes_a_connection_up() -> None:
    ingress = Ingress(workers=1, backlog=2, now_us=0)
    for _ in range(3):
        assert ingress.admits(0)
        ingress.accept(0, 100)
    assert ingress.queued(0) == 2
    assert not ingress.admits(0)
    assert not ingress.admits(99)
    assert ingress.admits(100)
    assert ingress.dropped_syns == 2


def test_waiting_work_and_work_ahead_are_told_apart() -> None:
    ingress = Ingress(workers=1, backlog=10, now_us=0)
    for _ in range(4):
        ingress.serve(0, 50)
    assert (ingress.waiting(0), ingress.ahead_us(0)) == (3, 200)
    assert (ingress.waiting(60), ingress.ahead_us(60)) == (2, 140)
    assert (ingress.waiting(500), ingress.ahead_us(500)) == (0, 0)


def test_waiting_time_agrees_with_the_theory_of_m_m_1() -> None:
    """ρ = 0.5: the mean wait equals the mean service time (Wq = ρ/(1−ρ)·S); 40 000 jobs, within 5 %."""
    from math import log1p

    stream = Streams(7).stream("mm1")
    ingress = Ingress(workers=1, backlog=1, now_us=0)
    now = waited = 0
    jobs = 40_000
    for _ in range(jobs):
        now += int(-2000 * log1p(-stream.uniform()))
        cost = int(-1000 * log1p(-stream.uniform()))
        waited += ingress.serve(now, cost) - cost - now
    assert waited / jobs == pytest.approx(1000, rel=0.05)


# --- balancer --------------------------------------------------------------------------------------------


class Node(Backend):
    def __init__(
        self, name: str, dead_since_us: int | None = None, open_connections: int = 0, opening_connections: int = 0
    ) -> None:
        self.name = name
        self.dead_since_us = dead_since_us
        self.open_connections = open_connections
        self.opening_connections = opening_connections


def names(balancer: Balancer[Any], users: list[str], now_us: int = 0) -> list[str | None]:
    picked = [balancer.pick(user, now_us) for user in users]
    return [node.name if node is not None else None for node in picked]


def test_round_robin_takes_turns() -> None:
    balancer = Balancer("round_robin", [Node("a"), Node("b"), Node("c")])
    assert sorted(names(balancer, ["x"] * 6)) == ["a", "a", "b", "b", "c", "c"]


def test_least_connections_takes_the_emptiest_and_the_first_of_equals() -> None:
    nodes = [Node("a", open_connections=2), Node("b", open_connections=1), Node("c", open_connections=1)]
    assert names(Balancer("least_connections", nodes), ["x"]) == ["b"]


def test_least_connections_counts_those_that_are_still_being_opened() -> None:
    nodes = [Node("a", open_connections=1, opening_connections=5), Node("b", open_connections=3)]
    assert names(Balancer("least_connections", nodes), ["x"]) == ["b"]
    nodes[1].dead_since_us = 0
    assert names(Balancer("least_connections", nodes), ["x"]) == ["a"], "nor does it choose among the dead"


def test_sticky_keeps_a_user_and_moves_only_those_of_a_dead_node() -> None:
    nodes = [Node("a"), Node("b"), Node("c")]
    balancer = Balancer("sticky", nodes)
    users = [f"0x{number}" for number in range(60)]
    before = names(balancer, users)
    assert set(before) == {"a", "b", "c"}
    nodes[0].dead_since_us = -1
    after = names(balancer, users)
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "a")
    assert "a" not in after


def test_a_death_is_noticed_after_its_time_and_a_return_at_once() -> None:
    node = Node("a", dead_since_us=1000)
    balancer = Balancer("round_robin", [node], notice_us=500)
    assert names(balancer, ["x"], 1499) == ["a"]
    assert names(balancer, ["x"], 1500) == [None]
    node.dead_since_us = None
    assert names(balancer, ["x"], 1501) == ["a"]


# --- bus -------------------------------------------------------------------------------------------------


class Listener:
    def __init__(self) -> None:
        self.up = True
        self.epoch = 0
        self.heard: list[Any] = []

    def receive_event(self, event: Any, epoch: int) -> None:
        self.heard.append(event)


@pytest.mark.requirement("R-12.5")
def test_the_bus_keeps_order_and_loses_what_a_dead_node_was_sent() -> None:
    kernel = Kernel(0)
    alive, dead = Listener(), Listener()
    bus = Bus(kernel, {"alive": alive, "dead": dead}, 500)
    events = [Kick(number, 1000, "") for number in range(3)]
    for event in events:
        bus.publish("dead", "alive", event)
        bus.publish("alive", "dead", event)
    dead.epoch += 1
    kernel.run_until(499)
    assert alive.heard == []
    kernel.run_until(1000)
    assert alive.heard == events
    assert dead.heard == []
    assert (bus.sent, bus.lost) == (6, 3)


# --- population ------------------------------------------------------------------------------------------


def population(**changes: Any) -> list[Any]:
    experiment = from_mapping(mapping(population=changes))
    return build_population(experiment, Streams(experiment.seed), Modelled())


def test_one_more_device_must_not_change_another_ones_draws() -> None:
    few, many = population(devices=6, contacts=0), population(devices=7, contacts=0)
    assert many[:6] == few


def test_devices_are_dealt_to_users_in_order_and_the_last_gets_the_rest() -> None:
    members = population(devices=7, devices_per_user=3)
    assert [member.person.index for member in members] == [0, 0, 0, 1, 1, 1, 2]
    assert [len(member.person.device_ids) for member in members] == [3, 3, 3, 3, 3, 3, 1]
    assert all(member.device_id in member.person.device_ids for member in members)


def test_users_are_the_same_in_both_fidelities_but_for_their_keys() -> None:
    experiment = from_mapping(mapping())
    real = build_population(experiment, Streams(1), Ed25519())
    modelled = build_population(experiment, Streams(1), Modelled())
    assert [member.person.address for member in real] == [member.person.address for member in modelled]
    assert real[0].person.identity_key != modelled[0].person.identity_key


@pytest.mark.parametrize("count", [0, 1, 5, 9, 50])
def test_contacts_are_different_users_and_never_oneself(count: int) -> None:
    found = pick_contacts(Streams(1).stream("c"), own=4, users=10, count=count)
    assert len(found) == len(set(found)) == min(count, 9)
    assert 4 not in found
    assert all(0 <= user < 10 for user in found)


def test_networks_follow_their_weights() -> None:
    weights = {"wifi": 3.0, "lte": 1.0, "never": 0.0}
    assert [pick_weighted(weights, u) for u in (0.0, 0.74, 0.76, 0.999999)] == ["wifi", "wifi", "lte", "lte"]


def test_nat_groups_share_a_public_address() -> None:
    members = population(devices=6, nat_group_size=4)
    assert [member.ip for member in members] == [ip_of(0)] * 4 + [ip_of(1)] * 2
    assert ip_of(0) == "11.0.0.0"


@pytest.mark.parametrize(("total", "count"), [(10, 3), (10, 10), (10, 99), (1, 1), (0, 4)])
def test_a_choice_of_some_is_without_repetition_and_in_order(total: int, count: int) -> None:
    found = choose(Streams(1).stream("f"), total, count)
    assert len(found) == min(total, count)
    assert found == sorted(set(found))
