"""Where the cells of a sweep run: in this process, in processes of this machine, or on a Dask cluster.

An engine takes cells with their experiments and yields each with what it gave, in the order in which they end.
Closing the generator stops the work at once. A worker that dies (killed, out of memory) costs the cell it was at: it
is yielded with ``WorkerDied``, and tried again by another.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.experiment.sweep_cell import Cell, CellError, CellResult, code_fingerprint, run_cell
from zentalk_sim.experiment.sweep_worker import run_there
from zentalk_sim.model import compiled


class WorkerDied(Struct, frozen=True):
    """A worker died at a cell, which is not the last word of it: another repeats it, or it is given up next."""

    message: str


Task = tuple[Cell, dict[str, Any]]
Outcome = tuple[Cell, CellResult | CellError | WorkerDied]
Engine = Callable[[Sequence[Task]], Generator[Outcome, None, None]]

MAX_DEATHS: Final = 3
"""A cell at which so many workers died is given up."""
POLL_S: Final = 0.2
"""How often the wait for a result lets a signal through."""
CONNECT_TIMEOUT_S: Final = 10
WORKERS_POLL_S: Final = 1.0
"""How long a cluster may give no result until it is asked whether it has workers at all."""


class EngineError(Exception):
    """An engine that cannot start or cannot go on; the text says why and what to do."""


def in_process(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
    """One cell after another in this process; what a cell raises comes out."""
    for cell, mapping in tasks:
        yield cell, run_cell(mapping)


# --- processes of this machine ---------------------------------------------------------------------------------


class LocalProcesses:
    """``workers`` processes of this machine, each fed by a thread of this one.

    They are fresh interpreters in a session of their own: nothing of this process is inherited, a notebook needs no
    guard around its code, and Ctrl-C in a terminal reaches the sweep alone, which then ends them.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"{workers} processes can run nothing")
        self.workers = workers
        self.pids: list[int] = []
        """Processes started, ended ones included."""
        self.command = [sys.executable, "-m", "zentalk_sim.experiment.sweep_worker"]
        self._lock = Lock()
        self._stopped = False
        self._environment: dict[str, str] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        left = deque(tasks)
        self._environment = worker_environment(tasks)
        outcomes: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        threads = [
            Thread(target=self._serve, args=(left, outcomes), daemon=True) for _ in range(min(self.workers, len(tasks)))
        ]
        try:
            for thread in threads:
                thread.start()
            missing = len(tasks)
            while missing:
                outcome = self._next(outcomes)
                missing -= not isinstance(outcome[1], WorkerDied)
                yield outcome
        finally:
            self._stop()

    @staticmethod
    def _next(outcomes: SimpleQueue[Outcome | BaseException]) -> Outcome:
        while True:
            try:
                found = outcomes.get(timeout=POLL_S)
            except Empty:
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def _serve(self, left: deque[Task], outcomes: SimpleQueue[Outcome | BaseException]) -> None:
        """Feed a worker until no cell is left."""
        worker: subprocess.Popen[bytes] | None = None
        try:
            while not self._stopped:
                try:
                    cell, mapping = left.popleft()
                except IndexError:
                    break
                found: CellResult | CellError | None = None
                code = 0
                for deaths in range(1, MAX_DEATHS + 1):
                    worker = worker or self._start()
                    found = None if worker is None else _ask(worker, mapping)
                    if worker is None or found is not None:
                        break
                    code = worker.wait()
                    worker = None
                    if not self._stopped:
                        outcomes.put((cell, WorkerDied(_told(code, deaths))))
                if self._stopped:
                    return
                outcomes.put((cell, found or CellError(f"{MAX_DEATHS} workers died at it, the last {_death(code)}")))
        except BaseException as error:
            outcomes.put(error)
        finally:
            if worker is not None and worker.stdin is not None:
                worker.stdin.close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        """A fresh worker; None once the sweep has been stopped."""
        with self._lock:
            if self._stopped:
                return None
            worker = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
            self._running.append(worker)
            self.pids.append(worker.pid)
        return worker

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            running, self._running = self._running, []
        for worker in running:
            worker.kill()
        for worker in running:
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    _close(pipe)


def worker_environment(tasks: Sequence[Task]) -> dict[str, str]:
    """What workers for these tasks find in their environment: this process's, and where this code lies.

    Where a task needs sources, all run from them, since a worker that imported one form cannot go over to the other.
    """
    import zentalk_sim

    root = str(Path(zentalk_sim.__file__).parents[1])
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    # A worker is one core's, and forks: the threads that numpy's library would start serve no cell.
    found.setdefault("OPENBLAS_NUM_THREADS", "1")
    if _need_sources(tasks):
        found[compiled.SWITCH] = "0"
    return found


