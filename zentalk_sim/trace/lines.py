"""The lines of a trace file, plain or compressed, read one by one within bounds.

A file is known for gzip or zstd by its first bytes, whatever its name. A process that was killed leaves a file of gzip
without its trailer: what was flushed into it is read, and the missing trailer is no error, as a plain file that just
ends is none.
"""

from __future__ import annotations

import zlib
from os import PathLike, fspath
from types import TracebackType
from typing import BinaryIO, Final

from zentalk_sim.trace.recording import RecordingError

MAX_HEADER_BYTES: Final = 1 << 30
MAX_LINE_BYTES: Final = 16 << 20
"""Of any line but those with a snapshot, which may be as long as a header."""
_LONG_LINES: Final = (b'{"e":"restart"', b'{"zentalk_trace"')
_GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_READ_BYTES: Final = 1 << 16
_ZSTD_BYTES: Final = 1 << 14
"""Less for zstd, where a cut-off file gives nothing of the read in which it ends."""
_INFLATE_BYTES: Final = 1 << 18
"""At most so much is unpacked at a time: what unpacks to a great deal costs no more memory than one line."""


def unpacked_zstd(file: BinaryIO) -> BinaryIO:
    """A file compressed with zstd as what it holds, unpacked as it is read; damage shows as OSError."""
    import pyarrow as pa

    found: BinaryIO = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return found


class TraceLines:
    """An open trace; ``read`` gives its lines with their newline, then ``b""``. ``number`` is the last line's."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Raises OSError where the file cannot be read."""
        self.name = fspath(path)
        self.number = 0
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115
        self._inflater: zlib._Decompress | None = None
        self._unpacked: BinaryIO | None = None
        self._buffer = b""
        self._at = 0
        magic = self._file.peek(4)[:4]
        if magic[:2] == _GZIP_MAGIC:
            self._inflater = zlib.decompressobj(wbits=31)
        elif magic == ZSTD_MAGIC:
            self._unpacked = unpacked_zstd(self._file)

    def __enter__(self) -> TraceLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
        self._file.close()

    def read(self) -> bytes:
        """The next line. Raises RecordingError for one that is cut off or too long, and for damaged compression."""
        line = self._next(MAX_LINE_BYTES)
        self.number += 1
        if not line or (len(line) <= MAX_LINE_BYTES and line.endswith(b"\n")):
            return line
        if len(line) >= MAX_LINE_BYTES:
            if not line.startswith(_LONG_LINES):
                raise RecordingError(f"{self.name}:{self.number}: this line is longer than {MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n"):
                line += self._next(MAX_HEADER_BYTES)
            if line.endswith(b"\n"):
                return line
        raise RecordingError(
            f"{self.name}:{self.number}: the last line is cut off; delete it to replay what is before it"
        )

    def _next(self, limit: int) -> bytes:
        if self._inflater is None and self._unpacked is None:
            return self._file.readline(limit)
        end = self._buffer.find(b"\n", self._at)
        if end >= 0:
            line = self._buffer[self._at : end + 1]
            self._at = end + 1
            return line
        return self._inflated_line(limit)

    def _inflated_line(self, limit: int) -> bytes:
        parts = [self._buffer[self._at :]]
        size = len(parts[0])
        while size < limit and (data := self._inflate()):
            end = data.find(b"\n")
            if end >= 0:
                self._buffer, self._at = data, end + 1
                parts.append(data[: end + 1])
                return b"".join(parts)
            parts.append(data)
            size += len(data)
        self._buffer, self._at = b"", 0
        return b"".join(parts)

    def _inflate(self) -> bytes:
        if self._unpacked is not None:
            try:
                return self._unpacked.read(_ZSTD_BYTES)
            except OSError as error:
                reason = f"the compressed data are damaged: {error}"
                raise RecordingError(f"{self.name}:{self.number + 1}: {reason}") from None
        inflater = self._inflater
        assert inflater is not None
        try:
            while not inflater.eof:
                packed = inflater.unconsumed_tail or self._file.read(_READ_BYTES)
                data = inflater.decompress(packed, _INFLATE_BYTES)
                if data or not packed:
                    return data
        except zlib.error as error:
            raise RecordingError(f"{self.name}:{self.number + 1}: the compressed data are damaged: {error}") from None
        return b""
