"""The table `zsim compare` prints, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import msgspec

from zentalk_sim.experiment.differences import value_words
from zentalk_sim.report.metrics import title_of
from zentalk_sim.report.summary import WIDTH, figure, shown_counts
from zentalk_sim.report.sweep_results import combination_text
from zentalk_sim.report.sweep_statistics import ENOUGH, FALSE_DISCOVERY
from zentalk_sim.report.sweep_table import cut, text

if TYPE_CHECKING:
    from zentalk_sim.experiment.compare import Comparison, Pair
    from zentalk_sim.experiment.compare_sets import Group, Unmatched

_MAX_NAME = 34
_MAX_DIFFERENCES = 8
_MARKS = {"not distinguishable": "~", "higher": "▲ higher", "lower": "▼ lower"}


def comparison_table(pairs: Sequence[Pair], unmatched: Sequence[Unmatched] = ()) -> str:
    """Each pair's medians [95 % intervals], ratio and verdict, a line per measure, its columns as wide as they must.

    Below several pairs stands a line for each, and what of sweeps was compared with nothing.
    """
    parts = [_pair(pair) for pair in pairs]
    if len(pairs) > 1:
        parts.append(_summary(pairs))
    for found in unmatched:
        where = f"{found.baseline} and {found.other}: " if len(unmatched) > 1 else ""
        parts.append("\n".join(wrap(f"{where}{_only(found)}", WIDTH, subsequent_indent="  ")))
    return "\n\n".join(parts) + "\n"


def comparison_json(pairs: Sequence[Pair], unmatched: Sequence[Unmatched] = ()) -> dict[str, Any]:
    """The same for programs."""

    def side(group: Group) -> dict[str, Any]:
        return {"label": group.label, "parameters": group.parameters, "seeds": group.seeds}

    return {
        "false_discovery": FALSE_DISCOVERY,
        "pairs": [
            {
                "baseline": side(pair.baseline),
                "other": side(pair.other),
                "enough_seeds": pair.can_differ,
                "seeds_needed": pair.seeds_needed,
                "differences": msgspec.to_builtins(pair.differences),
                "test": pair.test,
                "pairs_needed": pair.pairs_needed,
                "same_runs": pair.shared,
                "same_results": pair.alike,
                "comparisons": msgspec.to_builtins(pair.comparisons),
            }
            for pair in pairs
        ],
        "unmatched": msgspec.to_builtins(list(unmatched)),
    }


def _only(found: Unmatched) -> str:
    """What of two sweeps has no counterpart: ``only in A: nodes=2; only in B: nodes=4``."""
    sides = []
    for side, parameters in (("A", found.only_baseline), ("B", found.only_other)):
        texts = [combination_text(combination) for combination in parameters[:_MAX_DIFFERENCES]]
        if len(parameters) > _MAX_DIFFERENCES:
            texts.append(f"and {len(parameters) - _MAX_DIFFERENCES} more (--json has all)")
        sides += [f"only in {side}: {' · '.join(texts)}"] if texts else []
    return "; ".join(sides)


def _summary(pairs: Sequence[Pair]) -> str:
    """A line per pair: how many measures differ, and which."""
    is_one = len({pair.other.label for pair in pairs}) == 1
    groups = [pair.baseline if is_one else pair.other for pair in pairs]
    side = "A" if is_one else "B"
    in_one = len({group.source for group in groups}) == 1
    names = [combination_text(group.parameters) if in_one and group.parameters else group.label for group in groups]
    width = min(max(map(len, names)), WIDTH // 2)
    lines = [f"In short, {len(pairs)} comparisons; {side} is"]
    for name, pair in zip(names, pairs, strict=True):
        line = f"{cut(name, width):<{width}}  {_short(pair)}"
        lines += wrap(line, WIDTH, initial_indent="  ", subsequent_indent=" " * (width + 4))
    return "\n".join(lines)


def _short(pair: Pair) -> str:
    if pair.is_one_set:
        return "the same runs"
    told: dict[str, list[str]] = {}
    different = [comparison for comparison in pair.comparisons if comparison.verdict != "not distinguishable"]
    for comparison in different:
        what = title_of(comparison.metric)
        name = _cells(comparison)[0] if comparison.statistic == "value" else f"{what} {_statistic(comparison)}"
        told.setdefault(comparison.verdict, []).append(name)
    # By what stands first in the table: latencies, then counts.
    words = "; ".join(f"{_MARKS[verdict]}: {', '.join(names)}" for verdict, names in told.items())
    if words:
        return f"{len(different)} of {len(pair.comparisons)} differ: {words}"
    return "not distinguishable" if pair.can_differ or not pair.asked else "too few seeds to tell"


def _pair(pair: Pair) -> str:
    lines = [cut(f"A  {_side(pair.baseline)}"), cut(f"B  {_side(pair.other)}"), *_differences(pair), ""]
    if pair.is_one_set:
        return "\n".join(
            [
                *lines,
                "The same digests: nothing differs. To compare, give runs of other seeds or of another experiment.",
            ]
        )
    rows = [_cells(comparison) for comparison in pair.comparisons]
    heads = ("", f"A median {_brackets(pair.baseline)}", f"B median {_brackets(pair.other)}", "B / A")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines.append(f"{_aligned(heads, widths)}  B is")
    metric = ""
    for comparison, cells in zip(pair.comparisons, rows, strict=True):
        if comparison.statistic != "value" and comparison.metric != metric:
            unit = next((c.unit for c in pair.comparisons if c.metric == comparison.metric and c.unit), "")
            lines.append(title_of(comparison.metric) + (f" ({unit})" if unit else ""))
        elif comparison.statistic == "value" and metric != "value":
            lines.append("Counts")
        metric = comparison.metric if comparison.statistic != "value" else "value"
        lines.append(f"{_aligned(cells, widths)}  {_MARKS[comparison.verdict]}")
    lines += ["", *_conclusion(pair)]
    return "\n".join(lines)


def _brackets(group: Group) -> str:
    """What a median's brackets hold, of that many seeds."""
    return "[95 %]" if len(group.seeds) >= ENOUGH else "[least, greatest]"


