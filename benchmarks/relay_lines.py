"""The mock relay's lines of ``make bench``: what ``relay_throughput`` measures, with the values of every round.

The servers are measured in turns, ``ROUNDS`` times; idle connections once, since it is memory that is counted there.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from benchmarks.lines import BenchmarkError, Line, line
from benchmarks.relay_load import LoadError
from benchmarks.relay_throughput import (
    OURS,
    RATE_PER_S,
    Figures,
    Start,
    connecting,
    idle,
    latency,
    servers,
    throughput,
)

ROUNDS: Final = 3
AGAINST: Final = {
    "websockets": "a bare forwarder on websockets",
    "node ws": "a bare forwarder on Node's ws",
}


class Part(NamedTuple):
    """One measurement of a server, and which of its figures become lines."""

    measure: Callable[[Start], Figures]
    rounds: int
    figures: tuple[tuple[str, str, str], ...]
    """Name of the line, figure, unit; all costs, so that less is better."""


def allow_files() -> int:
    """Take as many open files as are allowed; how many these are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def parts(many: int) -> list[Part]:
    """What is measured; ``many``: idle connections."""
    rate = f"at {RATE_PER_S:,} messages a second"
    message = (("a message one to one", "cpu_us_per_message", "CPU us"),)
    delays = ((f"p50 {rate}", "p50_ms", "ms"), (f"p99 {rate}", "p99_ms", "ms"))
    connection = (("a connection authenticated", "cpu_us_per_connection", "CPU us"),)
    return [
        Part(lambda start: throughput(start, 20_000), ROUNDS, message),
        Part(lambda start: latency(start, 5), ROUNDS, delays),
        Part(lambda start: connecting(start, 2_000), ROUNDS, connection),
        Part(lambda start: idle(start, many), 1, (("an idle connection", "bytes_per_connection", "bytes"),)),
    ]


def part_lines(part: Part, compared: dict[str, Start]) -> Iterator[Line]:
    """The lines of one part: each form of ours against each forwarder. Raises BenchmarkError."""
    seen: dict[str, list[Figures]] = {name: [] for name in compared}
    for _ in range(part.rounds):
        for name, start in compared.items():
            try:
                seen[name].append(part.measure(start))
            except (LoadError, RuntimeError) as error:
                raise BenchmarkError(f"{name}, {part.figures[0][0]}: {error}") from None
    for title, figure, unit in part.figures:
        for ours in (name for name in OURS if name in compared):
            for other, against in AGAINST.items():
                if other in compared:
                    pairs = zip(seen[ours], seen[other], strict=True)
                    rounds = [(mine[figure], theirs[figure]) for mine, theirs in pairs]
                    yield line(f"{ours}, {title}", unit, rounds, against)


def lines() -> list[Line]:
    """All of them. Raises BenchmarkError."""
    many = min(10_000, allow_files() - 100)
    compared = servers()
    return [made for part in parts(many) for made in part_lines(part, compared)]
