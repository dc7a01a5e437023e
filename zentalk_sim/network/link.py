"""A profile worked out once: per direction a sampler, and the timers that follow from its round trip.

SRTT and RTTVAR stand at what their estimators (RFC 6298 §2) converge to: the mean round trip of propagation, and
its mean deviation, taken as √(2/π) of the standard deviation (exact for a normal distribution).
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from math import pi, sqrt
from typing import Final

from zentalk_sim.network.profile import LinkProfile, OneWay
from zentalk_sim.protocol.timers import NEVER

_NS_PER_BYTE_AT_1_BIT_PER_S: Final = 8_000_000_000


class Side:
    """One direction of a link."""

    __slots__ = (
        "_ns_per_byte",
        "_rest_per_byte",
        "constant_us",
        "is_plain",
        "loss",
        "queue_bytes",
        "rate_bit_per_s",
        "sampler",
    )

    def __init__(self, way: OneWay) -> None:
        assert way.latency is not None
        constant_us = way.latency.constant_us
        self.constant_us: int = -1 if constant_us is None else constant_us
        """The latency; -1 where each is drawn."""
        self.sampler = way.latency.sampler()
        self.rate_bit_per_s: int = way.rate_bit_per_s or 0
        """0: unlimited."""
        self._ns_per_byte, self._rest_per_byte = divmod(_NS_PER_BYTE_AT_1_BIT_PER_S, self.rate_bit_per_s or 1)
        self.queue_bytes: int = way.queue_bytes or 0
        """0: no bound."""
        self.loss = way.loss
        self.is_plain = way.rate_bit_per_s is None and way.loss is None
        """Neither bandwidth nor loss: a frame's arrival is its latency alone."""

    def took_ns(self, wire_bytes: int) -> int:
        """How long so many bytes take at the rate, rounded down to a nanosecond; there must be a rate."""
        # What ``wire_bytes * 8e9 // rate`` gives, in factors small enough that compiled code needs no objects.
        return wire_bytes * self._ns_per_byte + wire_bytes * self._rest_per_byte // self.rate_bit_per_s


class Link:
    """A profile's two sides and its timers."""

    __slots__ = (
        "doubled_timers_us",
        "down",
        "fast_retransmit",
        "first_us",
        "give_up_us",
        "has_nat",
        "initial_window_segments",
        "is_random",
        "mss_bytes",
        "nat_idle_us",
        "profile",
        "retransmissions_us",
        "rto_max_us",
        "rto_us",
        "srtt_us",
        "tail_loss_probe",
        "timers_us",
        "up",
    )

    def __init__(self, profile: LinkProfile) -> None:
        self.profile = profile
        self.mss_bytes: int = profile.mss_bytes
        self.initial_window_segments: int = profile.initial_window_segments
        self.fast_retransmit = profile.fast_retransmit
        self.tail_loss_probe = profile.tail_loss_probe
        self.has_nat = profile.nat_idle_ms is not None
        """Whether a NAT on the way forgets idle connections."""
        self.nat_idle_us: int = NEVER if profile.nat_idle_ms is None else profile.nat_idle_ms * 1000
        """After how long without a segment it does."""
        up, down = profile.way(up=True), profile.way(up=False)
        assert up.latency is not None
        assert down.latency is not None
        self.up = Side(up)
        self.down = Side(down)
        self.is_random = any(side.constant_us < 0 or side.loss is not None for side in (self.up, self.down))
        """Whether a connection ever draws."""
        mean_ms = up.latency.expected_ms + down.latency.expected_ms
        deviation_ms = sqrt((up.latency.variance_ms2 + down.latency.variance_ms2) * 2 / pi)
        self.srtt_us = round(mean_ms * 1000)
        self.rto_max_us = profile.rto_max_ms * 1000
        rto_us = self.srtt_us + max(profile.rto_min_ms * 1000, round(4000 * deviation_ms))
        self.rto_us = min(rto_us, self.rto_max_us)
        """SRTT + max(rto_min, 4·RTTVAR) (RFC 6298 (2.3), with Linux's minimum)."""
        self.timers_us = self._doubling(self.rto_us, profile.max_retries + 1)
        """The timers after a probe or a fast retransmission, which arm the RTO anew (RFC 8985 §7.3), each from the
        one before: retransmission timeouts, and last the give-up's."""
        self.doubled_timers_us = self._doubling(2 * self.rto_us, profile.max_retries)
        """The same after a first retransmission by timeout."""
        self.first_us = self.first_timer_us(alone=True)
        """When the first timer of a lone segment fires after its sending."""
        later = self.timers_us if self.tail_loss_probe else self.doubled_timers_us
        instants = list(accumulate(later, initial=self.first_us))
        self.retransmissions_us = tuple(instants[:-1])
        """When what was sent into silence is sent again, counted from its sending."""
        self.give_up_us = instants[-1]
        """How long after a send into silence the sender gives the connection up."""

    def _doubling(self, timer_us: int, count: int) -> tuple[int, ...]:
        timers = []
        for _ in range(count):
            timer_us = min(timer_us, self.rto_max_us)
            timers.append(timer_us)
            timer_us *= 2
        return tuple(timers)

    def first_timer_us(self, alone: bool) -> int:
        """When the first timer fires after a segment was sent: the probe's (RFC 8985 §7.2), else the RTO."""
        if not self.tail_loss_probe:
            return self.rto_us
        probe_us = 2 * self.srtt_us + (self.profile.max_ack_delay_ms * 1000 if alone else 0)
        return min(probe_us, self.rto_us)

    def retransmission_us(self, first_us: int, now_us: int) -> int:
        """The first retransmission at or after ``now_us`` of what was sent into silence at ``first_us``.

        NEVER where there is none before the sender gives up.
        """
        i = bisect_left(self.retransmissions_us, now_us - first_us)
        return first_us + self.retransmissions_us[i] if i < len(self.retransmissions_us) else NEVER

    def slow_start_us(self, held_bytes: int) -> int:
        """How long after a retransmission by timeout the last of ``held_bytes``, held until then, is sent.

        It carries one segment, each round trip after it twice as many (slow start, RFC 5681 §3.1).
        """
        # Round k carries 2^k segments, so that the n-th segment goes in round ⌊log₂ n⌋; small frames share one.
        segments = max(1, -(-held_bytes // self.mss_bytes))
        return (segments.bit_length() - 1) * self.srtt_us


@lru_cache(maxsize=1024)
def link_of(profile: LinkProfile) -> Link:
    """The worked-out form of ``profile``, the same object at every call."""
    return Link(profile)
