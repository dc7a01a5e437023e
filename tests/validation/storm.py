"""A reconnect storm through the whole simulator, with everything random taken out: a closed form to the microsecond.

All connections are reset at one instant. Without jitter each device waits 1 s and all SYNs come together; c workers
take TLS handshakes of S each in turn, so the k-th is done ⌈k/c⌉·S later. Around that a connection takes four round
trips: SYN, TLS 1.3, upgrade with the challenge behind it, authentication.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tests.validation.check import Check, exactly
from zentalk_sim.experiment import run

SECTION = "A storm through the whole simulator"
FILE = "tests/validation/storm.py"
TLS_US = 5_000
BACKOFF_US = 1_000_000
ROUND_TRIPS = 4


class Storm(NamedTuple):
    """Its settings."""

    devices: int
    workers: int
    one_way_us: int


@lru_cache(maxsize=8)
def away_us(storm: Storm) -> tuple[int, ...]:
    """How long each device was without a connection, rising."""
    found = run(
        {
            "name": "storm",
            "duration": "40s",
            "relay": {
                "ingress": {
                    "workers": storm.workers,
                    "costs": {"tls_us": TLS_US, "auth_us": 0, "frame_us": 0},
                },
                "store_latency": "0s",
            },
            "population": {"devices": storm.devices, "networks": {"even": 1}},
            "network": {"even": {"latency": {"dist": "constant", "delay_ms": storm.one_way_us / 1000}}},
            "client": {"backoff": {"jitter": 0}},
            "workload": {"start": {"ramp": "10s"}, "messages": {"rate_per_device": "0/min"}},
            "faults": [{"at": "20s", "do": "reset_connections"}],
            "plots": False,
        }
    )
    away = []
    for _, attempts in found.connections.groupby("device", sort=True):
        first, second = attempts.sort_values("start_us").itertuples()
        away.append(int(second.auth_us - first.end_us))
    return tuple(sorted(away))


def expected_us(storm: Storm) -> tuple[int, ...]:
    """1 s of backoff, four round trips, and the handshakes of those before."""
    fixed_us = BACKOFF_US + ROUND_TRIPS * 2 * storm.one_way_us
    return tuple(fixed_us + -(-k // storm.workers) * TLS_US for k in range(1, storm.devices + 1))


def _row(storm: Storm, is_plain: bool) -> Check:
    ms = storm.one_way_us / 1000
    workers = f"{storm.workers} worker{'s' if storm.workers > 1 else ''}"
    return Check(
        section=SECTION,
        what=f"Time without connection of the k-th of {storm.devices} devices, {workers}",
        theory="1 s + k·5 ms" if is_plain else f"1 s + 4·{2 * ms:g} ms + ⌈k/{storm.workers}⌉·5 ms",
        parameters=f"TLS 5 ms, {f'{ms:g} ms one way' if storm.one_way_us else 'no latency'}, no jitter",
        file=FILE,
        run=exactly(expected_us(storm), lambda _is_long: (away_us(storm), f"{storm.devices} devices")),
    )


CHECKS = [_row(Storm(200, 1, 0), True), _row(Storm(200, 4, 25_000), False)]
