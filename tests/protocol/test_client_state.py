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
    NeedToken,
    StateChanged,
    Update,
)
from zentalk_sim.protocol.client_state import OPEN, TRANSITIONS, ClientState, next_state
from zentalk_sim.protocol.close_policy import close_action, close_cause
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


@pytest.mark.requirement("R-11.3")
@pytest.mark.parametrize("code", [1000, 1008, 1009, 4000, 4003, 4004, 4005, 4999])
def test_these_closes_stop(code: int) -> None:
    relay = FakeRelay().join()
    relay.lose(code)
    assert relay.state is D
    relay.advance(24 * HOUR)
    assert len(relay.all(Connect)) == 1


@pytest.mark.requirement("R-11.3")
def test_the_device_limit_is_reported_in_words() -> None:
    relay = FakeRelay().join()
    relay.lose(4004)
    assert relay.new(StateChanged) == [StateChanged(CED, D, "4004 remove a device")]
    assert close_cause(4321) == "4321"


@pytest.mark.requirement("R-11.3")
@pytest.mark.parametrize("code", [1001, 1002, 1003, 1006, 1007, 1011, 1012, 3000])
def test_these_closes_are_backed_off(code: int) -> None:
    relay = FakeRelay().join()
    relay.lose(code)
    assert relay.state is F
    assert 1 * S <= relay.wait_for_attempt() <= 1.1 * S


@given(st.integers(0, 70_000))
def test_every_code_has_an_action(code: int) -> None:
    assert close_action(code) in ("stop", "backoff", "token", "cooldown")


@pytest.mark.requirement("R-11.3")
def test_4001_asks_for_a_token_and_then_connects_at_once() -> None:
    relay = FakeRelay().join()
    relay.lose(4001)
    assert relay.new(NeedToken) == [NeedToken()]
    relay.advance(HOUR)
    assert relay.state is F
    relay.do(relay.client.renew_token("second-token", relay.now))
    assert relay.all(Connect)[-1].query["token"] == "second-token"
    assert relay.state is CING


@pytest.mark.requirement("R-11.3")
def test_tokens_refused_again_and_again_must_not_make_a_tight_loop() -> None:
    relay = FakeRelay().join()
    relay.lose(4001)
    relay.do(relay.client.renew_token("second", relay.now))
    relay.open()
    relay.lose(4001)
    relay.do(relay.client.renew_token("third", relay.now))
    assert relay.state is CING
    relay.do(relay.client.connect_failed(relay.now, 401))
    assert len(relay.all(NeedToken)) == 3
    relay.do(relay.client.renew_token("fourth", relay.now))
    assert relay.state is F
    assert 1 * S <= relay.wait_for_attempt() <= 1.1 * S


def test_a_token_given_without_need_serves_the_next_connection() -> None:
    relay = FakeRelay().join()
    assert relay.client.renew_token("better", relay.now) == []
    relay.rejoin()
    assert relay.all(Connect)[-1].query["token"] == "better"


def test_connect_while_a_token_is_awaited_tries_with_what_there_is() -> None:
    relay = FakeRelay().join()
    relay.lose(4001)
    relay.do(relay.client.close(relay.now))
    assert relay.client.renew_token("late", relay.now) == []
    relay.do(relay.client.connect(relay.now))
    assert relay.state is CING


@pytest.mark.requirement("R-11.3")
@pytest.mark.parametrize(("retry_after", "least_s"), [(7, 8), (None, 61), ("soon", 61), (True, 61), (-1, 61)])
def test_4002_waits_the_cooldown_and_then_the_backoff(retry_after: object, least_s: int) -> None:
    relay = FakeRelay().join()
    if retry_after is not None:
        relay.error("RATE_LIMITED", retry_after=retry_after)
    relay.lose(4002)
    wait = relay.wait_for_attempt()
    assert least_s * S <= wait <= (least_s + 0.1) * S


@pytest.mark.requirement("R-11.3")
def test_4002_before_authentication_uses_the_error_that_came_with_it() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.open()
    relay.error("RATE_LIMITED", retry_after=20)
    relay.lose(4002)
    assert 21 * S <= relay.wait_for_attempt() <= 21.1 * S


@pytest.mark.requirement("R-11.3")
def test_the_cooldown_of_an_earlier_connection_is_not_this_ones() -> None:
    relay = FakeRelay().join()
    relay.error("RATE_LIMITED", retry_after=7)
    relay.rejoin()
    relay.lose(4002)
    assert relay.wait_for_attempt() >= 61 * S


@pytest.mark.requirement("R-11.3")
def test_a_network_change_must_not_shorten_a_cooldown() -> None:
    relay = FakeRelay().join()
    relay.error("RATE_LIMITED", retry_after=10)
    relay.lose(4002)
    relay.do(relay.client.network_changed(relay.now))
    assert relay.wait_for_attempt() == 10 * S


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
