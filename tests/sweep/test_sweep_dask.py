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

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


class Cluster:
    """A scheduler and two workers of one thread each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
        self.address = self._told(self.processes[0], "Scheduler at:").split()[-1]
        # Without a nanny beside it: whom a test kills must not come again, and each is a process less to start.
        alone = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        workers = [self._start("worker", self.address, *alone) for _ in range(2)]
        self.processes += workers
        for worker in workers:
            self._told(worker, "Registered to:")

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; from dask.__main__ import main; sys.exit(main())", *arguments],
            env=ENVIRONMENT,
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
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
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
        os.killpg(cluster.processes[-1].pid, signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err.splitlines()[0] == f"{kept} of 24 cells are there already"
    assert len(list((tmp_path / "out/cells").glob("*.json"))) == 24
