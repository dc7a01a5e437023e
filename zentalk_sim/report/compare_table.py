"""The table `zsim compare` prints, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from zentalk_sim.report.metrics import title_of
from zentalk_sim.report.summary import figure, shown_counts
from zentalk_sim.report.sweep_statistics import ENOUGH, FALSE_DISCOVERY
from zentalk_sim.report.sweep_table import cut, text

if TYPE_CHECKING:
    from zentalk_sim.experiment.compare import Comparison, Group, Pair

_MAX_NAME = 34
_MAX_DIFFERENCES = 8
_MAX_VALUE = 30
_MARKS = {"not distinguishable": "~", "higher": "▲ higher", "lower": "▼ lower"}


def comparison_table(pairs: Sequence[Pair]) -> str:
    """Each pair's medians [95 % intervals], ratio and verdict, a line per measure, its columns as wide as they must."""
    parts = [_pair(pair) for pair in pairs]
    return "\n\n".join(parts) + "\n"


def comparison_json(pairs: Sequence[Pair]) -> dict[str, Any]:
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
                "same_runs": pair.shared,
                "comparisons": msgspec.to_builtins(pair.comparisons),
            }
            for pair in pairs
        ],
    }


def _pair(pair: Pair) -> str:
    lines = [cut(f"A  {_side(pair.baseline)}"), cut(f"B  {_side(pair.other)}"), *_differences(pair), ""]
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
        lines = [f"{d.path:<{width}}  A {_shown(d.baseline)}, B {_shown(d.other)}" for d in found[:_MAX_DIFFERENCES]]
        if len(found) > _MAX_DIFFERENCES:
            lines.append(f"and {len(found) - _MAX_DIFFERENCES} more settings; --json has all")
    if pair.shared:
        several = "seeds" if len(pair.shared) > 1 else "seed"
        from zentalk_sim.experiment.sweep_grid import format_seeds

        lines.append(f"{several} {format_seeds(sorted(pair.shared))}: the same runs in A and B, which tell nothing")
    return [cut(f"   {line}") for line in lines]


def _shown(value: Any) -> str:
    """A setting's value in a few words."""
    text = "–" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"


def _cells(comparison: Comparison) -> tuple[str, str, str, str]:
    """A row's name, both medians and the ratio."""
    name = comparison.statistic.replace("censored", "not done")
    if comparison.statistic == "value":
        name = shown_counts({comparison.measure: 1})[0][1]
    return cut(name, _MAX_NAME), text(comparison.baseline), text(comparison.other), _ratio(comparison)


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
    """A ratio to three figures; from 1,000 on whole, as figures are."""
    return figure(value) if value is None or abs(value) >= 999.5 else f"{value:.3g}"


def _side(group: Group) -> str:
    from zentalk_sim.experiment.sweep_grid import format_seeds

    count = len(group.seeds)
    return f"{group.label} · {'seed' if count == 1 else f'{count} seeds'} {format_seeds(sorted(group.seeds))}"


def _conclusion(pair: Pair) -> list[str]:
    different = [c for c in pair.comparisons if c.verdict != "not distinguishable"]
    total = len(pair.comparisons)
    lines = []
    if different:
        lines.append(
            f"B differs from A in {len(different)} of {total} measures; the others (~) are not distinguishable."
        )
    elif pair.can_differ:
        lines.append("Not distinguishable: no measure differs by more than the spread between seeds.")
    if not pair.can_differ:
        n, m, needed = len(pair.baseline.seeds), len(pair.other.seeds), pair.seeds_needed
        remedy = f"run {needed} or more each" if needed is not None else "these are too many measures for any number"
        start = "But with" if different else "Not distinguishable: with"
        lines.append(
            f"{start} {figure(n)} and {figure(m)} seeds a measure that alone differs cannot be told from chance"
        )
        lines.append(f"among {total}; {remedy}.")
    return lines
