"""What tests of the store share: a database as a killed process leaves it, and what two stores must agree on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from mockrelay.store import SqliteStore
from zentalk_sim.protocol.store import MemoryStore


def as_killed(store: MemoryStore, folder: Path) -> Path:
    """A copy of the database and its log as they are on disk now, as if the process had just been killed."""
    assert isinstance(store, SqliteStore)
    folder.mkdir(parents=True)
    source = Path(store.path)
    for suffix in ("", "-wal"):
        part = source.with_name(source.name + suffix)
        if part.exists():
            shutil.copyfile(part, folder / part.name)
    return folder / source.name


def durable_part(store: MemoryStore) -> dict[str, Any]:
    """All that a restart shall keep, for comparison; what is kept in no order, sorted."""
    found: dict[str, Any] = msgspec.to_builtins(store.image())
    for name in ("shown_status", "typing", "node_ips", "counters"):
        # Of the living alone; the boot number of a store loaded anew is another.
        del found[name]
    found["accepted"] = store.counters.accepted
    for name in ("mailboxes", "notices", "limits", "presence", "sessions"):
        found[name] = sorted(found[name])
    for place in found["presence"]:
        place[2].pop("away", None)
    found["subscribers"] = sorted((topic, sorted(keys)) for topic, keys in found["subscribers"])
    found["users_in_order"] = list(found["users"])
    found["messages_in_order"] = [message["id"] for message in found["messages"]]
    found["nonces_in_order"] = [nonce[1] for nonce in found["nonces"]]
    return found
