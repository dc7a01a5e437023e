"""A TCP connection of a device with the relay, as seen by someone who only asks when bytes arrive.

Bytes are never lost singly and never overtake each other within a direction: loss shows as delay, a blocked path
as silence until it heals, the sender gives up, or a heartbeat above notices.

What is decided at a send stands: a frame in flight when a partition begins still arrives, and so does one whose
repair lies in the future. What is sent while its direction is blocked is held; once the path is open again,
``release`` tells when it arrives, beginning with the first retransmission that the doubling timer, running since
the first such send, makes at or after the release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from zentalk_sim.network.flow import Flow
from zentalk_sim.network.link import link_of
from zentalk_sim.network.loss import LossModel
from zentalk_sim.network.path import Path, Way
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.stall import Stall
from zentalk_sim.protocol.timers import NEVER

if TYPE_CHECKING:
    from zentalk_sim.protocol.streams import Stream

SYN_TIMEOUT_US: Final = 1_000_000
"""The first SYN's timer, doubling (RFC 6298 (2.1) and (5.5))."""


class TcpConnection:
    """One connection. All instants are integer µs, NEVER among them; ``now_us`` never goes back from call to call.

    ``stream`` is the connection's own randomness: a `Stream`, or a function that makes it, called at the first draw.
    It is dropped at once where the profile draws nothing. ``loss_up`` and ``loss_down`` replace the profile's loss
    models (for tests of recovery).
    """

    __slots__ = (
        "_active_us",
        "_down_flow",
        "_down_last_us",
        "_drawn",
        "_link",
        "_stall",
        "_stream",
        "_up_flow",
        "_up_last_us",
        "path",
        "retry_at_us",
    )

    def __init__(
        self,
        profile: LinkProfile,
        path: Path,
        stream: Stream | Callable[[], Stream],
        now_us: int,
        *,
        loss_up: LossModel | None = None,
        loss_down: LossModel | None = None,
    ) -> None:
        link = link_of(profile)
        self._link = link
        self.path = path
        self._stream: Stream | Callable[[], Stream] | None = stream if link.is_random else None
        self._drawn: Stream | None = None
        """The stream, once it was needed."""
        self._up_flow = None if loss_up is None else Flow(link, link.up, loss_up)
        self._down_flow = None if loss_down is None else Flow(link, link.down, loss_down)
        self._up_last_us = now_us
        self._down_last_us = now_us
        self._active_us = now_us
        self._stall: Stall | None = None
        self.retry_at_us = NEVER
        """When to ask ``handshake`` or ``tls`` again after it answered NEVER; NEVER: it fails at ``reset_at_us``."""

    @property
    def profile(self) -> LinkProfile:
        """The link's profile."""
        return self._link.profile

    @property
    def srtt_us(self) -> int:
        """The smoothed round trip that the timers stand on."""
        return self._link.srtt_us

    @property
    def rto_us(self) -> int:
        """The retransmission timeout before doubling."""
        return self._link.rto_us

    # --- setting up --------------------------------------------------------------------------------------------

    def handshake(self, now_us: int) -> int:
        """Send a SYN: when the device has its SYN-ACK, or NEVER where this SYN or its answer is lost or blocked.

        After NEVER, call again at ``retry_at_us`` (1, 3, 7, … s after the first SYN); where that is NEVER too, SYNs
        are exhausted and the attempt fails at ``reset_at_us``.
        """
        if self.path.blocked or self._loses(True) or self._loses(False):
            self.syn_unanswered(now_us)
            return NEVER
        self.retry_at_us = NEVER
        established_us = now_us + self._latency_us(True) + self._latency_us(False)
        self._active_us = established_us
        return established_us

    def syn_unanswered(self, sent_us: int) -> None:
        """Note that the SYN sent at ``sent_us`` gets no answer, for instance from a host that is down.

        ``retry_at_us`` then says when the next is due, ``reset_at_us`` when the attempt fails if none is.
        """
        stall = self._stalled()
        timer_us = SYN_TIMEOUT_US << stall.syns
        stall.syns += 1
        if stall.syns > self._link.profile.syn_retries:
            self.retry_at_us = NEVER
            stall.up.fails_us = sent_us + timer_us
        else:
            self.retry_at_us = sent_us + timer_us

    def tls(self, now_us: int) -> int:
        """Exchange the TLS handshake's flights: when the device may send application data.

        NEVER where the path is blocked: call again at ``retry_at_us``, the next retransmission of the ClientHello;
        where that is NEVER too, the attempt fails at ``reset_at_us``. The relay's own time is the caller's to add.
        """
        self.retry_at_us = NEVER
        if self.path.blocked:
            stall = self._stalled()
            if stall.setup_since_us == NEVER:
                stall.setup_since_us = now_us
            self.retry_at_us = self._link.retransmission_us(stall.setup_since_us, now_us + 1)
            if self.retry_at_us == NEVER:
                stall.up.fails_us = max(now_us, stall.setup_since_us + self._link.give_up_us)
            return NEVER
        if self._stall is not None:
            self._stall.setup_since_us = NEVER
            self._stall.syns = 0
            self._tidy(self._stall)
        profile = self._link.profile
        at_us = now_us
        for _ in range(profile.tls_round_trips):
            for up, size_bytes in ((True, profile.tls_hello_bytes), (False, profile.tls_answer_bytes)):
                arrived_us = self._carry(up, size_bytes, at_us)
                if arrived_us == NEVER:
                    return NEVER
                at_us = arrived_us
        return at_us

    # --- carrying ----------------------------------------------------------------------------------------------

    def carry_up(self, size_bytes: int, now_us: int) -> int:
        """When ``size_bytes`` sent by the device at ``now_us`` have arrived at the relay; NEVER: they are held.

        Never earlier than an arrival told before. After NEVER, and after any call while ``path.blocked``, look at
        ``reset_at_us``.
        """
        link = self._link
        if self.path.blocked or self._stall is not None or link.has_nat:
            return self._carry(True, size_bytes, now_us)
        side = link.up
        if self._up_flow is not None or not side.is_plain:
            return self._arrival(True, size_bytes, now_us)
        latency_us = side.constant_us
        at_us = now_us + (side.sampler.draw(self._drawn or self._draws()) if latency_us < 0 else latency_us)
        if at_us < self._up_last_us:
            return self._up_last_us
        self._up_last_us = at_us
        return at_us

    def carry_down(self, size_bytes: int, now_us: int) -> int:
        """As ``carry_up``, from the relay to the device."""
        link = self._link
        if self.path.blocked or self._stall is not None or link.has_nat:
            return self._carry(False, size_bytes, now_us)
        side = link.down
        if self._down_flow is not None or not side.is_plain:
            return self._arrival(False, size_bytes, now_us)
        latency_us = side.constant_us
        at_us = now_us + (side.sampler.draw(self._drawn or self._draws()) if latency_us < 0 else latency_us)
        if at_us < self._down_last_us:
            return self._down_last_us
        self._down_last_us = at_us
        return at_us

    def rst_up(self, now_us: int) -> int:
        """When an RST sent by the device arrives; NEVER: it is lost, since nobody sends an RST twice.

        It waits for no earlier byte (RFC 5961 §3): what is being repaired is overtaken and never delivered.
        """
        return self._rst(True, now_us)

    def rst_down(self, now_us: int) -> int:
        """As ``rst_up``, from the relay to the device."""
        return self._rst(False, now_us)

    # --- silence, resets ---------------------------------------------------------------------------------------

    @property
    def reset_at_us(self) -> int:
        """When an end gives the connection up, as things stand; NEVER: neither does.

        Heals move it: a caller that scheduled it compares at that instant.
        """
        stall = self._stall
        if stall is None:
            return NEVER
        return min(stall.up.ends_us(self._link), stall.down.ends_us(self._link))

    @property
    def reset_by(self) -> Literal["device", "relay"] | None:
        """Which end it is that gives up at ``reset_at_us``. The other is told nothing, and stays half-open."""
        at_us = self.reset_at_us
        if at_us == NEVER or self._stall is None:
            return None
        return "device" if self._stall.up.ends_us(self._link) == at_us else "relay"

    def retransmission_us(self, direction: Way, now_us: int) -> int:
        """The next retransmission of what is held, at or after ``now_us``; NEVER: nothing is, or the end comes first.

        A caller that waits until then before it calls ``release`` is exact where the path may close again before.
        """
        if self._stall is None:
            return NEVER
        waiting = self._stall.up if direction == "up" else self._stall.down
        if not waiting.held_bytes or waiting.is_dead or waiting.since_us == NEVER:
            return NEVER
        return self._link.retransmission_us(waiting.since_us, now_us)

    def release(self, direction: Way, now_us: int) -> list[int]:
        """After a heal: when each of the held sends of ``direction`` arrives, in order.

        Empty where nothing was held, the direction is still blocked, or the sender has given up; short where it gives
        up on the way (see ``reset_at_us``).
        """
        stall = self._stall
        path = self.path
        up = direction == "up"
        if stall is None or (path.up_blocked if up else path.down_blocked):
            return []
        self._meet_nat(now_us)
        own, other = (stall.up, stall.down) if up else (stall.down, stall.up)
        if stall.answers_rst and up and own.held_bytes and own.fails_us == NEVER and not path.blocked:
            own.fails_us = now_us + self._link.srtt_us
        instants: list[int] = []
        if own.held_bytes and not own.is_dead:
            assert own.since_us != NEVER
            at_us = self._link.retransmission_us(own.since_us, now_us)
            if at_us == NEVER:
                return []
            sizes, own.held_bytes = own.held_bytes, []
            instants = self._released(up, sizes, at_us)
        if not own.is_dead and not path.blocked:
            own.since_us = NEVER
        if not other.is_dead and not other.held_bytes and not path.blocked:
            # Its bytes arrived; only their acknowledgements, which travel this way, were missing.
            other.since_us = NEVER
        self._tidy(stall)
        return instants

    def silence(self, now_us: int) -> None:
        """The device is gone from this address (power, handover to another network): nothing arrives any more.

        Neither end is told: the relay's next send starts its give-up, a device that moved aborts by itself.
        """
        stall = self._stalled()
        stall.up.is_dead = stall.down.is_dead = True

    def close(self) -> None:
        """The caller is done with this connection."""
        self.path.forget(self)

    # --- inside ------------------------------------------------------------------------------------------------

    def _draws(self) -> Stream:
        if self._drawn is None:
            stream = self._stream
            assert stream is not None
            self._drawn = stream() if callable(stream) else stream
            self._stream = None
        return self._drawn

    def _latency_us(self, up: bool) -> int:
        side = self._link.up if up else self._link.down
        return side.constant_us if side.constant_us >= 0 else side.sampler.draw(self._draws())

    def _flow(self, up: bool) -> Flow | None:
        """The direction's flow, made at its first use; None where it has neither loss nor bandwidth."""
        flow = self._up_flow if up else self._down_flow
        if flow is None:
            link = self._link
            side = link.up if up else link.down
            if side.is_plain:
                return None
            flow = Flow(link, side, None if side.loss is None else side.loss.make(self._draws()))
            if up:
                self._up_flow = flow
            else:
                self._down_flow = flow
        return flow

    def _loses(self, up: bool) -> bool:
        flow = self._flow(up)
        return flow is not None and flow.loses()

    def _carry(self, up: bool, size_bytes: int, now_us: int) -> int:
        if self._link.has_nat:
            self._meet_nat(now_us)
        if (self._stall is not None or self.path.blocked) and self._is_held(up, size_bytes, now_us):
            return NEVER
        return self._arrival(up, size_bytes, now_us)

    def _meet_nat(self, now_us: int) -> None:
        """Note a segment at the NAT, or that its mapping is gone."""
        if now_us - self._active_us > self._link.nat_idle_us:
            self.silence(now_us)
            self._stalled().answers_rst = True
        elif not self.path.blocked:
            self._active_us = now_us

    def _arrival(self, up: bool, size_bytes: int, now_us: int) -> int:
        if up:
            side, flow = self._link.up, self._up_flow
        else:
            side, flow = self._link.down, self._down_flow
        if flow is None and not side.is_plain:
            flow = self._flow(up)
        latency_us = side.constant_us
        if latency_us < 0:
            latency_us = side.sampler.draw(self._drawn or self._draws())
        if flow is None:
            at_us = now_us + latency_us
        else:
            at_us = flow.arrival(size_bytes, now_us, latency_us)
            if at_us == NEVER:
                stall = self._stalled()
                waiting = stall.up if up else stall.down
                waiting.is_dead = True
                waiting.fails_us = flow.gave_up_us
                return NEVER
        if up:
            if at_us < self._up_last_us:
                return self._up_last_us
            self._up_last_us = at_us
        else:
            if at_us < self._down_last_us:
                return self._down_last_us
            self._down_last_us = at_us
        return at_us

    def _is_held(self, up: bool, size_bytes: int, now_us: int) -> bool:
        """Whether a send is held; notes it, and the acknowledgement it waits for."""
        path = self.path
        stall = self._stalled()
        waiting = stall.up if up else stall.down
        is_held = (path.up_blocked if up else path.down_blocked) or waiting.is_dead or bool(waiting.held_bytes)
        if is_held or path.blocked:
            path.stall(self)
            if waiting.since_us == NEVER:
                waiting.since_us = now_us
        if is_held:
            waiting.held_bytes.append(size_bytes)
            if up and stall.answers_rst and waiting.fails_us == NEVER and not path.blocked:
                waiting.fails_us = now_us + self._link.srtt_us
        return is_held

    def _released(self, up: bool, sizes: list[int], at_us: int) -> list[int]:
        instants: list[int] = []
        total_bytes = 0
        for size_bytes in sizes:
            total_bytes += size_bytes
            arrived_us = self._arrival(up, size_bytes, at_us + self._link.slow_start_us(total_bytes))
            if arrived_us == NEVER:
                break
            instants.append(arrived_us)
        return instants

    def _rst(self, up: bool, now_us: int) -> int:
        stall = self._stall
        is_dead = stall is not None and (stall.up if up else stall.down).is_dead
        if is_dead or (self.path.up_blocked if up else self.path.down_blocked) or self._loses(up):
            return NEVER
        return now_us + self._latency_us(up)

    def _stalled(self) -> Stall:
        if self._stall is None:
            self._stall = Stall()
        return self._stall

    def _tidy(self, stall: Stall) -> None:
        """Forget a stall that is over, so that carrying is fast again."""
        if stall.is_over():
            self._stall = None
            self.path.forget(self)
