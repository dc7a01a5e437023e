"""Sweeps on a real Dask scheduler with workers, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.sweep_support import FILE
from zentalk_sim.experiment.sweep_cell import CellError
from zentalk_sim.experiment.sweep_engines import DaskCluster
from zentalk_sim.model import compiled

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop(compiled.SWITCH, None)


class Cluster:
    """A scheduler and some workers of one thread each, which find what passes for a compiled form of the sources."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder = folder
        form = folder / "zentalk-sim" / f"compiled-{compiled.FORM.fingerprint()}"
        form.mkdir(parents=True)
        # It has no module, so that sources are imported; but it is there to be asked for.
        (form / "complete").touch()
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
        self.address = self._told(self.processes[0], "Scheduler at:").split()[-1]
        self.add(workers)

    def add(self, count: int) -> None:
        """Start workers, and wait for them."""
        # Without a nanny beside it: whom a test kills must not come again, and each is a process less to start.
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder))
        workers = [self._start("worker", self.address, *alone) for _ in range(count)]
        self.processes += workers
        for worker in workers:
            self._told(worker, "Registered to:")

    def kill(self, number: int) -> None:
        """Kill a process outright: 0 is the scheduler."""
        os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; from dask.__main__ import main; sys.exit(main())", *arguments],
            env={**ENVIRONMENT, "XDG_CACHE_HOME": str(self.folder)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def _told(process: subprocess.Popen[str], words: str) -> str:
        assert process.stderr is not None
        for line in process.stderr:
            if words in line:
                return line.strip()
        raise AssertionError(f"it ended before it said {words!r}")

    def close(self) -> None:
        for number, process in enumerate(self.processes):
            if process.poll() is None:
                self.kill(number)
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    yield made
    made.close()


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "small.yaml").write_text(FILE)
    return subprocess.Popen(
        [sys.executable, "-m", "zentalk_sim.cli", "sweep", "small.yaml", "--no-plots", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_cells(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list((folder / "cells").glob("*.json"))) < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_cluster_gives_the_same_table_as_local_processes(cluster: Cluster, tmp_path: Path) -> None:
    grid = ("--seeds", "1-4", "-S", "relay.nodes=1,2")
    for name, engine in (("cluster", ("--scheduler", cluster.address)), ("local", ("--workers", "1"))):
        with start(tmp_path, *grid, *engine, "--out", name) as process:
            _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    assert (tmp_path / "cluster/sweep.parquet").read_bytes() == (tmp_path / "local/sweep.parquet").read_bytes()


def test_workers_must_use_compiled_modules_where_they_find_them(cluster: Cluster, tmp_path: Path) -> None:
    """They are there only if they were asked for before the first cell had sources imported."""
    with start(tmp_path, "--seeds", "1-2", "--scheduler", cluster.address, "--out", "out") as process:
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    code = (
        "import sys; from distributed import Client\n"
        "with Client(sys.argv[1]) as client:\n"
        "    asked = lambda: __import__('zentalk_sim.model.compiled', fromlist=['FORM']).FORM._finder is not None\n"
        "    print(sorted(client.run(asked).values())[-1])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, cluster.address], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "True\n"


def test_a_cluster_that_goes_away_is_told_in_a_line_each_and_nothing_is_lost(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "dask", workers=1)
    grid = ("--seeds", "1-24", "-S", "population.devices=60", "--scheduler", cluster.address, "--out", "out")
    try:
        with start(tmp_path, *grid) as process:
            assert process.stderr is not None
            wait_for_cells(tmp_path / "out", 1, process)
            cluster.kill(1)
            waiting = f"the scheduler at {cluster.address} has no workers left; waiting for one\n"
            assert process.stderr.readline() == waiting
            kept = len(list((tmp_path / "out/cells").glob("*.json")))
            cluster.add(1)
            wait_for_cells(tmp_path / "out", kept + 1, process)
            cluster.kill(0)
            _, err = process.communicate(timeout=120)
    finally:
        cluster.close()
    kept = len(list((tmp_path / "out/cells").glob("*.json")))
    assert kept < 24
    assert err.splitlines() == [
        f"the connection to the scheduler at {cluster.address} was lost, or the cells cancelled there",
        f"{kept} of 24 cells are kept in out; the same command goes on from there",
    ]
    assert process.returncode == 2


def test_cells_at_which_all_workers_died_are_told_alike() -> None:
    """So that a message about many is one line."""
    from distributed.scheduler import KilledWorker

    class Killed:
        def cancelled(self) -> bool:
            return False

        def result(self) -> None:
            raise KilledWorker("zsim-key", None, 3)  # type: ignore[arg-type]

    found = DaskCluster("tcp://127.0.0.1:1")._result(Killed(), "code")
    assert found == CellError("4 workers died at it (out of memory?)")


def test_ctrl_c_keeps_what_is_done_and_a_killed_worker_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    grid = ("--seeds", "1-24", "-S", "population.devices=60", "--scheduler", cluster.address, "--out", "out")
    with start(tmp_path, *grid) as process:
        wait_for_cells(tmp_path / "out", 2, process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        took = time.monotonic() - began
    assert (process.returncode, took < 5) == (130, True)
    kept = len(list((tmp_path / "out/cells").glob("*.json")))
    assert err.startswith(f"{kept} of 24 cells are kept in out; the same command goes on from there\n")
    with start(tmp_path, *grid) as process:
        wait_for_cells(tmp_path / "out", kept + 1, process)
        cluster.kill(-1)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err.splitlines()[0] == f"{kept} of 24 cells are there already"
    assert len(list((tmp_path / "out/cells").glob("*.json"))) == 24
