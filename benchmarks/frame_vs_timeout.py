"""Cost of one simulated frame against one bare SimPy timeout with a callback, measured in one run.

Ours is a world at rest: every device connected and authenticated, PING and PONG its only frames. A frame is decided on
by one core, queued, carried over a link of random latency, waits for a CPU where it goes up, and is judged by the
other core; its MAC, sequence number and deadlines are kept, its round trip recorded. The baseline is a stock SimPy
environment with as many timeouts under way, each of which counts itself and sets the next: the least that any event
of a SimPy model costs.

Run with ``python -m benchmarks.frame_vs_timeout [DEVICES]``.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import simpy

from zentalk_sim.experiment.loader import load
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.world import START_US, World
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, TIMESERIES, TableWriter

MILLION = Path(__file__).parent.parent / "experiments" / "million.yaml"
SETTLED_S = 40
MEASURED_S = 300
HEARTBEAT_S = 30


def frames(devices: int) -> tuple[float, int]:
    """Seconds of CPU time of five minutes of heartbeats, and how many frames they were."""
    nodes = max(1, devices // 15_000)
    experiment = load(MILLION, [f"population.devices={devices}", f"relay.nodes={nodes}", "faults=[]"])
    messages, connections, timeseries = (TableWriter(schema, None) for schema in (MESSAGES, CONNECTIONS, TIMESERIES))
    recorder = Recorder(messages, connections, timeseries, START_US)
    world = World(experiment, recorder)
    world.kernel.run_until(START_US + SETTLED_S * 1_000_000)
    assert world.connected == devices
    before = recorder.counts["heartbeats.sent"]
    began = time.process_time()
    world.kernel.run_until(START_US + (SETTLED_S + MEASURED_S) * 1_000_000)
    spent = time.process_time() - began
    # Each PING has its PONG.
    return spent, 2 * (recorder.counts["heartbeats.sent"] - before)


def timeouts(devices: int, count: int) -> float:
    """Seconds of CPU time of ``count`` SimPy timeouts, ``devices`` of them under way at any time."""
    env = simpy.Environment()
    done = 0

    def fire(_: simpy.Event) -> None:
        nonlocal done
        done += 1
        env.timeout(HEARTBEAT_S).callbacks.append(fire)

    for number in range(devices):
        env.timeout(HEARTBEAT_S * number / devices).callbacks.append(fire)
    began = time.process_time()
    env.run(until=HEARTBEAT_S * count / devices)
    spent = time.process_time() - began
    return spent * count / done


def measure(devices: int) -> tuple[float, float]:
    """Microseconds of CPU time of a simulated frame, and of a bare timeout."""
    gc.collect()
    gc.disable()
    try:
        spent, count = frames(devices)
        bare = timeouts(devices, count)
    finally:
        gc.enable()
    return spent / count * 1e6, bare / count * 1e6


def main() -> None:
    """Print both and their ratio."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    frame_us, timeout_us = measure(devices)
    ratio = frame_us / timeout_us
    print(f"{devices:,} devices: {frame_us:.2f} us a frame, {timeout_us:.2f} us a timeout, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
