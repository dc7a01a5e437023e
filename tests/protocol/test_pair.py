"""Client core against relay core: what both must do together, by the clock."""

from __future__ import annotations

import msgspec
import pytest
from pair import Pair, Phone

from zentalk_sim.protocol.client_effects import Acked, Deliver, Failed, GaveUp, Receipt, Rejected
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import CloseConn, Suspend

requirement = pytest.mark.requirement


def settings(mapping: dict) -> RelayConfig:
    return msgspec.convert(mapping, RelayConfig)


@pytest.fixture(params=[True, False], ids=["wire", "frames"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(settings({"integrity": "require"}), wire=request.param)


def connected(pair: Pair, *names: str) -> list[Phone]:
    phones = [pair.phone(name) for name in names]
    for phone in phones:
        phone.do("connect")
    pair.run(1)
    assert all(phone.client.state is ClientState.CONNECTED for phone in phones)
    return phones


@requirement("R-6.2", "R-6.3", "R-5.2")
def test_a_message_must_be_shown_acknowledged_delivered_and_read(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    message_id = alice.message(bob, b"hi")
    pair.run(1)
    shown = bob.of(Deliver)
    assert [(d.message_id, d.sender, d.payload.ciphertext, d.via) for d in shown] == [
        (message_id, alice.address, b"hi", "push")
    ]
    bob.do("mark_read", message_id)
    pair.run(1)
    assert [a.message_id for a in alice.of(Acked)] == [message_id]
    assert [(r.kind, r.by) for r in alice.of(Receipt)] == [("delivered", bob.device_id), ("read", bob.address)]


@requirement("R-6.6", "R-11.6")
def test_a_backlog_must_be_fetched_and_shown_in_order_before_what_is_live(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    bob.do("close")
    pair.run(5)
    sent = []
    for _ in range(9):
        sent.append(alice.message(bob))
        pair.run(2)
    bob.do("connect")
    # Sent while bob fetches: six latencies after his connect.
    pair.run(0.12)
    sent.append(alice.message(bob))
    pair.run(5)
    assert [d.message_id for d in bob.of(Deliver)] == sent
    assert pair.relay.store.mailboxes == {}
    assert len(alice.of(Receipt)) == 10


@requirement("R-11.4", "R-5.6")
def test_a_message_whose_ack_was_lost_must_be_sent_again_and_shown_once(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    alice.message(bob)
    pair.run(0.021)
    # The relay has it; the ACK is on its way when the connection breaks.
    alice.cut()
    pair.run(10)
    assert len(bob.of(Deliver)) == 1
    assert [a.status for a in alice.of(Acked)] == ["duplicate"]
    assert pair.notes["messages.duplicate"] == 1


@requirement("R-11.2", "R-12.1")
def test_a_crash_must_be_survived_with_backoff_and_nothing_acknowledged_lost(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    first = alice.message(bob)
    pair.run(0.025)
    pair.crash()
    pair.run(7)
    pair.restart()
    pair.run(20)
    assert [d.message_id for d in bob.of(Deliver)] == [first]
    waits = [b - a for a, b in zip(bob.attempts_us[1:], bob.attempts_us[2:], strict=False)]
    for k, wait in enumerate(waits, start=1):
        # From one attempt to the next: two latencies to be refused, then d to 1.1 d of.
        d = 1_000_000 * 2**k
        assert d <= wait - 40_000 <= d * 1.1
    assert bob.client.state is ClientState.CONNECTED
    assert bob.client.failures == 0


@requirement("R-11.2")
def test_ten_failures_must_end_the_attempts_until_asked(pair: Pair) -> None:
    (alice,) = connected(pair, "alice")
    pair.crash()
    pair.run(600)
    assert [g.attempts for g in alice.of(GaveUp)] == [10]
    assert alice.client.state is ClientState.FAILED
    count = len(alice.attempts_us)
    pair.run(3600)
    assert len(alice.attempts_us) == count
    pair.restart()
    alice.do("connect")
    pair.run(1)
    assert alice.client.state is ClientState.CONNECTED


@requirement("R-8.1", "R-8.3", "R-11.2")
def test_silence_must_end_the_connection_on_both_sides_and_be_recovered_from(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    alice.silent = True
    bob.message(alice)
    pair.run(121)
    assert pair.notes["connections.lost.heartbeat"] == 1
    pair.run(10)
    assert alice.client.state is ClientState.CONNECTED
    assert [d.via for d in alice.of(Deliver)] == ["fetch"]


@requirement("R-8.1", "R-8.2")
def test_a_quiet_hour_must_be_held_by_heartbeats_alone(pair: Pair) -> None:
    alice, _ = connected(pair, "alice", "bob")
    pair.run(3600)
    assert pair.notes["heartbeats.sent"] == 2 * 120
    assert "heartbeats.missed" not in pair.notes
    assert len(alice.attempts_us) == 1


@requirement("R-9.3", "R-11.7")
def test_a_session_must_outlive_its_token_by_refreshing(pair: Pair) -> None:
    alice, _ = connected(pair, "alice", "bob")
    pair.run(3 * 86_400)
    assert len(alice.attempts_us) == 1
    assert sum(frame.type == "TOKEN_REFRESH" for frame in alice.sent) == 3
    assert alice.client.state is ClientState.CONNECTED


@requirement("R-11.3")
@pytest.mark.parametrize(("code", "returns"), [(1000, False), (1001, True), (1008, False), (1011, True), (4003, False)])
def test_a_client_must_come_back_after_some_codes_only(pair: Pair, code: int, returns: bool) -> None:
    (alice,) = connected(pair, "alice")
    pair.control(CloseConn(alice.conn or 0, code))
    pair.run(30)
    assert (alice.client.state is ClientState.CONNECTED) == returns
    assert len(alice.attempts_us) == (2 if returns else 1)


@requirement("R-3.2", "R-11.3")
def test_a_suspended_user_must_stay_away(pair: Pair) -> None:
    (alice,) = connected(pair, "alice")
    pair.control(Suspend(alice.address))
    pair.run(600)
    assert alice.client.state is ClientState.DISCONNECTED
    assert len(alice.attempts_us) == 1


@requirement("R-10.1", "R-11.4", "R-11.5")
def test_a_burst_beyond_the_limit_must_get_through_in_the_end(pair: Pair) -> None:
    alice, bob = connected(pair, "alice", "bob")
    sent = []
    for _ in range(25):
        sent.append(alice.message(bob))
        pair.run(0.05)
    pair.run(120)
    assert sorted(d.message_id for d in bob.of(Deliver)) == sorted(sent)
    assert pair.notes["rate_limited.send_message"] > 0
    assert alice.of(Failed) == []
    assert len(alice.attempts_us) == 1


@requirement("R-11.4")
def test_the_101st_message_must_be_rejected_while_away_and_the_rest_sent_newest_first(pair: Pair) -> None:
    pair.relay.configure(settings({"limits": {"send_message": "off"}}))
    alice, bob = pair.phone("alice"), pair.phone("bob")
    bob.do("connect")
    pair.run(1)
    sent = [alice.message(bob) for _ in range(101)]
    assert [(r.message_id, r.reason) for r in alice.of(Rejected)] == [(sent[100], "queue_full")]
    alice.do("connect")
    pair.run(1)
    began = len(bob.of(Deliver))
    pair.run(20)
    assert [d.message_id for d in bob.of(Deliver)] == sent[99::-1]
    assert 0 < began < 20, "one per 100 ms"


@requirement("R-2.2")
def test_a_large_message_must_travel_in_binary(pair: Pair) -> None:
    pair.relay.configure(RelayConfig())
    alice, bob = connected(pair, "alice", "bob")
    text = bytes(range(256)) * 400
    alice.message(bob, text)
    pair.run(1)
    assert [d.payload.ciphertext for d in bob.of(Deliver)] == [text]


def test_both_fidelities_must_tell_the_applications_the_same() -> None:
    """Same seed, same story: but for what cryptography makes, ``wire`` and ``frames`` cannot be told apart."""
    stories = []
    for wire in (True, False):
        pair = Pair(settings({"integrity": "require"}), ClientConfig(), wire=wire)
        alice, bob, carol = connected(pair, "alice", "bob", "carol")
        for n in range(30):
            alice.message(bob)
            bob.message(carol)
            if n == 10:
                carol.cut()
            if n == 15:
                pair.crash()
            if n == 20:
                pair.restart()
            pair.run(3)
        pair.run(300)
        names = {phone.address: phone.name for phone in pair.phones}
        stories.append(
            (
                pair.notes,
                [phone.attempts_us for phone in pair.phones],
                [[(d.message_id, names[d.sender], d.via) for d in phone.of(Deliver)] for phone in pair.phones],
            )
        )
    assert stories[0] == stories[1]
