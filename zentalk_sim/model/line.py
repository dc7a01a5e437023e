"""A TCP connection with TLS from a device to whichever node the balancer chose, opened and lost as in life.

The network says when bytes arrive; this says what becomes of them: a node that is dead answers nothing, one that
knows the connection no longer answers RST, and so does a device that let go of it. A SYN that meets a full backlog
or a dead host is sent again after 1, 2, 4 … s (RFC 6298 §5.5), as long as the client waits; the balancer knows it as
the flow that it was and sends it to the same node, unless it has learned meanwhile that this one is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.model.calendar import Actor
from zentalk_sim.model.outbox import Outbox
from zentalk_sim.model.relay_node import DEAD, UP, RelayNode
from zentalk_sim.network.path import Way
from zentalk_sim.network.tcp import SYN_TIMEOUT_US, TcpConnection
from zentalk_sim.protocol.timers import NEVER

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device

TLS_RECORD_BYTES: Final = 22
"""What TLS 1.3 adds to a record: header 5, content type 1, tag 16 (RFC 8446 §5.2)."""

Deliver = Callable[..., None]
AT_NODE: Final = 1
AT_DEVICE: Final = 2
"""Kinds of a line's entries: something for a function has come to an end's host. Further ones are its subclasses'."""
WAYS: tuple[Way, Way] = ("up", "down")


