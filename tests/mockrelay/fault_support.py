"""Rules, journal and clock of a relay under test, in few words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mockrelay.journal import JOURNAL_EVENTS
from mockrelay.server import MockRelay
from mockrelay.spaces import Space
from tests.mockrelay.live_support import PATIENCE_S, Json, Peer, Raw
from zentalk_sim.faults import Rule, parse_journal_match


def space_of(relay: MockRelay) -> Space:
    """The relay's default space."""
    return relay.spaces.default


def rule(relay: MockRelay, match: Json, do: str, times: int | None = None, **parameters: Any) -> Rule:
    """Add a rule."""
    raw = {"match": match, "action": {"do": do, **parameters}, "comment": f"test {do}"}
    return space_of(relay).faults.add_rule(raw if times is None else {**raw, "times": times})


async def written(relay: MockRelay, count: int = 1, **match: Any) -> list[Json]:
    """The journal's entries that match, once there are ``count``."""
    found = await space_of(relay).journal.wait(parse_journal_match(match, JOURNAL_EVENTS), count, 5)
    assert found.held, [entry.as_json() for entry in space_of(relay).journal.entries()]
    return [entry.as_json() for entry in found.entries]


def waiting(relay: MockRelay, peer: Peer, direction: str) -> int:
    """How many frames of this connection a rule holds back."""
    (gate,) = (gate for gate in space_of(relay).faults.gates.values() if gate.party.device == peer.user.device_id)
    return (gate.waiting_in() if direction == "in" else gate.waiting_out())[0]


async def advance(relay: MockRelay, ms: int) -> None:
    """Move the relay's clock."""
    await space_of(relay).advance(ms * 1000)


async def silent_until_the_end(relay: MockRelay, peer: Raw) -> None:
    """A connection hears nothing until the relay stops, and is then reset."""
    reading = asyncio.ensure_future(peer.reader.read(1))
    done, _ = await asyncio.wait([reading], timeout=0.05)
    assert not done
    await relay.stop()
    with pytest.raises(ConnectionResetError):
        await reading


@asynccontextmanager
async def admin(relay: MockRelay) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control API."""
    headers = {"Authorization": f"Bearer {relay.admin_token}"}
    async with httpx.AsyncClient(
        base_url=relay.http_url, headers=headers, trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield client
