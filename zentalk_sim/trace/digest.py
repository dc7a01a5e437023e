"""The digest of a run: SHA-256 over canonical rows of messages, connections and counts.

A row is written as one line of JSON holding integers, text, booleans and null, nothing else: no float, no byte
of a frame, no key. Each kind of row has its own running hash and the digest is taken over those, so it depends
on the order within a kind, never on how the kinds were interleaved or how the rows were batched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

Row = tuple[Any, ...]

BATCH_ROWS = 4096
_ALLOWED = frozenset((int, str, bool, type(None)))
_ENCODER = msgspec.json.Encoder()


class _KindHash:
    """The running hash of one kind of row; rows wait until there are enough to encode them at one go."""

    __slots__ = ("count", "hash", "kind", "rows")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.hash = hashlib.sha256()
        self.count = 0
        self.rows: list[Row] = []

    def flush(self) -> None:
        rows = self.rows
        if not rows:
            return
        try:
            columns = zip(*rows, strict=True)
            odd = [(i, sorted(t.__name__ for t in set(map(type, c)) - _ALLOWED)) for i, c in enumerate(columns)]
        except ValueError:
            raise ValueError(f"digest: rows of kind {self.kind!r} differ in length") from None
        for index, names in odd:
            if names:
                raise TypeError(f"digest: {self.kind} rows, value {index}: {', '.join(names)} is no integer or text")
        self.hash.update(_ENCODER.encode_lines(rows))
        self.count += len(rows)
        self.rows = []


class Digest:
    """The digest of a run, fed row by row in the order in which the rows are written."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, _KindHash] = {}

    def row(self, kind: str, row: Row) -> None:
        """Take in a row of a table; ``kind`` is the table's name.

        Raises TypeError, when its batch is encoded, for a value that is no int, str, bool or None, and ValueError
        where the rows of one kind differ in length.
        """
        entry = self._kinds.get(kind)
        if entry is None:
            entry = self._kinds[kind] = _KindHash(kind)
        entry.rows.append(row)
        if len(entry.rows) >= BATCH_ROWS:
            entry.flush()

    def counts(self, counts: Mapping[str, int]) -> None:
        """Take in the counts, in the order of their names."""
        for name in sorted(counts):
            self.row("counts", (name, counts[name]))

    def hexdigest(self) -> str:
        """The digest of what was fed so far, 64 hexadecimal digits; feeding may go on."""
        total = hashlib.sha256()
        for kind in sorted(self._kinds):
            entry = self._kinds[kind]
            entry.flush()
            total.update(_ENCODER.encode([kind, entry.count, entry.hash.hexdigest()]) + b"\n")
        return total.hexdigest()


class Difference(msgspec.Struct, frozen=True):
    """Where two runs part: the row's number from 0, both rows (None past the end), and the columns that differ."""

    index: int
    a: Row | None
    b: Row | None
    columns: list[str]

    def __str__(self) -> str:
        if self.a is None or self.b is None:
            longer, row = ("second", self.b) if self.a is None else ("first", self.a)
            return f"row {self.index} stands only in the {longer}: {row!r}"
        return f"row {self.index} differs in {', '.join(self.columns)}:\n  a: {self.a!r}\n  b: {self.b!r}"


def first_difference(
    rows_a: Iterable[Row], rows_b: Iterable[Row], names: Sequence[str] | None = None
) -> Difference | None:
    """The first row in which two sequences of rows differ, or None. ``names`` are the columns', for the message."""
    for index, (a, b) in enumerate(zip_longest(rows_a, rows_b)):
        if a is None or b is None:
            return Difference(index, a, b, [])
        if _canonical(a) == _canonical(b):
            continue
        columns = [
            names[i] if names is not None and i < len(names) else f"value {i}"
            for i, (x, y) in enumerate(zip_longest(map(_canonical, a), map(_canonical, b)))
            if x != y
        ]
        return Difference(index, a, b, columns)
    return None


def _canonical(value: Any) -> bytes:
    return _ENCODER.encode(value)
