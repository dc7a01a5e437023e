"""Many seeds, one after another: trials, failures shrunk and kept, situations counted over all of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.fuzz import capsule as capsules
from zentalk_sim.fuzz.plan import draw
from zentalk_sim.fuzz.shrink import BUDGET, Shrinker
from zentalk_sim.fuzz.situations import NAMES
from zentalk_sim.fuzz.trial import Failure, run

_COLLECT_EVERY: Final = 8
"""Trials between two runs of the cyclic collector, which a world with its devices needs to be freed."""


class Found(Struct, frozen=True):
    """A failure, and where its capsule is kept."""

    seed: int
    failure: Failure
    path: str
    trials: int


class Tally(Struct):
    """What a swarm has done so far."""

    seeds: int = 0
    frames: int = 0
    simulated_us: int = 0
    wall_s: float = 0.0
    found: list[Found] = []
    situations: dict[str, int] = {}
    interrupted: bool = False

    @property
    def seeds_per_hour(self) -> int:
        """At the speed so far."""
        return round(self.seeds * 3600 / self.wall_s) if self.wall_s else 0

    def unreached(self) -> list[str]:
        """Situations that no trial came upon."""
        return [name for name in NAMES if not self.situations.get(name)]

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "seeds": self.seeds,
            "frames": self.frames,
            "simulated_s": self.simulated_us / 1e6,
            "seeds_per_hour": self.seeds_per_hour,
            "interrupted": self.interrupted,
            "failures": [
                {
                    "seed": found.seed,
                    "check": found.failure.id,
                    "message": found.failure.message,
                    "capsule": found.path,
                    "shrunk_in_trials": found.trials,
                }
                for found in self.found
            ],
            "situations": {name: self.situations.get(name, 0) for name in NAMES},
            "never_reached": self.unreached(),
        }


def fuzz(
    seeds: Iterator[int],
    folder: Path,
    *,
    clock: Callable[[], float],
    for_s: float | None = None,
    budget: int = BUDGET,
    told: Callable[[Tally, int], None] | None = None,
) -> Tally:
    """Run seeds until they, or the time, are at an end, or the user interrupts; what was found until then is kept.

    ``clock`` gives seconds; ``told`` is called after each seed with the tally and the seed. Raises OSError where a
    capsule cannot be written.
    """
    tally = Tally()
    began_s = clock()
    gc.collect()
    gc.freeze()
    try:
        for seed in seeds:
            if for_s is not None and clock() - began_s >= for_s:
                break
            _one(seed, folder, tally, budget)
            tally.wall_s = clock() - began_s
            if told is not None:
                told(tally, seed)
    except KeyboardInterrupt:
        tally.interrupted = True
    finally:
        gc.unfreeze()
    tally.wall_s = clock() - began_s
    return tally


def _one(seed: int, folder: Path, tally: Tally, budget: int) -> None:
    plan = draw(seed)
    outcome = run(plan)
    tally.seeds += 1
    tally.frames += outcome.frames
    tally.simulated_us += outcome.simulated_us
    for name, count in outcome.situations.items():
        tally.situations[name] = tally.situations.get(name, 0) + count
    if tally.seeds % _COLLECT_EVERY == 0:
        gc.collect()
    if outcome.failure is None:
        return
    shrinker = Shrinker(plan, outcome, budget=budget)
    interrupted = False
    try:
        shrinker.shrink()
    except KeyboardInterrupt:
        interrupted = True
    # Once more, now with the lines that show it; a crash has none.
    final = run(shrinker.plan, keep_lines=True)
    if final.failure is None:
        final = shrinker.outcome
    assert final.failure is not None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{final.failure.id.replace('.', '-')}-{seed}.json"
    capsules.write(capsules.make(seed, shrinker.plan, final, shrinker.trials, path), path)
    tally.found.append(Found(seed, final.failure, str(path), shrinker.trials))
    gc.collect()
    if interrupted:
        raise KeyboardInterrupt
