"""Serialisation, the bounded queue, and the initial window. 50 ms each way, so SRTT 100 ms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.network.support import FAR, MS, S, connection
from zentalk_sim.network.link import Side
from zentalk_sim.network.profile import OneWay

SEGMENT = 1460
WIRE = 1500
"""A full segment with its headers: 12 ms at 1 Mbit/s."""


def test_a_frame_takes_its_bits_through_the_bottleneck() -> None:
    alice = connection(rate_bit_per_s=1_000_000)
    assert alice.carry_up(SEGMENT, 0) == 12 * MS + 50 * MS


def test_each_segment_carries_its_own_headers() -> None:
    alice = connection(rate_bit_per_s=1_000_000)
    assert alice.carry_up(2 * SEGMENT + 85, 0) == (12 + 12 + 1) * MS + 50 * MS


def test_frames_queue_behind_each_other() -> None:
    alice = connection(rate_bit_per_s=1_000_000)
    assert [alice.carry_up(SEGMENT, now * MS) for now in (0, 0, 5, 100)] == [62 * MS, 74 * MS, 86 * MS, 162 * MS]


def test_directions_have_bandwidth_of_their_own() -> None:
    alice = connection(up=OneWay(rate_bit_per_s=1_000_000), down=OneWay(rate_bit_per_s=2_000_000))
    assert alice.carry_up(SEGMENT, 0) == 62 * MS
    assert alice.carry_down(SEGMENT, 0) == 56 * MS


def test_small_frames_do_not_gain_or_lose_by_rounding() -> None:
    """1 000 frames of 1 byte at 7 Mbit/s: 41 000 bytes take 46 857.14 µs, where rounding each up would take 47 000."""
    alice = connection(rate_bit_per_s=7_000_000, initial_window_segments=1000)
    instants = [alice.carry_up(1, 0) for _ in range(1000)]
    assert (instants[-1] or 0) - 50 * MS in (46_857, 46_858)


def test_a_full_queue_drops_and_the_loss_shows_as_delay() -> None:
    """Two segments fit. The third of three is dropped and not followed: the probe repairs it, 200 ms after the
    queue has drained, and it takes its own 12 ms then."""
    alice = connection(rate_bit_per_s=1_000_000, queue_bytes=2 * WIRE)
    assert alice.carry_up(3 * SEGMENT, 0) == (24 + 200 + 12 + 50) * MS


def test_a_queue_with_room_drops_nothing() -> None:
    alice = connection(rate_bit_per_s=1_000_000, queue_bytes=3 * WIRE)
    assert alice.carry_up(3 * SEGMENT, 0) == (36 + 50) * MS


def test_a_queue_drains_at_the_rate() -> None:
    alice = connection(rate_bit_per_s=1_000_000, queue_bytes=2 * WIRE)
    assert alice.carry_up(2 * SEGMENT, 0) == 74 * MS
    # After 12 ms one segment has left, so there is room for one.
    assert alice.carry_up(SEGMENT, 12 * MS) == 86 * MS


def test_ten_segments_go_in_the_first_round_trip() -> None:
    """RFC 6928: initial window of ten; then twenty, then forty."""
    assert connection(rate_bit_per_s=10**12).carry_up(10 * SEGMENT, 0) == 50 * MS + 1
    instants = [
        (connection(rate_bit_per_s=10**12).carry_up(n * SEGMENT, 0) or 0) // MS for n in (10, 11, 30, 31, 70, 71)
    ]
    assert instants == [50, 150, 150, 250, 250, 350]


def test_the_window_grows_only_when_it_was_filled() -> None:
    alice = connection(rate_bit_per_s=10**12)
    alice.carry_up(100, 0)
    alice.carry_up(100, 150 * MS)
    assert (alice.carry_up(11 * SEGMENT, 260 * MS) or 0) // MS == 260 + 150


def test_a_grown_window_serves_the_next_frame() -> None:
    alice = connection(rate_bit_per_s=10**12)
    alice.carry_up(10 * SEGMENT, 0)
    assert (alice.carry_up(20 * SEGMENT, 110 * MS) or 0) // MS == 160


def test_idle_for_longer_than_the_rto_begins_anew() -> None:
    """RFC 5681 §4.1."""
    alice = connection(rate_bit_per_s=10**12)
    alice.carry_up(30 * SEGMENT, 0)
    assert (alice.carry_up(11 * SEGMENT, 10 * S) or 0) // MS == 10_000 + 150


def test_a_link_without_loss_or_limit_has_no_window() -> None:
    alice = connection(latency=FAR)
    assert not alice.profile.needs_size
    assert alice.carry_up(1000 * SEGMENT, 0) == 50 * MS


@given(rate=st.integers(1, 10**11), wire_bytes=st.integers(1, 1_000_000))
def test_the_time_that_bytes_take_must_be_exact_to_the_nanosecond(rate: int, wire_bytes: int) -> None:
    side = Side(OneWay(latency=FAR, rate_bit_per_s=rate))
    assert side.took_ns(wire_bytes) == wire_bytes * 8 * 10**9 // rate


def test_parts_of_a_microsecond_must_add_up_and_only_arrivals_be_rounded() -> None:
    """40 + 1 bytes at 1 Gbit/s are 328 ns: three of them leave after 1, 1 and 1 µs, the fourth after 2."""
    alice = connection(rate_bit_per_s=1_000_000_000)
    assert [alice.carry_up(1, 0) - 50 * MS for _ in range(4)] == [1, 1, 1, 2]
