"""Histograms of integers with buckets that widen with the value, as in HdrHistogram.

Values below 256 have a bucket each. Above, every power of two is cut into 128 equal buckets, and a quantile is
reported at its bucket's middle: at most 1/256 (0.4 %) off, however large the value. Count, sum, least and greatest
value are exact. Everything is an integer, so that merging in any order or grouping gives the same histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

_BITS: Final = 7
"""Each power of two has 2**_BITS buckets."""
_HALF: Final = 1 << _BITS
_EXACT: Final = 2 * _HALF


class Histogram:
    """Counts of non-negative integers. ``count``, ``sum``, ``min``, ``max`` are exact; the last two None if empty."""

    __slots__ = ("_buckets", "_least", "_most", "count", "sum")

    def __init__(self) -> None:
        self._buckets: list[int] = []
        """How many values are in each bucket, up to the last that has any."""
        self._least = 0
        self._most = -1
        """Least and greatest value; an empty histogram has none, and any value is greater than -1."""
        self.count = 0
        self.sum = 0

    @property
    def min(self) -> int | None:
        """The least value, or None if empty."""
        return self._least if self.count else None

    @property
    def max(self) -> int | None:
        """The greatest value, or None if empty."""
        return self._most if self.count else None

    def record(self, value: int) -> None:
        """Count a value. Raises ValueError below zero, TypeError for anything but an int."""
        try:
            shift = value.bit_length() - _BITS - 1
        except AttributeError:
            raise TypeError(f"a histogram holds integers, not {type(value).__name__}") from None
        if value > self._most or value < self._least:
            self._widen(value)
        index = value if shift <= 0 else shift * _HALF + (value >> shift)
        self._buckets[index] += 1
        self.count += 1
        self.sum += value

    def _widen(self, value: int) -> None:
        """Make room for a value below the least or above the greatest."""
        if value < 0:
            raise ValueError(f"a histogram holds no negative value: {value}")
        if value > self._most:
            if self._most < 0:
                self._least = value
            self._most = value
            self._buckets += [0] * (_index(value) + 1 - len(self._buckets))
        else:
            self._least = value

    @property
    def mean(self) -> float | None:
        """The exact mean, or None if empty."""
        return self.sum / self.count if self.count else None

    def quantile(self, q: float) -> int | None:
        """The value at rank ``ceil(q * count)``, within 0.4 %; 0 and 1 give the exact extremes; None if empty.

        ``q`` is taken as the decimal it is written as, so that 0.07 of 100 values is the seventh. Raises ValueError
        outside 0…1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1: {q}")
        if not self.count:
            return None
        rank = -(-(Fraction(str(q)) * self.count) // 1)
        if rank <= 1:
            return self.min
        if rank >= self.count:
            return self.max
        seen = 0
        for value, number in self.items():
            seen += number
            if seen >= rank:
                return value
        raise AssertionError("the buckets hold fewer values than were counted")

    def items(self) -> Iterator[tuple[int, int]]:
        """(value, how many) for each bucket that is not empty, rising; the value is the bucket's middle."""
        for index, number in enumerate(self._buckets):
            if number:
                yield min(max(_middle(index), self._least), self._most), number

    def merge(self, other: Histogram) -> None:
        """Add another's values to this one."""
        if not other.count:
            return
        for value in (other._least, other._most):
            if value > self._most or value < self._least:
                self._widen(value)
        for index, number in enumerate(other._buckets):
            self._buckets[index] += number
        self.count += other.count
        self.sum += other.sum

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}: {self.min}…{self.quantile(0.5)}…{self.max}>"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, the same for equal histograms; ``buckets`` are [index, count] pairs, rising."""
        return {
            "count": self.count,
            "sum": self.sum,
            "min": self.min,
            "max": self.max,
            "buckets": [[index, number] for index, number in enumerate(self._buckets) if number],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram ``to_dict`` was called on. Raises ValueError where the figures do not agree."""
        made = cls()
        try:
            buckets = {int(index): int(number) for index, number in data["buckets"]}
            count, total, least, most = data["count"], data["sum"], data["min"], data["max"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a histogram: {error}") from None
        if sum(buckets.values()) != count or (least is None) != (count == 0) or (most is None) != (count == 0):
            raise ValueError("not a histogram: its buckets do not add up to its count")
        if count == 0:
            return made
        if not all(isinstance(value, int) for value in (total, least, most)) or not 0 <= least <= most:
            raise ValueError("not a histogram: its least and greatest value are no integers that rise from 0")
        if min(buckets) < _index(least) or max(buckets) > _index(most):
            raise ValueError("not a histogram: it has buckets outside its least and greatest value")
        made.count, made.sum, made._least, made._most = count, total, least, most
        made._buckets = [0] * (_index(most) + 1)
        for index, number in buckets.items():
            made._buckets[index] = number
        return made


def _index(value: int) -> int:
    """The bucket of a value."""
    shift = value.bit_length() - _BITS - 1
    return value if shift <= 0 else shift * _HALF + (value >> shift)


def _middle(index: int) -> int:
    if index < _EXACT:
        return index
    shift = (index >> _BITS) - 1
    return (((index & (_HALF - 1)) + _HALF) << shift) + ((1 << shift) - 1) // 2
