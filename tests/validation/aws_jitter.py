"""The model of M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), with our backoff policies.

N clients each want to update one row once, by optimistic concurrency: read the version, write, and if another came
between, back off and begin again. Every hop takes |N(10, 2)| ms. A *call* is a write that reached the server; the
*completion* is the instant at which the last client hears of its success. The exponent is 1 at the first backoff.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Literal, NamedTuple

import numpy as np

from zentalk_sim.protocol.backoff import delay_us
from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.protocol.streams import Stream, Streams

Strategy = Literal["exponential", "decorrelated", "equal", "full", "none"]
STRATEGIES: tuple[Strategy, ...] = ("exponential", "decorrelated", "equal", "full", "none")
BASE_MS, CAP_MS = 5, 2000
HOP_MEAN_MS, HOP_SD_MS = 10.0, 2.0
_BATCH = 2048


class Completed(NamedTuple):
    """What one run came to."""

    completion_us: int
    calls: int


def policy(strategy: Strategy) -> BackoffConfig:
    """The study's strategy as one of our policies: plain exponential backoff is ``spec`` without its jitter."""
    if strategy == "exponential":
        return BackoffConfig(policy="spec", jitter=0, base_ms=BASE_MS, cap_ms=CAP_MS)
    return BackoffConfig(policy=strategy, base_ms=BASE_MS, cap_ms=CAP_MS)


def hops_us(stream: Stream, sd_ms: float) -> Callable[[], int]:
    """Draws of |N(10, sd)| ms (Box and Muller, Annals of Mathematical Statistics 29, 1958), made in batches."""
    if sd_ms == 0:
        return lambda: round(HOP_MEAN_MS * 1000)
    ready: list[int] = []

    def draw() -> int:
        if not ready:
            words = np.frombuffer(stream.bytes(16 * _BATCH), dtype=">u8") >> np.uint64(11)
            uniform = words / float(1 << 53)
            radius = np.sqrt(-2 * np.log1p(-uniform[:_BATCH]))
            angle = 2 * np.pi * uniform[_BATCH:]
            normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
            ready.extend(np.rint(1000 * np.abs(HOP_MEAN_MS + sd_ms * normal)).astype(int).tolist())
        return ready.pop()

    return draw


def compete(clients: int, strategy: Strategy, seed: int, *, hop_sd_ms: float = HOP_SD_MS) -> Completed:
    """One run. Only what reaches the server is an event, since a client answers at once."""
    settings = policy(strategy)
    streams = Streams(f"jitter study {seed}")
    waits = streams.fresh(f"{strategy}/backoff")
    hop = hops_us(streams.fresh(f"{strategy}/hops"), hop_sd_ms)
    attempts = [0] * clients
    waited_us = [0] * clients
    read_version = [-1] * clients
    """What the client read and is writing with; -1: its read is under way."""
    queue = [(hop(), client, client) for client in range(clients)]
    heapify(queue)
    number, version, calls, completion_us = clients, 0, 0, 0
    while queue:
        now_us, _, client = heappop(queue)
        number += 1
        if read_version[client] < 0:
            read_version[client] = version
            heappush(queue, (now_us + hop() + hop(), number, client))
            continue
        calls += 1
        answered_us = now_us + hop()
        if read_version[client] == version:
            version += 1
            completion_us = max(completion_us, answered_us)
            continue
        read_version[client] = -1
        attempts[client] += 1
        waited_us[client] = delay_us(settings, attempts[client], waited_us[client], waits)
        heappush(queue, (answered_us + waited_us[client] + hop(), number, client))
    return Completed(completion_us, calls)
