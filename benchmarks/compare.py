"""``python -m benchmarks compare OLD [NEW]``: two runs of the benchmarks, line by line; NEW is the newest by default.

Compared are ratios to the baseline, not costs: a machine that is slower today has a slower baseline too. A line counts
as cheaper or dearer only where two things hold:

- the ranges of its ratios do not overlap: every round of the one run lies on the same side of every round of the other;
- the ratio of the ratios is at least ``SURE`` with ``MANY`` rounds on both sides (ranges of four rounds each are
  disjoint by chance once in 35 times), and at least ``UNSURE`` with fewer, whose ranges say little. Of a line measured
  once nobody knows the range, and its verdict says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.lines import Line
from benchmarks.results import NEWEST, read

MANY: Final = 4
SURE: Final = 1.1
UNSURE: Final = 1.3
_TOLD: Final = (
    "date",
    "commit",
    "changed_since_commit",
    "cpu",
    "cores",
    "system",
    "python",
    "libraries",
    "switch",
    "compiled",
)


class Verdict(NamedTuple):
    """Of one line in two runs."""

    ratio_of_ratios: float
    """New to old: above 1, it costs more than it did."""
    word: str
    """``cheaper``, ``dearer`` or ``no difference``; with ``(once)`` where one of the runs has no range."""


def judge(old: Line, new: Line) -> Verdict:
    """See the module's docstring."""
    change = new.ratio / old.ratio
    rounds = min(len(old.ours), len(new.ours))
    needed = SURE if rounds >= MANY else UNSURE
    (old_low, old_high), (new_low, new_high) = old.ratios, new.ratios
    word = "no difference"
    if new_low > old_high and change >= needed:
        word = "dearer"
    elif new_high < old_low and change <= 1 / needed:
        word = "cheaper"
    return Verdict(change, f"{word} (once)" if rounds == 1 else word)


def _flat(machine: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _TOLD:
        value = machine.get(key, "not kept")
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", part) for name, part in value.items())
        else:
            yield key, value


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What is not the same where the two were measured, a line each."""
    before, after = dict(_flat(old)), dict(_flat(new))
    missing = "not kept"
    return [
        f"{key}: {before.get(key, missing)} -> {after.get(key, missing)}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key, missing) != after.get(key, missing)
    ]


def table(old: list[Line], new: list[Line]) -> list[str]:
    """The rows: lines of both runs in the order of the new one, then what only one of them has."""
    before = {(found.name, found.against, found.unit): found for found in old}
    after = {(found.name, found.against, found.unit): found for found in new}
    rows = [f"{'what':<52}{'old':>7}  {'by round':<12}{'new':>7}  {'by round':<12}{'new/old':>8}  verdict"]
    for key in (key for key in after if key in before):
        verdict = judge(before[key], after[key])
        cells = "".join(f"{found.ratio:>7.2f}  {_range(found):<12}" for found in (before[key], after[key]))
        rows.append(f"{key[0]:<52}{cells}{verdict.ratio_of_ratios:>8.2f}  {verdict.word}; against {key[1]}")
    rows += [f"only in the old run: {key[0]}, against {key[1]}" for key in before if key not in after]
    rows += [f"only in the new run: {key[0]}, against {key[1]}" for key in after if key not in before]
    return rows


def _range(found: Line) -> str:
    low, high = found.ratios
    return "once" if len(found.ours) == 1 else f"{low:.2f}-{high:.2f}"


def main(arguments: list[str]) -> None:
    """Print what differs about the runs, and the table. Raises BenchmarkError."""
    parser = argparse.ArgumentParser("python -m benchmarks compare", description="Two runs of the benchmarks.")
    parser.add_argument("old", type=Path, help="a runs/bench-*.json")
    parser.add_argument("new", type=Path, nargs="?", default=NEWEST, help=f"another; {NEWEST} by default")
    chosen = parser.parse_args(arguments)
    (old_machine, old_lines), (new_machine, new_lines) = read(chosen.old), read(chosen.new)
    for text in differences(old_machine, new_machine):
        print(text)
    print()
    print("\n".join(table(old_lines, new_lines)))
