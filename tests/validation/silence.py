"""How long a relay takes to notice a peer that fell silent: R-8.1 derived, and measured through the relay core.

An answered PING is followed by the next 30 s after its sending; that one and two more go unanswered, each for 10 s,
with 30 s from time-out to PING: the relay drops the connection 30 + 10 + 30 + 10 + 30 + 10 = 120 s after it sent the
last PING that was answered. A peer with a one-way latency of d to it answers the PINGs that reach it before it falls
silent, so the last answered one was sent between d and 30 + d seconds earlier, and any instant of that is as likely
as any other. Detection therefore takes a time uniform on [90 − d, 120 − d] s, mean 105 − d: with d = 0, [90, 120] and
105. The way back (the PONG's) does not count, as long as the round trip is below the 10 s time-out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from heapq import heappop, heappush
from statistics import fmean
from typing import Literal, NamedTuple

from tests.protocol.relay_world import RelayWorld
from tests.validation.check import Check, Outcome, Sample, distributed, estimated
from tests.validation.intervals import uniform_on
from zentalk_sim.protocol.config import Limits, RelayConfig
from zentalk_sim.protocol.crypto import Modelled
from zentalk_sim.protocol.streams import Streams

SECTION = "Heartbeat: a peer that falls silent"
FILE = "tests/validation/silence.py"
SECOND = 1_000_000
PEERS = 50
FIRST_S, CYCLES = 60, 4
"""Peers fall silent at instants uniform over four whole cycles of 30 s, from the second minute on."""


class Path(NamedTuple):
    """One-way latencies, constant."""

    to_peer_us: int
    to_relay_us: int


@lru_cache(maxsize=8)
def detections_s(path: Path, seeds: int) -> tuple[tuple[float, ...], ...]:
    """For each seed, how long after falling silent each peer was dropped."""
    return tuple(_one_seed(path, seed) for seed in range(seeds))


def _one_seed(path: Path, seed: int) -> tuple[float, ...]:
    config = RelayConfig(limits=Limits(connections_per_ip="off", auth_attempts="off"))
    world = RelayWorld(config, seed=f"silence {seed}", crypto=Modelled())
    lines = [world.person(f"peer {i}").connect() for i in range(PEERS)]
    began = world.now
    draws = Streams(f"validation of silence {seed}").fresh("silent")
    silent_us = [began + FIRST_S * SECOND + draws.between(0, CYCLES * 30 * SECOND - 1) for _ in lines]
    for line in lines:
        line.clear()
    pongs: list[tuple[int, int, int]] = []
    while any(line.close_code is None for line in lines):
        due = world.relay.next_timeout()
        assert due is not None
        world.advance_us((min(due, pongs[0][0]) if pongs else due) - world.now)
        while pongs and pongs[0][0] <= world.now:
            _, i, timestamp = heappop(pongs)
            if lines[i].close_code is None:
                lines[i].send("PONG", {"timestamp": timestamp, "client_time": world.now_ms})
        for i, line in enumerate(lines):
            for frame, at_us in zip(line.frames, line.arrived_us, strict=True):
                if frame["type"] == "PING" and at_us + path.to_peer_us < silent_us[i]:
                    back_us = at_us + path.to_peer_us + path.to_relay_us
                    heappush(pongs, (back_us, i, frame["payload"]["timestamp"]))
            line.clear()
        if pongs and pongs[0][0] <= world.now:
            world.advance_us(0)
    assert all(line.end == (1006, "heartbeat") for line in lines)
    return tuple((_closed(line.closed_us) - at) / SECOND for line, at in zip(lines, silent_us, strict=True))


def _closed(at_us: int | None) -> int:
    assert at_us is not None
    return at_us


def _seeds(is_long: bool) -> int:
    return 100 if is_long else 12


def _means(path: Path, is_long: bool) -> Sample:
    return Sample([fmean(row) for row in detections_s(path, _seeds(is_long))], f"{PEERS} peers")


def _all(path: Path, is_long: bool) -> Sample:
    return Sample([s for row in detections_s(path, _seeds(is_long)) for s in row], "peers")


def _rows(kind: Literal["none", "some"], path: Path, parameters: str) -> list[Check]:
    d = path.to_peer_us / SECOND
    low, high = 90 - d, 120 - d
    told = "no latency" if kind == "none" else "with latency"

    def row(what: str, theory: str, run: Callable[[bool], Outcome]) -> Check:
        return Check(section=SECTION, what=what, theory=theory, parameters=parameters, file=FILE, run=run)

    return [
        row(
            f"Detection time, {told}: mean",
            f"{(low + high) / 2:g} s",
            estimated((low + high) / 2, partial(_means, path), precision=0.02, unit=" s"),
        ),
        row(
            f"Detection time, {told}: distribution",
            f"uniform on [{low:g}, {high:g}] s",
            distributed(uniform_on(low, high), low, high, partial(_all, path), " s"),
        ),
    ]


CHECKS = [
    *_rows("none", Path(0, 0), "silent at a uniform phase, no latency"),
    *_rows("some", Path(3 * SECOND, 2 * SECOND), "silent at a uniform phase, 3 s to the peer, 2 s back"),
]
