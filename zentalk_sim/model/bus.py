"""The bus between nodes: latency, order per pair of nodes, loss, outages, and no promise (R-12.5).

An event for a node that is down, or was restarted meanwhile, is lost and counted, and so is one published during an
outage; the look at each mailbox every 30 s makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from zentalk_sim.model.kernel import Kernel
from zentalk_sim.protocol.effects import BusEvent
from zentalk_sim.protocol.streams import Stream


class Listener(Protocol):
    """A node as the bus sees it."""

    epoch: int

    @property
    def up(self) -> bool:
        """Whether it runs."""
        ...

    def receive_event(self, event: BusEvent, epoch: int) -> None:
        """Take an event meant for the node as it was started the ``epoch``-th time."""


class Bus:
    """Carries events from node to node after ``latency_us``, but for a share ``loss`` of them."""

    def __init__(
        self,
        kernel: Kernel,
        nodes: Mapping[str, Listener],
        latency_us: int,
        loss: float = 0.0,
        stream: Stream | None = None,
    ) -> None:
        if loss and stream is None:
            raise ValueError("a bus that loses events needs a stream to draw from")
        self._loss = loss
        self._stream = stream
        self.outages = 0
        """Outages that hold at present; they may overlap."""
        self._calendar = kernel.calendar
        self._when_carried: Callable[[tuple[Listener, int, BusEvent]], None] = self._deliver
        """``_deliver``, bound once rather than for every entry of the queue."""
        self._nodes = nodes
        self._latency_us = latency_us
        self._last_us: dict[tuple[str, str], int] = {}
        self.sent = 0
        self.lost = 0

    def publish(self, source: str, target: str, event: BusEvent) -> None:
        """Carry an event. Raises KeyError for an unknown node."""
        self.sent += 1
        node = self._nodes[target]
        if self.outages or not node.up or self._drops():
            self.lost += 1
            return
        pair = (source, target)
        calendar = self._calendar
        at_us = calendar.now + self._latency_us
        last_us = self._last_us.get(pair, 0)
        if at_us <= last_us:
            at_us = last_us + 1
        self._last_us[pair] = at_us
        calendar.call_one(at_us, self._when_carried, (node, node.epoch, event))

    def _drops(self) -> bool:
        return bool(self._loss) and self._stream is not None and self._stream.uniform() < self._loss

    def _deliver(self, carried: tuple[Listener, int, BusEvent]) -> None:
        node, epoch, event = carried
        if not node.up or node.epoch != epoch:
            self.lost += 1
            return
        node.receive_event(event, epoch)
