"""All of a relay in one record: what a snapshot is made of.

What is NEVER in a connection is None in its image, for whoever reads it with other eyes than ours.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from zentalk_sim.protocol.connection import Connection, ConnectionState
from zentalk_sim.protocol.records import Session, StoreImage
from zentalk_sim.protocol.timers import NEVER

MAY_BE_NEVER: Final = (
    "ping_timestamp_ms",
    "rtt_us",
    "auth_due_us",
    "ping_due_us",
    "pong_due_us",
    "warn_due_us",
    "away_due_us",
    "look_due_us",
)
"""Fields that hold an instant or a span, or NEVER."""


class ConnectionImage(Struct):
    """A connection; see ``Connection`` for what its fields mean."""

    id: int
    ip: str
    user: str
    device_id: str
    token_capabilities: tuple[str, ...]
    state: ConnectionState = "challenged"
    counts_for_ip: bool = False
    resume_token: str | None = None
    challenge: bytes = b""
    server_time_ms: int = 0
    challenged_us: int = 0
    session: Session | None = None
    session_token: str = ""
    token_exp_s: int = 0
    key_token: str = ""
    session_key: bytes | None = None
    grace_warned: bool = False
    malformed_in_a_row: int = 0
    refused_in_a_row: int = 0
    announced_order: int = 0
    pushed: dict[str, None] | None = None
    ping_timestamp_ms: int | None = None
    ping_sent_us: int = 0
    ping_missed: bool = False
    missed_in_a_row: int = 0
    rtt_us: int | None = None
    auth_due_us: int | None = None
    ping_due_us: int | None = None
    pong_due_us: int | None = None
    warn_due_us: int | None = None
    away_due_us: int | None = None
    look_due_us: int | None = None

    @classmethod
    def of(cls, conn: Connection) -> ConnectionImage:
        """The image of a connection, which shares its session and what it has pushed."""
        made = cls(**{name: getattr(conn, name) for name in cls.__struct_fields__})
        for name in MAY_BE_NEVER:
            if getattr(made, name) == NEVER:
                setattr(made, name, None)
        return made

    def connection(self) -> Connection:
        """The connection of which this is the image, but for what is armed for it."""
        made = Connection(self.id, self.ip, self.user, self.device_id, self.token_capabilities)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            setattr(made, name, NEVER if value is None and name in MAY_BE_NEVER else value)
        made.pong_due_us = NEVER
        return made


class RelayImage(Struct):
    """All of a relay in one record."""

    name: str
    now_us: int
    seed: bytes
    boot: int
    stream_counters: dict[str, int]
    connections: list[ConnectionImage]
    timers: list[tuple[int, str, Any]]
    """Instant, kind and key of each in their order; of kind ``pong`` and ``conn`` the key is a connection's id."""
    expiry_armed: bool
    store: StoreImage
    skip_pings_until_us: int = 0
