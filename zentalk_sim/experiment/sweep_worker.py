"""A worker process of a sweep: a resolved experiment a line on stdin, its result a line on stdout.

Compiled modules are used where there are any, unless the environment switches them off. It ends with its stdin: when
the sweep is done, is interrupted, or was killed without a chance to say so.

On Linux each cell runs in a child of its own (``forked_cell``): what a world leaves behind goes with its process in no
time, where otherwise the next cell would search it for cycles; every cell finds memory as the first one did, in huge
pages where its world is large; and the worker can end amid a run.

``run_there`` is the same for a process that others started and that lives on, such as a Dask worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from zentalk_sim.model import compiled

if TYPE_CHECKING:
    from zentalk_sim.experiment.sweep_cell import CellError, CellResult

_asking = Lock()
_is_compiled = False
"""Whether ``run_there`` has had compiled modules imported into this process."""


def main() -> None:
    """Serve cells until stdin ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # A stray print anywhere must not get between the replies.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # First of all: a module that was imported from sources stays so.
    compiled.activate()
    serving: Serving = _Forking() if sys.platform == "linux" else _InProcess(sys.stdin.buffer)
    while (found := serving.next_answer()) is not None:
        replies.write(found + b"\n")
        replies.flush()


def run_there(mapping: Mapping[str, Any], may_compile: bool) -> CellResult | CellError:
    """Run a resolved experiment, on compiled modules where there are any and ``may_compile`` says that none minds.

    Which of both forms runs, the first cell decides for the life of the process; one that imported the simulator for
    other reasons before runs from sources. A cell that needs sources, where compiled modules are, gets a process of
    its own.
    """
    global _is_compiled
    with _asking:
        # Before anything else: a module that was imported from sources stays so.
        if may_compile and not _is_compiled:
            _is_compiled = compiled.activate()
    from zentalk_sim.experiment.sweep_cell import Cell, cell_key, run_cell

    if not (_is_compiled and compiled.needs_sources("none", mapping.get("checks", ()))):
        return run_cell(mapping)
    from zentalk_sim.experiment.sweep_engines import LocalProcesses, WorkerDied

    *_, (_, found) = LocalProcesses(1)([(Cell(cell_key(mapping), 0, mapping["seed"]), dict(mapping))])
    # Deaths come before what was found in the end.
    assert not isinstance(found, WorkerDied)
    return found


class Serving(Protocol):
    """How a worker runs what it is asked for."""

    def next_answer(self) -> bytes | None:
        """Wait for a cell and run it; None at the end of stdin."""


class _Forking:
    """Each cell in a child."""

    def __init__(self) -> None:
        from zentalk_sim.experiment.sweep_cell import get_ready
        from zentalk_sim.experiment.sweep_forks import Lines, forked_cell

        self._lines = Lines(sys.stdin.fileno())
        self._forked_cell = forked_cell
        get_ready()

    def next_answer(self) -> bytes | None:
        line = self._lines.next_line()
        return None if line is None else self._forked_cell(lambda: answer(line, is_alone=True), self._lines)


class _InProcess:
    """One cell after another in this process, while a thread watches stdin."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._tasks: SimpleQueue[bytes] = SimpleQueue()
        Thread(target=self._listen, args=(stdin,), daemon=True).start()

    def _listen(self, stdin: BinaryIO) -> None:
        for line in stdin:
            self._tasks.put(line)
        # The main thread may be amid a run of minutes that nobody waits for any more.
        os._exit(0)

    def next_answer(self) -> bytes | None:
        return answer(self._tasks.get(), is_alone=False)


def answer(line: bytes, *, is_alone: bool) -> bytes:
    """Run the cell that a line describes; its result, or the error it ended in, as JSON.

    ``is_alone``: the process ends with it, so that memory may be laid out for this one.
    """
    from zentalk_sim.experiment.sweep_cell import CellError, run_cell

    try:
        mapping = msgspec.json.decode(line)
        if is_alone:
            compiled.large_pages(mapping["population"]["devices"])
        return msgspec.json.encode({"result": run_cell(mapping)})
    except Exception as error:
        if os.environ.get("ZSIM_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        text = " ".join(str(error).split())
        return msgspec.json.encode({"error": CellError(f"{type(error).__name__}{f': {text}' if text else ''}")})


if __name__ == "__main__":
    main()
