"""The summary of a run, and the table `zsim run` prints of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from zentalk_sim.experiment.metrics import BY_NAME, CENSORED
from zentalk_sim.files.units import MICROSECONDS
from zentalk_sim.report.metrics import metric_order, statistics, title_of, unit_of
from zentalk_sim.report.notes import notes

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

_LONG_MS = 10_000_000
WIDTH = 100
"""The most columns a line of the printed table takes."""

COUNTS_SHOWN: tuple[tuple[str, str], ...] = (
    ("messages.sent", "messages sent"),
    ("messages.acked", "acknowledged"),
    ("messages.rejected", "rejected"),
    ("messages.failed", "failed"),
    ("messages.failed_but_stored", "failed, yet stored"),
    ("messages.unacked", "unacknowledged at the end"),
    ("copies.stored", "copies stored"),
    ("copies.confirmed", "confirmed"),
    ("copies.pending", "pending at the end"),
    ("messages.shown", "shown"),
    ("messages.delivered", "delivered"),
    ("messages.read", "read"),
    ("messages.duplicate", "duplicates suppressed"),
    ("connections.attempted", "connections attempted"),
    ("connections.authenticated", "authenticated"),
    ("clients.gave_up", "devices that gave up"),
)
"""The counts a reader wants first, in the order shown; counts of faults (``FAULT_PREFIXES``) follow where not zero."""

FAULT_PREFIXES = (
    "messages.rejected.",
    "copies.dropped.",
    "rate_limited.",
    "connections.closed.",
    "connections.refused.",
    "connections.lost.",
    "errors.",
    "faults.fired.",
)


def summarise(results: Results) -> dict[str, Any]:
    """``summary.json`` as a mapping: figures of simulated time only, the same for the same experiment and seed."""
    summary = {
        "name": results.name,
        "seed": results.seed,
        "simulated_s": results.simulated_us / 1_000_000,
        "digest": results.digest,
        "counts": dict(results.counts),
        "metrics": {
            name: statistics(histogram, results.unit(name), results.censored.get(name))
            for name, histogram in results.metrics.items()
        },
        "thresholds": [{"id": t.id, "held": t.held, "value": t.value} for t in results.thresholds],
        "checks": [{"id": c.id, "held": c.held, "value": c.value} for c in results.checks],
    }
    told = notes(results)
    return {**summary, "notes": told} if told else summary


def results_table(summary: Mapping[str, Any]) -> str:
    """The table `zsim run` prints: counts, metrics with their quantiles, thresholds and checks. At most 100 columns."""
    head = f"{summary['name']} · seed {summary['seed']} · {figure(summary['simulated_s'])} s simulated"
    lines = [_cut(f"{head} · digest {summary['digest'][:12]}"), ""]
    lines += _counts_lines(summary["counts"])
    lines += _metric_lines(summary["metrics"])
    lines += _verdict_lines(summary["thresholds"], summary["checks"])
    for note in summary.get("notes", ()):
        lines += wrap(f"Note: {note}", WIDTH, subsequent_indent="  ")
    return "\n".join(lines).rstrip() + "\n"


def shown_counts(counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(name, plain words, count) of the counts of interest: the first ones always if known, faults if not zero."""
    rows = [(name, words, counts[name]) for name, words in COUNTS_SHOWN if name in counts]
    for prefix in FAULT_PREFIXES:
        rows += [(n, _fault_words(n), counts[n]) for n in sorted(counts) if n.startswith(prefix) and counts[n]]
    return rows


def _fault_words(name: str) -> str:
    for prefix, words in (
        ("messages.rejected.", "messages rejected, "),
        ("copies.dropped.", "copies dropped, "),
        ("rate_limited.", "rate-limited, "),
        ("connections.closed.", "connections closed, code "),
        ("connections.refused.", "connections refused, "),
        ("connections.lost.", "connections lost, "),
        ("errors.", "errors, "),
        ("faults.fired.", "fault rules fired, "),
    ):
        if name.startswith(prefix):
            return words + name.removeprefix(prefix).replace("_", " ")
    return name


