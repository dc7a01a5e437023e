"""States and edges, backoff between attempts, and what follows each close (R-11.1 to R-11.3)."""

from __future__ import annotations

import pytest
from fake_relay import HOUR, MS, FakeRelay, S, config
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.client_effects import (
    AbortSocket,
    CloseSocket,
    Connect,
    GaveUp,
    StateChanged,
    Update,
)
from zentalk_sim.protocol.client_state import OPEN, TRANSITIONS, ClientState, next_state
from zentalk_sim.protocol.frames import AuthFailed

D, CING, A, CED, CLO, F = (
    ClientState.DISCONNECTED,
    ClientState.CONNECTING,
    ClientState.AUTHENTICATING,
    ClientState.CONNECTED,
    ClientState.CLOSING,
    ClientState.FAILED,
)


@pytest.mark.requirement("R-11.1")
def test_the_edges_are_those_of_the_diagram_and_of_the_ruling_and_no_others() -> None:
    assert {(old, new) for old, edges in TRANSITIONS.items() for new in edges.values()} == {
        (D, CING),
        (CING, A),
        (CING, F),
        (A, CED),
        (A, F),
        (A, D),
        (A, CLO),
        (CED, F),
        (CED, D),
        (CED, CLO),
        (CLO, D),
        (F, CING),
    }
    assert set(TRANSITIONS) == set(ClientState)
    assert {A, CED, CLO} == OPEN
    assert next_state(D, "connect") is CING
    assert next_state(D, "opened") is None


@pytest.mark.requirement("R-11.1")
def test_connect_runs_through_the_handshake_to_connected() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    (query,) = [effect.query for effect in relay.all(Connect)]
    assert query == {"token": "first-token", "device_id": relay.identity.device_id, "protocol_version": "1"}
    relay.handshake()
    assert relay.states() == [CING, A, CED]


@pytest.mark.requirement("R-11.1")
def test_connect_must_not_disturb_a_connection_under_way_or_standing() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    for _ in range(2):
        assert relay.client.connect(relay.now) == []
        relay.handshake() if relay.state is CING else None
    assert relay.client.connect(relay.now) == []


@pytest.mark.requirement("R-11.1")
def test_connecting_fails_after_10_s_and_authenticating_after_5_s() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.advance(10 * S - 1)
    assert relay.state is CING
    relay.advance(1)
    assert relay.state is F
    assert [effect.cause for effect in relay.new(AbortSocket)] == ["connect_timeout"]
    relay.wait_for_attempt()
    relay.open()
    relay.challenge()
    relay.advance(5 * S - 1)
    assert relay.state is A
    relay.advance(1)
    assert relay.state is F
    assert [effect.cause for effect in relay.new(AbortSocket)] == ["auth_timeout"]


@pytest.mark.requirement("R-11.1")
@pytest.mark.parametrize("handshake", [False, True])
def test_close_goes_through_closing_to_disconnected(handshake: bool) -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.handshake() if handshake else relay.open()
    relay.do(relay.client.close(relay.now))
    assert relay.state is CLO
    assert relay.new(CloseSocket) == [CloseSocket(1000, "")]
    relay.lose(1000)
    assert relay.state is D
    assert relay.client.next_timeout() is None


@pytest.mark.requirement("R-11.1")
def test_closing_ends_after_2_s_without_an_answer() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.close(relay.now))
    relay.advance(2 * S - 1)
    assert relay.state is CLO
    relay.advance(1)
    assert relay.state is D
    assert [effect.cause for effect in relay.new(AbortSocket)] == ["closing_timeout"]


def test_connect_while_closing_gives_the_old_socket_up() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.close(relay.now))
    relay.do(relay.client.connect(relay.now))
    assert relay.states()[-3:] == [CLO, D, CING]
    assert relay.new(AbortSocket) == [AbortSocket("reconnect")]


def test_close_before_the_socket_is_open_drops_the_attempt_and_plans_no_other() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.do(relay.client.close(relay.now))
    assert relay.state is F
    assert relay.new(AbortSocket) == [AbortSocket("application")]
    assert relay.client.next_timeout() is None
    assert relay.client.close(relay.now) == []


def test_close_while_waiting_for_the_next_attempt_cancels_it() -> None:
    relay = FakeRelay().join()
    relay.lose()
    relay.do(relay.client.close(relay.now))
    relay.advance(HOUR)
    assert relay.state is F
    assert len(relay.all(Connect)) == 1


@pytest.mark.requirement("R-11.2")
def test_waits_grow_with_each_failure_and_the_tenth_is_the_last() -> None:
    relay = FakeRelay().join()
    relay.lose()
    for k in range(10):
        wait = relay.wait_for_attempt()
        d = min(30, 2**k) * S
        assert d <= wait <= d * 11 // 10
        assert relay.new(GaveUp) == []
        relay.do(relay.client.connect_failed(relay.now))
    assert relay.state is F
    assert relay.new(GaveUp) == [GaveUp(10)]
    relay.advance(24 * HOUR)
    relay.do(relay.client.network_changed(relay.now))
    assert len(relay.all(Connect)) == 11


