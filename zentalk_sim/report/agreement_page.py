"""The agreement of two runs as text, as data, and as a page with both distribution functions drawn."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any

from zentalk_sim.report.html_style import CSS
from zentalk_sim.report.summary import figure, shown_counts

if TYPE_CHECKING:
    from zentalk_sim.experiment.agreement import Agreement, Report

_HEADS = ("p10", "p25", "p50", "p75", "p90", "p99")
_WIDTH, _HEIGHT, _PAD = 560, 200, 34
_WORDS = {
    "same": "no difference that chance does not make",
    "close": "every quantile within the tolerance",
    "differs": "differs",
    "too few values": "too few values to tell",
}


def as_text(report: Report) -> str:
    """The table, at most 100 columns."""
    lines = [f"A  {', '.join(report.a)}", f"B  {', '.join(report.b)}", ""]
    for one in report.agreements:
        unit = one.figure.unit
        lines.append(f"{one.figure.title} ({unit})")
        lines.append(f"  {'':<8}{'count':>8}" + "".join(f"{head:>10}" for head in _HEADS))
        for name, sample in (("A", one.a), ("B", one.b)):
            lines.append(f"  {name:<8}{len(sample.values):>8,}" + "".join(f"{figure(v):>10}" for v in sample.quantiles))
        lines.append(f"  {'B / A':<16}" + "".join(f"{_ratio(value):>10}" for value in one.ratios))
        lines += [f"  {_said(one, report.tolerance)}", ""]
    shown = _counts(report)
    if shown:
        lines.append(f"{'Counts (means over the runs)':<42}{'A':>12}{'B':>12}")
        lines += [f"  {words:<40}{_count(a):>12}{_count(b):>12}" for words, a, b in shown]
        lines.append("")
    lines.append(
        f"Agreement: {'NOT reached' if report.differs else 'reached'}. A figure agrees where its KS distance is below "
        f"its\ncritical value at 99 %, or where every quantile is within {report.tolerance:.0%}."
    )
    return "\n".join(lines) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """The same for programs; the values themselves are left out."""
    return {
        "a": report.a,
        "b": report.b,
        "tolerance": report.tolerance,
        "agrees": not report.differs,
        "figures": [
            {
                "name": one.figure.name,
                "unit": one.figure.unit,
                "count": [len(one.a.values), len(one.b.values)],
                "quantiles": {
                    head: {"a": a, "b": b, "ratio": ratio}
                    for head, a, b, ratio in zip(_HEADS, one.a.quantiles, one.b.quantiles, one.ratios, strict=True)
                },
                "ks_distance": one.distance,
                "ks_critical_99": one.critical,
                "ks_distance_medians_together": one.aligned_distance,
                "median_shift": one.shift,
                "verdict": one.verdict,
            }
            for one in report.agreements
        ],
        "counts": {name: {"a": a, "b": b} for name, a, b in report.counts},
    }


def as_html(report: Report) -> str:
    """One self-contained page."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Agreement</title><style>{CSS}{_CSS}</style></head><body><main><header>",
        "<h1>Two runs side by side</h1>",
        f"<p><span class='a'>A</span> {escape(', '.join(report.a))}</p>",
        f"<p><span class='b'>B</span> {escape(', '.join(report.b))}</p>",
        f"<p class='verdict {'broken' if report.differs else 'held'}'>Agreement "
        f"{'not reached' if report.differs else 'reached'}</p></header>",
        "<p class='faint'>A figure agrees where the Kolmogorov–Smirnov distance of the two samples is below its "
        f"critical value at 99 %, or where every quantile from p10 to p99 is within {report.tolerance:.0%}. "
        "The critical value supposes independent values; those of one run are not quite.</p>",
    ]
    for one in report.agreements:
        parts += [f"<h2>{escape(one.figure.title)} ({one.figure.unit})</h2>", _table(one), _drawing(one)]
        css = "broken" if one.verdict == "differs" else "held" if one.distance is not None else "none"
        parts.append(f"<p class='{css}'>{escape(_said(one, report.tolerance))}</p>")
    rows = "".join(
        f"<tr><td>{escape(words)}</td><td class='n'>{_count(a)}</td><td class='n'>{_count(b)}</td></tr>"
        for words, a, b in _counts(report)
    )
    parts.append(
        "<h2>Counts</h2><div class='wide'><table><tr><th>means over the runs</th><th class='n'>A</th>"
        f"<th class='n'>B</th></tr>{rows}</table></div></main></body></html>\n"
    )
    return "".join(parts)


