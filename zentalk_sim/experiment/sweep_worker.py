"""A worker process of a sweep: a resolved experiment a line on stdin, its result a line on stdout.

Compiled modules are used where there are any, unless the environment switches them off. It ends with its stdin: when
the sweep is done, is interrupted, or was killed without a chance to say so.

``run_there`` is the same for a process that others started and that lives on, such as a Dask worker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, BinaryIO

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
    tasks: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        replies.write(_answer(tasks.get()) + b"\n")
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
    from zentalk_sim.experiment.sweep_engines import LocalProcesses

    ((_, found),) = LocalProcesses(1)([(Cell(cell_key(mapping), 0, mapping["seed"]), dict(mapping))])
    return found


def _listen(stdin: BinaryIO, tasks: SimpleQueue[bytes]) -> None:
    for line in stdin:
        tasks.put(line)
    # The main thread may be amid a run of minutes that nobody waits for any more.
    os._exit(0)


def _answer(line: bytes) -> bytes:
    from zentalk_sim.experiment.sweep_cell import CellError, run_cell

    try:
        return msgspec.json.encode({"result": run_cell(msgspec.json.decode(line))})
    except Exception as error:
        if os.environ.get("ZSIM_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        text = " ".join(str(error).split())
        return msgspec.json.encode({"error": CellError(f"{type(error).__name__}{f': {text}' if text else ''}")})


if __name__ == "__main__":
    main()
