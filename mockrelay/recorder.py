"""Writes a recording: a group of lines for each input, its outputs with it, before any of them takes effect.

One unbuffered write a group, so that what was processed is in the file even if the process is killed. The file
holds the signing key and tokens, and is made readable for its owner only.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Sequence

import msgspec

from zentalk_sim import __version__
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.trace.recording import End, Input, Output, header_line, input_line, output_line

_log = logging.getLogger("mockrelay")


def versions() -> dict[str, str]:
    """What the recording was made with."""
    return {
        "zentalk_sim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "msgspec": msgspec.__version__,
    }


class Recorder:
    """One recording under way."""

    def __init__(self, path: str, relay: Relay, seed: int | str, now_us: int) -> None:
        """Begin between two inputs. Raises OSError where the file cannot be written."""
        self.path = path
        self.failed: OSError | None = None
        self._last_us = now_us
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
            self._write_all(header_line(relay, seed, versions(), now_us))
        except BaseException:
            self._file.close()
            raise

    def commit(self, event: Input, outputs: Sequence[Output]) -> None:
        """Keep an input and what it led to."""
        if self.failed is not None:
            return
        t = self._last_us = event.t
        lines = [input_line(event)]
        lines.extend([output_line(t, output) for output in outputs])
        try:
            self._write_all(b"".join(lines))
        except OSError as error:
            # The relay goes on serving: what is in the file up to here is a recording still.
            self.failed = error
            _log.error("recording to %s stopped: %s", self.path, error)

    def close(self) -> None:
        """End the recording in order."""
        if not self._file.closed:
            self.commit(End(self._last_us), ())
            self._file.close()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
