"""All of a relay in one record: what a snapshot is made of."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.records import StoreImage


class RelayImage(Struct):
    """All of a relay in one record."""

    name: str
    now_us: int
    seed: bytes
    boot: int
    stream_counters: dict[str, int]
    connections: list[Connection]
    timers: list[tuple[int, str, Any]]
    expiry_armed: bool
    store: StoreImage
    skip_pings_until_us: int = 0
