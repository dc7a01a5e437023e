"""A relay over a durable store, without sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mockrelay.store import SqliteStore
from tests.trace.recorded import Bench, Line


def durable_bench(folder: Path, **options: Any) -> tuple[Bench, SqliteStore]:
    store = SqliteStore(str(folder / "relay.db"))
    return Bench(store=store, **options), store


def kinds(line: Line) -> list[str]:
    return [frame["type"] for frame in line.frames]
