"""One direction of a connection with loss or bandwidth: segments, the window's rounds, the queue, and recovery.

A frame's arrival is that of its last segment. A lost segment comes later by one of three ways, judged by the
segments of its own frame, since frames yet to be sent are not known when the answer is due:

1. three later segments of the same flight arrived: retransmitted one round trip after the third (RFC 5681 §3.2);
2. else the tail-loss probe repairs the last lost one, and its acknowledgement the others (RFC 8985 §7);
3. a retransmission lost in turn waits for the RTO, which doubles, up to the give-up (RFC 6298 (5.5)).
"""

from __future__ import annotations

from typing import Final

from zentalk_sim.network.link import Link, Side
from zentalk_sim.network.losing import LossModel
from zentalk_sim.network.profile import HEADER_BYTES
from zentalk_sim.protocol.timers import NEVER

_NS_PER_BYTE_AT_1_BIT_PER_S: Final = 8_000_000_000
_LONG_AGO_US: Final = -(1 << 61)


class Flow:
    """The sending state of one direction."""

    __slots__ = (
        "_free_part_ns",
        "_free_us",
        "_last_sent_us",
        "_link",
        "_loss",
        "_round_us",
        "_side",
        "_used",
        "gave_up_us",
        "window_segments",
    )

    def __init__(self, link: Link, side: Side, loss: LossModel | None) -> None:
        self._link = link
        self._side = side
        self._loss = loss
        # Whole microseconds and what is left of one: compiled, nanoseconds since 1970 would be objects in products.
        self._free_us = 0
        """When the bottleneck is free, rounded down;"""
        self._free_part_ns = 0
        """and so much later."""
        self._round_us = _LONG_AGO_US
        self._used = 0
        self._last_sent_us = _LONG_AGO_US
        self.window_segments = link.initial_window_segments
        """What may be sent in the present round trip."""
        self.gave_up_us = NEVER
        """When the sender gave up, once ``arrival`` answered NEVER."""

    def arrival(self, size_bytes: int, now_us: int, latency_us: int) -> int:
        """When ``size_bytes`` sent at ``now_us`` have arrived; NEVER: the sender gives up at ``gave_up_us``."""
        link = self._link
        if size_bytes > link.mss_bytes:
            return self._burst(size_bytes, now_us, latency_us)
        last_us = self._last_sent_us
        if now_us >= self._round_us + link.srtt_us and now_us - last_us > link.rto_us:
            # The common case of ``_send_instant``, a frame after an idle spell, stands here: it saves a call.
            self.window_segments = link.initial_window_segments
            self._used = 1
            self._round_us = self._last_sent_us = sent_us = now_us
        else:
            sent_us = self._send_instant(now_us)
        out_us = sent_us if self._side.rate_bit_per_s == 0 else self._through_queue(sent_us, size_bytes)
        if out_us != NEVER and (self._loss is None or not self._loss.lost()):
            return out_us + latency_us
        base_us = out_us if out_us != NEVER else self._drained_us(sent_us)
        alone = now_us - last_us >= link.srtt_us
        timers_us = link.timers_us if link.tail_loss_probe else link.doubled_timers_us
        return self._repaired(base_us + link.first_timer_us(alone), timers_us, size_bytes, latency_us)

    # --- a frame of several segments ---------------------------------------------------------------------------

    def _burst(self, size_bytes: int, now_us: int, latency_us: int) -> int:
        mss = self._link.mss_bytes
        flight: list[int] = []
        sizes: list[int] = []
        flight_us = -1
        latest_us = 0
        for offset in range(0, size_bytes, mss):
            segment_bytes = min(mss, size_bytes - offset)
            sent_us = self._send_instant(now_us)
            if sent_us != flight_us and flight:
                end_us = self._settle(flight, sizes, flight_us, latency_us)
                if end_us == NEVER:
                    return NEVER
                latest_us = max(latest_us, end_us)
                flight, sizes = [], []
            flight_us = sent_us
            out_us = self._through_queue(sent_us, segment_bytes)
            flight.append(NEVER if out_us == NEVER or self.loses() else out_us)
            sizes.append(segment_bytes)
        end_us = self._settle(flight, sizes, flight_us, latency_us)
        return max(latest_us, end_us)

    def _settle(self, flight: list[int], sizes: list[int], sent_us: int, latency_us: int) -> int:
        """When the whole of ``flight`` has arrived: each segment's exit from the queue, NEVER for a lost one."""
        link = self._link
        if NEVER not in flight:
            return flight[-1] + latency_us
        latest_us = max((out_us for out_us in flight if out_us != NEVER), default=0) + latency_us
        probe_at_us = max(self._drained_us(sent_us), sent_us) + link.first_timer_us(alone=len(flight) == 1)
        first_timers_us = link.timers_us if link.tail_loss_probe else link.doubled_timers_us
        later: list[int] = []
        is_probed = False
        for i in range(len(flight) - 1, -1, -1):
            out_us = flight[i]
            if out_us != NEVER:
                later.append(out_us)
                continue
            if link.fast_retransmit and len(later) >= 3:
                at_us, timers_us = later[-3] + link.srtt_us, link.timers_us
            elif link.tail_loss_probe and is_probed:
                at_us, timers_us = probe_at_us + link.srtt_us, link.timers_us
            else:
                at_us, timers_us, is_probed = probe_at_us, first_timers_us, True
            arrived_us = self._repaired(at_us, timers_us, sizes[i], latency_us)
            if arrived_us == NEVER:
                return NEVER
            latest_us = max(latest_us, arrived_us)
        return latest_us

    # --- recovery ----------------------------------------------------------------------------------------------

    def _repaired(self, at_us: int, timers_us: tuple[int, ...], segment_bytes: int, latency_us: int) -> int:
        """When a segment first retransmitted at ``at_us`` arrives, being lost again as often as it is; or NEVER.

        ``timers_us`` are those that follow, the last being the give-up's.
        """
        for timer_us in timers_us:
            if not self.loses():
                return self._occupy(at_us, segment_bytes) + latency_us
            at_us += timer_us
        self.gave_up_us = at_us
        return NEVER

    def loses(self) -> bool:
        """Step the loss model by one segment: True if it is lost."""
        return self._loss is not None and self._loss.lost()

    # --- the window --------------------------------------------------------------------------------------------

    def _send_instant(self, now_us: int) -> int:
        """When the window lets the next segment go (RFC 6928, slow start of RFC 5681 §3.1 by whole round trips)."""
        link = self._link
        if now_us >= self._round_us + link.srtt_us:
            if now_us - self._last_sent_us > link.rto_us:
                # Idle for longer than an RTO: the window begins anew (RFC 5681 §4.1).
                self.window_segments = link.initial_window_segments
            elif self._used >= self.window_segments:
                self.window_segments *= 2
            self._round_us = now_us
            self._used = 0
        elif self._used >= self.window_segments:
            self._round_us += link.srtt_us
            self.window_segments *= 2
            self._used = 0
        self._used += 1
        sent_us = now_us if now_us > self._round_us else self._round_us
        self._last_sent_us = sent_us
        return sent_us

    # --- the bottleneck ----------------------------------------------------------------------------------------

    def _through_queue(self, sent_us: int, segment_bytes: int) -> int:
        """When a segment has left the bottleneck; NEVER: the queue was full."""
        rate = self._side.rate_bit_per_s
        if rate == 0:
            return sent_us
        begin_us, part_ns = self._free_us, self._free_part_ns
        if begin_us < sent_us:
            begin_us, part_ns = sent_us, 0
        elif self._side.queue_bytes and (begin_us > sent_us or part_ns):
            queued_ns = (begin_us - sent_us) * 1000 + part_ns
            queued_bytes = queued_ns * rate // _NS_PER_BYTE_AT_1_BIT_PER_S
            if queued_bytes + segment_bytes + HEADER_BYTES > self._side.queue_bytes:
                return NEVER
        return self._busy_until(begin_us, part_ns + self._side.took_ns(segment_bytes + HEADER_BYTES))

    def _busy_until(self, begin_us: int, took_ns: int) -> int:
        """Note when the bottleneck will be free; that instant rounded up."""
        whole_us = took_ns // 1000
        part_ns = took_ns - whole_us * 1000
        free_us = self._free_us = begin_us + whole_us
        self._free_part_ns = part_ns
        return free_us + 1 if part_ns else free_us

    def _occupy(self, at_us: int, segment_bytes: int) -> int:
        """When a retransmission leaves the bottleneck; it takes its share of the bandwidth, but no gap before it."""
        rate = self._side.rate_bit_per_s
        if rate == 0:
            return at_us
        took_ns = self._side.took_ns(segment_bytes + HEADER_BYTES)
        free_us = self._busy_until(self._free_us, self._free_part_ns + took_ns)
        return max(free_us, at_us - (-took_ns // 1000))

    def _drained_us(self, sent_us: int) -> int:
        """When what is in the queue has left it."""
        free_us = self._free_us + 1 if self._free_part_ns else self._free_us
        return max(sent_us, free_us) if self._side.rate_bit_per_s else sent_us
