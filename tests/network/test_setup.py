"""Setting a connection up: SYN retries, TLS, and what a blocked path does to them. 50 ms each way."""

from __future__ import annotations

import pytest

from tests.network.support import MS, Losing, S, connection
from zentalk_sim.network.path import Path
from zentalk_sim.protocol.timers import NEVER


def test_tcp_takes_one_round_trip_and_tls_another() -> None:
    alice = connection()
    assert alice.handshake(0) == 100 * MS
    assert alice.tls(100 * MS) == 200 * MS
    assert alice.reset_at_us == NEVER


@pytest.mark.parametrize(("round_trips", "done_ms"), [(0, 100), (2, 300)])
def test_tls_takes_its_round_trips(round_trips: int, done_ms: int) -> None:
    alice = connection(tls_round_trips=round_trips)
    assert alice.handshake(0) == 100 * MS
    assert alice.tls(100 * MS) == done_ms * MS


def test_the_certificates_take_bandwidth() -> None:
    """517 + 40 bytes up, 3 500 + 3·40 bytes down, at 1 Mbit/s."""
    alice = connection(rate_bit_per_s=1_000_000)
    assert alice.tls(0) == (557 + 3_620) * 8 + 100 * MS


def test_syns_are_repeated_after_1_2_4_seconds_until_the_attempt_fails() -> None:
    """RFC 6298 (2.1), (5.5): from the first, SYNs at 0, 1, 3, 7, 15, 31 and 63 s, and the end at 127 s."""
    path = Path()
    path.block("both", 0)
    alice = connection(path=path)
    sent: list[int] = []
    now_us = 0
    while now_us != NEVER:
        sent.append(now_us)
        assert alice.handshake(now_us) == NEVER
        now_us = alice.retry_at_us
    assert sent == [0, 1 * S, 3 * S, 7 * S, 15 * S, 31 * S, 63 * S]
    assert alice.reset_at_us == 127 * S
    assert alice.reset_by == "device"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_partition_of_one_way_stops_the_handshake(direction: str) -> None:
    path = Path()
    path.block(direction, 0)  # type: ignore[arg-type]
    alice = connection(path=path)
    assert alice.handshake(0) == NEVER
    path.heal(direction, 500 * MS)  # type: ignore[arg-type]
    assert alice.retry_at_us == 1 * S
    assert alice.handshake(1 * S) == 1 * S + 100 * MS
    assert alice.retry_at_us == NEVER


def test_a_lost_syn_costs_a_second_and_two_cost_three() -> None:
    alice = connection(loss_up=Losing(1, 2))
    assert alice.handshake(0) == NEVER
    assert alice.handshake(1 * S) == NEVER
    assert alice.retry_at_us == 3 * S
    assert alice.handshake(3 * S) == 3 * S + 100 * MS


def test_a_host_that_does_not_answer_counts_with_the_losses() -> None:
    alice = connection(loss_up=Losing(1))
    assert alice.handshake(0) == NEVER
    assert alice.handshake(1 * S) == 1 * S + 100 * MS
    alice.syn_unanswered(1 * S)
    assert alice.retry_at_us == 3 * S
    assert alice.handshake(3 * S) == 3 * S + 100 * MS
    assert alice.tls(3 * S + 100 * MS) == 3 * S + 200 * MS


def test_tls_into_a_partition_is_asked_again_at_the_retransmissions() -> None:
    """The ClientHello is alone in flight: sent again 300 ms later, then 300, 600 ms after."""
    path = Path()
    alice = connection(path=path)
    alice.handshake(0)
    path.block("both", 150 * MS)
    assert alice.tls(200 * MS) == NEVER
    assert alice.retry_at_us == 500 * MS
    assert alice.tls(500 * MS) == NEVER
    assert alice.retry_at_us == 800 * MS
    path.heal("both", 600 * MS)
    assert alice.tls(800 * MS) == 900 * MS
    assert alice.retry_at_us == NEVER
    assert alice.reset_at_us == NEVER


def test_tls_into_a_lasting_partition_fails_at_the_give_up() -> None:
    path = Path()
    alice = connection(path=path, max_retries=2)
    path.block("both", 0)
    asked, now_us = [], 0
    while alice.tls(now_us) == NEVER and alice.retry_at_us != NEVER:
        now_us = alice.retry_at_us
        asked.append(now_us // MS)
    assert asked == [300, 600, 1200]
    assert alice.reset_at_us == 2400 * MS


def test_a_connection_that_met_trouble_is_fast_again() -> None:
    path = Path()
    alice = connection(path=path, loss_up=None)
    path.block("both", 0)
    assert alice.handshake(0) == NEVER
    path.heal("both", 1)
    assert alice.handshake(1 * S) != NEVER
    assert alice.tls(2 * S) != NEVER
    assert alice._stall is None
    assert alice.carry_up(100, 3 * S) == 3 * S + 50 * MS
