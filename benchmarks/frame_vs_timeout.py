"""Cost of one simulated frame against one bare SimPy timeout with a callback, measured in one run.

Ours is a world at rest: every device connected and authenticated, PING and PONG its only frames. A frame is decided on
by one core, queued, carried over a link of random latency, waits for a CPU where it goes up, and is judged by the
other core; its MAC, sequence number and deadlines are kept, its round trip recorded. The baseline is a stock SimPy
environment with as many timeouts under way, each of which counts itself and sets the next: the least that any event
of a SimPy model costs. Both worlds are made once and then go on in turns; the medians of the turns are compared.

Run with ``python -m benchmarks.frame_vs_timeout [DEVICES]``.
"""

from __future__ import annotations

import gc
import statistics
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
TURN_S = 120
TURNS = 9
HEARTBEAT_S = 30


class Frames:
    """A world at rest."""

    def __init__(self, devices: int) -> None:
        nodes = max(1, devices // 15_000)
        changes = {"population.devices": devices, "relay.nodes": nodes, "faults": "[]"}
        # The time series are taken to the end, as in any run.
        changes["duration"] = f"{SETTLED_S + TURNS * TURN_S}s"
        experiment = load(MILLION, [f"{key}={value}" for key, value in changes.items()])
        messages, connections, timeseries = (
            TableWriter(schema, None) for schema in (MESSAGES, CONNECTIONS, TIMESERIES)
        )
        self._recorder = Recorder(messages, connections, timeseries, START_US)
        self._world = World(experiment, self._recorder)
        self._until_us = START_US + SETTLED_S * 1_000_000
        self._world.kernel.run_until(self._until_us)
        assert self._world.connected == devices

    def turn(self) -> tuple[float, int]:
        """Seconds of CPU time of some minutes of heartbeats, and how many frames they were."""
        counts = self._recorder.counts
        before = counts["heartbeats.sent"]
        self._until_us += TURN_S * 1_000_000
        began = time.process_time()
        self._world.kernel.run_until(self._until_us)
        spent_s = time.process_time() - began
        # Each PING has its PONG.
        return spent_s, 2 * (counts["heartbeats.sent"] - before)


class Timeouts:
    """Bare SimPy timeouts, ``devices`` of them under way at any time."""

    def __init__(self, devices: int) -> None:
        self._devices = devices
        self._env = simpy.Environment()
        self._done = 0
        for number in range(devices):
            self._set(HEARTBEAT_S * number / devices)

    def _set(self, delay_s: float) -> None:
        timeout = self._env.timeout(delay_s)
        assert timeout.callbacks is not None
        timeout.callbacks.append(self._fire)

    def _fire(self, _: simpy.Event) -> None:
        self._done += 1
        timeout = self._env.timeout(HEARTBEAT_S)
        assert timeout.callbacks is not None
        timeout.callbacks.append(self._fire)

    def turn(self, count: int) -> tuple[float, int]:
        """Seconds of CPU time of about ``count`` timeouts, and how many they were."""
        before = self._done
        began = time.process_time()
        self._env.run(until=self._env.now + HEARTBEAT_S * count / self._devices)
        return time.process_time() - began, self._done - before


def turns(devices: int) -> list[tuple[float, float]]:
    """Microseconds of CPU time of a simulated frame and of a bare timeout, a pair a turn."""
    gc.collect()
    gc.disable()
    try:
        frames, timeouts = Frames(devices), Timeouts(devices)
        found = []
        for _ in range(TURNS):
            frames_s, count = frames.turn()
            timeouts_s, fired = timeouts.turn(count)
            found.append((frames_s / count * 1e6, timeouts_s / fired * 1e6))
    finally:
        gc.enable()
    return found


def measure(devices: int) -> tuple[float, float]:
    """The medians of the turns."""
    found = turns(devices)
    return statistics.median(frame_us for frame_us, _ in found), statistics.median(bare_us for _, bare_us in found)


def main() -> None:
    """Print both and their ratio."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    frame_us, timeout_us = measure(devices)
    ratio = frame_us / timeout_us
    print(f"{devices:,} devices: {frame_us:.2f} us a frame, {timeout_us:.2f} us a timeout, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
