"""A worker process of a sweep: a resolved experiment a line on stdin, its result a line on stdout.

Compiled modules are used where there are any, unless the environment switches them off.

It ends with its stdin: when the sweep is done, is interrupted, or was killed without a chance to say so.
"""

from __future__ import annotations

import os
import sys
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO

import msgspec

from zentalk_sim.model import compiled


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
