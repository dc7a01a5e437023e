"""What can be said across seeds: medians, bootstrap intervals, and whether two sets of runs differ beyond chance.

Runs of different seeds are independent; values within a run are not, so that no interval is ever taken within one.
All resampling is drawn from named streams of a fixed seed: the same runs give the same figures, everywhere.

- **Interval of a median**: from ``EXACT_BELOW`` runs on the percentile bootstrap (Efron), 95 %, ``RESAMPLES`` resamples
  of the seeds with replacement. With fewer, where it is known to be too narrow (Hesterberg, What Teachers Should Know
  About the Bootstrap, 2015: at 7 runs it holds the median in 87.5 %), the exact bounds by order statistics, which ask
  nothing of the distribution (Conover, Practical Nonparametric Statistics, 1999, 3.2; Hahn and Meeker, Statistical
  Intervals, 1991, 5.2): the narrowest symmetric pair of runs that holds the median in 95 % or more. With fewer than
  ``ENOUGH`` runs there is none, and least and greatest stand in its place, with ``coverage`` to be told beside them.
- **Interval of a ratio** of medians: both sides resampled independently. Of pairs, each has its ratio, and these their
  median and interval.
- **Difference of two sets**: the rank-sum test of Wilcoxon, Mann and Whitney, two-sided, ties at their mean rank; all
  rearrangements are counted where there are at most ``MAX_EXACT``, else that many are drawn.
- **Difference of pairs**: the signed-rank test of Wilcoxon, two-sided; pairs without a difference say nothing and are
  left out, ties stand at their mean rank; all signs are counted up to ``MAX_EXACT_PAIRS``, from there on the normal
  distribution stands for them. It holds where the two of a pair could be exchanged, whatever they have in common.
- **Many comparisons at once**: Benjamini and Hochberg's procedure at 5 %, so that among many measures that do not
  differ none is called different by chance alone (but for 5 % of such families).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from math import comb, erfc, sqrt
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.protocol.streams import Streams

RESAMPLES: Final = 2_000
MAX_EXACT: Final = 20_000
MAX_EXACT_PAIRS: Final = 200
LEVEL: Final = 0.95
FALSE_DISCOVERY: Final = 0.05


EXACT_BELOW: Final = 10
"""Runs from which on the bootstrap is used: it holds the true median in 92 to 96 % then."""
ENOUGH: Final = 6
"""The least number of runs whose least and greatest hold the true median in 95 %."""


class Interval(Struct, frozen=True):
    """A median over ``n`` runs with its 95 % interval; all None where no run has a value, no interval with one run.

    With fewer than ``ENOUGH`` runs ``low`` and ``high`` are the least and the greatest, which hold less (``coverage``).
    """

    n: int
    median: float | None
    low: float | None
    high: float | None


def coverage(n: int) -> float:
    """How often the interval over ``n`` runs, 2 or more, holds the true median; from ``EXACT_BELOW`` on the nominal."""
    return LEVEL if n >= EXACT_BELOW else _held(n, _rank(n))


def interval_words(n: int) -> str:
    """What the bounds over ``n`` runs are, for a reader: ``95 % interval``, or what it falls short of that."""
    if n < 2:
        return "no interval"
    if n >= ENOUGH:
        return "95 % interval"
    return f"least and greatest of {n} runs, {100 * coverage(n):.3g} % sure"


def median_interval(values: Sequence[float]) -> Interval:
    """The median of one value per run, and its interval."""
    n = len(values)
    if not n:
        return Interval(0, None, None, None)
    ordered = sorted(map(float, values))
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    if n == 1:
        return Interval(1, median, None, None)
    if n < EXACT_BELOW:
        rank = _rank(n)
        return Interval(n, median, ordered[rank], ordered[n - 1 - rank])
    if ordered[0] == ordered[-1]:
        # So it is with most counts, and no resample says anything else.
        return Interval(n, median, median, median)
    import numpy as np

    low, high = _bounds(_medians(np.asarray(values, dtype=np.float64), "interval"))
    return Interval(n, median, low, high)


@cache
def _rank(n: int) -> int:
    """The greatest rank from 0 at which a pair of order statistics of ``n`` is sure enough; 0 where none is."""
    return max((rank for rank in range(1, n // 2) if _held(n, rank) >= LEVEL), default=0)


def _held(n: int, rank: int) -> float:
    """P(the median lies between the order statistics ``rank`` and ``n`` − 1 − ``rank``): a coin's tails cut off."""
    return 1 - 2 * sum(comb(n, k) for k in range(rank + 1)) / (1 << n)


def ratio_interval(
    baseline: Sequence[float], other: Sequence[float]
) -> tuple[float | None, float | None, float | None]:
    """Median of ``other`` over that of ``baseline`` with its interval; None where it divides by zero or is one run."""
    import numpy as np

    if not baseline or not other:
        return None, None, None
    a, b = np.asarray(baseline, dtype=np.float64), np.asarray(other, dtype=np.float64)
    below, above = float(np.median(a)), float(np.median(b))
    if below == 0:
        return None, None, None
    ratio = above / below
    if len(a) < 2 or len(b) < 2:
        return ratio, None, None
    denominators = _medians(a, "ratio/baseline")
    if not denominators.all():
        return ratio, None, None
    low, high = _bounds(_medians(b, "ratio/other") / denominators)
    return ratio, low, high


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, float | None, float | None]:
    """The median of the second over the first of each pair, with its interval; None where any divides by zero."""
    if any(x == 0 for x, _ in pairs):
        return None, None, None
    found = median_interval([y / x for x, y in pairs])
    return found.median, found.low, found.high