def _differences(pair: Pair) -> list[str]:
    """What differs in what was run, a line each, and whether some runs are the same."""
    found = pair.differences
    if found is None:
        lines = ["what was run is not known of both: a folder of another version of zentalk-sim"]
    elif not found:
        lines = ["the same experiment on both sides"]
    else:
        width = max(len(difference.path) for difference in found[:_MAX_DIFFERENCES])
        lines = [
            f"{d.path:<{width}}  A {value_words(d.baseline)}, B {value_words(d.other)}"
            for d in found[:_MAX_DIFFERENCES]
        ]
        if len(found) > _MAX_DIFFERENCES:
            lines.append(f"and {len(found) - _MAX_DIFFERENCES} more settings; --json has all")
    if pair.shared:
        counted = "" if pair.is_one_set else " and count in neither"
        lines.append(f"{_seeds(pair.shared)}: the same runs in A and B, which tell nothing{counted}")
    if pair.alike:
        lines.append(f"{_seeds(pair.alike)}: what differs changed nothing of what happened")
    return [cut(f"   {line}") for line in lines]


def _seeds(seeds: Sequence[int]) -> str:
    from zentalk_sim.experiment.sweep_grid import format_seeds

    return f"{'seeds' if len(seeds) > 1 else 'seed'} {format_seeds(sorted(seeds))}"


def _cells(comparison: Comparison) -> tuple[str, str, str, str]:
    """A row's name, both medians and the ratio."""
    name = _statistic(comparison)
    if comparison.statistic == "value":
        name = shown_counts({comparison.measure: 1})[0][1]
    return cut(name, _MAX_NAME), text(comparison.baseline), text(comparison.other), _ratio(comparison)


def _statistic(comparison: Comparison) -> str:
    return comparison.statistic.replace("censored", "not done")


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One row, each column as wide as its widest cell."""
    name, *figures = (
        f"{cell:<{width}}" if not at else f"{cell:>{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  " + "  ".join([name, *figures])


def _ratio(comparison: Comparison) -> str:
    if comparison.ratio is None:
        return "–"
    if comparison.ratio_low is None:
        return _three(comparison.ratio)
    return f"{_three(comparison.ratio)} [{_three(comparison.ratio_low)}, {_three(comparison.ratio_high)}]"


def _three(value: float | None) -> str:
    """A ratio to three figures, and as many as tell it from 1; from 1,000 on whole, as figures are."""
    if value is None or abs(value) >= 999.5:
        return figure(value)
    text = f"{value:.3g}"
    return f"{value:.6g}" if text == "1" else text


def _side(group: Group) -> str:
    count = len(group.seeds)
    return f"{group.label} · {f'{count} ' if count > 1 else ''}{_seeds(group.seeds)}"


def _conclusion(pair: Pair) -> list[str]:
    different = [c for c in pair.comparisons if c.verdict != "not distinguishable"]
    total = len(pair.comparisons)
    lines = []
    if different:
        lines.append(
            f"B differs from A in {len(different)} of {total} measures; the others (~) are not distinguishable."
        )
    elif not pair.asked:
        lines.append("Not distinguishable: every measure is the same at every seed.")
    elif pair.test == "signed-rank":
        lines.append("Not distinguishable: no measure differs the same way at so many seeds that chance cannot be why.")
    elif pair.can_differ:
        lines.append("Not distinguishable: no measure differs by more than the spread between seeds.")
    if not pair.can_differ and pair.asked:
        n, m, needed = len(pair.baseline.seeds), len(pair.other.seeds), pair.seeds_needed
        remedy = f"run {needed} or more each" if needed is not None else "these are too many measures for any number"
        start = "But with" if different else "Not distinguishable: with"
        lines.append(
            f"{start} {figure(n)} and {figure(m)} seeds a measure that alone differs cannot be told from chance"
        )
        lines.append(f"among {total}; {remedy}.")
    if pair.test == "signed-rank":
        lines.append(
            "Compared seed by seed, whose random streams are the same in A and B (signed-rank test; B / A by seed)."
        )
    elif pair.pairs_needed is not None and pair.asked:
        lines.append("Compared as two sets (rank-sum test).")
        more = f"With {pair.pairs_needed} or more of the same seeds"
        lines.append(f"{more} they are compared seed by seed, which is sharper.")
    return lines