def _need_sources(tasks: Sequence[Task]) -> bool:
    # No cell keeps a trace, whatever its experiment says: a sweep has one table for all runs.
    return any(compiled.needs_sources("none", mapping.get("checks", ())) for _, mapping in tasks)


def _ask(worker: subprocess.Popen[bytes], mapping: dict[str, Any]) -> CellResult | CellError | None:
    """What a worker answers; None if it died."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(msgspec.json.encode(mapping) + b"\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except (OSError, ValueError):
        return None
    if not line.endswith(b"\n"):
        return None
    reply = msgspec.json.decode(line)
    if "error" in reply:
        return msgspec.convert(reply["error"], CellError)
    return msgspec.convert(reply["result"], CellResult)


def _close(pipe: Any) -> None:
    # It may hold what was still buffered for a worker that is gone.
    with suppress(OSError):
        pipe.close()


def _told(code: int, deaths: int) -> str:
    """What a note says of a worker's death, the first to the last of a cell."""
    what_now = "another repeats the run" if deaths < MAX_DEATHS else f"it was number {deaths}, the run is given up"
    return f"a worker died {_death(code)}; {what_now}"


def _death(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    import signal

    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


# --- a Dask cluster ----------------------------------------------------------------------------------------------


class DaskCluster:
    """The workers of the Dask scheduler at ``address``. ``note`` is told what a user should know while waiting."""

    def __init__(self, address: str, note: Callable[[str], None] = lambda text: None) -> None:
        self.address = address
        self._note = note
        if not re.fullmatch(r"([a-z]+://)?.+:[0-9]+", address):
            raise EngineError(f"--scheduler {address}: is no address; write it as the scheduler does, tcp://HOST:8786")
        try:
            self._distributed = import_module("distributed")
        except ImportError:
            raise EngineError(
                "--scheduler needs dask.distributed, which is not installed; pip install 'zentalk-sim[dask]'"
            ) from None

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        client = self._connect()
        futures: dict[Any, Cell] = {}
        done: SimpleQueue[Any] = SimpleQueue()
        with _quiet("distributed.client"):
            try:
                has_workers = self._has_workers(client, "yet")
                code = code_fingerprint()
                may_compile = not _need_sources(tasks) and os.environ.get(compiled.SWITCH) != "0"
                for cell, mapping in tasks:
                    # The key makes the scheduler give a cell to one worker only, and never an older code's result.
                    key = f"zsim-{cell.key}-{code}"
                    futures[client.submit(run_there, mapping, may_compile, key=key, pure=False)] = cell
                for future in futures:
                    future.add_done_callback(done.put)
                for _ in tasks:
                    while True:
                        try:
                            future = done.get(timeout=WORKERS_POLL_S)
                            break
                        except Empty:
                            has_workers = self._has_workers(client, "left" if has_workers else "")
                    yield futures[future], self._result(future, code)
            finally:
                client.cancel(list(futures), force=True)
                client.close(timeout=POLL_S)

    def _has_workers(self, client: Any, word: str) -> bool:
        """Whether the cluster has workers; where it has none, a note that ends so, unless there is no ``word``."""
        try:
            found = bool(client.nthreads())
        except OSError:
            # The scheduler is gone: then the cells are, and tell it themselves.
            return True
        if not found and word:
            self._note(f"the scheduler at {self.address} has no workers {word}; waiting for one")
        return found

    def _connect(self) -> Any:
        try:
            return self._distributed.Client(self.address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise EngineError(f"--scheduler {self.address}: cannot be reached: {text}") from None

    def _result(self, future: Any, code: str) -> CellResult | CellError:
        if future.cancelled():
            raise EngineError(
                f"the connection to the scheduler at {self.address} was lost, or the cells cancelled there"
            )
        try:
            result = future.result()
        except self._distributed.scheduler.KilledWorker as error:
            return CellError(f"{error.allowed_failures + 1} workers died at it (out of memory?)")
        except ModuleNotFoundError as error:
            raise EngineError(f"a worker of {self.address} lacks {error.name}; install zentalk-sim there too") from None
        except Exception as error:
            text = " ".join(str(error).split())
            return CellError(f"{type(error).__name__}{f': {text}' if text else ''}")
        assert isinstance(result, CellResult | CellError)
        if isinstance(result, CellResult) and result.code != code:
            raise EngineError(
                f"a worker of {self.address} runs other code or libraries ({result.code}, here {code}); "
                "install the same there"
            )
        return result


@contextmanager
def _quiet(name: str) -> Generator[None, None, None]:
    """Have a logger of a library say nothing: its tracebacks of a lost connection are no words for a user."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, os.environ.get("ZSIM_DEBUG") != "1"
    try:
        yield
    finally:
        logger.disabled = before
