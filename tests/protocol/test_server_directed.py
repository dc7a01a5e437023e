"""Policy ``server_directed``: a refusal's Retry-After says when to come back; what it does not say, R-11.2 does."""

from __future__ import annotations

import pytest

from tests.protocol.fake_relay import FakeRelay, config
from zentalk_sim.protocol.backoff import delay_us
from zentalk_sim.protocol.client_effects import GaveUp
from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.protocol.streams import Streams

S = 1_000_000
DIRECTED = BackoffConfig(policy="server_directed")


def directed(**backoff: object) -> FakeRelay:
    return FakeRelay(config(backoff={"policy": "server_directed", **backoff})).join()


@pytest.mark.requirement("R-11.2")
@pytest.mark.parametrize("attempt", [0, 1, 3, 9])
def test_the_wait_is_never_shorter_than_told_and_spreads_over_the_specifications_delay(attempt: int) -> None:
    stream = Streams("seed").stream("x")
    waits = [delay_us(DIRECTED, attempt, 0, stream, 7 * S) for _ in range(2_000)]
    d = min(30, 2**attempt) * S
    assert 7 * S <= min(waits) <= 7 * S + d // 50
    assert 7 * S + d * 49 // 50 <= max(waits) <= 7 * S + d


@pytest.mark.requirement("R-11.2")
def test_without_a_word_of_the_server_the_waits_are_the_specifications() -> None:
    for attempt in range(7):
        mine, spec = (Streams("seed").stream("x") for _ in range(2))
        assert delay_us(DIRECTED, attempt, 0, mine) == delay_us(BackoffConfig(), attempt, 0, spec)


@pytest.mark.parametrize("policy", ["spec", "none", "equal", "full", "decorrelated"])
def test_no_other_policy_heeds_what_the_server_says(policy: str) -> None:
    told, untold = (Streams("seed").stream("x") for _ in range(2))
    settings = BackoffConfig(policy=policy)  # type: ignore[arg-type]
    assert delay_us(settings, 2, S, told, 999 * S) == delay_us(settings, 2, S, untold)


def test_a_refusal_with_retry_after_directs_the_next_attempt_and_only_that_one() -> None:
    alice = directed()
    alice.lose()
    alice.wait_for_attempt()
    alice.do(alice.client.connect_failed(alice.now, 503, 20_000))
    assert 20 * S <= alice.wait_for_attempt() <= 22 * S
    alice.do(alice.client.connect_failed(alice.now))
    assert 4 * S <= alice.wait_for_attempt() <= 4.4 * S
    alice.do(alice.client.connect_failed(alice.now, 429, 1_000))
    assert 1 * S <= alice.wait_for_attempt() <= 9 * S


def test_refusals_with_retry_after_count_as_failures_like_all_others() -> None:
    alice = directed(max_attempts=3)
    alice.lose()
    for _ in range(3):
        alice.wait_for_attempt()
        alice.do(alice.client.connect_failed(alice.now, 503, 2_000))
    assert alice.new(GaveUp) == [GaveUp(3)]


def test_a_retry_after_beyond_a_day_counts_as_a_day_and_one_below_zero_as_none() -> None:
    alice = directed()
    alice.lose()
    alice.wait_for_attempt()
    alice.do(alice.client.connect_failed(alice.now, 503, 10**15))
    assert 86_400 * S <= alice.wait_for_attempt() <= 86_402 * S
    alice.do(alice.client.connect_failed(alice.now, 503, -5))
    assert 4 * S <= alice.wait_for_attempt() <= 4.4 * S


def test_a_refusal_that_asks_for_a_new_token_is_not_held_up_by_what_was_told_before() -> None:
    alice = directed()
    alice.lose()
    alice.wait_for_attempt()
    alice.do(alice.client.connect_failed(alice.now, 401, 500_000))
    alice.do(alice.client.network_changed(alice.now))
    alice.do(alice.client.connect(alice.now))
    alice.do(alice.client.connect_failed(alice.now, 503))
    assert alice.wait_for_attempt() <= 1.1 * S
