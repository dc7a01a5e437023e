"""Silence: blocked paths, what is held and when it comes, give-up, dead mappings, resets. SRTT 100 ms, RTO 300 ms."""

from __future__ import annotations

import pytest

from tests.network.support import MS, Losing, S, connection
from zentalk_sim.network.link import link_of
from zentalk_sim.network.path import Path
from zentalk_sim.protocol.timers import NEVER


def test_what_is_in_flight_when_a_partition_begins_still_arrives() -> None:
    path = Path()
    alice = connection(path=path)
    assert alice.carry_up(0, 0) == 50 * MS
    path.block("both", 10 * MS)
    assert alice.carry_up(0, 20 * MS) == NEVER


@pytest.mark.parametrize(
    ("heal_ms", "sent_again_ms"),
    # Sent at 0: again at 300 (the probe), 600, 1 200, 2 400, 4 800 …
    [(1, 300), (300, 300), (301, 600), (700, 1200), (3000, 4800)],
)
def test_what_was_held_comes_with_the_next_retransmission(heal_ms: int, sent_again_ms: int) -> None:
    path = Path()
    alice = connection(path=path)
    path.block("up", 0)
    assert alice.carry_up(0, 0) == NEVER
    path.heal("up", heal_ms * MS)
    assert alice.retransmission_us("up", heal_ms * MS) == sent_again_ms * MS
    assert alice.release("up", heal_ms * MS) == [(sent_again_ms + 50) * MS]
    assert alice.reset_at_us == NEVER


def test_small_frames_share_the_first_retransmission_and_large_ones_start_slowly() -> None:
    """Rounds of 1, 2, 4 … segments, a round trip of 100 ms apart (RFC 5681 §3.1 after a timeout)."""
    path = Path()
    alice = connection(path=path, loss_up=Losing())
    path.block("up", 0)
    for size_bytes in (500, 500, 460, 1460, 1460, 1460):
        assert alice.carry_up(size_bytes, 0) == NEVER
    path.heal("up", 100 * MS)
    assert alice.release("up", 100 * MS) == [ms * MS for ms in (350, 350, 350, 450, 450, 550)]


def test_what_is_sent_before_the_release_keeps_its_place() -> None:
    path = Path()
    alice = connection(path=path)
    path.block("up", 0)
    assert alice.carry_up(0, 0) == NEVER
    path.heal("up", 100 * MS)
    assert alice.carry_up(0, 200 * MS) == NEVER, "an earlier frame is still held"
    assert alice.release("up", 300 * MS) == [350 * MS, 350 * MS]
    assert alice.carry_up(0, 310 * MS) == 360 * MS


def test_release_while_blocked_gives_nothing_and_keeps_everything() -> None:
    path = Path()
    alice = connection(path=path)
    path.block("up", 0)
    alice.carry_up(0, 0)
    assert alice.release("up", 100 * MS) == []
    path.heal("up", 100 * MS)
    path.block("up", 200 * MS)
    assert alice.release("up", 300 * MS) == []
    path.heal("up", 400 * MS)
    assert alice.release("up", 400 * MS) == [650 * MS]


def test_overlapping_partitions_end_with_the_last() -> None:
    path = Path()
    path.block("both", 0)
    path.block("up", 1)
    assert path.heal("both", 2) == ("down",)
    assert path.up_blocked
    assert not path.down_blocked
    assert path.blocked
    assert path.heal("up", 3) == ("up",)
    assert not path.blocked


def test_healing_what_is_not_blocked_is_a_mistake_and_changes_nothing() -> None:
    path = Path()
    path.block("up", 0)
    with pytest.raises(ValueError, match="not blocked downwards"):
        path.heal("both", 1)
    assert path.up_blocked
    with pytest.raises(ValueError, match="up, down or both"):
        path.block("sideways", 0)  # type: ignore[arg-type]


def test_a_one_way_partition_lets_the_other_way_through_without_acknowledgements() -> None:
    """Down is open, so the device hears; the relay hears no acknowledgement, and its give-up runs."""
    path = Path()
    alice = connection(path=path)
    path.block("up", 0)
    assert alice.carry_down(0, 1 * S) == 1 * S + 50 * MS
    give_up_us = link_of(alice.profile).give_up_us
    assert alice.reset_at_us == 1 * S + give_up_us
    assert alice.reset_by == "relay"
    assert list(path.stalled) == [alice]
    path.heal("up", 2 * S)
    assert alice.release("up", 2 * S) == []
    assert alice.reset_at_us == NEVER
    assert not path.stalled


def test_the_end_that_sent_first_gives_up_first() -> None:
    path = Path()
    alice = connection(path=path)
    path.block("both", 0)
    alice.carry_down(0, 1 * S)
    alice.carry_up(0, 2 * S)
    assert alice.reset_by == "relay"
    path.heal("both", 3 * S)
    assert alice.release("up", 3 * S) == [2 * S + 1200 * MS + 50 * MS]
    assert alice.release("down", 3 * S) == [1 * S + 2400 * MS + 50 * MS]
    assert alice.reset_at_us == NEVER


