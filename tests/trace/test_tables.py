"""Tables come back from Parquet as they went in, and a wrong row is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zentalk_sim.trace import tables
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, SCHEMAS, TIMESERIES, TableSchema, TableWriter, read_rows

NOW = 1_767_225_600_000_000
SHOWN = (
    "m1",
    "alice",
    "bob",
    "phone",
    256,
    NOW,
    NOW + 80,
    NOW + 90,
    NOW + 120,
    NOW + 200,
    None,
    "confirmed",
    "push",
    0,
)
WAITING = ("m2", "alice", "bob", None, 12, NOW + 5, None, None, None, None, None, "unacked", None, 3)
LOST = ("alice/phone", "0", 1, NOW, NOW + 40, NOW + 90, NOW + 120, NOW + 160, NOW + 9000, 1006, "node crash", False)
REFUSED = ("bob/web", None, 2, NOW + 3, None, None, None, None, None, None, None, True)
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "messages": [SHOWN, WAITING],
    "connections": [LOST, REFUSED],
    "timeseries": [(NOW, "devices.connected", None, 5000.0), (NOW + 1_000_000, "queue.depth", "1", 2.5)],
}


def test_columns_are_those_of_the_contract() -> None:
    assert " ".join(MESSAGES.names) == (
        "message_id sender recipient device bytes sent_us acked_us pushed_us shown_us received_us read_us outcome via "
        "retries"
    )
    assert " ".join(CONNECTIONS.names) == (
        "device node attempt start_us tcp_us tls_us upgraded_us auth_us end_us close_code cause resumed"
    )
    assert " ".join(TIMESERIES.names) == "t_us metric node value"


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
@pytest.mark.parametrize("empty", [False, True], ids=["rows", "no_rows"])
def test_rows_must_come_back_as_they_went_in(schema: TableSchema, empty: bool, tmp_path: Path) -> None:
    rows = [] if empty else ROWS[schema.name]
    path = tmp_path / schema.file_name
    writer = TableWriter(schema, path)
    for row in rows:
        writer.append(row)
    assert not path.exists(), "an unfinished table must not stand under its name"
    writer.close()
    writer.close()
    assert list(read_rows(path)) == rows
    assert writer.rows_written == len(rows)
    assert tuple(writer.to_pandas().columns) == schema.names
    assert [p.name for p in tmp_path.iterdir()] == [schema.file_name]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_memory_and_file_must_hold_the_same(schema: TableSchema, tmp_path: Path) -> None:
    writers = [TableWriter(schema, tmp_path / "t.parquet"), TableWriter(schema, None)]
    for writer in writers:
        for row in ROWS[schema.name] * 3:
            writer.append(row)
        writer.close()
    assert writers[0].to_arrow().equals(writers[1].to_arrow())


def test_integers_stay_integers_where_values_lack(tmp_path: Path) -> None:
    writer = TableWriter(MESSAGES, None)
    writer.append(SHOWN)
    writer.append(WAITING)
    frame = writer.to_pandas()
    assert str(frame["sent_us"].dtype) == "int64"
    assert str(frame["shown_us"].dtype) == "Int64"
    assert (frame["shown_us"] - frame["sent_us"]).dropna().tolist() == [120]


def test_batches_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 10)
    writer = TableWriter(TIMESERIES, tmp_path / "t.parquet")
    rows = [(NOW + i, "rtt", "0", float(i)) for i in range(35)]
    for row in rows:
        writer.append(row)
        assert len(writer._rows) < 10, "rows must not pile up"
    writer.close()
    assert writer.rows_written == 35
    assert list(read_rows(tmp_path / "t.parquet")) == rows


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        writer = TableWriter(CONNECTIONS, tmp_path / name)
        for row in ROWS["connections"] * 100:
            writer.append(row)
        writer.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ((NOW, "rtt", "0"), ValueError, "timeseries, row 1: 3 values for 4 columns"),
        ((NOW, None, "0", 1.0), TypeError, "timeseries, column metric, row 1: no value is no enum"),
        ((NOW, "rtt", 7, 1.0), TypeError, "timeseries, column node, row 1: 7 is no enum"),
        ((NOW + 0.5, "rtt", "0", 1.0), TypeError, r"timeseries, column t_us, row 1: [\d.]+ is no int"),
        ((True, "rtt", "0", 1.0), TypeError, "timeseries, column t_us, row 1: True is no int"),
        ((1 << 70, "rtt", "0", 1.0), TypeError, "timeseries, column t_us"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(row: Any, error: type[Exception], words: str) -> None:
    writer = TableWriter(TIMESERIES, None)
    writer.append((NOW, "rtt", "0", 1.0))
    writer.append(row)
    with pytest.raises(error, match=words):
        writer.close()


def test_an_open_file_is_not_read_and_a_closed_table_not_written(tmp_path: Path) -> None:
    writer = TableWriter(TIMESERIES, tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="close the writer"):
        writer.to_arrow()
    writer.close()
    writer.append((NOW, "rtt", "0", 1.0))
    with pytest.raises(ValueError, match="is closed"):
        writer._flush()


def test_only_columns_with_few_values_are_dictionary_encoded(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    writer = TableWriter(MESSAGES, tmp_path / "m.parquet")
    writer.append(SHOWN)
    writer.close()
    group = pq.ParquetFile(tmp_path / "m.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {c.path_in_schema for c in columns if "RLE_DICTIONARY" in c.encodings} == {"outcome", "via"}
    assert {c.compression for c in columns} == {"ZSTD"}