def _counts_lines(counts: Mapping[str, int]) -> list[str]:
    """Two columns of counts, read downwards."""
    rows = shown_counts(counts)
    if not rows:
        return []
    half = -(-len(rows) // 2)
    cells = [f"{_cut(words, 30):<30} {count:>15,}" for _, words, count in rows]
    pairs = [f"  {left}   {right}".rstrip() for left, right in zip(cells, [*cells[half:], ""], strict=False)]
    return ["Counts", *pairs[:half], ""]


def _metric_lines(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return []
    quantiles = ("p50", "p90", "p99", "max")
    width = max([len("Metric"), *(len(_metric_words(name)) for name in metrics)])
    width = min(width, WIDTH - 60)
    lines = [f"{'Metric':<{width + 2}} {'unit':<5} {'count':>11}" + "".join(f"{q:>10}" for q in quantiles)]
    for name in metric_order(metrics):
        entry, unit = metrics[name], unit_of(name).name
        values = [entry[q] for q in quantiles]
        if unit == "ms" and (entry["max"] or 0) >= _LONG_MS:
            # Weeks in a mailbox do not fit a column of milliseconds.
            unit, values = "s", [None if value is None else float(value / 1000) for value in values]
        cells = "".join(f"{figure(value):>10}" for value in values)
        row = f"  {_cut(_metric_words(name), width):<{width}} {unit:<5} {entry['count']:>11,}{cells}"
        lines.append(row)
        if entry.get("censored"):
            lines.append(f"    and {entry['censored']:,} not yet done at the end of the run")
    return [*lines, ""]


def _metric_words(name: str) -> str:
    title, split = title_of(name), name.partition(".")[2]
    return f"  by {split}" if split and title != name else title


def _verdict_lines(thresholds: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for title, entries in (("Thresholds", thresholds), ("Checks", checks)):
        if not entries:
            continue
        lines.append(title)
        for entry in entries:
            found = "" if entry["value"] is None else f"  (found {found_words(entry['id'], entry['value'])})"
            if not found and title == "Thresholds":
                found = f"  ({nothing_words(entry['id'])})"
            lines.append(_cut(f"  {'held  ' if entry['held'] else 'BROKEN'}  {entry['id']}{found}"))
        lines.append("")
    return lines


def nothing_words(threshold: str) -> str:
    """Why nothing was found for a threshold: a number that was not counted, or a metric without values."""
    parts = _BOUND.fullmatch(threshold)
    metric = BY_NAME.get(parts[1]) if parts else None
    is_number = parts is not None and (
        parts[2] in ("count", CENSORED) or (metric is not None and metric.kind == "count")
    )
    return "not known" if is_number else "nothing to measure"


_BOUND = re.compile(r"([^\s:]+):\s*([a-z0-9]*)\s*[<>=!≤≥≠]+\s*(.*)", re.DOTALL)
_ONE_PART = re.compile(r"[0-9.e]+\s*([A-Za-zµμ]+)")


def found_words(threshold: str, value: Any) -> str:
    """What was found, in the unit of the threshold's bound: 0.3635 s against ``p99 < 2s``, whatever the metric's.

    ``threshold`` is the id, ``METRIC: STATISTIC < BOUND``. A bound of several parts (1m30s), or of 0, has the
    metric's unit; how many there are has none.
    """
    parts = _BOUND.fullmatch(threshold)
    metric = BY_NAME.get(parts[1]) if parts else None
    if parts is None or metric is None or metric.unit == "1" or parts[2] in ("count", CENSORED):
        return figure(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return figure(value)
    single = _ONE_PART.fullmatch(parts[3])
    unit = single[1].replace("μ", "µ") if single else metric.unit
    unit = unit if unit in MICROSECONDS else metric.unit
    of_bound = value * MICROSECONDS[metric.unit] / MICROSECONDS[unit]
    return f"{figure(of_bound)} {'min' if unit == 'm' else unit}"


def figure(value: Any) -> str:
    """A number to four significant figures with its thousands marked; – for None."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


_LONG_S = 1000.0
_SECONDS = {"ms": 0.001, "s": 1.0}


def time_words(value: Any, unit: str) -> str:
    """A figure with its unit; a time beyond 1,000 s as a reader pictures it: 26.3 d, not 2,276,332,667 ms."""
    seconds = (value or 0) * _SECONDS.get(unit, 0.0)
    if seconds > _LONG_S:
        for name, length in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
            if seconds >= 2 * length:
                return f"{seconds / length:.3g} {name}"
    return f"{figure(value)} {unit}"


def _cut(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
