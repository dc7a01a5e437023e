"""A file that takes its name only once it is whole; one that ends in ``.gz`` is compressed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import BinaryIO


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to. What was at ``path`` stays until all is written, and for good where that fails.

    Raises OSError where it cannot be written.
    """
    name = fspath(path)
    part = f"{name}.part"
    try:
        with open(part, "wb") as file:
            if name.endswith(".gz"):
                # No name and no time in the header: equal content makes equal files.
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield file
        os.replace(part, name)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise
