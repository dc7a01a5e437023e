"""How much sooner a sweep ends with two workers than with one: ``python -m benchmarks.sweep_efficiency [SEEDS]``.

The whole command is timed, its start, its statistics and its report included. Beside the time by the clock stands the
CPU time of both, which must be alike: where another program takes the second core, two workers cannot be twice as fast.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

STORM = Path(__file__).parent.parent / "experiments" / "reconnect_storm.yaml"
DEVICES = 1_000


class Cost(NamedTuple):
    """What a command took."""

    wall_s: float
    cpu_s: float


def sweep(workers: int, seeds: int) -> Cost:
    """One sweep of ``seeds`` runs, each of some seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "zentalk_sim.cli", "sweep", str(STORM), "--seeds", f"1-{seeds}"),
                *("-S", f"population.devices={DEVICES}", "--workers", str(workers), "--no-plots"),
                *("--out", f"{folder}/sweep"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(seeds: int = 8) -> tuple[Cost, Cost]:
    """With two workers, and with one."""
    return sweep(2, seeds), sweep(1, seeds)


if __name__ == "__main__":
    two, one = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
    print(f"one worker  {one.wall_s:6.1f} s, {one.cpu_s:6.1f} s of CPU")
    print(f"two workers {two.wall_s:6.1f} s, {two.cpu_s:6.1f} s of CPU")
    print(f"speed-up {one.wall_s / two.wall_s:.2f}")
