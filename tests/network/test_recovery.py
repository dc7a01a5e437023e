"""Loss shows as delay: which repair a lost segment gets, and when it arrives. SRTT 100 ms, RTO 300 ms."""

from __future__ import annotations

from math import sqrt
from statistics import fmean

import pytest

from tests.network.support import FAR, MS, Losing, S, connection
from zentalk_sim.network.latency import Constant, Normal
from zentalk_sim.network.link import link_of
from zentalk_sim.network.loss import Bernoulli
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER

SEGMENT = 1460


def test_what_is_not_lost_arrives_after_its_latency() -> None:
    assert connection(loss_up=Losing()).carry_up(5 * SEGMENT, 0) == 50 * MS


def test_three_later_segments_repair_a_loss_in_one_round_trip() -> None:
    """RFC 5681 §3.2: the first of four is lost; the third duplicate acknowledgement is back after 100 ms."""
    assert connection(loss_up=Losing(1)).carry_up(4 * SEGMENT, 0) == 100 * MS + 50 * MS


def test_two_later_segments_do_not_and_the_probe_repairs_it() -> None:
    """RFC 8985 §7.2: PTO = 2·SRTT = 200 ms with more than one segment in flight."""
    assert connection(loss_up=Losing(1)).carry_up(3 * SEGMENT, 0) == 200 * MS + 50 * MS


def test_a_lost_tail_is_repaired_by_the_probe() -> None:
    assert connection(loss_up=Losing(8)).carry_up(8 * SEGMENT, 0) == 200 * MS + 50 * MS


def test_the_probe_repairs_the_last_of_two_and_its_answer_the_other() -> None:
    assert connection(loss_up=Losing(7, 8)).carry_up(8 * SEGMENT, 0) == 200 * MS + 100 * MS + 50 * MS


def test_losses_at_both_ends_of_a_flight_are_repaired_each_in_its_own_way() -> None:
    """The first by fast retransmit at 100 ms, the last by the probe at 200 ms: the frame waits for the later one."""
    assert connection(loss_up=Losing(1, 8)).carry_up(8 * SEGMENT, 0) == 250 * MS


def test_a_lone_segment_waits_for_the_retransmission_timeout() -> None:
    """One segment in flight: PTO = 2·SRTT + 200 ms lies beyond the RTO of 300 ms, so the probe goes at the RTO."""
    assert connection(loss_up=Losing(1)).carry_up(100, 0) == 300 * MS + 50 * MS


def test_a_segment_sent_soon_after_another_is_not_alone() -> None:
    alice = connection(loss_up=Losing(2))
    alice.carry_up(100, 0)
    assert alice.carry_up(100, 10 * MS) == 10 * MS + 200 * MS + 50 * MS


def test_a_lost_probe_is_followed_by_undoubled_then_doubled_timeouts() -> None:
    """Probe at 300, then RTOs of 300, 600 and 1200 ms."""
    assert connection(loss_up=Losing(1, 2, 3, 4)).carry_up(100, 0) == (300 + 300 + 600 + 1200 + 50) * MS


def test_without_the_probe_timeouts_double_from_the_first() -> None:
    alice = connection(loss_up=Losing(1, 2, 3), tail_loss_probe=False)
    assert alice.carry_up(100, 0) == (300 + 600 + 1200 + 50) * MS


def test_a_lost_fast_retransmission_waits_for_an_undoubled_timeout() -> None:
    assert connection(loss_up=Losing(1, 5)).carry_up(4 * SEGMENT, 0) == (100 + 300 + 50) * MS


def test_fast_retransmit_can_be_switched_off() -> None:
    assert connection(loss_up=Losing(1), fast_retransmit=False).carry_up(4 * SEGMENT, 0) == 250 * MS


def test_a_later_frame_waits_behind_a_lost_one() -> None:
    """Head-of-line blocking: TCP hands bytes over in order."""
    alice = connection(loss_up=Losing(1))
    assert alice.carry_up(100, 0) == 350 * MS
    assert alice.carry_up(100, 20 * MS) == 350 * MS
    assert alice.carry_up(100, 400 * MS) == 450 * MS


def test_the_other_direction_does_not_wait() -> None:
    alice = connection(loss_up=Losing(1))
    alice.carry_up(100, 0)
    assert alice.carry_down(100, 0) == 50 * MS


def test_fifteen_retries_in_vain_give_the_connection_up() -> None:
    """RFC 6298, minimum 200 ms, cap 120 s, no latency: 924.6 s, Linux's figure for tcp_retries2."""
    alice = connection(latency=Constant(0.0), loss_up=Losing(all_until=16), tail_loss_probe=False)
    assert alice.carry_up(100, 0) == NEVER
    assert alice.reset_at_us == 924_600 * MS
    assert alice.reset_by == "device"


def test_the_fifteenth_retry_may_still_succeed() -> None:
    alice = connection(latency=Constant(0.0), loss_up=Losing(all_until=15), tail_loss_probe=False)
    assert alice.carry_up(100, 0) == (924_600 - 120_000) * MS
    assert alice.reset_at_us == NEVER


def test_after_giving_up_nothing_of_that_direction_arrives() -> None:
    alice = connection(loss_up=Losing(all_until=99))
    assert alice.carry_up(100, 0) == NEVER
    assert alice.carry_up(100, S) == NEVER
    assert alice.release("up", 2 * S) == []
    assert alice.carry_down(100, 2 * S) == 2 * S + 50 * MS


def test_timeouts_alone_delay_by_the_closed_form() -> None:
    """R p / (1 − 2p) = 11.11 ms at p = 0.05 and R = 200 ms, mean over frames that are far apart."""
    profile = LinkProfile(loss=Bernoulli(0.05), tail_loss_probe=False)
    means = []
    for seed in range(20):
        alice = TcpConnection(profile, Path(), Streams(seed).fresh("link"), 0)
        delays = []
        for i in range(2_000):
            now_us = i * 3_600 * S
            at_us = alice.carry_up(100, now_us)
            assert at_us != NEVER
            delays.append(at_us - now_us)
        means.append(fmean(delays) / MS)
    error = sqrt(sum((mean - fmean(means)) ** 2 for mean in means) / 19 / 20)
    # Student's t with 19 degrees of freedom at 99.9 %.
    assert fmean(means) == pytest.approx(11.11, abs=3.88 * error)
    assert error < 0.6


@pytest.mark.parametrize(
    ("sd_ms", "rto_ms"),
    [
        # 4·RTTVAR below the minimum of 200 ms: SRTT + 200.
        (1.0, 800.0),
        # RTTVAR = √(2/π) · √2 · 100 = 112.8 ms: SRTT + 4·112.8.
        (100.0, 600 + 4 * 112.838 + 0.9),
    ],
)
def test_the_timeout_is_srtt_plus_the_greater_of_200_ms_and_four_rttvar(sd_ms: float, rto_ms: float) -> None:
    """RFC 6298 (2.3)."""
    link = link_of(LinkProfile(latency=Normal(mean_ms=300.0, sd_ms=sd_ms)))
    assert link.rto_us / MS == pytest.approx(rto_ms, abs=5)


def test_the_doubling_ends_at_two_minutes() -> None:
    timers = link_of(LinkProfile(latency=FAR)).timers_us
    assert timers[:4] == (300 * MS, 600 * MS, 1200 * MS, 2400 * MS)
    assert max(timers) == 120 * S
    assert len(timers) == 16
