"""A worker's cells in children of their own: what comes back, and that a child and its worker end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zentalk_sim.experiment.sweep_forks import Lines

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from zentalk_sim.experiment.sweep_forks import Lines, forked_cell

def answer(line):
    if line == b"die":
        os.kill(os.getpid(), 9)
    if line == b"fail":
        raise ValueError(line)
    if line == b"wait":
        print(os.getpid(), flush=True)
        while True:
            pass
    return line.upper() * 50_000 + b"%d" % (os.getppid() == worker)

worker = os.getpid()
lines = Lines(0)
while (line := lines.next_line()) is not None:
    found = forked_cell(lambda: answer(line), lines)
    print(len(found), found[:2].decode(), found[-1:].decode(), flush=True)
"""


def start() -> subprocess.Popen[str]:
    """A worker that answers a line with what its child makes of it."""
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_each_line_is_answered_by_a_child_whatever_its_length() -> None:
    with start() as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for line in ("ab", "cde"):
            worker.stdin.write(f"{line}\n")
            worker.stdin.flush()
            assert worker.stdout.readline() == f"{len(line) * 50_000 + 1} {line[:2].upper()} 1\n"
        worker.stdin.close()
        assert worker.wait() == 0


@pytest.mark.parametrize(("line", "code"), [("die", -signal.SIGKILL), ("fail", 1)])
def test_a_worker_must_end_as_its_child_did(line: str, code: int) -> None:
    with start() as worker:
        assert worker.stdin is not None
        worker.stdin.write(f"{line}\n")
        worker.stdin.flush()
        assert worker.wait() == code


@pytest.mark.parametrize("kill", [True, False])
def test_a_child_must_not_outlive_its_worker_nor_the_end_of_what_asks(kill: bool) -> None:
    with start() as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("wait\n")
        worker.stdin.flush()
        assert int(worker.stdout.readline()) != worker.pid
        if kill:
            worker.kill()
        else:
            worker.stdin.close()
        assert worker.wait() == (-signal.SIGKILL if kill else 0)
        # The child held the other end of this pipe: its end is the end of the child.
        assert worker.stdout.read() == ""


def test_lines_are_whole_however_they_come() -> None:
    there, here = os.pipe()
    lines = Lines(there)
    os.write(here, b"one\ntw")
    assert lines.next_line() == b"one"
    os.write(here, b"o\nthr")
    os.close(here)
    assert (lines.next_line(), lines.has_ended) == (b"two", False)
    assert (lines.next_line(), lines.has_ended) == (None, True)
    os.close(there)