def test_a_lasting_partition_is_given_up_after_the_last_retry() -> None:
    """Probe at 300, RTOs of 300, 600 and 1 200 ms, the last without a retransmission: 2.4 s with two retries."""
    path = Path()
    alice = connection(path=path, max_retries=2)
    path.block("up", 0)
    assert alice.carry_up(0, 1 * S) == NEVER
    assert alice.carry_up(0, 2 * S) == NEVER
    assert alice.reset_at_us == 1 * S + 2400 * MS
    path.heal("up", 3300 * MS)
    assert alice.retransmission_us("up", 3300 * MS) == NEVER, "the last retransmission was at 2.2 s"
    assert alice.release("up", 3300 * MS) == []
    assert alice.reset_at_us == 3400 * MS


def test_connections_in_trouble_are_listed_in_the_order_they_met_it() -> None:
    path = Path()
    alice, bob, carol = (connection(path=path) for _ in range(3))
    path.block("up", 0)
    for each in (bob, alice, carol, bob):
        each.carry_up(0, 1)
    assert list(path.stalled) == [bob, alice, carol]
    bob.close()
    assert list(path.stalled) == [alice, carol]


def test_a_silenced_device_hears_nothing_and_the_relay_gives_up() -> None:
    alice = connection()
    alice.silence(0)
    assert alice.reset_at_us == NEVER, "half-open: nobody has noticed"
    assert alice.carry_down(0, 5 * S) == NEVER
    assert alice.reset_at_us == 5 * S + link_of(alice.profile).give_up_us
    assert alice.release("down", 6 * S) == []
    assert alice.rst_up(7 * S) == NEVER


def test_a_reset_overtakes_what_is_being_repaired_and_may_be_lost() -> None:
    alice = connection(loss_up=Losing(1, 4))
    assert alice.carry_up(100, 0) == 350 * MS
    assert alice.rst_up(10 * MS) == 60 * MS
    assert alice.rst_up(20 * MS) == NEVER
    assert alice.rst_down(20 * MS) == 70 * MS
    alice.path.block("down", 30 * MS)
    assert alice.rst_down(30 * MS) == NEVER


def test_a_nat_mapping_lives_as_long_as_segments_pass() -> None:
    alice = connection(nat_idle_ms=60_000)
    assert [alice.carry_down(0, t * S) for t in (30, 90, 150)] == [t * S + 50 * MS for t in (30, 90, 150)]


def test_a_nat_that_forgot_swallows_what_the_relay_sends() -> None:
    alice = connection(nat_idle_ms=60_000)
    assert alice.carry_down(0, 61 * S) == NEVER
    assert alice.reset_by == "relay"
    assert alice.reset_at_us == 61 * S + link_of(alice.profile).give_up_us


def test_a_nat_that_forgot_gives_the_device_a_new_port_which_the_relay_resets() -> None:
    alice = connection(nat_idle_ms=60_000)
    assert alice.carry_down(0, 61 * S) == NEVER
    assert alice.carry_up(0, 70 * S) == NEVER
    assert alice.reset_by == "device"
    assert alice.reset_at_us == 70 * S + 100 * MS


def test_a_mapping_forgotten_during_a_partition_ends_the_connection_at_the_heal() -> None:
    path = Path()
    alice = connection(path=path, nat_idle_ms=60_000)
    path.block("both", 0)
    assert alice.carry_up(0, 1 * S) == NEVER
    path.heal("both", 100 * S)
    assert alice.release("up", 100 * S) == []
    assert alice.reset_at_us == 100 * S + 100 * MS


def test_timers_stand_on_the_round_trip_of_both_ways() -> None:
    alice = connection()
    assert alice.srtt_us == 100 * MS
    assert alice.rto_us == 300 * MS


def test_of_two_ends_the_earlier_counts() -> None:
    """A give-up known beforehand (the NAT's answer) against the timer's: whichever comes first."""
    alice = connection(nat_idle_ms=1_000, max_retries=0, tail_loss_probe=False)
    assert alice.carry_up(0, 2 * S) == NEVER
    assert link_of(alice.profile).give_up_us == 300 * MS
    assert alice.reset_at_us == 2 * S + 100 * MS
    assert alice.retransmission_us("up", 2 * S) == NEVER
    assert alice.retransmission_us("down", 2 * S) == NEVER


def test_a_sound_connection_gives_up_at_no_time_and_holds_nothing() -> None:
    alice = connection()
    assert alice.reset_at_us == NEVER
    assert alice.reset_by is None
    assert alice.retransmission_us("up", 0) == NEVER
    assert alice.release("down", 0) == []
