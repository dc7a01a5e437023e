"""How a storm's costs grow with its devices: ``python -m benchmarks.storm_growth [DEVICES …]``.

``million.yaml`` at each size (1,000 to 100,000 unless said otherwise; a million takes half an hour) in a process of its
own, with its toys (``benchmarks.storm_toys``) in theirs. Prints the table as Markdown and keeps
``runs/bench_storm_growth.json``, and each run in a file of its own. Compiled modules are used where there are any.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Final

from benchmarks.lines import BenchmarkError, Line
from benchmarks.parts import TOYS
from benchmarks.results import keep, provenance
from benchmarks.storm_vs_toy import Costs

SIZES: Final = (1_000, 10_000, 100_000)
STEM: Final = "bench_storm_growth"
_ONE: Final = """
import json
from zentalk_sim.model import compiled
compiled.activate()
from benchmarks import storm_vs_toy
print(json.dumps(storm_vs_toy.measure({devices}, "million")))
"""
HEAD: Final = (
    "| devices | CPU seconds | µs a device | entries | µs an entry | peak MiB |"
    " bare toy, µs a device | with time-outs | as many entries |\n|" + "---|" * 9
)


def measured(devices: int) -> Costs:
    """A storm of one size and its toys. Raises BenchmarkError."""
    done = subprocess.run(
        [sys.executable, "-c", _ONE.format(devices=devices)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"a storm of {devices} devices: {done.stderr.strip() or done.returncode}")
    return Costs(*json.loads(done.stdout))


def row(devices: int, found: Costs) -> str:
    """A line of the table; behind a toy's cost stands what the storm costs of it."""
    entries = found.entries * devices
    toys = (found.bare_s, found.time_outs_s, found.full_s)
    cells = [
        f"{devices:,}",
        f"{found.storm_s:.1f}",
        f"{found.storm_s / devices * 1e6:.0f}",
        f"{entries:,.0f}",
        f"{found.storm_s / entries * 1e6:.1f}",
        f"{found.peak_mib:,.0f}",
        *(f"{toy_s / devices * 1e6:.0f} ({found.storm_s / toy_s:.2f}×)" for toy_s in toys),
    ]
    return f"| {' | '.join(cells)} |"


def lines(devices: int, found: Costs) -> list[Line]:
    """As ``benchmarks compare`` reads them."""
    toys = (found.bare_s, found.time_outs_s, found.full_s)
    ours = (found.storm_s / devices * 1e6,)
    return [
        Line(f"million, {devices:,} devices", "us a device", against, ours, (toy_s / devices * 1e6,))
        for toy_s, against in zip(toys, TOYS, strict=True)
    ]


def main(arguments: list[str]) -> None:
    """Measure, print and keep. Raises BenchmarkError."""
    try:
        sizes = tuple(int(text) for text in arguments) or SIZES
    except ValueError as error:
        raise BenchmarkError(f"sizes are whole numbers of devices: {error}") from None
    machine = provenance(datetime.now(UTC))
    print(HEAD)
    kept: list[Line] = []
    for devices in sizes:
        found = measured(devices)
        print(row(devices, found), flush=True)
        kept += lines(devices, found)
    path = keep(STEM, {"machine": machine, "lines": [one.record() for one in kept]})
    print(f"kept in {path}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
