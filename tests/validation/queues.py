"""The ingress of a relay node against queueing theory: M/M/1, M/D/1, M/M/1/K, Erlang's B and C.

Poisson arrivals and service times are drawn from named streams and handed to the very object the simulator's nodes
use; the theory is Kleinrock, Queueing Systems I (1975), chapters 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import factorial
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np

from tests.validation.check import Check, Sample, estimated, number
from zentalk_sim.model.ingress import Ingress
from zentalk_sim.protocol.streams import Stream, Streams

SECTION = "Queues: a node's ingress"
FILE = "tests/validation/queues.py"
SERVICE_US = 10_000
"""Mean service time: coarse enough that whole microseconds do not show."""
WARM_UP = 0.2
"""Share of the arrivals that fill the empty queue and are not counted."""
Service = Literal["exponential", "deterministic"]


# --- theory ----------------------------------------------------------------------------------------------------


def mm1_wait(rho: float) -> float:
    """M/M/1: mean wait in service times, Wq/S = ρ/(1 − ρ)."""
    return rho / (1 - rho)


def md1_wait(rho: float) -> float:
    """M/D/1: half of that (Pollaczek and Khinchine)."""
    return rho / (2 * (1 - rho))


def mm1k_blocking(rho: float, k: int) -> float:
    """M/M/1/K: the share of arrivals that find K in the system."""
    return (1 - rho) * rho**k / (1 - rho ** (k + 1))


def erlang_b(erlangs: float, servers: int) -> float:
    """M/G/c/c: the share of arrivals that find every server busy."""
    return erlangs**servers / factorial(servers) / sum(erlangs**k / factorial(k) for k in range(servers + 1))


def erlang_c(erlangs: float, servers: int) -> float:
    """M/M/c: the share of arrivals that wait."""
    b = erlang_b(erlangs, servers)
    return b / (1 - erlangs / servers * (1 - b))


# --- the ingress driven ----------------------------------------------------------------------------------------


class Arrivals(NamedTuple):
    """Instants, costs, and how many come before counting begins."""

    at_us: list[int]
    cost_us: list[int]
    skipped: int

    @property
    def counted(self) -> int:
        return len(self.at_us) - self.skipped


def exponentials_us(stream: Stream, count: int, mean_us: float) -> list[int]:
    """Exponential draws by inversion from the stream's own words, as ``stream.uniform()`` would give them."""
    uniform = (np.frombuffer(stream.bytes(8 * count), dtype=">u8") >> np.uint64(11)) / float(1 << 53)
    return [int(value) for value in np.rint(-mean_us * np.log1p(-uniform))]


def arrivals(seed: int, erlangs: float, service: Service, jobs: int) -> Arrivals:
    """Poisson arrivals that offer ``erlangs`` of work, the first fifth to be skipped."""
    streams = Streams(f"validation of queues {seed}")
    gaps = exponentials_us(streams.fresh("gaps"), jobs, SERVICE_US / erlangs)
    costs = (
        exponentials_us(streams.fresh("costs"), jobs, SERVICE_US) if service == "exponential" else [SERVICE_US] * jobs
    )
    return Arrivals(np.cumsum(gaps).tolist(), costs, int(WARM_UP * jobs))


class Waited(NamedTuple):
    """Of one seed: mean wait in service times, and the share of jobs that waited at all."""

    mean: float
    share: float


@lru_cache(maxsize=32)
def waits(erlangs: float, workers: int, service: Service, seeds: int, jobs: int) -> tuple[Waited, ...]:
    """Serve everything, first come, first served; one figure a seed."""
    found = []
    for seed in range(seeds):
        ingress = Ingress(workers, 1, 0)
        serve = ingress.serve
        offered = arrivals(seed, erlangs, service, jobs)
        waited = [serve(at, cost) - cost - at for at, cost in zip(offered.at_us, offered.cost_us, strict=True)]
        counted = waited[offered.skipped :]
        found.append(Waited(fmean(counted) / SERVICE_US, sum(map(bool, counted)) / len(counted)))
    return tuple(found)


def blocked_by_backlog(rho: float, places: int, seed: int, jobs: int) -> float:
    """One worker and a backlog of ``places``: the share of connections whose SYN the ingress drops."""
    ingress = Ingress(1, places, 0)
    offered = arrivals(seed, rho, "exponential", jobs)
    blocked = 0
    for i, (at, cost) in enumerate(zip(offered.at_us, offered.cost_us, strict=True)):
        if ingress.admits(at):
            ingress.accept(at, cost)
        elif i >= offered.skipped:
            blocked += 1
    return blocked / offered.counted


