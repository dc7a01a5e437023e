"""Cost of the reconnect storm per device against a bare SimPy toy of the same storm, measured in one run.

The toy is what a first sketch would be: a process per device that connects, shakes hands, answers heartbeats and passes
messages as timeouts, the same number of each as the real run counted, with no protocol logic, no network and no store.
The ratio says what the protocol core, the TCP picture, the recorder and the CPU model cost on top of the kernel.

Run with ``python benchmarks/storm_vs_toy.py [DEVICES]``.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import simpy

from zentalk_sim.experiment.loader import load
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

STORM = Path(__file__).parent.parent / "experiments" / "reconnect_storm.yaml"
HANDSHAKE_STEPS = 6
"""SYN, TLS, upgrade, challenge, response, success."""
MESSAGE_STEPS = 5
"""Send, ack, push, confirmation, delivery notice."""


class Toy:
    """The storm as bare timeouts; ``steps`` counts them."""

    def __init__(self, devices: int, duration_s: float, attempts: float, heartbeats: float, messages: float) -> None:
        self.env = simpy.Environment()
        self.steps = 0
        self.until = duration_s
        for number in range(devices):
            share = number / devices
            self.env.process(self._device(share, attempts, heartbeats, messages))

    @staticmethod
    def _whole(mean: float, share: float) -> int:
        """A whole number for each device such that their mean over all devices is ``mean``."""
        return int(mean) + (share < mean - int(mean))

    def _device(self, share: float, attempts: float, heartbeats: float, messages: float) -> Generator[Any, Any, None]:
        env = self.env
        yield env.timeout(share * self.until / 30)
        counts = [(self._whole(attempts, share), HANDSHAKE_STEPS, 0.02)]
        counts += [(self._whole(heartbeats, share), 2, 0.02), (self._whole(messages, share), MESSAGE_STEPS, 0.02)]
        total = max(1, sum(count for count, _, _ in counts))
        gap = max(0.0, (self.until - env.now) / total - 0.15)
        for count, steps, latency in counts:
            for _ in range(count):
                yield env.timeout(gap)
                for _ in range(steps):
                    self.steps += 1
                    yield env.timeout(latency)

    def run(self) -> float:
        """Seconds of CPU time."""
        gc.collect()
        gc.disable()
        began = time.process_time()
        self.env.run(until=self.until)
        spent = time.process_time() - began
        gc.enable()
        return spent


def measure(devices: int, report: bool = False) -> tuple[float, float]:
    """Seconds of CPU time of the storm and of its toy."""
    experiment = load(STORM, [f"population.devices={devices}"])
    began = time.process_time()
    results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
    storm_s = time.process_time() - began
    counts = results.counts
    toy = Toy(
        devices,
        experiment.duration_us / 1e6,
        counts["connections.attempted"] / devices,
        counts["heartbeats.sent"] / devices,
        counts["messages.sent"] / devices,
    )
    toy_s = toy.run()
    if report:
        for name, spent, events in (("storm", storm_s, results.events), ("toy", toy_s, toy.steps)):
            cost, each = spent / devices * 1e6, events / devices
            print(f"{name:>6}: {spent:7.2f} s, {cost:8.0f} us a device, {each:6.1f} events each")
        print(f" ratio: {storm_s / toy_s:.1f}")
    return storm_s, toy_s


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000, report=True)
