"""Spaces: isolated relays in one process, made and deleted through the control API.

The relay that ``mockrelay serve`` starts is the default space. Others are collected when nobody has used them for their
``ttl_s`` of real time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Final

import msgspec

from mockrelay.clock import MovableClock
from mockrelay.space import PREFIX, Space
from zentalk_sim.protocol.config import DedupConfig, RelayConfig

SPACE_BLOOM_CAPACITY: Final = 1_000
"""A space's filter of seen ids is small: an overfull one costs exact look-ups and nothing else (R-5.6)."""


class TooManySpaces(Exception):
    """There are as many spaces as there may be; the argument says how many."""


class Spaces:
    """The default space and those made later."""

    def __init__(self, default: Space, ws_base: str, http_base: str) -> None:
        self.default = default
        self._ws_base = ws_base
        self._http_base = http_base
        self._spaces: dict[str, Space] = {}
        self._collector: asyncio.TimerHandle | None = None
        self.collected = 0
        """How many were deleted because nobody used them."""
        default.locate(ws_base, http_base)

    def __len__(self) -> int:
        return len(self._spaces)

    def __iter__(self) -> Iterator[Space]:
        """All but the default one, oldest first."""
        return iter(list(self._spaces.values()))

    def get(self, space_id: str) -> Space | None:
        """A space by its id."""
        return self._spaces.get(space_id)

    def find_path(self, path: str) -> tuple[Space, str] | None:
        """The space that a path belongs to and the path within it; None where there is no such space."""
        if not path.startswith(PREFIX):
            return self.default, path
        space_id, slash, rest = path[len(PREFIX) :].partition("/")
        space = self._spaces.get(space_id)
        if space is None:
            return None
        space.touch()
        return space, slash + rest or "/"

    def create(
        self,
        config: RelayConfig,
        *,
        seed: int | None = None,
        clock: MovableClock | None = None,
        ttl_s: float | None = None,
    ) -> Space:
        """A new space with its store in memory. Raises TooManySpaces."""
        bounds = self.default.bounds
        if len(self._spaces) >= bounds.spaces:
            self.default.driver.count("spaces.refused")
            raise TooManySpaces(bounds.spaces)
        if config.dedup == DedupConfig():
            dedup = msgspec.structs.replace(config.dedup, bloom_capacity=SPACE_BLOOM_CAPACITY)
            config = msgspec.structs.replace(config, dedup=dedup)
        space = Space(
            config,
            space_id=f"sp_{secrets.token_hex(6)}",
            seed=seed,
            clock=clock,
            ttl_s=bounds.space_ttl_s if ttl_s is None else ttl_s,
            bounds=bounds,
        )
        space.locate(self._ws_base, self._http_base)
        self._spaces[space.id] = space
        self._arm()
        return space

    def delete(self, space: Space) -> None:
        """End a space."""
        if self._spaces.pop(space.id, None) is not None:
            space.close()

    def collect(self) -> None:
        """Delete the spaces that nobody has used for their time."""
        for space in self:
            if space.ttl_s is not None and space.idle_s() >= space.ttl_s:
                self.delete(space)
                self.collected += 1
                self.default.driver.count("spaces.collected")
        self._arm()

    def close(self) -> None:
        """End all but the default space."""
        for space in self:
            self.delete(space)
        if self._collector is not None:
            self._collector.cancel()
            self._collector = None

    def _arm(self) -> None:
        if self._collector is not None:
            self._collector.cancel()
            self._collector = None
        waits = [space.ttl_s - space.idle_s() for space in self._spaces.values() if space.ttl_s is not None]
        if waits:
            # Looking a little late costs nothing, and one timer serves hundreds of spaces.
            delay_s = max(min(waits), 0.05)
            self._collector = self.default.loop.call_later(delay_s, self.collect)


__all__ = ["Space", "Spaces", "TooManySpaces"]
