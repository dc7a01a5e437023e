"""Recordings made through the control API: one at a time a space, kept in a folder that goes with the space."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from mockrelay.spaces import Space

MAX_KEPT: Final = 20
"""Older ones go, the oldest first."""


class Recordings:
    """The recordings of one space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._paths: dict[str, str] = {}
        self._started = 0
        self._current: str | None = None

    def start(self) -> dict[str, Any]:
        """Begin a recording, described. Raises OSError where no file can be written."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mockrelay-recordings-")
        while len(self._paths) >= MAX_KEPT:
            os.unlink(self._paths.pop(next(iter(self._paths))))
        self._started += 1
        number = f"rec_{self._started}"
        path = os.path.join(self._folder.name, f"{number}.jsonl")
        self._space.record(path)
        self._paths[number] = path
        self._current = number
        return self._described(number)

    def is_ours(self) -> bool:
        """Whether the recording under way was started here, not by ``--record``."""
        recorder = self._space.driver.recorder
        return recorder is not None and self._current is not None and recorder.path == self._paths.get(self._current)

    def stop(self) -> dict[str, Any]:
        """End the recording under way, described."""
        assert self._current is not None
        number, self._current = self._current, None
        self._space.driver.stop_recording()
        return self._described(number)

    def described(self) -> list[dict[str, Any]]:
        """All that are kept, oldest first."""
        return [self._described(number) for number in self._paths]

    def _described(self, number: str) -> dict[str, Any]:
        state = "recording" if number == self._current and self.is_ours() else "done"
        return {"id": number, "state": state, "bytes": os.path.getsize(self._paths[number])}

    def path_of(self, number: str) -> str | None:
        """The file of a recording, or None."""
        return self._paths.get(number)

    async def as_har(self, number: str) -> bytes:
        """A recording as HAR 1.2, its secrets taken out; made in another thread, as it may be long."""
        from zentalk_sim.trace.har import to_har

        return msgspec.json.encode(await asyncio.to_thread(to_har, self._paths[number]))

    def close(self) -> None:
        """Remove them."""
        self._paths.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
