"""The mock relay's WebSocket connections over a core that echoes: what Autobahn's cases run against.

Everything between the socket and the core is the relay's own: handshake, frame reader, gate, journal, outbox, driver.
Only the core is another, since the cases expect to get back what they send.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from mockrelay.clock import ClockTimers, RealClock
from mockrelay.driver import Driver
from mockrelay.fault_engine import FaultEngine
from mockrelay.journal import Journal
from mockrelay.websocket import Connection
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.effects import Accept, Close
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.trace.recording_outputs import Sent

_MIB = 1 << 20


class EchoCore:
    """Says what it is told; text that is not UTF-8 ends the connection with 1007, as the relay's core has it."""

    name = "echo"
    now_us = 0

    def __init__(self) -> None:
        # The performance cases send messages of 16 MiB, and many before they read.
        sections = {"frames": {"max_bytes": 32 * _MIB}, "outbox": {"max_bytes": 128 * _MIB, "max_frames": 100_000}}
        self.config = msgspec.convert(sections, RelayConfig)
        self.store = MemoryStore()
        self.connections: dict[int, Any] = {}

    def connect(self, conn: int, *_: Any) -> list[Any]:
        return [Accept(conn)]

    def receive_text(self, conn: int, data: bytes, *_: Any) -> list[Any]:
        try:
            data.decode()
        except UnicodeDecodeError:
            return [Close(conn, 1007, "not UTF-8")]
        return [Sent(conn, data)]

    def receive_data(self, conn: int, data: bytes, *_: Any) -> list[Any]:
        return [Sent(conn, data, True)]

    def receive_oversized(self, conn: int, _: int) -> list[Any]:
        return [Close(conn, 1009, "frame too large")]

    def disconnect(self, *_: Any) -> list[Any]:
        return []

    def next_timeout(self) -> None:
        return None

    def count_facts(self, *_: Any) -> None:
        """It has no facts to tell."""


class EchoEndpoint:
    """What an upgrade's path leads to."""

    def __init__(self) -> None:
        loop, clock = asyncio.get_running_loop(), RealClock()
        self.driver = Driver(cast(Relay, EchoCore()), clock, loop)
        self.journal = Journal(self.driver.now_us, max_entries=1_000, max_bytes=_MIB)
        self.faults = FaultEngine(self.driver, self.journal, Streams(1), ClockTimers(clock, loop))


@asynccontextmanager
async def echo_server() -> AsyncIterator[tuple[str, EchoEndpoint]]:
    """A server that echoes; yields ``host:port``."""
    endpoint = EchoEndpoint()
    connections: list[Connection] = []

    def connection() -> Connection:
        return Connection(lambda path: (endpoint, path), connections.append, connections.remove)

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", endpoint
    finally:
        server.close()
        for one in connections:
            one.abort("stopped")
        endpoint.driver.stop()
