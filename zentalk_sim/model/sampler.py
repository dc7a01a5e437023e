"""The time series: what stands at each step, for the cluster and per node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zentalk_sim.model.world import World


_CAUSES = ("errors.", "rate_limited.", "connections.refused.", "connections.lost.", "copies.dropped.")
"""Counts of what went wrong: each is a series of its own, with a row for each step in which it grew."""


class Sampler:
    """Takes the samples of one run. Rates are over the step that ends at the sample."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last_us = world.kernel.now
        self._attempts = 0
        self._causes: dict[str, int] = {}
        self._busy_us: dict[tuple[str, int], int] = {}

    def take(self) -> None:
        """Add a row for each series. ``node`` is None for the whole cluster."""
        world = self._world
        now: int = world.kernel.now
        add = world.recorder.timeseries.append
        add((now, "devices.connected", None, float(world.connected)))
        add((now, "copies.pending", None, float(world.recorder.copies_pending)))
        attempts = world.recorder.counts["connections.attempted"]
        step_us = now - self._last_us
        if step_us:
            add((now, "connections.attempted_per_s", None, (attempts - self._attempts) * 1_000_000 / step_us))
        self._attempts = attempts
        if step_us:
            self._take_causes(now, step_us)
        for node in world.nodes:
            add((now, "node.connections", node.name, float(len(node.sockets))))
            add((now, "memory_bytes", node.name, float(node.memory_bytes())))
            ingress = node.ingress
            if ingress is None or not node.up:
                continue
            waiting = ingress.waiting(now)
            world.recorder.observe("queue_depth", waiting, now)
            add((now, "queue_depth", node.name, float(waiting)))
            add((now, "accept_queue", node.name, float(ingress.queued(now))))
            # Work is booked when it arrives, so what is still ahead of its worker is taken off again.
            key = (node.name, node.epoch)
            busy_us = ingress.busy_us - ingress.ahead_us(now)
            if step_us:
                share = (busy_us - self._busy_us.get(key, 0)) / (step_us * ingress.workers)
                add((now, "cpu.utilisation", node.name, min(1.0, max(0.0, share))))
            self._busy_us[key] = busy_us
        self._last_us = now

    def _take_causes(self, now: int, step_us: int) -> None:
        recorder, last = self._world.recorder, self._causes
        for name, count in recorder.counts.items():
            if name.startswith(_CAUSES) and count != last.get(name, 0):
                rate = (count - last.get(name, 0)) * 1_000_000 / step_us
                recorder.timeseries.append((now, f"{name}_per_s", None, rate))
                last[name] = count
