"""All benchmarks in one table, each line a ratio against a baseline of the same run: ``make bench``.

Ours and its baseline are measured in turns: start-up and the codec five times, a replayed frame three, storms and the
sweep twice, a simulated frame nine times, the kernel five, the relay three; only idle connections once, and their
line says so. The medians are compared; the range of the rounds' ratios stands beside them, since machines are noisy.
Take anything within that range as no difference.

Every run keeps a file of its own, ``runs/bench-<date>-<commit>.json``, and ``runs/bench.json`` is the newest.
``python -m benchmarks compare OLD [NEW]`` compares two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import compare, kernel_vs_simpy, parts, relay_lines, sweep_efficiency
from benchmarks.lines import HEAD, BenchmarkError, Line
from benchmarks.results import FOLDER, NEWEST, keep, provenance

PARTS: Final[tuple[Callable[[], list[Line]], ...]] = (
    parts.start_up,
    parts.codec_against_json,
    parts.replay,
    kernel_vs_simpy.lines,
    parts.storm,
    parts.frame,
    parts.compiled_simulator,
    sweep_efficiency.lines,
    relay_lines.lines,
)


def run(measured: tuple[Callable[[], list[Line]], ...] = PARTS, folder: Path = FOLDER) -> int:
    """Measure, print, keep; how many parts failed. What a failing part would have given is told and left out."""
    machine = provenance(datetime.now(UTC))
    lines: list[Line] = []
    failed: list[str] = []
    print(HEAD)
    for part in measured:
        try:
            found = part()
        except BenchmarkError as error:
            failed.append(str(error))
            print(f"failed: {error}", file=sys.stderr, flush=True)
            continue
        for made in found:
            lines.append(made)
            print(made.row(), flush=True)
    kept = {"machine": machine, "lines": [made.record() for made in lines], "failed": failed}
    path = keep(NEWEST.stem, kept, folder)
    print(f"\nkept in {path}, and as {folder / NEWEST.name}")
    return len(failed)


def main(arguments: list[str]) -> int:
    """The exit status."""
    if not arguments:
        return 1 if run() else 0
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments[0] != "compare":
        print("usage: python -m benchmarks [compare OLD [NEW]]", file=sys.stderr)
        return 2
    try:
        compare.main(arguments[1:])
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