def rank_sum_p(a: Sequence[float], b: Sequence[float]) -> float:
    """How likely ranks as far apart as these are if both sets come from one distribution; 1 where a set is empty."""
    import numpy as np

    if not a or not b:
        return 1.0
    ranks = _ranks(np.asarray([*a, *b], dtype=np.float64))
    n, m = len(a), len(b)
    # Doubled mean ranks are integers, so that ties in the statistic are ties exactly.
    doubled = np.rint(2 * ranks).astype(np.int64)
    centre = n * (n + m + 1)
    seen = abs(int(doubled[:n].sum()) - centre)
    if comb(n + m, n) <= MAX_EXACT:
        chosen = _arrangements(n, n + m)
        return float((np.abs(doubled[chosen].sum(axis=1) - centre) >= seen).mean())
    keys = _words(MAX_EXACT * (n + m), f"rank_sum/{n}/{m}").reshape(MAX_EXACT, n + m)
    chosen = np.argsort(keys, axis=1, kind="stable")[:, :n]
    extreme = int((np.abs(doubled[chosen].sum(axis=1) - centre) >= seen).sum())
    return (extreme + 1) / (MAX_EXACT + 1)


def signed_rank_p(pairs: Sequence[tuple[float, float]]) -> float:
    """How likely differences as one-sided as these are if the two of each pair could be exchanged; 1 without any."""
    import numpy as np

    signed = signed_ranks(pairs)
    ranks = [abs(rank) for rank in signed]
    seen, total = abs(sum(signed)), sum(ranks)
    if not seen:
        return 1.0
    if len(ranks) > MAX_EXACT_PAIRS:
        return erfc(seen / sqrt(2 * sum(rank * rank for rank in ranks)))
    # How likely each sum of the ranks with a plus is, all signs being as likely; one rank more at a time.
    sums = np.zeros(total + 1)
    sums[0] = 1.0
    for rank in ranks:
        sums[rank:] = (sums[rank:] + sums[: total + 1 - rank]) / 2
        sums[:rank] /= 2
    away = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(sums[away >= seen].sum()))


def signed_ranks(pairs: Sequence[tuple[float, float]]) -> list[int]:
    """Of each pair that differs, twice the rank of its difference, with a minus where the second is less.

    Doubled, so that mean ranks are whole.
    """
    import numpy as np

    if not pairs:
        return []
    data = np.asarray(pairs, dtype=np.float64)
    greatest = float(np.abs(data).max()) or 1.0
    # Differences that are equal but for the last digits of their terms are ties.
    found = np.round((data[:, 1] - data[:, 0]) / greatest, 12)
    found = found[found != 0]
    return [int(rank) for rank in np.rint(2 * _ranks(np.abs(found)) * np.sign(found))]


def discoveries(p_values: Sequence[float]) -> list[bool]:
    """Which of a family of comparisons may be called different (Benjamini and Hochberg, at ``FALSE_DISCOVERY``)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    bound = 0.0
    for rank, i in enumerate(order, start=1):
        if p_values[i] <= FALSE_DISCOVERY * rank / len(p_values):
            bound = p_values[i]
    return [p <= bound for p in p_values] if bound else [False] * len(p_values)


def _medians(data: Any, label: str) -> Any:
    """The medians of all resamples of ``data``."""
    import numpy as np

    # A whole sort is several times as quick as what ``numpy.median`` does, which is half of one.
    ordered = np.sort(data[_resamples(len(data), label)], axis=1)
    return (ordered[:, (len(data) - 1) // 2] + ordered[:, len(data) // 2]) / 2


def _bounds(values: Any) -> tuple[float, float]:
    """The quantiles that leave out ``1 - LEVEL``, half on each side; each is one of the values."""
    import numpy as np

    ordered = np.sort(values)
    outside = round(len(ordered) * (1 - LEVEL) / 2)
    return float(ordered[outside]), float(ordered[len(ordered) - 1 - outside])


@cache
def _arrangements(n: int, total: int) -> Any:
    """All choices of ``n`` of ``total`` places."""
    import numpy as np

    return np.array(list(combinations(range(total), n)), dtype=np.int64)


@cache
def _resamples(n: int, label: str) -> Any:
    """``RESAMPLES`` rows of ``n`` indices below ``n``, the same for every measure: these are the same seeds."""
    import numpy as np

    words = _words(RESAMPLES * n, f"{label}/{n}")
    # 32 bits of each word suffice: the bias is below n / 2³².
    return (((words >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)).astype(np.intp).reshape(RESAMPLES, n)


def _words(count: int, name: str) -> Any:
    import numpy as np

    return np.frombuffer(Streams("statistics").fresh(name).bytes(8 * count), dtype="<u8")


def _ranks(values: Any) -> Any:
    """Ranks from 1, ties at their mean."""
    import numpy as np

    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[where]
