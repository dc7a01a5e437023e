"""What compiling the hot modules brings: the same run from machine code and from sources, in turns; digests compared.

Run with ``python -m benchmarks.compiled_vs_source [EXPERIMENT] [DEVICES]``, after compiling them with
``python -m zentalk_sim.model.compiled``. With ``all`` for the experiment, each runs once either way
in both fidelities, and only digests are compared. A world that a run leaves behind is a failure either way: a process
that runs many would grow.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zentalk_sim.model import compiled

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
ROUNDS = 3
CHILD = "--child"
FIDELITIES = ("frames", "wire")
AGREE = "one digest"


def child(name: str, devices: int, fidelity: str) -> None:
    """One run in this process, its figures as JSON."""
    active = compiled.activate()
    from zentalk_sim.experiment.loader import load
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.model.world import World
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    changes = [f"population.devices={devices}", f"fidelity={fidelity}"]
    experiment = load(EXPERIMENTS / f"{name}.yaml", changes, set_aside=[])
    began = time.process_time()
    results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
    spent = time.process_time() - began
    gc.collect()
    left = sum(type(one) is World for one in gc.get_objects())
    found = {"active": active, "cpu_s": spent, "digest": results.digest, "entries": results.events, "left": left}
    print(json.dumps(found))


def run(name: str, devices: int, switch: str, fidelity: str = "frames") -> Any:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.compiled_vs_source", name, str(devices), CHILD, fidelity]
    environment = {**os.environ, compiled.SWITCH: switch}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def compare_all(devices: int) -> None:
    """Each experiment, both fidelities, both forms; ends with 1 where digests differ or a world is left behind."""
    failed = False
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        for fidelity in FIDELITIES:
            fast, slow = (run(path.stem, devices, switch, fidelity) for switch in "10")
            _demand_compiled(fast)
            verdict = _verdict([fast, slow])
            print(f"{path.stem}, {fidelity}: {verdict}", flush=True)
            failed |= verdict != AGREE
    if failed:
        raise SystemExit(1)


def _verdict(runs: list[Any]) -> str:
    """What runs of one experiment have in common."""
    verdict = AGREE if len({found["digest"] for found in runs}) == 1 else "DIGESTS DIFFER"
    return f"{verdict}, A WORLD IS LEFT BEHIND" if any(found["left"] for found in runs) else verdict


def _demand_compiled(found: Any) -> None:
    if not found["active"]:
        raise SystemExit("nothing was compiled from these sources; run `python -m zentalk_sim.model.compiled` first")


def main() -> None:
    """Print the medians, their ratio, and whether the digests agree."""
    name = sys.argv[1] if len(sys.argv) > 1 else "reconnect_storm"
    devices = int(sys.argv[2]) if len(sys.argv) > 2 else 60 if name == "all" else 1_000
    if CHILD in sys.argv:
        child(name, devices, sys.argv[-1])
        return
    if name == "all":
        compare_all(devices)
        return
    pairs = [(run(name, devices, "1"), run(name, devices, "0")) for _ in range(ROUNDS)]
    _demand_compiled(pairs[0][0])
    fast, slow = (statistics.median(found["cpu_s"] for found in side) for side in zip(*pairs, strict=True))
    verdict = _verdict([found for pair in pairs for found in pair])
    print(
        f"{name}, {devices:,} devices: compiled {fast / devices * 1e6:,.0f} us a device, sources "
        f"{slow / devices * 1e6:,.0f} us a device, {slow / fast:.2f} times as fast; "
        f"{verdict}"
    )
    if verdict != AGREE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
