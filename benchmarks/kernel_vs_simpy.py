"""The kernel against stock SimPy, with nothing on it: ``python -m benchmarks.kernel_vs_simpy [DEVICES] [--even]``.

A device's cycle is the smallest that a heartbeat makes: every 30 s a PING goes out and a deadline is set 10 s ahead;
40 ms later comes the PONG, which cancels the deadline. Measured is a cycle's CPU time in two styles:

- *callbacks*, as the simulator's devices, links and nodes are: entries of the calendar, against timeouts of SimPy's
  with a callback each. Neither takes a cancelled deadline out of its queue; it comes up and finds nothing to do.
- *processes*, the same generators on both: ``yield pong | deadline``, then ``yield timeout``.

Devices begin at random instants; with ``--even`` one after the other, as a first sketch would have it. Four worlds are
made once and go on in turns, ours and stock by turns, with the queue and the form (compiled or not) that ``zsim run``
would take here. Ours goes on with ``Kernel.run_until``, as the simulator does, stock with ``Environment.run``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, Final, NamedTuple, Protocol

import simpy

from benchmarks.lines import BenchmarkError, Line, line

PERIOD_US: Final = 30_000_000
DEADLINE_US: Final = 10_000_000
ROUND_TRIP_US: Final = 40_000
CYCLES: Final = 50_000
"""In one turn."""
ROUNDS: Final = 5
SIZES: Final = (20_000, 100_000)


class World(Protocol):
    """Devices that go through their cycles."""

    cycles: int
    missed: int

    def go_on(self, until_us: int) -> None:
        """Run every entry before this instant."""


class OurCallbacks:
    """Entries of the calendar."""

    def __init__(self, starts_us: list[int]) -> None:
        from zentalk_sim.model.kernel import Kernel

        self.cycles = self.missed = 0
        self._calendar = Kernel(0).calendar
        self._awaited = [False] * len(starts_us)
        for number, start_us in enumerate(starts_us):
            self._calendar.call_one(start_us, self._ping, number)

    def go_on(self, until_us: int) -> None:
        """See World."""
        self._calendar.run_until(until_us)

    def _ping(self, number: int) -> None:
        calendar = self._calendar
        self.cycles += 1
        self._awaited[number] = True
        calendar.call_one(calendar.now + ROUND_TRIP_US, self._pong, number)
        calendar.timer_one(calendar.now + DEADLINE_US, self._deadline, number)

    def _pong(self, number: int) -> None:
        self._awaited[number] = False
        self._calendar.call_one(self._calendar.now + PERIOD_US - ROUND_TRIP_US, self._ping, number)

    def _deadline(self, number: int) -> None:
        if self._awaited[number]:
            self.missed += 1


class StockCallbacks:
    """SimPy's timeouts with a callback each."""

    def __init__(self, starts_us: list[int]) -> None:
        self.cycles = self.missed = 0
        self._env = env = simpy.Environment(0)
        self._deadlines: list[simpy.Event | None] = [None] * len(starts_us)
        for number, start_us in enumerate(starts_us):
            env.timeout(start_us, number).callbacks.append(self._ping)

    def go_on(self, until_us: int) -> None:
        """See World."""
        self._env.run(until=until_us)

    def _ping(self, event: Any) -> None:
        env, number = self._env, event._value
        self.cycles += 1
        env.timeout(ROUND_TRIP_US, number).callbacks.append(self._pong)
        deadline = env.timeout(DEADLINE_US, number)
        deadline.callbacks.append(self._deadline)
        self._deadlines[number] = deadline

    def _pong(self, event: Any) -> None:
        number = event._value
        deadline = self._deadlines[number]
        assert deadline is not None
        deadline.callbacks.clear()
        self._deadlines[number] = None
        self._env.timeout(PERIOD_US - ROUND_TRIP_US, number).callbacks.append(self._ping)

    def _deadline(self, event: Any) -> None:
        self.missed += 1


class Processes:
    """SimPy processes, the same on ours and on stock."""

    def __init__(self, starts_us: list[int], is_ours: bool) -> None:
        from zentalk_sim.model.kernel import Kernel

        self.cycles = self.missed = 0
        self._env: Any = Kernel(0) if is_ours else simpy.Environment(0)
        self._is_ours = is_ours
        for start_us in starts_us:
            self._env.process(self._device(start_us))

    def go_on(self, until_us: int) -> None:
        """See World."""
        if self._is_ours:
            self._env.run_until(until_us)
        else:
            self._env.run(until=until_us)

    def _device(self, start_us: int) -> Generator[Any, Any, None]:
        env = self._env
        yield env.timeout(start_us)
        while True:
            self.cycles += 1
            pong, deadline = env.timeout(ROUND_TRIP_US), env.timeout(DEADLINE_US)
            yield pong | deadline
            if not pong.processed:
                self.missed += 1
            yield env.timeout(PERIOD_US - ROUND_TRIP_US)


