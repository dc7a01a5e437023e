"""How much sooner a sweep ends with two workers than with one: ``python -m benchmarks.sweep_efficiency [SEEDS]``.

The whole command is timed, its start, its statistics and its report included. Beside the time by the clock stands the
CPU time of both, which must be alike: where another program takes the second core, two workers cannot be twice as fast.
Two workers and one are measured in turns, once here and ``ROUNDS`` times by ``make bench``. A sweep that fails is an
error, since one that ends early would look quick; one in which a threshold does not hold has run to its end.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.lines import BenchmarkError
from zentalk_sim.cli.errors import Exit

STORM = Path(__file__).parent.parent / "experiments" / "reconnect_storm.yaml"
DEVICES = 2_500
SEEDS = 8
ROUNDS = 2
_RAN = (int(Exit.DONE), int(Exit.FAILED))


class Cost(NamedTuple):
    """What a command took."""

    wall_s: float
    cpu_s: float


def sweep(workers: int, seeds: int, devices: int = DEVICES) -> Cost:
    """One sweep of ``seeds`` runs, each of some seconds. Raises BenchmarkError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "zentalk_sim.cli", "sweep", str(STORM), "--seeds", f"1-{seeds}"),
                *("-S", f"population.devices={devices}", "--workers", str(workers), "--no-plots"),
                *("--out", f"{folder}/sweep"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode not in _RAN:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise BenchmarkError(f"the sweep with --workers {workers} ended with status {done.returncode}:\n{last}")
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(seeds: int = SEEDS) -> tuple[Cost, Cost]:
    """With two workers, and with one. Raises BenchmarkError."""
    return sweep(2, seeds), sweep(1, seeds)


def main() -> None:
    """Print both and the speed-up."""
    two, one = measure(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
    print(f"one worker  {one.wall_s:6.1f} s, {one.cpu_s:6.1f} s of CPU")
    print(f"two workers {two.wall_s:6.1f} s, {two.cpu_s:6.1f} s of CPU")
    print(f"speed-up {one.wall_s / two.wall_s:.2f}")


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
