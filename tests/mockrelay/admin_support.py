"""A client of the control API over HTTP."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import connect

from mockrelay.server import MockRelay, MockUser
from tests.mockrelay.live_support import PATIENCE_S, Peer


class Admin:
    """The control API of a relay, or of one of its spaces."""

    def __init__(self, client: httpx.AsyncClient, base: str) -> None:
        self.client = client
        self.base = base

    async def ask(self, method: str, path: str, body: Any = None, expect: int | None = None) -> Any:
        """The answer's JSON; its status must be ``expect``, by default any below 300."""
        answer = await self.client.request(method, f"{self.base}/admin{path}", json=body)
        if expect is None:
            assert answer.status_code < 300, answer.text
        else:
            assert answer.status_code == expect, (answer.status_code, answer.text)
            if expect >= 400:
                assert set(answer.json()) == {"error_code", "message", "details"}
        return answer.json()

    async def get(self, path: str, expect: int | None = None) -> Any:
        return await self.ask("GET", path, None, expect)

    async def post(self, path: str, body: Any = None, expect: int | None = None) -> Any:
        return await self.ask("POST", path, body, expect)

    async def patch(self, path: str, body: Any = None, expect: int | None = None) -> Any:
        return await self.ask("PATCH", path, body, expect)

    async def delete(self, path: str, body: Any = None, expect: int | None = None) -> Any:
        return await self.ask("DELETE", path, body, expect)

    def within(self, space: dict[str, Any]) -> Admin:
        """The control API of a space."""
        return Admin(self.client, space["http_url"])


@asynccontextmanager
async def controlling(relay: MockRelay) -> AsyncIterator[Admin]:
    headers = {"Authorization": f"Bearer {relay.admin_token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=PATIENCE_S) as client:
        yield Admin(client, relay.http_url)


def person(described: dict[str, Any]) -> MockUser:
    """A user as ``POST /admin/users`` described it."""
    device = described["devices"][0]
    return MockUser(
        described["name"],
        described["address"],
        b64decode(described["identity_key"]),
        b64decode(described.get("identity_secret", "")),
        device["device_id"],
        device["token"],
    )


@asynccontextmanager
async def connected_to(ws_url: str, described: dict[str, Any], *, authenticate: bool = True) -> AsyncIterator[Peer]:
    """A connection of a user to a relay or a space."""
    user = person(described)
    url = f"{ws_url}?token={user.token}&device_id={user.device_id}&protocol_version=1"
    async with connect(
        url,
        subprotocols=["zentalk.v1"],  # type: ignore[list-item]
        proxy=None,
        ping_interval=None,
        close_timeout=1,
    ) as ws:
        peer = Peer(user, ws)
        if authenticate:
            await peer.authenticate()
        yield peer
