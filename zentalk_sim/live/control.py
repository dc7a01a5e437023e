"""The control API of a mock relay, as a run in real time uses it: a space of its own, its users, facts and faults."""

from __future__ import annotations

import asyncio
from typing import Any, BinaryIO

import msgspec

from zentalk_sim.live.http import HttpError, request

TIMEOUT_S = 30.0
_ELSEWHERE = "; if the control API is elsewhere, --http-url says where"


class ControlError(Exception):
    """The control API refused, or is not there; the text says what was asked and what came of it."""


class Control:
    """Calls to one relay's, or one space's, ``/admin``."""

    def __init__(self, http_url: str, token: str) -> None:
        """``http_url`` is without a path, or a space's. Nothing is asked yet."""
        self.http_url = http_url.rstrip("/")
        self._token = token

    async def call(self, method: str, path: str, body: Any = None, *, sink: BinaryIO | None = None) -> Any:
        """The answer to one call, decoded; with ``sink`` its body is written there. Raises ControlError."""
        encoded = None if body is None else msgspec.json.encode(body)
        try:
            status, answer = await request(
                self.http_url + path, method, bearer=self._token, body=encoded, timeout_s=TIMEOUT_S, sink=sink
            )
        except HttpError as error:
            raise ControlError(f"{self.http_url}: no answer to {error}{_ELSEWHERE}") from None
        try:
            found = msgspec.json.decode(answer) if answer else None
        except msgspec.DecodeError:
            found = None
        if status >= 400:
            said = found.get("message") if isinstance(found, dict) else None
            # Every error of the control API has details; what has none is another port, or another program.
            elsewhere = "" if isinstance(found, dict) and "details" in found else _ELSEWHERE
            answered = f"{method} {path} was answered {status}: {said or 'no reason given'}"
            raise ControlError(f"{self.http_url}: {answered}{elsewhere}")
        return found

    async def space(
        self, config: dict[str, Any], users: list[dict[str, Any]], seed: int, ttl_s: float
    ) -> dict[str, Any]:
        """A fresh space, described as ``POST /admin/spaces`` answers. Raises ControlError."""
        asked = {"seed": seed, "config": config, "users": users, "ttl_s": ttl_s}
        found = await self.call("POST", "/admin/spaces", asked)
        if not isinstance(found, dict) or not {"id", "ws_url", "http_url", "users"} <= set(found):
            raise ControlError(f"{self.http_url}: /admin/spaces did not describe a space; is this a mockrelay?")
        return found

    def within(self, http_url: str) -> Control:
        """The same for a space."""
        return Control(http_url, self._token)

    async def make_contacts(self, pairs: list[tuple[str, str]]) -> None:
        """Make users contacts of each other, a few pairs at a time. Raises ControlError."""
        gate = asyncio.Semaphore(16)

        async def one(first: str, second: str) -> None:
            async with gate:
                await self.call("POST", f"/admin/users/{first}/contacts", {"address": second})

        await asyncio.gather(*(one(first, second) for first, second in pairs))

    async def clock_ahead_us(self, now_us: Any) -> tuple[int, int]:
        """How far the relay's clock is ahead of ``now_us()``, and by how much that may be wrong, in µs."""
        best: tuple[int, int] | None = None
        for _ in range(5):
            before_us = now_us()
            found = await self.call("GET", "/admin/clock")
            after_us = now_us()
            wrong_us = (after_us - before_us) // 2 + 1_000
            if best is None or wrong_us < best[1]:
                # The answer is in whole milliseconds, so the middle of its millisecond is the best guess.
                best = (int(found["now_ms"]) * 1000 + 500 - (before_us + after_us) // 2, wrong_us)
        assert best is not None
        return best
