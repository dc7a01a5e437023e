"""The table `zsim sweep` prints: medians over the seeds with their intervals, a row per combination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zentalk_sim.report.metrics import title_of, unit_of
from zentalk_sim.report.summary import WIDTH, figure, shown_counts
from zentalk_sim.report.sweep_statistics import ENOUGH, coverage

if TYPE_CHECKING:
    from zentalk_sim.report.sweep_results import Sweep
    from zentalk_sim.report.sweep_statistics import Interval

ROWS = 20
"""Combinations shown; the table on disk has all."""
_CELL = 25


def sweep_table(sweep: Sweep) -> str:
    """Medians of p50 and p99 per metric and combination, then counts that say something, then thresholds."""
    combinations = sweep.meta.combinations
    lines = [cut(f"{sweep.name} · {sweep.size_text}"), *_fixed(sweep), "", _bracket_words(sweep.seeds)]
    labels = [sweep.label(combination) for combination in combinations[:ROWS]]
    width = max(28, min(max(map(len, labels)), WIDTH - 2 - 2 * _CELL - 13))
    for metric in sweep.metrics:
        if "." in metric or not sweep.is_any(f"{metric}.count"):
            continue
        unit = unit_of(metric).name
        title = title_of(metric) + (f" ({unit})" if unit else "")
        lost = sweep.is_any(f"{metric}.censored")
        last = "not done" if lost else ""
        lines.append(f"{cut(title, width + 2):<{width + 2}}{'p50':>{_CELL}}{'p99':>{_CELL}}{last:>13}".rstrip())
        for label, combination in zip(labels, combinations, strict=False):
            cells = "".join(f"{text(sweep.interval(f'{metric}.{s}', combination)):>{_CELL}}" for s in ("p50", "p99"))
            censored = figure(sweep.interval(f"{metric}.censored", combination).median) if lost else ""
            lines.append(f"  {cut(label, width):<{width}}{cells}{censored:>13}".rstrip())
        lines.append("")
    lines += _count_lines(sweep, labels, width)
    if len(combinations) > ROWS:
        lines += [f"… and {len(combinations) - ROWS} more combinations, in intervals.parquet", ""]
    lines += _bound_lines(sweep)
    return "\n".join(lines).rstrip() + "\n"


def _fixed(sweep: Sweep) -> list[str]:
    """What every cell has set beyond the file."""
    settings = [f"{path}={value}" for path, value in sweep.meta.settings.items()]
    return [cut(f"in all: {', '.join(settings)}")] if settings else []


def _bracket_words(seeds: int) -> str:
    """What stands in the brackets, and what it is worth where there are few seeds."""
    if seeds < 2:
        return "A single seed: one draw, and no interval"
    if seeds < ENOUGH:
        sure = f"{100 * coverage(seeds):.3g} %"
        return (
            f"Median over the seeds [least, greatest]: {sure} sure to hold the true median, not 95 %; "
            f"run {ENOUGH} or more"
        )
    return "Median over the seeds [95 % interval]"


def _count_lines(sweep: Sweep, labels: list[str], width: int) -> list[str]:
    """Counts of loss and refusal: those that are not zero everywhere."""
    counts = [(name, sweep.columns[name]) for name in sweep.measures]
    seen = {name: max(column.values) for name, column in counts if column.kind == "int"}
    told = ("messages.rejected", "messages.failed", "messages.unacked", "clients.gave_up")
    lines: list[str] = []
    for name, words, most in shown_counts(seen):
        if not most or not (name in told or name.startswith(("copies.dropped.", "rate_limited."))):
            continue
        lines.append(f"{cut(words[:1].upper() + words[1:], width + 2):<{width + 2}}{'count':>{_CELL}}")
        for label, combination in zip(labels, sweep.meta.combinations, strict=False):
            lines.append(f"  {cut(label, width):<{width}}{text(sweep.interval(name, combination)):>{_CELL}}")
        lines.append("")
    return lines


def _bound_lines(sweep: Sweep) -> list[str]:
    if not sweep.meta.bounds:
        return []
    broken = [bound for bound in sweep.meta.bounds if bound.held < bound.cells]
    if not broken:
        where = f"all {sweep.runs:,} cells" if sweep.runs > 1 else "the one cell"
        return [f"All thresholds and checks held in {where}"]
    lines = [f"Thresholds and checks not held{' in every cell' if sweep.runs > 1 else ''}"]
    for bound in broken[:ROWS]:
        where = sweep.label(sweep.meta.combinations[bound.combination])
        often = f" in {bound.cells - bound.held} of {bound.cells} seeds" if bound.cells > 1 else ""
        lines.append(cut(f"  BROKEN  {bound.id}{often} ({where})"))
    if len(broken) > ROWS:
        lines.append(f"  … and {len(broken) - ROWS} more")
    return lines


def text(interval: Interval) -> str:
    """``20.1 [19.8, 20.4]``; no interval with a single run."""
    if interval.low is None:
        return figure(interval.median)
    return f"{figure(interval.median)} [{figure(interval.low)}, {figure(interval.high)}]"


def cut(line: str, width: int = WIDTH) -> str:
    """``line`` in at most ``width`` columns."""
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"