@pytest.mark.requirement("R-11.2")
def test_after_giving_up_the_application_may_ask_again_and_the_count_begins_anew() -> None:
    relay = FakeRelay(config(backoff={"max_attempts": 2}))
    for _ in range(2):
        relay.do(relay.client.connect(relay.now))
        relay.do(relay.client.connect_failed(relay.now))
        assert 1 * S <= relay.wait_for_attempt() <= 1.1 * S
        relay.do(relay.client.connect_failed(relay.now, 503))
        assert relay.new(GaveUp) == [GaveUp(2)]


@pytest.mark.requirement("R-11.2")
def test_the_applications_own_connect_has_no_delay_even_amid_a_backoff() -> None:
    relay = FakeRelay().join()
    relay.lose()
    relay.do(relay.client.connect(relay.now))
    assert relay.state is CING
    relay.do(relay.client.connect_failed(relay.now))
    assert relay.client.failures == 1
    assert 2 * S <= relay.wait_for_attempt() <= 2.2 * S


@pytest.mark.requirement("R-11.2")
@pytest.mark.parametrize(("reset_at", "expected_s"), [("auth_success", [1, 2, 4]), ("open", [1, 1, 1])])
def test_the_count_returns_to_zero_at_auth_success_not_at_opening(reset_at: str, expected_s: list[int]) -> None:
    relay = FakeRelay(config(backoff={"reset_at": reset_at, "jitter": 0}))
    relay.do(relay.client.connect(relay.now))
    waits = []
    for _ in expected_s:
        relay.open()
        relay.lose()
        waits.append(relay.wait_for_attempt())
    assert waits == [s * S for s in expected_s]
    relay.handshake()
    relay.lose()
    assert relay.wait_for_attempt() == 1 * S


@pytest.mark.requirement("R-11.2")
def test_a_network_change_retries_at_once() -> None:
    relay = FakeRelay().join()
    relay.lose()
    relay.advance(300 * MS)
    relay.do(relay.client.network_changed(relay.now))
    assert relay.state is CING
    relay.handshake()
    assert relay.client.network_changed(relay.now)[0] == AbortSocket("network_changed")
    assert relay.state is CING


def test_a_network_change_without_a_connection_wanted_does_nothing() -> None:
    relay = FakeRelay()
    assert relay.client.network_changed(relay.now) == []


@pytest.mark.requirement("R-4.2")
def test_auth_failed_is_told_and_its_close_decides() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.open()
    relay.challenge()
    relay.say("AUTH_FAILED", AuthFailed("UNAUTHORIZED", "signature"))
    assert [effect.frame.payload.message for effect in relay.new(Update)] == ["signature"]
    assert relay.state is A
    relay.lose(4000)
    assert relay.state is D


def test_events_of_a_socket_already_gone_are_ignored() -> None:
    relay = FakeRelay()
    client, now = relay.client, relay.now
    assert client.closed(1006, now) == []
    assert client.connected(now) == []
    assert client.connect_failed(now) == []
    assert client.close(now) == []
    relay.join()
    assert client.connected(now) == []
    relay.lose()
    assert client.closed(1006, now) == []


def test_a_close_reported_while_connecting_is_a_failed_attempt() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.lose(1006)
    assert relay.state is F
    assert relay.client.failures == 1


@pytest.mark.requirement("R-13.1")
def test_timers_due_before_an_input_run_first_each_at_its_own_instant() -> None:
    relay = FakeRelay(config(backoff={"jitter": 0}))
    relay.do(relay.client.connect(relay.now))
    # The connect time-out (10 s), the backoff (1 s) and the second time-out have all passed unserved.
    late = relay.now + 21 * S + 1
    effects = relay.client.connected(late)
    assert [effect.new for effect in effects if isinstance(effect, StateChanged)] == [F, CING, F]


@pytest.mark.requirement("R-13.1")
def test_an_input_at_the_instant_of_a_timer_comes_before_it() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.do(relay.client.connected(relay.now + 10 * S))
    assert relay.state is A


@given(
    st.lists(st.sampled_from(["connect", "close", "open", "hello", "lost", "stop", "fail", "network", "wait", "token"]))
)
def test_whatever_happens_only_edges_of_the_table_are_taken(happenings: list[str]) -> None:
    relay = FakeRelay(wire=False)
    client = relay.client
    for happening in happenings:
        match happening:
            case "connect":
                relay.do(client.connect(relay.now))
            case "close":
                relay.do(client.close(relay.now))
            case "open":
                relay.open()
            case "hello":
                relay.challenge()
                relay.success()
            case "lost":
                relay.lose(1006)
            case "stop":
                relay.lose(4003)
            case "fail":
                relay.do(client.connect_failed(relay.now, 401))
            case "network":
                relay.do(client.network_changed(relay.now))
            case "token":
                relay.do(client.renew_token("t", relay.now))
            case _:
                relay.advance(7 * S)
    at = D
    for change in relay.all(StateChanged):
        assert change.old is at
        assert change.new in TRANSITIONS[at].values()
        at = change.new
    assert at is relay.state
