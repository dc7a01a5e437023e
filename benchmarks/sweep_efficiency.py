"""How much sooner a sweep ends with two workers than with one: ``python -m benchmarks.sweep_efficiency [SEEDS]``.

Eight runs of more than a second, from sources and, where they are built, on compiled modules. The whole command is
timed, its start, its statistics, its pictures and its report included; what of one worker's time is not spent in runs
has a line of its own. Beside the time by the clock stands the CPU time of both, which must be alike: where another
program takes the second core, two workers cannot be twice as fast. Two workers and one are measured in turns, once here
and ``ROUNDS`` times by ``make bench``. A sweep that fails is an error, since one that ends early would look quick; one
in which a threshold does not hold has run to its end.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.lines import BenchmarkError, Line, line
from zentalk_sim.cli.errors import Exit
from zentalk_sim.model import compiled

STORM = Path(__file__).parent.parent / "experiments" / "reconnect_storm.yaml"
SEEDS = 8
ROUNDS = 2
SOURCES, COMPILED = "sources", "compiled"
DEVICES = {SOURCES: 700, COMPILED: 2_000}
"""Of each form so many that a run takes more than a second, and the two rounds some 35 s."""
_RAN = (int(Exit.DONE), int(Exit.FAILED))


class Cost(NamedTuple):
    """What a command took."""

    wall_s: float
    cpu_s: float
    runs_s: float
    """Real time spent in the runs, over all workers."""


def forms() -> list[str]:
    """The forms of the simulator that there are here."""
    is_built = os.environ.get(compiled.SWITCH) != "0" and compiled.FORM.is_built()
    return [SOURCES, COMPILED] if is_built else [SOURCES]


def environment(form: str) -> dict[str, str]:
    """Of a command on sources or on compiled modules, as a user's is: bytecode of what it imports is kept."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return found | {compiled.SWITCH: "0" if form == SOURCES else "1"}


def sweep(workers: int, seeds: int, form: str) -> Cost:
    """One sweep of ``seeds`` runs, each of more than a second. Raises BenchmarkError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sweep"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "zentalk_sim.cli", "sweep", str(STORM), "--seeds", f"1-{seeds}"),
                *("-S", f"population.devices={DEVICES[form]}", "--workers", str(workers), "--out", str(out)),
            ],
            env=environment(form),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - began
        if done.returncode not in _RAN:
            last = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise BenchmarkError(f"the sweep with --workers {workers} ended with status {done.returncode}:\n{last}")
        manifest = msgspec.json.decode((out / "manifest.json").read_bytes())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s, manifest["workers_s"])


def measure(seeds: int, form: str) -> tuple[Cost, Cost]:
    """With two workers, and with one. Raises BenchmarkError."""
    return sweep(2, seeds, form), sweep(1, seeds, form)


def lines(seeds: int = SEEDS, rounds: int = ROUNDS) -> list[Line]:
    """Of each form, two workers against one, and what of one worker's sweep is not spent in runs."""
    made = []
    for form in forms():
        found = [measure(seeds, form) for _ in range(rounds)]
        what = "sweep" if form == SOURCES else f"sweep, {form}"
        beside = [(one.wall_s - one.runs_s, one.wall_s) for _, one in found]
        made += [
            line(
                f"{what}, {seeds} runs, two workers",
                "s",
                [(two.wall_s, one.wall_s) for two, one in found],
                "one worker",
            ),
            line(f"{what}, what is not in its runs", "s", beside, "all of it, one worker"),
        ]
    return made


def main() -> None:
    """Print both and the speed-up."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    for form in forms():
        two, one = measure(seeds, form)
        print(f"{seeds} runs of {DEVICES[form]:,} devices, {form}")
        for name, cost in (("one worker ", one), ("two workers", two)):
            each_s = cost.runs_s / seeds
            print(f"  {name} {cost.wall_s:6.1f} s, {cost.cpu_s:6.1f} s of CPU, {each_s:.2f} s a run", flush=True)
        beside_s = one.wall_s - one.runs_s
        print(f"  not in the runs {beside_s:.2f} s, {beside_s / one.wall_s:.0%} of one worker's time")
        print(f"  speed-up {one.wall_s / two.wall_s:.2f}")


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