class Line(Actor):
    """One connection. ``over``: the client has let go of it; what arrives for it then is answered with RST."""

    __slots__ = (
        "_counted",
        "_held",
        "_last_done_us",
        "_opens",
        "_outbox",
        "_probes",
        "_prompt_us",
        "_watching_us",
        "device",
        "epoch",
        "kernel",
        "node",
        "over",
        "start_us",
        "tcp",
        "tcp_us",
        "tls_us",
    )

    def __init__(self, device: Device) -> None:
        # Compiled, attributes lie in memory in this order: truth values take a byte each where they follow each other,
        # and what every frame touches stands together.
        self.over = False
        self._counted = False
        self._opens = False
        """The balancer has sent the node a SYN that is not answered yet."""
        self.device = device
        self.kernel = device.world.kernel.calendar
        self.start_us: int = self.kernel.now
        self.tcp = TcpConnection(device.profile, device.path, device.network_stream, self.start_us)
        self.node: RelayNode | None = None
        self.epoch = -1
        """The node's, when it took the connection."""
        self._last_done_us = 0
        self._prompt_us = self.tcp.srtt_us
        """What arrives this soon was in flight at once."""
        self._outbox: Outbox | None = None
        """What the node has not yet got rid of, where it has had to wait."""
        self._held: dict[Way, list[tuple[int, Any]]] | None = None
        """What waits for the path to open, in order: entries' kinds and arguments."""
        self._watching_us = NEVER
        self._probes = 0
        self.tcp_us = NEVER
        self.tls_us = NEVER

    # --- what a kind of connection does about it -----------------------------------------------------------------

    def secured(self) -> None:
        """TLS is done on the client's side."""
        raise NotImplementedError

    def failed(self, cause: str) -> None:
        """The device's host learns that the connection cannot be had, or is no more."""
        raise NotImplementedError

    def gone(self, cause: str) -> None:
        """The node's host learns that the connection is no more."""
        raise NotImplementedError

    # --- opening -------------------------------------------------------------------------------------------------

    def open(self, unanswered: int = 0) -> None:
        """Send a SYN to a node of the balancer's choice; ``unanswered`` ones came before it."""
        self._settle()
        if self.over:
            return
        now: int = self.kernel.now
        established_us = self.tcp.handshake(now)
        if established_us != NEVER:
            self._choose_node(now)
            self.kernel.call_at(established_us, self._answered, unanswered, now)
        elif self.tcp.retry_at_us != NEVER:
            self.kernel.call_at(self.tcp.retry_at_us, self.open, unanswered)
        else:
            self._watch()

    def _choose_node(self, now: int) -> None:
        balancer = self.device.world.balancer
        node = self.node
        if node is None or not balancer.believed_up(node, now):
            node = self.node = balancer.pick(self.device.member.person.address, now)
        if node is not None:
            self._opens = True
            node.opening_connections += 1

    def _settle(self) -> None:
        """The balancer's SYN is answered, or will not be."""
        if self._opens and self.node is not None:
            self._opens = False
            self.node.opening_connections -= 1

    def _answered(self, unanswered: int, sent_us: int) -> None:
        """The instant at which a SYN is answered, if what it met answers it."""
        if self.over:
            self._settle()
            return
        node = self.node
        now: int = self.kernel.now
        if node is None or node.state not in (UP, DEAD):
            self._settle()
            self.failed("refused")
            return
        admits = node.state != DEAD and (node.ingress is None or node.ingress.admits(now))
        if not admits:
            if node.state != DEAD:
                self.device.world.recorder.count("connections.syn_dropped")
            if unanswered >= self.tcp.profile.syn_retries:
                self._settle()
                self.failed("timeout")
                return
            again_us = max(now, sent_us + (SYN_TIMEOUT_US << unanswered))
            self.kernel.call_at(again_us, self.open, unanswered + 1)
            return
        self.epoch = node.epoch
        self.tcp_us = now
        self._settle()
        self._counted = True
        node.open_connections += 1
        # The worker's time for the TLS handshake is added to the network's, wherever in the exchange it falls.
        done_us = now if node.ingress is None else node.ingress.accept(now, node.costs.tls_us)
        if done_us > now:
            self.kernel.call_at(done_us, self._shake_hands)
        else:
            self._shake_hands()

    def _shake_hands(self) -> None:
        if self.over:
            return
        secured_us = self.tcp.tls(self.kernel.now)
        if secured_us != NEVER:
            self.kernel.call_at(secured_us, self._secured)
        elif self.tcp.retry_at_us != NEVER:
            self.kernel.call_at(self.tcp.retry_at_us, self._shake_hands)
        else:
            self._watch()

    def _secured(self) -> None:
        if not self.over:
            self.tls_us = self.kernel.now
            self.secured()

    # --- carrying ------------------------------------------------------------------------------------------------

    def up(self, size: int, deliver: Deliver, *arguments: Any) -> None:
        """Carry ``size`` bytes to the node and call ``deliver`` there, if it still has the connection."""
        self.carry_up(size, AT_NODE, (deliver, arguments))

    def down(self, size: int, deliver: Deliver, *arguments: Any) -> None:
        """Carry ``size`` bytes to the device and call ``deliver`` there, if it has not let go of the connection."""
        self.carry_down(size, AT_DEVICE, (deliver, arguments))

    def act(self, kind: int, argument: Any) -> None:
        """See Actor."""
        if kind == AT_NODE:
            self._reached_node(argument)
        else:
            self._reached_device(argument)

    def carry_up(self, size: int, kind: int, argument: Any) -> None:
        """Carry ``size`` bytes to the node's host and ``act`` there, which looks what the node knows of the line."""
        tcp, kernel = self.tcp, self.kernel
        at_us = tcp.carry_up(size, kernel.now)
        if at_us == NEVER:
            self._hold("up", kind, argument)
        else:
            kernel.input_for(at_us, self, kind, argument)
        if tcp.path.blocked:
            self._watch()

    def carry_down(self, size: int, kind: int, argument: Any) -> None:
        """Carry ``size`` bytes to the device's host and ``act`` there, which looks whether the line is ``over``."""
        tcp, kernel = self.tcp, self.kernel
        now: int = kernel.now
        at_us = tcp.carry_down(size, now)
        if at_us == NEVER:
            self._own_outbox().hold(size)
            self._hold("down", kind, argument)
        else:
            if at_us - now > self._prompt_us:
                self._own_outbox().add(at_us - self._prompt_us, size)
            kernel.input_for(at_us, self, kind, argument)
        if tcp.path.blocked:
            self._watch()

    def _own_outbox(self) -> Outbox:
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox()
            if self._counted and self.node is not None:
                self.node.backlogged[self] = None
        return outbox

    def waiting_at_node(self) -> tuple[int, int]:
        """Frames and bytes that the node could not yet send; what has been empty once is made anew when needed."""
        outbox = self._outbox
        if outbox is None:
            return 0, 0
        load = outbox.load(self.kernel.now)
        if not load[0]:
            self._outbox = None
            if self.node is not None:
                self.node.backlogged.pop(self, None)
        return load

    def _reached_node(self, item: tuple[Deliver, tuple[Any, ...]]) -> None:
        node = self.node
        if node is not None and node.epoch == self.epoch:
            deliver, arguments = item
            deliver(*arguments)
        else:
            self.unknown_at_node()

    def unknown_at_node(self) -> None:
        """Data for a connection that the node does not have: sent again until its host answers RST."""
        if self._probes == 0:
            self._probe()

    def _reached_device(self, item: tuple[Deliver, tuple[Any, ...]]) -> None:
        if self.over:
            self.reset_up("reset")
        else:
            deliver, arguments = item
            deliver(*arguments)

    def release_node(self) -> None:
        """The node's host no longer has the connection."""
        if self._counted:
            self._counted = False
            if self.node is not None and self.node.epoch == self.epoch:
                self.node.open_connections -= 1
                self.node.backlogged.pop(self, None)

    @property
    def holds(self) -> bool:
        """Whether what is sent may have to wait for the path, and then be released at a pace that sizes decide."""
        return self.tcp.path.blocked or self._held is not None

    # --- silence -------------------------------------------------------------------------------------------------

    def _hold(self, way: Way, kind: int, argument: Any) -> None:
        if self._held is None:
            self._held = {"up": [], "down": []}
        self._held[way].append((kind, argument))
        self.device.stalled(self)
        self._watch()

    def released(self, now: int) -> None:
        """The path has opened, at least in one direction: send what was held for it on its way."""
        for way in WAYS:
            instants = self.tcp.release(way, now)
            if not instants or self._held is None:
                continue
            items = self._held[way]
            for at_us, (kind, argument) in zip(instants, items, strict=False):
                self.kernel.input_for(at_us, self, kind, argument)
            del items[: len(instants)]
            if way == "down" and self._outbox is not None:
                self._outbox.release(at_us - self._prompt_us for at_us in instants)
        self._watch()

    def _watch(self) -> None:
        """Have a timer stand for the instant at which an end gives the connection up."""
        at_us = self.tcp.reset_at_us
        if at_us < self._watching_us:
            self._watching_us = at_us
            self.kernel.timer_at(max(at_us, self.kernel.now), self._gives_up, at_us)

    def _gives_up(self, watched_us: int) -> None:
        if watched_us != self._watching_us:
            return
        at_us = self.tcp.reset_at_us
        if at_us > self.kernel.now:
            # Healed meanwhile, or later than it looked.
            self._watching_us = NEVER
            self._watch()
        elif self.tcp.reset_by == "relay":
            # Nobody tells the other end: it stays half-open until it sends, or misses the heartbeat.
            self.gone("timeout")
        else:
            self.failed("timeout")

    def _probe(self) -> None:
        """One more retransmission; an RST may get lost like anything else."""
        if self.over or (self.node is not None and self.node.state != DEAD and self.reset_down("reset")):
            return
        if self._probes > self.tcp.profile.max_retries:
            self.failed("timeout")
            return
        wait_us = min(self.tcp.rto_us << self._probes, self.tcp.profile.rto_max_ms * 1000)
        self._probes += 1
        self.kernel.timer_at(self.kernel.now + wait_us, self._probe)

    # --- resets --------------------------------------------------------------------------------------------------

    def reset_up(self, cause: str) -> None:
        """The device's host sends RST."""
        if self.tcp_us != NEVER:
            at_us = self.tcp.rst_up(self.kernel.now)
            if at_us != NEVER:
                self.kernel.call_at(at_us, self._reset_arrived, cause)

    def _reset_arrived(self, cause: str) -> None:
        if self.node is not None and self.node.epoch == self.epoch:
            self.gone(cause)

    def reset_down(self, cause: str) -> bool:
        """The node's host sends RST; whether it will arrive."""
        at_us = self.tcp.rst_down(self.kernel.now)
        if at_us == NEVER:
            return False
        self.kernel.call_at(at_us, self.failed, cause)
        return True

    def reset_both(self) -> None:
        """A box on the way sends RST to both ends."""
        if self.node is not None and self.node.epoch == self.epoch:
            self.gone("reset")
        self.failed("reset")
