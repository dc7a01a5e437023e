"""Writes a recording: a group of lines for each input, its outputs with it, before any of them takes effect.

One unbuffered write a group, so that what was processed is in the file even if the process is killed. A path that
ends in ``.gz`` is compressed, each group up to a byte boundary (RFC 1951 §3.2.4), so that the same holds. The file
holds the signing key and tokens, and is made readable for its owner only.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from zentalk_sim import __version__
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.trace.recording import (
    Asked,
    Direction,
    End,
    Input,
    Output,
    Wire,
    header_line,
    input_line,
    output_line,
    wire_line,
)

_log = logging.getLogger("mockrelay")
_GZIP: Final = 31
"""zlib's window bits for a gzip header and trailer."""
_LEVEL: Final = 3


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

    def __init__(
        self, path: str, relay: Relay, seed: int | str, now_us: int, ws_url: str = "", http_url: str = ""
    ) -> None:
        """Begin between two inputs. ``ws_url`` and ``http_url`` are for the header.

        Raises OSError where the file cannot be written, FileExistsError where it holds anything already: a recording
        made once may never come again.
        """
        self.path = path
        self.failed: OSError | None = None
        self._last_us = now_us
        self._packer = zlib.compressobj(_LEVEL, wbits=_GZIP) if path.endswith(".gz") else None
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if os.fstat(descriptor).st_size:
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "is there already, and is not written over; name another file", path)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
            self._write(header_line(relay, seed, versions(), now_us, ws_url, http_url))
        except BaseException:
            self._file.close()
            raise

    def commit(self, event: Input, outputs: Sequence[Output]) -> None:
        """Keep an input and what it led to."""
        t = self._last_us = event.t
        lines = [input_line(event)]
        lines.extend([output_line(t, output) for output in outputs])
        self._keep(b"".join(lines))

    def note_wire(
        self,
        t: int,
        conn: int,
        direction: Direction,
        rule: str,
        did: str,
        core: bytes | None,
        wire: bytes | None,
        binary: bool = False,
    ) -> None:
        """Keep what a fault rule made of a frame: ``core`` as the core said or was to hear it, ``wire`` as it passed.

        Of the core's frame only a digest is kept, since it stands in a line of its own. ``core`` None: the core
        knows nothing of this frame; ``wire`` None: the frame was never on the wire. ``rule`` is the rule's id or
        comment, ``did`` its action's name.
        """
        t = self._last_us = max(t, self._last_us)
        self._keep(wire_line(Wire.of_frame(t, conn, direction, rule, did, core, wire, binary)))

    def close(self) -> None:
        """End the recording in order."""
        if not self._file.closed:
            self.commit(End(self._last_us), ())
            if self._packer is not None and self.failed is None:
                try:
                    self._write_all(self._packer.flush(zlib.Z_FINISH))
                except OSError as error:
                    self._fail(error)
            self._file.close()

    def _keep(self, lines: bytes) -> None:
        if self.failed is not None:
            return
        try:
            self._write(lines)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # The relay goes on serving: what is in the file up to here is a recording still.
        self.failed = error
        _log.error("recording to %s stopped: %s", self.path, error)

    def _write(self, lines: bytes) -> None:
        if self._packer is not None:
            lines = self._packer.compress(lines) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._write_all(lines)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def shortened(event: Input) -> str:
    """An input for a log line: its kind and size, and nothing that could be a secret."""
    data = getattr(event, "data", None)
    size = f", {len(data)} {'characters' if isinstance(data, str) else 'bytes'}" if data is not None else ""
    if isinstance(event, Asked):
        return f"{event.method} {event.path[:80]}"
    return f"{type(event).__name__}{size}"
