"""Pictures drawn by several processes: to draw one takes as long as thousands of simulated frames, and so does the
start of matplotlib, which a helper has behind it by the time there is something to draw.

A helper (``zentalk_sim.report.drawing_helper``) is told a folder and the name of a picture and draws it from what the
folder keeps, as `zsim report` would, so that the bytes are the same whoever draws. This process draws too; what a
helper fails at, it draws itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Final, Protocol

import msgspec
from msgspec import Struct

MOST_HELPERS: Final = 4
"""There are five to ten pictures, and the start of a helper costs as much as three of them."""


class Picture(Struct, frozen=True):
    """A picture drawn: its file name without suffix, what it shows, the same in words of figures, its SVG."""

    name: str
    title: str
    text: str
    svg: Path


class Album(Protocol):
    """The pictures that there are of a run or sweep."""

    @property
    def names(self) -> Sequence[str]:
        """In the order in which they stand on the page."""

    def draw(self, name: str) -> Picture:
        """Draw one into ``plots/``, within ``style.house_style``. Raises OSError."""


class Asked(Struct, frozen=True):
    """What a helper is asked for: a picture of what a folder keeps."""

    folder: str
    name: str


class Drawers:
    """This process and its helpers, ``most`` at most; as a context manager it ends them."""

    def __init__(self, most: int = 0) -> None:
        self.most = min(most, MOST_HELPERS)
        self.drawn_by_helpers = 0
        self.command = [sys.executable, "-m", "zentalk_sim.report.drawing_helper"]
        self._helpers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Drawers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, count: int) -> None:
        """Have ``count`` helpers, as far as there may be so many: they get ready while there is other work."""
        import zentalk_sim

        root = str(Path(zentalk_sim.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        for _ in range(min(count, self.most) - len(self._helpers)):
            # In a session of its own: Ctrl-C is for whom it helps, and with its stdin it ends.
            helper = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
            self._helpers.append(helper)

    def draw(self, album: Album, folder: Path) -> list[Picture]:
        """Draw an album, which is of ``folder``: whoever is free takes the next picture. Raises OSError."""
        from zentalk_sim.report import style

        left, found = deque(album.names), dict[str, Picture]()
        threads = [
            Thread(target=self._feed, args=(helper, folder, left, found), daemon=True) for helper in self._helpers
        ]
        for thread in threads:
            thread.start()
        with style.house_style():
            while left:
                # A helper may have taken the last one meanwhile.
                with suppress(IndexError):
                    name = left.popleft()
                    found[name] = album.draw(name)
            for thread in threads:
                thread.join()
            for name in album.names:
                if name not in found:
                    found[name] = album.draw(name)
        return [found[name] for name in album.names]

    def _feed(self, helper: subprocess.Popen[bytes], folder: Path, left: deque[str], found: dict[str, Picture]) -> None:
        """Have a helper draw until nothing is left, or it fails."""
        while left:
            with suppress(IndexError):
                name = left.popleft()
                picture = _ask(helper, Asked(str(folder), name))
                if picture is None:
                    return
                found[name] = picture
                self.drawn_by_helpers += 1

    def close(self) -> None:
        """End the helpers."""
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.kill()
        for helper in helpers:
            helper.wait()
            for pipe in (helper.stdin, helper.stdout):
                if pipe is not None:
                    # It may hold what was still buffered for one that is gone.
                    with suppress(OSError):
                        pipe.close()


def available_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _ask(helper: subprocess.Popen[bytes], asked: Asked) -> Picture | None:
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        helper.stdin.write(msgspec.json.encode(asked) + b"\n")
        helper.stdin.flush()
        return msgspec.json.decode(helper.stdout.readline(), type=Picture, dec_hook=lambda kind, text: kind(text))
    except (OSError, ValueError):
        return None
