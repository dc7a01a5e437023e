"""Cost of a storm per device against two bare SimPy toys of the same storm, measured in one run.

A toy is what a first sketch would be: a process per device that connects, shakes hands, answers heartbeats and passes
messages as timeouts, the same number of each as the real run counted, with no protocol logic, no network and no store.
The bare one waits once for each frame and each part of a handshake. The full one waits as often as the storm does: for
a CPU, for a commit and for time-outs too, so that it has as many queue entries, spread over the same steps. The ratios
say what the protocol core, the TCP picture, the recorder and the CPU model cost on top of the kernel. All times are
from nothing to the end: building the devices, or the processes, is part of them.

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
from typing import Any, NamedTuple

import simpy

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
HANDSHAKE_STEPS = 6
"""SYN, TLS, upgrade, challenge, response, success."""
HEARTBEAT_STEPS = 2
MESSAGE_STEPS = 5
"""Send, ack, push, confirmation, delivery notice."""
PER_EXCHANGE = (HANDSHAKE_STEPS, HEARTBEAT_STEPS, MESSAGE_STEPS)
LATENCY_S = 0.02
SHORT_S = 0.001
"""What the full toy waits for anything but a frame's way."""


class Costs(NamedTuple):
    """Seconds of CPU time of a storm and of its toys."""

    storm_s: float
    bare_s: float
    full_s: float


class Toy:
    """The storm as bare timeouts; ``waits`` counts them.

    ``further``: timeouts that each frame or part of a handshake takes beside its own.
    """

    def __init__(
        self,
        devices: int,
        duration_s: float,
        attempts: float,
        heartbeats: float,
        messages: float,
        further: float = 0.0,
    ) -> None:
        self.env = simpy.Environment()
        self.waits = 0
        self.until = duration_s
        self._further = further
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
        owed = share
        for count, steps in counts:
            for _ in range(count):
                self.waits += 1
                yield env.timeout(gap)
                for _ in range(steps):
                    self.waits += 1
                    yield env.timeout(LATENCY_S)
                    owed += self._further
                    while owed >= 1:
                        owed -= 1
                        self.waits += 1
                        yield env.timeout(SHORT_S)

    def run(self) -> None:
        """To the end of the storm."""
        self.env.run(until=self.until)


def measure(devices: int, name: str = "reconnect_storm", report: bool = False) -> Costs:
    """Run the storm and its toys."""
    from zentalk_sim.experiment.loader import load
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.model import compiled
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    experiment = load(EXPERIMENTS / f"{name}.yaml", [f"population.devices={devices}"])
    # As in `zsim run`; the toys, which come after it in this process, have their objects there too.
    compiled.large_pages(devices)
    began = time.process_time()
    results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
    storm_s = time.process_time() - began
    counts = results.counts
    each = [counts[name] / devices for name in ("connections.attempted", "heartbeats.sent", "messages.sent")]
    steps = sum(count * steps for count, steps in zip(each, PER_EXCHANGE, strict=True))
    entries = results.events / devices
    further = max(0.0, (entries - steps - sum(each)) / steps)
    spent_s, waits = [], []
    for more in (0.0, further):
        gc.collect()
        gc.disable()
        try:
            began = time.process_time()
            toy = Toy(devices, experiment.duration_us / 1e6, each[0], each[1], each[2], more)
            toy.run()
            spent_s.append(time.process_time() - began)
        finally:
            gc.enable()
        waits.append(toy.waits / devices)
        del toy
    if report:
        rows = zip(("storm", "bare toy", "full toy"), (storm_s, *spent_s), (entries, *waits), strict=True)
        for what, spent, number in rows:
            ratio = f"  ratio {storm_s / spent:.1f}" if what != "storm" else ""
            cost = spent / devices * 1e6
            print(f"{what:>9}: {spent:7.2f} s, {cost:8.0f} us a device, {number:6.1f} waits each{ratio}")
    return Costs(storm_s, *spent_s)


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
