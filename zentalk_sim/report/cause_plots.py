"""What went wrong, by cause: messages and frames apart from connections, since their figures differ in kind.

A connection that ends does so for the device and for the relay, who may not agree on why: two groups, each complete.
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.report import style
from zentalk_sim.report.plot_data import Cause
from zentalk_sim.report.results import Results

_MOST = 12
_TITLES = {
    "messages": "Messages and frames: dropped, refused, failed",
    "connections": "Connections: refused, failed, in trouble",
    "closes": "Ends of connections, as devices saw them",
    "losses": "Ends of connections, as the relay saw them",
}
_COLOURS = {
    "messages": style.VERMILLION,
    "connections": style.ORANGE,
    "closes": style.SKY,
    "losses": style.BLUE,
}


def draw_causes(results: Results, causes: list[Cause]) -> tuple[str, Any]:
    """Bars with their figures, the most frequent first; a figure of its own, as high as it has bars."""
    from matplotlib.ticker import MaxNLocator

    families = [family for family in _TITLES if any(c.family == family for c in causes)]
    groups = [[c for c in causes if c.family == family][:_MOST] for family in families]
    rows = [len(group) for group in groups]
    size = (style.SINGLE[0], max(2.4, 0.9 + 0.85 * len(rows) + 0.32 * sum(rows)))
    figure = style.new_figure(size, results)
    grid = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[n + 0.8 for n in rows])
    for axes, family, group in zip(grid.flat, families, groups, strict=True):
        colour = _COLOURS[family]
        words = [style.plain(cause.label, 44) for cause in group]
        bars = axes.barh(range(len(group)), [c.count for c in group], color=colour, height=0.65)
        axes.bar_label(bars, labels=[f"{c.count:,}" for c in group], padding=4, fontsize=9)
        axes.set_yticks(range(len(group)), words)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlim(0, max(c.count for c in group) * 1.15)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_title(_TITLES[family])
        axes.set_xlabel("how often, in the whole run (count)")
    told = ("; ".join(f"{cause.label}: {cause.count:,}" for cause in group) for group in groups)
    return " ".join(f"{_TITLES[family]} – {text}." for family, text in zip(families, told, strict=True)), figure
