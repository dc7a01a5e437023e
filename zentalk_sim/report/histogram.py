"""Histograms of integers with buckets that widen with the value, as in HdrHistogram.

Values below 256 have a bucket each. Above, every power of two is cut into 128 equal buckets, and a quantile is
reported at its bucket's middle: at most 1/256 (0.4 %) off, however large the value. Count, sum, least and greatest
value are exact. Everything is an integer, so that merging in any order or grouping gives the same histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

_BITS = 7
"""Each power of two has 2**_BITS buckets."""
_HALF = 1 << _BITS
_EXACT = 2 * _HALF


class Histogram:
    """Counts of non-negative integers. ``count``, ``sum``, ``min``, ``max`` are exact; the last two None if empty."""

    __slots__ = ("_buckets", "count", "max", "min", "sum")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.sum = 0
        self.min: int | None = None
        self.max: int | None = None

    def record(self, value: int) -> None:
        """Count a value. Raises ValueError below zero, TypeError for anything but an int."""
        try:
            shift = value.bit_length() - _BITS - 1
        except AttributeError:
            raise TypeError(f"a histogram holds integers, not {type(value).__name__}") from None
        least, most = self.min, self.max
        if least is None or most is None:
            if value < 0:
                raise ValueError(f"a histogram holds no negative value: {value}")
            self.min = self.max = value
        elif value > most:
            self.max = value
        elif value < least:
            if value < 0:
                raise ValueError(f"a histogram holds no negative value: {value}")
            self.min = value
        index = value if shift <= 0 else (shift << _BITS) + (value >> shift)
        buckets = self._buckets
        try:
            buckets[index] += 1
        except KeyError:
            buckets[index] = 1
        self.count += 1
        self.sum += value

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
        least, most = self.min, self.max
        if least is None or most is None:
            return
        for index in sorted(self._buckets):
            yield min(max(_middle(index), least), most), self._buckets[index]

    def merge(self, other: Histogram) -> None:
        """Add another's values to this one."""
        if other.min is None or other.max is None:
            return
        for index, number in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + number
        self.count += other.count
        self.sum += other.sum
        self.min = other.min if self.min is None else min(self.min, other.min)
        self.max = other.max if self.max is None else max(self.max, other.max)

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
            "buckets": [[index, self._buckets[index]] for index in sorted(self._buckets)],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram ``to_dict`` was called on. Raises ValueError where the figures do not agree."""
        made = cls()
        try:
            made._buckets = {int(index): int(number) for index, number in data["buckets"]}
            made.count, made.sum, made.min, made.max = data["count"], data["sum"], data["min"], data["max"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a histogram: {error}") from None
        if sum(made._buckets.values()) != made.count or (made.min is None) != (made.count == 0):
            raise ValueError("not a histogram: its buckets do not add up to its count")
        return made


def _middle(index: int) -> int:
    if index < _EXACT:
        return index
    shift = (index >> _BITS) - 1
    return (((index & (_HALF - 1)) + _HALF) << shift) + ((1 << shift) - 1) // 2
