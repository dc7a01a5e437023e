"""The three tables of a run, written as they come: memory does not grow with the run.

Rows are tuples in the order of a schema's columns. They wait in a list until there are ``BATCH_ROWS`` of them,
then become one Arrow batch and one row group of a Parquet file. Only columns with few different values are
dictionary-encoded. Times (``…_us``) are integer microseconds of Unix time, as the core's ``now``; a thing that
never happened is None. pyarrow and pandas are loaded when first needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

BATCH_ROWS = 65_536
"""Rows a writer holds before it writes them out."""

Kind = Literal["text", "enum", "int", "float", "bool"]
Row = tuple[Any, ...]

_TYPES: dict[Kind, frozenset[type]] = {
    "text": frozenset((str,)),
    "enum": frozenset((str,)),
    "int": frozenset((int,)),
    "float": frozenset((float, int)),
    "bool": frozenset((bool,)),
}


class Column(Struct, frozen=True):
    """A column: ``enum`` is text with few different values, ``int`` has 64 bits."""

    name: str
    kind: Kind
    nullable: bool = True


class TableSchema(Struct, frozen=True):
    """A table's name and its columns, in the order of a row."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def file_name(self) -> str:
        """What the table's file is called in a run folder."""
        return f"{self.name}.parquet"

    def arrow(self) -> Any:
        """The same as a pyarrow schema."""
        import pyarrow as pa

        types = {"text": pa.string(), "enum": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
        return pa.schema([pa.field(c.name, types[c.kind], nullable=c.nullable) for c in self.columns])


def _required(name: str, kind: Kind) -> Column:
    return Column(name, kind, nullable=False)


MESSAGES = TableSchema(
    "messages",
    (
        _required("message_id", "text"),
        _required("sender", "text"),
        _required("recipient", "text"),
        Column("device", "text"),
        _required("bytes", "int"),
        _required("sent_us", "int"),
        Column("acked_us", "int"),
        Column("pushed_us", "int"),
        Column("shown_us", "int"),
        Column("received_us", "int"),
        Column("read_us", "int"),
        _required("outcome", "enum"),
        Column("via", "enum"),
        _required("retries", "int"),
    ),
)
"""A row per copy. ``device`` is the recipient's, None where a message was for no device. ``sent_us`` is the
application's ``send()``, ``pushed_us`` the relay's MESSAGE_NEW, ``shown_us`` the first showing, ``via`` push, fetch."""

CONNECTIONS = TableSchema(
    "connections",
    (
        _required("device", "text"),
        Column("node", "enum"),
        _required("attempt", "int"),
        _required("start_us", "int"),
        Column("tcp_us", "int"),
        Column("tls_us", "int"),
        Column("upgraded_us", "int"),
        Column("auth_us", "int"),
        Column("end_us", "int"),
        Column("close_code", "int"),
        Column("cause", "enum"),
        _required("resumed", "bool"),
    ),
)
"""A row per attempt to connect; each ``…_us`` after ``start_us`` is the instant that stage was done."""

TIMESERIES = TableSchema(
    "timeseries",
    (
        _required("t_us", "int"),
        _required("metric", "enum"),
        Column("node", "enum"),
        _required("value", "float"),
    ),
)
"""A row per sample; ``node`` is None (or empty) for the whole cluster."""

SCHEMAS = (MESSAGES, CONNECTIONS, TIMESERIES)


class TableWriter:
    """Takes the rows of one table and keeps them in a Parquet file, or in memory where ``path`` is None.

    The file stands under its name only once closed; until then it has the suffix ``.part``, so that a run cut
    short leaves no unreadable table.
    """

    __slots__ = ("_batches", "_closed", "_parquet", "_rows", "_written", "path", "schema")

    def __init__(self, schema: TableSchema, path: str | os.PathLike[str] | None) -> None:
        self.schema = schema
        self.path = None if path is None else Path(path)
        if path is not None:
            # Loaded before the run rather than at its end: Ctrl-C amid a run has a second, and loading can take more.
            import pyarrow as pa
            import pyarrow.parquet

            # The first column that Arrow makes has it load pandas, wherever that is.
            pa.array((), type=pa.string())
        self._rows: list[Row] = []
        self._batches: list[Any] = []
        self._parquet: Any = None
        self._written = 0
        self._closed = False

    @property
    def rows_written(self) -> int:
        """Rows appended so far."""
        return self._written + len(self._rows)

    def append(self, row: Row) -> None:
        """Add a row. A wrong length or type raises, naming table and column, when its batch is written."""
        rows = self._rows
        rows.append(row)
        if len(rows) >= BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and give the file its name. A second call does nothing."""
        if self._closed:
            return
        self._flush()
        if self.path is not None:
            self._open()
            self._parquet.close()
            os.replace(self._part, self.path)
        self._closed = True

    def to_arrow(self) -> Any:
        """The whole table as a ``pyarrow.Table``. Raises ValueError where its file is not closed yet."""
        import pyarrow as pa

        if self.path is None:
            self._flush()
            return pa.Table.from_batches(self._batches, schema=self.schema.arrow())
        if not self._closed:
            raise ValueError(f"table {self.schema.name}: close the writer before reading {self.path.name}")
        return read_arrow(self.path)

    def to_pandas(self) -> Any:
        """The whole table as a ``pandas.DataFrame``; see ``read_pandas``."""
        return _pandas(self.to_arrow())

    @property
    def _part(self) -> Path:
        assert self.path is not None
        return self.path.with_name(self.path.name + ".part")

    def _open(self) -> None:
        if self._parquet is None:
            self._parquet = _parquet_writer(self._part, self.schema)

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._closed:
            raise ValueError(f"table {self.schema.name} is closed; a row was appended after that")
        batch = _batch(self.schema, self._rows, first=self._written)
        if self.path is None:
            self._batches.append(batch)
        else:
            self._open()
            self._parquet.write_batch(batch)
        self._written += len(self._rows)
        self._rows = []


def write_table(table: Any, schema: TableSchema, path: Path) -> None:
    """Write a whole ``pyarrow.Table`` the way a writer would have."""
    part = path.with_name(path.name + ".part")
    with _parquet_writer(part, schema) as parquet:
        parquet.write_table(table, row_group_size=BATCH_ROWS)
    os.replace(part, path)


def read_arrow(path: str | os.PathLike[str], columns: list[str] | None = None) -> Any:
    """A table's file as a ``pyarrow.Table``, or some of its columns."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(columns=columns)


def read_batches(path: str | os.PathLike[str], columns: list[str]) -> Iterator[Any]:
    """Some columns of a table's file, one Arrow batch after another, so that memory stays small."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """A table's rows as they were appended, for ``digest.first_difference``."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def read_pandas(path: str | os.PathLike[str]) -> Any:
    """A table's file as a ``pandas.DataFrame``: integers stay integers (``Int64`` with NA where a value may lack)."""
    return _pandas(read_arrow(path))


def _pandas(table: Any) -> Any:
    import pandas as pd
    import pyarrow as pa

    nullable = {pa.int64(): pd.Int64Dtype()}
    frame = table.to_pandas(types_mapper=nullable.get)
    always = {f.name: "int64" for f in table.schema if f.type == pa.int64() and not f.nullable}
    return frame.astype(always)


def _parquet_writer(path: Path, schema: TableSchema) -> Any:
    import pyarrow.parquet as pq

    # Times rise slowly, so their differences are small: delta encoding stores few bits of each.
    return pq.ParquetWriter(
        path,
        schema.arrow(),
        compression="zstd",
        use_dictionary=[c.name for c in schema.columns if c.kind == "enum"],
        column_encoding={c.name: "DELTA_BINARY_PACKED" for c in schema.columns if c.kind == "int"},
    )


def _batch(schema: TableSchema, rows: list[Row], first: int) -> Any:
    import pyarrow as pa

    width = len(schema.columns)
    for offset, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"table {schema.name}, row {first + offset}: {len(row)} values for {width} columns")
    arrays = []
    arrow = schema.arrow()
    for column, field, values in zip(schema.columns, arrow, zip(*rows, strict=True), strict=True):
        _check(schema, column, values, first)
        try:
            arrays.append(pa.array(values, type=field.type))
        except (pa.ArrowException, OverflowError) as error:
            raise TypeError(f"table {schema.name}, column {column.name}: {error}") from None
    return pa.record_batch(arrays, schema=arrow)


def _check(schema: TableSchema, column: Column, values: Row, first: int) -> None:
    """Refuse a value of another type: Arrow itself would cut a float down to an integer without a word."""
    wrong = set(map(type, values)) - _TYPES[column.kind]
    if column.nullable:
        wrong.discard(type(None))
    if not wrong:
        return
    offset = next(i for i, value in enumerate(values) if type(value) in wrong)
    found = "no value" if values[offset] is None else f"{values[offset]!r}"
    raise TypeError(f"table {schema.name}, column {column.name}, row {first + offset}: {found} is no {column.kind}")