class Measured(NamedTuple):
    """Of one size: which queue it was, and microseconds of CPU time a cycle, (ours, stock) a round."""

    queue: str
    callbacks: list[tuple[float, float]]
    processes: list[tuple[float, float]]


def starts(devices: int, is_even: bool) -> list[int]:
    """When each device begins, in microseconds: at random within a period, or at even distances."""
    if is_even:
        return [number * PERIOD_US // devices for number in range(devices)]
    drawn = random.Random(devices)
    return [drawn.randrange(PERIOD_US) for _ in range(devices)]


def _turns(ours: World, stock: World, devices: int, rounds: int, cycles: int) -> list[tuple[float, float]]:
    turn_us = cycles * PERIOD_US // devices
    # After a period and a deadline as much falls due in any second as in any other.
    until_us = PERIOD_US + DEADLINE_US

    def spent(world: World) -> float:
        before, began = world.cycles, time.process_time()
        world.go_on(until_us)
        return (time.process_time() - began) / (world.cycles - before) * 1e6

    ours.go_on(until_us)
    stock.go_on(until_us)
    found = []
    for _ in range(rounds):
        until_us += turn_us
        found.append((spent(ours), spent(stock)))
    if (ours.cycles, ours.missed) != (stock.cycles, stock.missed) or ours.missed:
        raise BenchmarkError(f"the kernel and SimPy disagree: {ours.cycles} and {stock.cycles} cycles")
    return found


def measure(devices: int, is_even: bool = False, rounds: int = ROUNDS, cycles: int = CYCLES) -> Measured:
    """Both styles, in this process. Raises BenchmarkError where the two did not do the same."""
    from zentalk_sim.model.kernel import Kernel

    calendar = type(Kernel(0).calendar)
    queue = "queue in C" if calendar.__name__ == "NativeCalendar" else "queue in Python"
    # A compiled class has no code object that Python could see.
    if not hasattr(calendar.run_until, "__code__"):
        queue += ", compiled"
    begin = starts(devices, is_even)
    gc.collect()
    gc.disable()
    try:
        callbacks = _turns(OurCallbacks(begin), StockCallbacks(begin), devices, rounds, cycles)
        processes = _turns(Processes(begin, True), Processes(begin, False), devices, rounds, cycles)
    finally:
        gc.enable()
    return Measured(queue, callbacks, processes)


def rows(devices: int, found: Measured, is_even: bool = False) -> list[Line]:
    """The two lines of one size."""
    even = ", even starts" if is_even else ""
    return [
        line(f"kernel, {found.queue}, {devices:,} {style}{even}", "us a cycle", rounds, f"stock SimPy's {style}")
        for style, rounds in (("callbacks", found.callbacks), ("processes", found.processes))
    ]


def lines(sizes: tuple[int, ...] = SIZES) -> list[Line]:
    """The lines of ``make bench``, each size in a process of its own. Raises BenchmarkError."""
    made = []
    for devices in sizes:
        command = [sys.executable, "-m", "benchmarks.kernel_vs_simpy", str(devices), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        if done.returncode:
            raise BenchmarkError(f"kernel, {devices:,} devices: {done.stderr.strip() or done.returncode}")
        found = json.loads(done.stdout)
        pairs = ([(ours, stock) for ours, stock in found[style]] for style in ("callbacks", "processes"))
        made += rows(devices, Measured(found["queue"], *pairs))
    return made


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser("python -m benchmarks.kernel_vs_simpy", description=(__doc__ or "").split(":")[0])
    parser.add_argument("devices", type=int, nargs="?", default=SIZES[0])
    parser.add_argument("--even", action="store_true", help="devices begin at even distances")
    parser.add_argument("--json", action="store_true", help="every round's values as JSON")
    chosen = parser.parse_args()
    if chosen.devices < 1:
        parser.error("DEVICES must be at least 1")
    from zentalk_sim.model import compiled

    compiled.activate()
    found = measure(chosen.devices, chosen.even)
    if chosen.json:
        print(json.dumps(found._asdict()))
    else:
        print("\n".join(made.row() for made in rows(chosen.devices, found, chosen.even)))


if __name__ == "__main__":
    main()
