"""Distributions as rising curves: the time to be back, the time to be shown."""

from __future__ import annotations

from typing import Any

from zentalk_sim.report import style
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.plot_data import cdf
from zentalk_sim.report.results import Results
from zentalk_sim.report.summary import time_words

_LEGEND_PAD = 26
"""Points between axes and title where the legend stands between them."""
_LONG_S = 1000.0
"""From here on a logarithmic axis of times is labelled 1 min, 1 h, 1 d in the place of powers of ten."""
_SECONDS = {"ms": 0.001, "s": 1.0}


def draw_reconnect(axes: Any, results: Results) -> str:
    """The distribution of the time from losing a connection to having one again."""
    axes.set_title("Reconnect time")
    return _draw(
        axes,
        results,
        [("reconnect_time_s", "all", results.metrics.get("reconnect_time_s", Histogram()))],
        log=None,
        label="from the loss of a connection to AUTH_SUCCESS",
        share="share of lost connections (%)",
        why="no connection was lost and replaced",
    )


def draw_delivery(axes: Any, results: Results) -> str:
    """The distribution of delivery latency, and of its parts by push and by fetch."""
    axes.set_title("Delivery latency")
    name = "delivery_latency_ms"
    curves = [(name, "all copies", results.metrics.get(name, Histogram()))]
    splits = [
        (key, key.partition(".")[2], results.metrics[key])
        for key in (f"{name}.push", f"{name}.fetch")
        if key in results.metrics and results.metrics[key].count
    ]
    # A single part is the whole: its curve would hide under it.
    curves += splits if len(splits) > 1 else []
    return _draw(
        axes,
        results,
        curves,
        log=True,
        label="send() to first shown",
        share="share of copies (%)",
        why="no message was shown",
    )


def _draw(
    axes: Any,
    results: Results,
    curves: list[tuple[str, str, Histogram]],
    *,
    log: bool | None,
    label: str,
    share: str,
    why: str,
) -> str:
    """Distributions as rising steps; the first, of the whole, counts the censored too and has its quantiles marked.

    ``log`` None chooses by how far the values spread.
    """
    metric, _, whole = curves[0]
    unit, censored = results.unit(metric), results.censored.get(metric, 0)
    title = str(axes.get_title(loc="left"))
    if not whole.count:
        style.no_data(axes, why + (f"; {censored:,} were still waiting at the end" if censored else ""))
        return f"{title}: no value."
    x, _ = cdf(whole, unit.scale, censored)
    low, high = max(x[0], 1 / unit.scale), max(x[-1], 1 / unit.scale)
    if log is None:
        log = high / low > 200
    seconds = _SECONDS.get(unit.name, 0.0)
    is_long = log and high * seconds > _LONG_S
    axes.set_xlabel(f"{label} ({'' if is_long else unit.name + ', '}log scale)" if log else f"{label} ({unit.name})")
    axes.set_ylabel(share)
    if is_long:
        style.log_time(axes, low, high, seconds)
    elif log:
        style.log_x(axes, low, high)
    else:
        axes.set_xlim(0, high * 1.06)
    for position in reversed(range(len(curves))):
        _, words, histogram = curves[position]
        colour, dash = style.LINES[position]
        xs, ys = cdf(histogram, unit.scale, censored if position == 0 else 0)
        xs = [max(v, low) for v in xs] if log else xs
        axes.step([xs[0], *xs], [0.0, *ys], where="post", color=colour, ls=dash, label=f"{words} ({histogram.count:,})")
    axes.set_ylim(0, 110)
    axes.set_yticks(range(0, 101, 20))
    if len(curves) > 1:
        # Above the axes, where no curve can run under it.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, reverse=True, borderaxespad=0.2)
        axes.set_title(title, loc="left", pad=_LEGEND_PAD)
    if censored:
        note = f"{censored:,} not yet done at the end ({100 * censored / (censored + whole.count):.2g} %)"
        # The pad holds for all titles of the axes, whichever is set last.
        pad = _LEGEND_PAD if len(curves) > 1 else None
        axes.set_title(note, loc="right", fontsize=8, fontweight="normal", color=style.FAINT, pad=pad)
    marks = _mark_quantiles(axes, whole, unit.scale, unit.name, censored)
    return f"{title}: {whole.count:,} values, {marks}, at most {time_words((whole.max or 0) / unit.scale, unit.name)}."


def _mark_quantiles(axes: Any, histogram: Histogram, scale: int, unit: str, censored: int) -> str:
    """A dot and its figure at p50, p90 and p99 of what came to its end; returns the same in words."""
    low, high = axes.get_xlim()
    # Before the layout is done, axes are about a tenth narrower than they will be.
    inches = max(axes.get_position().width * axes.figure.get_figwidth() * 1.1, 1.0)
    tall_pt = max(axes.get_position().height * axes.figure.get_figheight() * 72.0, 1.0)
    words = []
    right_pt = left_pt = -1e9  # of the last label on that side of the curve: its height above the axis
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        value = (histogram.quantile(q) or 0) / scale
        height = 100.0 * q * histogram.count / (histogram.count + censored)
        text = f"{name} {time_words(value, unit)}"
        words.append(text)
        at = min(max(value, low), high)
        place = axes.transAxes.inverted().transform(axes.transData.transform((at, height)))[0]
        # A distribution rises: what lies right of and below a point is free of it, and so is left and above.
        is_left = place + (0.12 + 0.07 * len(text)) / inches > 1
        up_pt = 6.0 if is_left else -4.0 if name == "p50" else -11.0
        base_pt = height / 110.0 * tall_pt
        if not is_left and base_pt + up_pt < right_pt + 12:
            # The label before stands there: to the left of the point, above the curve, there is room.
            is_left, up_pt = place > (0.12 + 0.07 * len(text)) / inches, 6.0
        if is_left:
            up_pt = max(up_pt, left_pt + 12 - base_pt)
            left_pt = base_pt + up_pt
        else:
            up_pt = max(up_pt, right_pt + 12 - base_pt)
            right_pt = base_pt + up_pt
        axes.plot([at], [height], "o", color=style.INK, ms=4.5, zorder=5)
        axes.annotate(
            text,
            xy=(at, height),
            xytext=(-6 if is_left else 8, up_pt),
            textcoords="offset points",
            ha="right" if is_left else "left",
            fontsize=8.5,
            zorder=6,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    return ", ".join(words)
