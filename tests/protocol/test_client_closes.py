"""What a client does after each close code: stop, back off, ask for a token, wait a cooldown."""

from __future__ import annotations

import pytest
from fake_relay import HOUR, FakeRelay, S
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.client_effects import (
    Connect,
    NeedToken,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.close_policy import close_action, close_cause

D, CING, A, CED, CLO, F = (
    ClientState.DISCONNECTED,
    ClientState.CONNECTING,
    ClientState.AUTHENTICATING,
    ClientState.CONNECTED,
    ClientState.CLOSING,
    ClientState.FAILED,
)


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
