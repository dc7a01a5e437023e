"""Media of one space, in files that go with it: bounded in all, the oldest making room for new ones.

The relay never looks into them: apps upload ciphertext. What is uploaded as ``multipart/form-data`` is kept as it came,
and only where the file within it begins and ends is noted.
"""

from __future__ import annotations

import mmap
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, NamedTuple

MAX_BYTES: Final = 100 << 20
"""Of one upload, and of all that a space keeps."""
_CHUNK_BYTES: Final = 1 << 16
_MAX_PARTS: Final = 100
_MAX_HEAD_BYTES: Final = 8192
_BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))""", re.IGNORECASE)
_NAME = re.compile(rb"""name=(?:"([^"]*)"|([^\s;"]+))""", re.IGNORECASE)


class MediaError(Exception):
    """An upload that is no multipart body with a ``file``."""


class MediaTooLarge(Exception):
    """An upload above the bound."""


class Media(NamedTuple):
    """One upload: which bytes of which file it is."""

    path: str
    offset: int
    size: int
    kept: int
    """Bytes on disk."""


class MediaStore:
    """The media of one space."""

    def __init__(
        self, new_id: Callable[[], str], max_bytes: int = MAX_BYTES, count: Callable[[str], None] = lambda name: None
    ) -> None:
        """``count`` is told of uploads that went (``media.dropped``)."""
        self._new_id = new_id
        self._count = count
        self.max_bytes = max_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._media: dict[str, Media] = {}
        self.size_bytes = 0
        """On disk, in all."""
        self.dropped = 0
        """How many went to make room."""
        self._being_written = 0

    @property
    def count(self) -> int:
        """How many are kept."""
        return len(self._media)

    async def add(self, chunks: AsyncIterator[bytes], content_type: str) -> tuple[str, Media]:
        """Keep an upload. Raises MediaTooLarge, MediaError, OSError; nothing is kept then."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mockrelay-media-")
        media_id = self._new_id()
        path = os.path.join(self._folder.name, media_id)
        size = written = 0
        try:
            with open(path, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self.max_bytes:
                        raise MediaTooLarge
                    self._make_room(len(chunk))
                    self._being_written += len(chunk)
                    written += len(chunk)
                    file.write(chunk)
            offset, length = 0, size
            if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
                offset, length = _file_within(path, content_type)
        except BaseException:
            self._being_written -= written
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise
        self._being_written -= written
        self.size_bytes += size
        self._media[media_id] = Media(path, offset, length, size)
        return media_id, self._media[media_id]

    def _make_room(self, more: int) -> None:
        while self._media and self.size_bytes + self._being_written + more > self.max_bytes:
            media = self._media.pop(next(iter(self._media)))
            self.size_bytes -= media.kept
            self.dropped += 1
            self._count("media.dropped")
            os.unlink(media.path)
        if self.size_bytes + self._being_written + more > self.max_bytes:
            # Others are being uploaded at the same time: together they may take no more than one.
            raise MediaTooLarge

    def get(self, media_id: str) -> Media | None:
        """An upload by its id."""
        return self._media.get(media_id)

    def close(self) -> None:
        """Remove them all."""
        self._media.clear()
        self.size_bytes = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


async def read_chunks(media: Media) -> AsyncIterator[bytes]:
    """The bytes of an upload; a file that went meanwhile ends them."""
    left = media.size
    with open(media.path, "rb") as file:
        file.seek(media.offset)
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


def _file_within(path: str, content_type: str) -> tuple[int, int]:
    """Offset and size of the part named ``file`` of a multipart body (RFC 7578, RFC 2046 §5.1)."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise MediaError("Content-Type: multipart/form-data has no boundary")
    mark = b"--" + (found.group(1) or found.group(2)).encode()
    if os.path.getsize(path) == 0:
        raise MediaError("the multipart body is empty")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        at = 0 if body[: len(mark)] == mark else body.find(b"\r\n" + mark) + 2
        if at < 2 and body[: len(mark)] != mark:
            raise MediaError("the multipart body does not begin with its boundary")
        for _ in range(_MAX_PARTS):
            head_at = at + len(mark)
            if body[head_at : head_at + 2] == b"--":
                break
            head_end = body.find(b"\r\n\r\n", head_at, head_at + _MAX_HEAD_BYTES)
            end = body.find(b"\r\n" + mark, head_end)
            if head_end < 0 or end < 0:
                raise MediaError("the multipart body is cut off")
            for line in body[head_at:head_end].split(b"\r\n"):
                if not line.lower().startswith(b"content-disposition:"):
                    continue
                name = _NAME.search(line)
                if name is not None and (name.group(1) or name.group(2)) == b"file":
                    return head_end + 4, end - head_end - 4
            at = end + 2
    raise MediaError("the multipart body has no part named file")
