"""A cell in a child process of a worker, which ends with it: with the cell, with the worker, or when nobody waits.

The worker itself runs no cell and has no thread, so that a fork is safe and whatever is told it is heard at once. A
child that dies takes its worker along, the same way: for the sweep they are one process.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
"""See prctl(2)."""
_CHUNK_BYTES: Final = 1 << 16


class Lines:
    """Lines from a file descriptor, which can be asked whether it has ended without waiting for a line."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.has_ended = False
        self._left = b""

    def take(self) -> None:
        """Take in what is there, or wait until something is."""
        found = os.read(self.fd, _CHUNK_BYTES)
        self._left += found
        self.has_ended = not found

    def next_line(self) -> bytes | None:
        """The next whole line; None at the end, whatever a last line without an end may have begun with."""
        while b"\n" not in self._left:
            if self.has_ended:
                return None
            self.take()
        line, _, self._left = self._left.partition(b"\n")
        return line


def forked_cell(answer: Callable[[], bytes], lines: Lines) -> bytes:
    """What ``answer`` gives, called in a child. If ``lines`` end meanwhile, or the child dies, this process ends."""
    here, there = os.pipe()
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os.close(here)
            _die_with(worker)
            _write(there, answer())
            os._exit(0)
        os._exit(1)
    os.close(there)
    found = bytearray()
    while True:
        ready, _, _ = select.select([here, *([] if lines.has_ended else [lines.fd])], [], [])
        if lines.fd in ready:
            lines.take()
            if lines.has_ended:
                os.kill(pid, signal.SIGKILL)
                os._exit(0)
        if here in ready:
            part = os.read(here, _CHUNK_BYTES)
            if not part:
                break
            found += part
    os.close(here)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        _end_as(code)
    return bytes(found)


def _die_with(worker: int) -> None:
    """Have the kernel end this process when the worker ends, however that may be."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _end_as(code: int) -> None:
    """End as a child did: by the same signal, or with the same exit code."""
    if code < 0:
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(1 if code < 0 else code)
