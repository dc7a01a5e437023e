"""Stores of the mock relay: in memory, or durable in an SQLite file."""

from __future__ import annotations

from typing import Final

from mockrelay.store.errors import StoreError
from mockrelay.store.sqlite import SqliteStore
from zentalk_sim.protocol.config import DedupConfig
from zentalk_sim.protocol.store import MemoryStore

_FORMS: Final = "memory, sqlite:PATH or sqlite:PATH?synchronous=full"


def open_store(spec: str, dedup: DedupConfig | None = None) -> MemoryStore:
    """The store that ``--store`` names: ``memory``, or ``sqlite:PATH`` (see ``SqliteStore``).

    ``?synchronous=full`` behind the path has every commit wait for the disk. Raises StoreError, its message naming
    the option and a remedy, for an unknown form and for a file that cannot be used.
    """
    if spec == "memory":
        return MemoryStore(dedup=dedup)
    kind, colon, rest = spec.partition(":")
    if kind != "sqlite" or not colon:
        raise StoreError(f"--store: {spec[:200]!r} is no store; use {_FORMS}")
    path, _, options = rest.partition("?")
    if not path or path == ":memory:" or "\0" in path:
        raise StoreError(f"--store: {spec[:200]!r} names no file; use {_FORMS}")
    if options not in ("", "synchronous=full", "synchronous=normal"):
        raise StoreError(f"--store: unknown option {options[:200]!r}; the one there is: synchronous=normal or =full")
    return SqliteStore(path, dedup, is_synchronous_full=options == "synchronous=full")


__all__ = ["SqliteStore", "StoreError", "open_store"]
