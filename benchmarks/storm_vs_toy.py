"""Cost of a storm per device against three bare SimPy toys of the same storm (``benchmarks.storm_toys``), in turns.

A toy is what a first sketch would be: a process per device that connects, shakes hands, answers heartbeats and passes
messages as timeouts, the same number of each as the real run counted, with no protocol logic, no network and no store.
The ratios say what the protocol core, the TCP picture, the recorder and the CPU model cost on top of a kernel. All
times are from nothing to the end: building the devices, or the processes, is part of them. The storm and each toy have
a process of their own; the storm's world lies in huge pages where that of ``zsim run`` would.

Run with ``python -m benchmarks.storm_vs_toy [EXPERIMENT] [DEVICES]``; the experiment is a name in ``experiments/``:
``reconnect_storm`` (messages, bandwidth and loss, and a toy that lives in the processor's cache) or ``million`` (a
third of the nodes dies; then heartbeats). Compiled modules are used where there are any (``make compiled``).
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import storm_toys
from benchmarks.storm_toys import PER_EXCHANGE, Shape

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


class Costs(NamedTuple):
    """Seconds of CPU time of a storm and of its toys, and what the storm took else."""

    storm_s: float
    bare_s: float
    time_outs_s: float
    full_s: float
    entries: float
    """Of the storm's queue, a device."""
    peak_mib: float
    """Most memory that the storm's process has had."""


def measure(devices: int, name: str = "reconnect_storm", report: bool = False) -> Costs:
    """Run the storm in this process, once, and then its toys in theirs. Raises BenchmarkError where a toy fails."""
    from zentalk_sim.experiment.loader import load
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.model import compiled
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    experiment = load(EXPERIMENTS / f"{name}.yaml", [f"population.devices={devices}"])
    compiled.large_pages(devices)
    began = time.process_time()
    results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
    storm_s = time.process_time() - began
    # Kilobytes on Linux, bytes on macOS.
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    counts, entries = results.counts, results.events / devices
    each = [counts[counted] / devices for counted in ("connections.attempted", "heartbeats.sent", "messages.sent")]
    del results
    steps = sum(count * steps for count, steps in zip(each, PER_EXCHANGE, strict=True))
    bare = Shape(devices, experiment.duration_us / 1e6, each[0], each[1], each[2])
    full = bare._replace(further=max(0.0, (entries - steps - sum(each)) / steps))
    toys = [storm_toys.measure(shape) for shape in (bare, bare._replace(time_outs=True), full)]
    if report:
        names = ("storm", "bare toy", "with time-outs", "full toy")
        for what, cost in zip(names, (storm_toys.Cost(storm_s, entries), *toys), strict=True):
            ratio = f"  ratio {storm_s / cost.cpu_s:.2f}" if what != "storm" else ""
            each_us = cost.cpu_s / devices * 1e6
            print(
                f"{what:>14}: {cost.cpu_s:7.2f} s, {each_us:8.0f} us a device, {cost.entries:6.1f} entries each{ratio}"
            )
    return Costs(storm_s, toys[0].cpu_s, toys[1].cpu_s, toys[2].cpu_s, entries, peak_mib)


def main() -> None:
    """Print all and their ratios."""
    from zentalk_sim.model import compiled

    name = sys.argv[1] if len(sys.argv) > 1 else "reconnect_storm"
    devices = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    if not (EXPERIMENTS / f"{name}.yaml").exists():
        raise SystemExit(f"no experiments/{name}.yaml; usage: python -m benchmarks.storm_vs_toy [EXPERIMENT] [DEVICES]")
    print(f"{name}, {devices:,} devices, {'compiled' if compiled.activate() else 'from sources'}:")
    measure(devices, name, report=True)


if __name__ == "__main__":
    main()
