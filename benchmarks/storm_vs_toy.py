"""Cost of a storm per device against a bare SimPy toy of the same storm, measured in one run.

The toy is what a first sketch would be: a process per device that connects, shakes hands, answers heartbeats and passes
messages as timeouts, the same number of each as the real run counted, with no protocol logic, no network and no store.
The ratio says what the protocol core, the TCP picture, the recorder and the CPU model cost on top of the kernel. Both
times are from nothing to the end: building the devices, or the processes, is part of them.

Run with ``python -m benchmarks.storm_vs_toy [EXPERIMENT] [DEVICES]``; the experiment is a name in ``experiments/``:
``reconnect_storm`` (messages, bandwidth and loss, and a toy that lives in the processor's cache) or ``million`` (a
third of the nodes dies; then heartbeats). Compiled modules are used where there are any (``make compiled``).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import simpy

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
HANDSHAKE_STEPS = 6
"""SYN, TLS, upgrade, challenge, response, success."""
HEARTBEAT_STEPS = 2
MESSAGE_STEPS = 5
"""Send, ack, push, confirmation, delivery notice."""
LATENCY_S = 0.02


class Toy:
    """The storm as bare timeouts; ``steps`` counts those that stand for a frame or a part of the handshake."""

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
        counts = [
            (self._whole(attempts, share), HANDSHAKE_STEPS),
            (self._whole(heartbeats, share), HEARTBEAT_STEPS),
            (self._whole(messages, share), MESSAGE_STEPS),
        ]
        total = max(1, sum(count for count, _ in counts))
        gap = max(0.0, (self.until - env.now) / total - HANDSHAKE_STEPS * LATENCY_S - 0.03)
        for count, steps in counts:
            for _ in range(count):
                yield env.timeout(gap)
                for _ in range(steps):
                    self.steps += 1
                    yield env.timeout(LATENCY_S)

    def run(self) -> None:
        """To the end of the storm."""
        self.env.run(until=self.until)


def measure(devices: int, name: str = "reconnect_storm", report: bool = False) -> tuple[float, float]:
    """Seconds of CPU time of the storm and of its toy."""
    from zentalk_sim.experiment.loader import load
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    experiment = load(EXPERIMENTS / f"{name}.yaml", [f"population.devices={devices}"])
    began = time.process_time()
    results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
    storm_s = time.process_time() - began
    counts = results.counts
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        toy = Toy(
            devices,
            experiment.duration_us / 1e6,
            counts["connections.attempted"] / devices,
            counts["heartbeats.sent"] / devices,
            counts["messages.sent"] / devices,
        )
        toy.run()
        toy_s = time.process_time() - began
    finally:
        gc.enable()
    if report:
        for what, spent, events in (("storm", storm_s, results.events), ("toy", toy_s, toy.steps)):
            cost, each = spent / devices * 1e6, events / devices
            print(f"{what:>6}: {spent:7.2f} s, {cost:8.0f} us a device, {each:6.1f} events each")
        print(f" ratio: {storm_s / toy_s:.1f}")
    return storm_s, toy_s


def main() -> None:
    """Print both and their ratio."""
    from zentalk_sim.model import compiled

    name = sys.argv[1] if len(sys.argv) > 1 else "reconnect_storm"
    devices = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    if not (EXPERIMENTS / f"{name}.yaml").exists():
        raise SystemExit(f"no experiments/{name}.yaml; usage: python -m benchmarks.storm_vs_toy [EXPERIMENT] [DEVICES]")
    print(f"{name}, {devices:,} devices, {'compiled' if compiled.activate() else 'from sources'}:")
    measure(devices, name, report=True)


if __name__ == "__main__":
    main()
