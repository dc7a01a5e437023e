"""The client's side, R-11 and what it takes part in: the same bodies as simulated devices and over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from client_stage import ClientStage, LiveClients, SimulatedClients

from zentalk_sim.protocol.client_effects import Rejected
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import CloseConn, Suspend

requirement = pytest.mark.requirement


@pytest.fixture(params=["frames", "wire", "mockrelay"])
def clients(request: pytest.FixtureRequest) -> Iterator[ClientStage]:
    marker = request.node.get_closest_marker("settings")
    config = msgspec.convert(marker.args[0] if marker else {}, RelayConfig)
    made = LiveClients(config) if request.param == "mockrelay" else SimulatedClients(config, request.param)
    yield made
    made.close()


@requirement("R-11.1", "R-4.1", "R-6.2", "R-6.3", "R-5.2")
@pytest.mark.settings({"integrity": "require"})
def test_a_message_must_go_through_all_its_stages(clients: ClientStage) -> None:
    alice, bob = clients.online("alice", "bob")
    message_id = alice.send(bob)
    clients.until(lambda: bob.shown == [message_id] and alice.receipts == [("delivered", message_id)])
    bob.do("mark_read", message_id)
    clients.until(lambda: alice.receipts[1:] == [("read", message_id)])
    assert alice.acked == [message_id]


@requirement("R-6.6", "R-11.4")
def test_what_was_sent_to_one_away_must_be_shown_in_order_once_back(clients: ClientStage) -> None:
    alice, bob = clients.online("alice", "bob")
    bob.do("close")
    clients.until(lambda: bob.client.state is ClientState.DISCONNECTED and len(clients.connections()) == 1)
    sent = [alice.send(bob) for _ in range(5)]
    clients.until(lambda: alice.acked == sent)
    bob.do("connect")
    clients.until(lambda: bob.shown == sent)
    clients.until(lambda: len(alice.receipts) == 5)


@requirement("R-11.4")
def test_what_is_sent_while_away_must_wait_newest_first_and_overflow_be_rejected(clients: ClientStage) -> None:
    (bob,) = clients.online("bob")
    alice = clients.phone("alice")
    sent = [alice.send(bob) for _ in range(3)]
    for _ in range(98):
        alice.send(bob)
    assert [effect.reason for effect in alice.of(Rejected)] == ["queue_full"]
    assert alice.client.queued == 100
    alice.do("connect")
    clients.until(lambda: len(bob.shown) >= 3)
    assert sent[0] not in bob.shown[:3]


@requirement("R-11.2", "R-3.4")
def test_a_lost_connection_must_be_taken_up_again_after_backoff(clients: ClientStage) -> None:
    alice, bob = clients.online("alice", "bob")
    session_id = alice.client.session.session_id
    alice.lose_connection()
    clients.until(lambda: alice.connects == 2)
    assert alice.client.session.session_id == session_id, "resumed"
    message_id = alice.send(bob)
    clients.until(lambda: bob.shown == [message_id])


@requirement("R-11.3")
@pytest.mark.parametrize(("code", "returns"), [(1001, True), (1011, True), (1000, False), (1008, False), (4000, False)])
def test_a_client_must_come_back_after_some_codes_only(clients: ClientStage, code: int, returns: bool) -> None:
    (alice,) = clients.online("alice")
    clients.control(CloseConn(clients.connections()[0], code))
    if returns:
        clients.until(lambda: alice.connects == 2)
    else:
        clients.until(lambda: alice.client.state is ClientState.DISCONNECTED)
        assert alice.client.next_timeout() is None, "no attempt is planned"


@requirement("R-11.3", "R-3.2")
def test_a_suspended_user_must_stop(clients: ClientStage) -> None:
    (alice,) = clients.online("alice")
    clients.control(Suspend(alice.address))
    clients.until(lambda: alice.client.state is ClientState.DISCONNECTED)
    assert alice.client.next_timeout() is None


@requirement("R-10.1", "R-11.4", "R-11.5")
def test_a_burst_beyond_the_limit_must_get_through(clients: ClientStage) -> None:
    alice, bob = clients.online("alice", "bob")
    sent = [alice.send(bob) for _ in range(13)]
    clients.until(lambda: sorted(bob.shown) == sorted(sent))
    assert alice.connects == 1


@requirement("R-11.6", "R-5.6")
def test_a_message_sent_again_must_be_shown_once(clients: ClientStage) -> None:
    alice, bob = clients.online("alice", "bob")
    message_id = alice.send(bob)
    # The relay has it; whether its ACK comes before the break or not, bob sees it once.
    clients.until(lambda: bob.shown == [message_id])
    alice.lose_connection()
    clients.until(lambda: alice.connects == 2 and alice.acked == [message_id])
    later = alice.send(bob)
    clients.until(lambda: bob.shown == [message_id, later])


@requirement("R-11.8")
@pytest.mark.parametrize("skew_s", [-7_200, 7_200])
def test_a_client_whose_clock_is_off_must_trust_the_relays(skew_s: int) -> None:
    stage = LiveClients(RelayConfig())
    try:
        alice, bob = stage.phone("alice", clock_skew_s=skew_s), stage.phone("bob")
        for phone in (alice, bob):
            phone.do("connect")
        stage.until(lambda: alice.online and bob.online)
        message_id = alice.send(bob)
        stage.until(lambda: bob.shown == [message_id] and alice.acked == [message_id])
    finally:
        stage.close()
