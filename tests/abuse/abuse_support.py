"""What every test here ends with: alice's message still reaches bob, while somebody misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from mockrelay.server import MockRelay
from tests.mockrelay.live_support import Peer, connected, serving, user_of

USERS = ("alice", "bob", "mallory")


def relay_with(**options: Any) -> MockRelay:
    """A relay with alice, bob and mallory, whose limits of messages are off."""
    settings = options.pop("settings", {})
    settings.setdefault("limits", {"send_message": "off"})
    return serving(*USERS, settings=settings, **options)


@asynccontextmanager
async def bystanders(relay: MockRelay) -> AsyncIterator[tuple[Peer, Peer]]:
    """Alice and bob, connected."""
    async with connected(relay, "alice") as alice, connected(relay, "bob") as bob:
        yield alice, bob


async def must_be_served(alice: Peer, bob: Peer) -> None:
    """A message passes through its four stages."""
    sent = await alice.message(bob.user, b"still here?")
    assert (await alice.until("MESSAGE_ACK"))["payload"]["message_id"] == sent
    assert (await bob.until("MESSAGE_NEW"))["id"] == sent
    await bob.send("MESSAGE_RECEIVED", {"message_id": sent})
    assert (await alice.until("MESSAGE_DELIVERED"))["payload"]["message_id"] == sent


class Wires:
    """Many raw TCP connections."""

    def __init__(self) -> None:
        self.open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def dial(
        self, url: str, first: bytes, source: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a URL's port and write."""
        host, port = url.split("/")[2].rsplit(":", 1)
        local = None if source is None else (source, 0)
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=local)
        writer.write(first)
        self.open.append((reader, writer))
        return reader, writer


@contextmanager
def wires() -> Iterator[Wires]:
    """They are all dropped in the end."""
    made = Wires()
    try:
        yield made
    finally:
        for _, writer in made.open:
            writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends, in whatever way."""
    got = bytearray()
    with suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            got += chunk
    return bytes(got)


async def turns(count: int = 5) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(holds: Any) -> None:
    """Until a condition of the relay's holds; a test that waits in vain fails by its own time-out."""
    while not holds():
        await asyncio.sleep(0.001)


__all__ = ["Wires", "bystanders", "ended", "must_be_served", "relay_with", "turns", "until", "user_of", "wires"]
