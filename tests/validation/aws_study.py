"""The published jitter study, done again with our policies: exact at zero variance, and its figures at N = 100.

With no backoff and hops of exactly 10 ms all clients move in step: each round of four hops lets one through, so N of
them take N rounds of 40 ms and N + (N − 1) + … + 1 calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from tests.validation.aws_jitter import STRATEGIES, Completed, Strategy, compete
from tests.validation.check import Check, Outcome, Sample, exactly, number, published
from tests.validation.intervals import interval

SECTION = "Backoff: the published jitter study"
FILE = "tests/validation/aws_jitter.py"
CLIENTS = 100
SIZES = (1, 2, 10, 100)
COMPLETION_S: dict[Strategy, float] = {
    "exponential": 63.5, "decorrelated": 4.6, "equal": 6.7, "full": 5.0, "none": 2.0
}  # fmt: skip
CALLS: dict[Strategy, float] = {"exponential": 1861, "decorrelated": 1007, "equal": 813, "full": 797, "none": 2425}
PARAMETERS = "N = 100, hops |N(10, 2)| ms, base 5 ms, cap 2000 ms"


@lru_cache(maxsize=16)
def runs(strategy: Strategy, seeds: int) -> tuple[Completed, ...]:
    """One run a seed."""
    return tuple(compete(CLIENTS, strategy, seed) for seed in range(seeds))


def _seeds(is_long: bool) -> int:
    return 1000 if is_long else 100


def completions(strategy: Strategy, is_long: bool) -> Sample:
    """Completion times, in ms."""
    return Sample([run.completion_us / 1000 for run in runs(strategy, _seeds(is_long))], f"{CLIENTS} clients")


def calls(strategy: Strategy, is_long: bool) -> Sample:
    """Writes that reached the server."""
    return Sample([run.calls for run in runs(strategy, _seeds(is_long))], f"{CLIENTS} clients")


def _order(sample: Callable[[Strategy, bool], Sample], expected: tuple[Strategy, ...]) -> Callable[[bool], Outcome]:
    """The strategies from the least mean to the greatest, and which neighbours' 99 % intervals touch.

    Decorrelated and full jitter complete within 0.3 s of each other: a hundred seeds do not tell them apart surely, so
    their intervals may touch in the short form.
    """

    def run(is_long: bool) -> Outcome:
        found = {s: interval(sample(s, is_long).values, 0.99) for s in STRATEGIES}
        order = sorted(STRATEGIES, key=lambda s: found[s].mean)
        touching = [
            f"{a} and {b}"
            for a, b in pairwise(order)
            if found[a].mean + found[a].half_width >= found[b].mean - found[b].half_width
        ]
        allowed = [] if is_long else ["decorrelated and full"]
        told = f" (intervals touch: {', '.join(touching)})" if touching else ""
        return Outcome(
            measured=" < ".join(order) + told,
            sample=f"{number(_seeds(is_long))} seeds × {CLIENTS} clients",
            agrees=tuple(order) == expected and all(pair in allowed for pair in touching),
            why=f"{order} against {expected}{told}",
        )

    return run


def _in_step(is_long: bool) -> tuple[object, str]:
    found = [compete(n, "none", seed=0, hop_sd_ms=0) for n in SIZES]
    return found, f"N = {', '.join(map(str, SIZES))}"


def _rows() -> list[Check]:
    rows = [
        Check(
            section=SECTION,
            what="No backoff, no variance: completion 40·N ms, calls N(N+1)/2",
            theory="40·N ms, N(N+1)/2",
            parameters="hops of 10 ms",
            file=FILE,
            run=exactly([Completed(40_000 * n, n * (n + 1) // 2) for n in SIZES], _in_step),
        )
    ]
    for strategy in STRATEGIES:
        rows.append(
            Check(
                section=SECTION,
                what=f"Completion, {strategy}",
                theory=f"≈ {COMPLETION_S[strategy]} s",
                parameters=PARAMETERS,
                file=FILE,
                run=published(
                    COMPLETION_S[strategy],
                    lambda is_long, s=strategy: completions(s, is_long),  # type: ignore[misc]
                    within=0.05,
                    unit=" s",
                    scale=1000,
                ),
            )
        )
        rows.append(
            Check(
                section=SECTION,
                what=f"Calls, {strategy}",
                theory=f"≈ {CALLS[strategy]:.0f}",
                parameters=PARAMETERS,
                file=FILE,
                run=published(CALLS[strategy], lambda is_long, s=strategy: calls(s, is_long), within=0.05),  # type: ignore[misc]
            )
        )
    by_completion: tuple[Strategy, ...] = ("none", "decorrelated", "full", "equal", "exponential")
    by_calls: tuple[Strategy, ...] = ("full", "equal", "decorrelated", "exponential", "none")
    for what, sample, expected in (
        ("Order of completion", completions, by_completion),
        ("Order of calls", calls, by_calls),
    ):
        rows.append(
            Check(
                section=SECTION,
                what=what,
                theory=" < ".join(expected),
                parameters=PARAMETERS,
                file=FILE,
                run=_order(sample, expected),
            )
        )
    return rows


CHECKS = _rows()
