"""The tables of a sweep as plain columns: made, written and read without pandas, whose import takes as long as a run.

A column holds numbers, booleans or text, one kind in all its rows; a number with a fraction may be missing (None).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

Kind = Literal["int", "float", "bool", "text"]

_DTYPES: Final[dict[Kind, str]] = {"int": "int64", "float": "float64", "bool": "bool"}


class Column(Struct, frozen=True):
    """A column's values, a row each; None, among ``float`` only, is a value that there is none of."""

    kind: Kind
    values: list[Any]

    @property
    def is_any(self) -> bool:
        """Whether any value is there and not zero."""
        return any(self.values)


Columns = dict[str, Column]
"""A table: columns of the same length by their names, in order."""


def column_of(values: Sequence[Any]) -> Column:
    """What was given as it is: numbers as numbers, booleans as booleans, a mixture as text."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return Column("bool", list(values))
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values):
        return Column("int", list(values))
    if kinds <= {int, float}:
        return Column("float", [float(value) for value in values])
    return Column("text", [str(value) for value in values])


def floats(values: Sequence[int | float | None]) -> Column:
    """Numbers with a fraction; None and NaN are missing."""
    return Column("float", [None if value is None or isnan(value) else float(value) for value in values])


def to_frame(columns: Columns) -> Any:
    """The table as a ``pandas.DataFrame``."""
    import pandas as pd

    found = {}
    for name, column in columns.items():
        dtype = _DTYPES.get(column.kind)
        values = [float("nan") if value is None else value for value in column.values]
        found[name] = values if dtype is None else pd.Series(values, dtype=dtype)
    return pd.DataFrame(found)


def write_columns(columns: Columns, path: Path) -> None:
    """A table as Parquet, whole or not at all; the same bytes for the same values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.large_string()}
    table = pa.table({name: pa.array(column.values, types[column.kind]) for name, column in columns.items()})
    part = path.with_name(path.name + ".part")
    pq.write_table(table, part, compression="zstd")
    os.replace(part, path)


def read_columns(path: Path) -> Columns:
    """The table kept in a file. Raises ValueError for what is no such table, OSError, pyarrow.ArrowException."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read()
    found: Columns = {}
    for name, data in zip(table.column_names, table.columns, strict=True):
        kind = _kind(data.type, pa.types)
        if kind is None or (data.null_count and kind != "float"):
            raise ValueError(f"the column {name} is of {data.type} with {data.null_count} values missing")
        column = floats(data.to_pylist()) if kind == "float" else Column(kind, data.to_pylist())
        found[name] = column
    return found


def _kind(arrow_type: Any, types: Any) -> Kind | None:
    """What an Arrow type is here; a column that is empty throughout was one of numbers."""
    if types.is_floating(arrow_type) or types.is_null(arrow_type):
        return "float"
    if types.is_integer(arrow_type):
        return "int"
    if types.is_boolean(arrow_type):
        return "bool"
    return "text" if types.is_string(arrow_type) or types.is_large_string(arrow_type) else None