_CSS = """
.a { color: var(--accent); font-weight: 700; } .b { color: var(--broken); font-weight: 700; }
svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); fill: none; } svg .ca { stroke: var(--accent); fill: none; stroke-width: 2; }
svg .cb { stroke: var(--broken); fill: none; stroke-width: 2; stroke-dasharray: 5 3; }
"""


def _said(one: Agreement, tolerance: float) -> str:
    if one.distance is None or one.critical is None or one.shift is None:
        return _WORDS[one.verdict]
    sign = "+" if one.shift >= 0 else "−"
    return (
        f"KS distance {one.distance:.3f} (99 %: {one.critical:.3f}), medians together "
        f"{one.aligned_distance:.3f} ({sign}{abs(one.shift):.3g} {one.figure.unit}): {_WORDS[one.verdict]}"
    )


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _counts(report: Report) -> list[tuple[str, int | None, int | None]]:
    found = {name: (a, b) for name, a, b in report.counts}
    words = shown_counts({name: max(a or 0, b or 0) for name, (a, b) in found.items()})
    return [(text, *found[name]) for name, text, _ in words]


def _table(one: Agreement) -> str:
    heads = "".join(f"<th class='n'>{head}</th>" for head in ("count", *_HEADS))
    rows = ""
    for name, sample in (("A", one.a), ("B", one.b)):
        cells = "".join(f"<td class='n'>{figure(value)}</td>" for value in sample.quantiles)
        rows += f"<tr><td class='{name.lower()}'>{name}</td><td class='n'>{len(sample.values):,}</td>{cells}</tr>"
    ratios = "".join(f"<td class='n'>{_ratio(value)}</td>" for value in one.ratios)
    last = f"<tr><td>B / A</td><td></td>{ratios}</tr>"
    return f"<div class='wide'><table><tr><th></th>{heads}</tr>{rows}{last}</table></div>"


def _drawing(one: Agreement) -> str:
    """Both distribution functions over a logarithmic axis."""
    values = [value for value in (*one.a.values, *one.b.values) if value > 0]
    if not values:
        return ""
    low, high = log10(min(values)), log10(max(values))
    span = max(high - low, 1e-9)

    def x(value: float) -> float:
        return _PAD + (log10(max(value, 10**low)) - low) / span * (_WIDTH - 2 * _PAD)

    def y(share: float) -> float:
        return _HEIGHT - _PAD - share * (_HEIGHT - 2 * _PAD)

    def curve(ordered: Sequence[float], css: str) -> str:
        if not ordered:
            return ""
        step = max(1, len(ordered) // 400)
        points = " ".join(f"{x(ordered[i]):.1f},{y((i + 1) / len(ordered)):.1f}" for i in range(0, len(ordered), step))
        return f"<polyline class='{css}' points='{points} {x(ordered[-1]):.1f},{y(1):.1f}'/>"

    ticks = "".join(
        f"<text x='{x(10**e):.0f}' y='{_HEIGHT - 14}' text-anchor='middle'>{figure(10.0**e)}</text>"
        for e in range(int(low) - 1, int(high) + 2)
        if low <= e <= high
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='Distribution functions of A and B'>"
        f"<path class='axis' d='M{_PAD},{_PAD} V{_HEIGHT - _PAD} H{_WIDTH - _PAD}'/>"
        f"<text x='4' y='{y(1) + 4:.0f}'>1.0</text><text x='4' y='{y(0.5) + 4:.0f}'>0.5</text>{ticks}"
        f"<text x='{_WIDTH - _PAD}' y='{_HEIGHT - 14}' text-anchor='end'>{one.figure.unit}</text>"
        f"{curve(one.a.values, 'ca')}{curve(one.b.values, 'cb')}</svg>"
    )
