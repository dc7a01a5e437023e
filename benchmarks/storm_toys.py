"""Toys of a storm in bare SimPy: a process a device that does nothing but wait, with no protocol, network or store.

Three of them, each as often through its steps as the storm it is told of (``Shape``):

- *bare*: one timeout for each frame and each part of a handshake, which is the least a sketch can do;
- *time-outs*: the same, and each heartbeat's answer is awaited as SimPy's documentation has it, ``answer | timeout``;
- *full*: the bare one with further timeouts, until it has as many queue entries as the storm: for CPUs and commits too.

``measure`` runs one in a process of its own, so that neither finds the other's memory or settings.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, Final, NamedTuple

import simpy

from benchmarks.lines import BenchmarkError

HANDSHAKE_STEPS: Final = 6
"""SYN, TLS, upgrade, challenge, response, success."""
HEARTBEAT_STEPS: Final = 2
MESSAGE_STEPS: Final = 5
"""Send, ack, push, confirmation, delivery notice."""
PER_EXCHANGE: Final = (HANDSHAKE_STEPS, HEARTBEAT_STEPS, MESSAGE_STEPS)
LATENCY_S: Final = 0.02
SHORT_S: Final = 0.001
"""What the full toy waits for anything but a frame's way."""
PONG_TIMEOUT_S: Final = 10.0


class Shape(NamedTuple):
    """How often a toy waits. ``attempts``, ``heartbeats`` and ``messages`` are means a device."""

    devices: int
    duration_s: float
    attempts: float
    heartbeats: float
    messages: float
    further: float = 0.0
    """Timeouts that each frame or part of a handshake takes beside its own."""
    time_outs: bool = False
    """Whether a heartbeat's answer is awaited together with a time-out."""


class Cost(NamedTuple):
    """What a storm or a toy took."""

    cpu_s: float
    entries: float
    """Of its queue, a device."""


class Toy:
    """The storm as bare timeouts; ``entries`` counts what it puts into SimPy's queue."""

    def __init__(self, shape: Shape) -> None:
        self.env = simpy.Environment()
        self.entries = 0
        self._shape = shape
        for number in range(shape.devices):
            self.env.process(self._device(number / shape.devices))

    @staticmethod
    def _whole(mean: float, share: float) -> int:
        """A whole number for each device such that their mean over all devices is ``mean``."""
        return int(mean) + (share < mean - int(mean))

    def _device(self, share: float) -> Generator[Any, Any, None]:
        env, shape = self.env, self._shape
        yield env.timeout(share * shape.duration_s / 30)
        means = (shape.attempts, shape.heartbeats, shape.messages)
        counts = [self._whole(mean, share) for mean in means]
        gap = max(0.0, (shape.duration_s - env.now) / max(1, sum(counts)) - HANDSHAKE_STEPS * LATENCY_S - 0.03)
        owed = share
        for what, (count, steps) in enumerate(zip(counts, PER_EXCHANGE, strict=True)):
            awaited = HEARTBEAT_STEPS - 1 if shape.time_outs and what == 1 else None
            for _ in range(count):
                self.entries += 1
                yield env.timeout(gap)
                for step in range(steps):
                    if step == awaited:
                        # The answer, the time-out, which nothing cancels, and the condition of both.
                        self.entries += 3
                        yield env.timeout(LATENCY_S) | env.timeout(PONG_TIMEOUT_S)
                    else:
                        self.entries += 1
                        yield env.timeout(LATENCY_S)
                    owed += shape.further
                    while owed >= 1:
                        owed -= 1
                        self.entries += 1
                        yield env.timeout(SHORT_S)

    def run(self) -> None:
        """To the end of the storm."""
        self.env.run(until=self._shape.duration_s)


def run(shape: Shape) -> Cost:
    """CPU time from nothing to the end, in this process: making the processes is part of it, the collector is off."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        toy = Toy(shape)
        toy.run()
        return Cost(time.process_time() - began, toy.entries / shape.devices)
    finally:
        gc.enable()


def measure(shape: Shape) -> Cost:
    """Run a toy in a process of its own. Raises BenchmarkError where it fails."""
    command = [sys.executable, "-m", "benchmarks.storm_toys", json.dumps(shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"a storm's toy: {done.stderr.strip() or done.returncode}")
    return Cost(*json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(run(Shape(*json.loads(sys.argv[1])))))
