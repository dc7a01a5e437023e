"""The tables of a sweep as plain columns: what they hold, and that a file gives back what was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zentalk_sim.report import RunFolderError, load
from zentalk_sim.report.sweep_columns import Column, column_of, floats, read_columns, to_frame, write_columns

TABLE = {
    "devices": column_of([4, 6]),
    "name": column_of(["é", "b"]),
    "on": column_of([True, False]),
    "mean": floats([1.5, None]),
}


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2], Column("int", [1, 2])),
        ([1, 2.5], Column("float", [1.0, 2.5])),
        ([True, False], Column("bool", [True, False])),
        ([True, 1], Column("text", ["True", "1"])),
        (["1s", 2], Column("text", ["1s", "2"])),
        ([1 << 63, 1], Column("float", [float(1 << 63), 1.0])),
    ],
)
def test_values_are_of_one_kind_and_a_mixture_is_text(values: list[Any], column: Column) -> None:
    assert column_of(values) == column


def test_what_is_no_number_is_missing() -> None:
    assert floats([1, None, float("nan"), 2.5]).values == [1.0, None, None, 2.5]


def test_a_file_gives_back_the_same_columns(tmp_path: Path) -> None:
    write_columns(TABLE, tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet") == TABLE
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_a_frame_has_the_types_of_the_columns() -> None:
    frame = to_frame(TABLE)
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", str(frame["name"].dtype), "bool", "float64"]
    assert frame["mean"].isna().tolist() == [False, True]
    assert frame["name"].tolist() == ["é", "b"]


@pytest.mark.parametrize("column", [pa.array([1, None]), pa.array([b"x", b"y"]), pa.array([[1], [2]])])
def test_a_file_of_other_columns_is_refused(column: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"odd": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="the column odd is of"):
        read_columns(tmp_path / "a.parquet")
    (tmp_path / "sweep.json").write_text('{"zentalk_sweep": 1, "meta": {"name": "x", "seeds": "1"}}')
    (tmp_path / "a.parquet").rename(tmp_path / "sweep.parquet")
    with pytest.raises(RunFolderError, match="damaged: the column odd"):
        load(tmp_path)


def test_a_sweep_is_loaded_and_told_without_pandas(tmp_path: Path) -> None:
    """Its import takes as long as a run, and a command that ends at once has no use for it."""
    table = {"seed": column_of([1, 2]), "digest": column_of(["a", "b"]), "held": column_of([True, True])}
    write_columns({**table, "messages.failed": column_of([0, 2])}, tmp_path / "sweep.parquet")
    meta = '{"name": "x", "seeds": "1-2", "combinations": [{}]}'
    (tmp_path / "sweep.json").write_text('{"zentalk_sweep": 1, "meta": ' + meta + "}")
    code = (
        "import sys; from zentalk_sim.report import load\n"
        f"found = load({str(tmp_path)!r}); print(found, found.summary, found.interval_columns)\n"
        "assert found.interval('messages.failed').median == 1\n"
        "print('pandas' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"