def blocked_when_busy(erlangs: float, workers: int, service: Service, seed: int, jobs: int) -> float:
    """No room to wait: the share of arrivals that find every worker busy.

    The backlog of a node is never 0, so the question is put to the workers: a job of no cost, which changes nothing,
    starts later than now exactly if none is free.
    """
    ingress = Ingress(workers, 1, 0)
    serve = ingress.serve
    offered = arrivals(seed, erlangs, service, jobs)
    blocked = 0
    for i, (at, cost) in enumerate(zip(offered.at_us, offered.cost_us, strict=True)):
        if serve(at, 0) == at:
            serve(at, cost)
        elif i >= offered.skipped:
            blocked += 1
    return blocked / offered.counted


# --- the rows --------------------------------------------------------------------------------------------------


def _wait_row(name: str, rho: float, theory: float, service: Service, jobs: int, precision: float) -> Check:
    def sample(is_long: bool) -> Sample:
        seeds, each = (40, jobs * 8) if is_long else (20, jobs)
        return Sample([w.mean for w in waits(rho, 1, service, seeds, each)], f"{number(each)} jobs")

    return Check(
        section=SECTION,
        what=f"{name} at ρ = {rho}, mean wait Wq/S",
        theory=f"{theory:.4g}",
        parameters=f"ρ = {rho}, 1 worker, {service} service",
        file=FILE,
        run=estimated(theory, sample, precision=precision),
    )


def _erlang_c_row(what: str, theory: float, field: Literal["mean", "share"], precision: float) -> Check:
    def sample(is_long: bool) -> Sample:
        seeds, each = (40, 200_000) if is_long else (20, 25_000)
        found = waits(8.0, 10, "exponential", seeds, each)
        return Sample([getattr(w, field) for w in found], f"{number(each)} jobs")

    return Check(
        section=SECTION,
        what=what,
        theory=f"{theory:.6f}",
        parameters="8 E, 10 workers",
        file=FILE,
        run=estimated(theory, sample, precision=precision),
    )


def _blocking_row(
    what: str, theory: float, parameters: str, blocked: Callable[[int, int], float], precision: float
) -> Check:
    def sample(is_long: bool) -> Sample:
        seeds, each = (40, 200_000) if is_long else (20, 25_000)
        return Sample([blocked(seed, each) for seed in range(seeds)], f"{number(each)} arrivals")

    return Check(
        section=SECTION,
        what=what,
        theory=f"{theory:.6f}",
        parameters=parameters,
        file=FILE,
        run=estimated(theory, sample, precision=precision),
    )


CHECKS = [
    _wait_row("M/M/1", 0.5, mm1_wait(0.5), "exponential", 20_000, 0.04),
    _wait_row("M/M/1", 0.8, mm1_wait(0.8), "exponential", 30_000, 0.08),
    _wait_row("M/M/1", 0.9, mm1_wait(0.9), "exponential", 50_000, 0.12),
    _wait_row("M/D/1", 0.5, md1_wait(0.5), "deterministic", 20_000, 0.04),
    _wait_row("M/D/1", 0.8, md1_wait(0.8), "deterministic", 30_000, 0.08),
    _wait_row("M/D/1", 0.9, md1_wait(0.9), "deterministic", 50_000, 0.12),
    _blocking_row(
        "M/M/1/10, share blocked",
        mm1k_blocking(0.8, 10),
        "ρ = 0.8, 1 worker, backlog 9",
        lambda seed, jobs: blocked_by_backlog(0.8, 9, seed, jobs),
        0.15,
    ),
    _blocking_row(
        "Erlang B, share blocked",
        erlang_b(8, 10),
        "8 E, 10 workers, none waits, exponential service",
        lambda seed, jobs: blocked_when_busy(8, 10, "exponential", seed, jobs),
        0.04,
    ),
    _blocking_row(
        "Erlang B, share blocked, whatever the service",
        erlang_b(8, 10),
        "8 E, 10 workers, none waits, constant service",
        lambda seed, jobs: blocked_when_busy(8, 10, "deterministic", seed, jobs),
        0.04,
    ),
    _erlang_c_row("Erlang C, share that waits", erlang_c(8, 10), "share", 0.06),
    _erlang_c_row("M/M/10, mean wait Wq/S", erlang_c(8, 10) / (10 - 8), "mean", 0.16),
]
