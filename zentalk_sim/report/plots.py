"""The pictures of a run. Each is drawn into axes it is given, alone and again in the overview."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from zentalk_sim.report import detail_plots, style
from zentalk_sim.report.detail_data import read_device_states, read_timelines
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.plot_data import Attempts, Cause, Series, causes, cdf, read_attempts, read_series, thin
from zentalk_sim.report.results import Results
from zentalk_sim.report.summary import figure as number

CONNECTED = "devices.connected"
HELD = "node.connections"
WAITING, ACCEPTS = "queue_depth", "accept_queue"
_LEGEND_PAD = 26
"""Points between axes and title where the legend stands between them."""


class Picture(Struct, frozen=True):
    """A picture drawn: its file name without suffix, what it shows, the same in words of figures, its SVG."""

    name: str
    title: str
    text: str
    svg: Path


class _Data(Struct):
    """What the pictures of one run draw from."""

    results: Results
    connected: Series
    held: Series
    """Connections open at the relay, whether their device is still there or not."""
    attempts: Attempts
    causes: list[Cause]


def draw_all(results: Results, folder: Path) -> list[Picture]:
    """Draw every picture of a run from its folder's tables into ``plots/``; the overview comes first."""
    data = _Data(
        results,
        read_series(results, folder, CONNECTED),
        read_series(results, folder, HELD),
        read_attempts(results, folder),
        causes(results.counts),
    )
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    singles: list[tuple[str, str, Callable[[Any, _Data], str]]] = [
        ("connected_devices", "Connected devices", draw_connected),
        ("connection_attempts", "Connection attempts", draw_attempts),
        ("reconnect_time", "Reconnect time", draw_reconnect),
        ("delivery_latency", "Delivery latency", draw_delivery),
    ]
    with style.house_style():
        overview = style.new_figure(style.OVERVIEW, results)
        grid = overview.subplots(2, 2)
        texts = [draw(axes, data) for axes, (_, _, draw) in zip(grid.flat, singles, strict=True)]
        pictures = [Picture("overview", "Overview", " ".join(texts), style.save(overview, plots, "overview"))]
        for name, title, draw in singles:
            figure = style.new_figure(style.SINGLE, results)
            text = draw(figure.subplots(), data)
            pictures.append(Picture(name, title, text, style.save(figure, plots, name)))
        pictures += _details(results, folder, plots)
        if data.causes:
            text, figure = draw_causes(data)
            pictures.append(Picture("causes", "Drops, errors and closes", text, style.save(figure, plots, "causes")))
    drawn = {picture.name for picture in pictures}
    for name in (*OPTIONAL, "causes"):
        if name not in drawn:
            # An earlier drawing of the same folder may have left one.
            for suffix in ("png", "svg"):
                (plots / f"{name}.{suffix}").unlink(missing_ok=True)
    return pictures


OPTIONAL = ("queue_depth", "message_timelines", "device_states")
"""Pictures drawn only where there is something to show."""


def _details(results: Results, folder: Path, plots: Path) -> list[Picture]:
    pictures = []
    waiting, accepts = read_series(results, folder, WAITING), read_series(results, folder, ACCEPTS)
    timelines, states = read_timelines(folder), read_device_states(results, folder)
    draws: list[tuple[str, str, bool, Callable[[Any], str]]] = [
        (
            "queue_depth",
            "Work waiting for a CPU",
            any(waiting.values.get("", ())),
            lambda axes: detail_plots.draw_queue(axes, results, waiting, accepts),
        ),
        (
            "message_timelines",
            "Single messages",
            bool(timelines),
            lambda axes: detail_plots.draw_timelines(axes, timelines),
        ),
        (
            "device_states",
            "States of one device",
            states is not None and states.attempts > 1,
            lambda axes: detail_plots.draw_states(axes, results, states) if states is not None else "",
        ),
    ]
    for name, title, is_worth, draw in draws:
        if is_worth:
            figure = style.new_figure(style.SINGLE, results)
            text = draw(figure.subplots())
            pictures.append(Picture(name, title, text, style.save(figure, plots, name)))
    return pictures


def draw_connected(axes: Any, data: _Data) -> str:
    """Devices with an authenticated connection over time: the whole, and each node where there are a few."""
    series = data.connected
    axes.set_title("Connected devices")
    if not series.at_s:
        style.no_data(axes, f"the time series has no sample of {CONNECTED}")
        return "No sample of connected devices."
    seconds = style.time_axis(axes, data.results)
    axes.set_ylabel("devices connected")
    nodes = [node for node in series.at_s if node]
    if 1 < len(nodes) <= len(style.LINES) - 1:
        for node, (colour, dash) in zip(nodes, style.LINES[1:], strict=False):
            x, y = thin(series.at_s[node], series.values[node])
            label = style.plain(f"node {node}" if node.isdigit() else node, 24)
            axes.step([t / seconds for t in x], y, where="post", color=colour, ls=dash, lw=1.2, label=label)
    x, y = thin(series.at_s[""], series.values[""])
    axes.step([t / seconds for t in x], y, where="post", color=style.BLUE, lw=2.0, label="devices, all")
    top, more = max(*y, 1.0), ""
    beyond = _excess(series, data.held)
    shows_held = beyond > 0.01 * top
    if shows_held:
        xh, yh = thin(data.held.at_s[""], data.held.values[""])
        label = "connections open at the relay"
        axes.step([t / seconds for t in xh], yh, where="post", color=style.INK, ls=":", lw=1.5, label=label)
        top = max(top, *yh)
        more = f" The relay held at most {beyond:,.0f} connections more than devices had."
    if 1 < len(nodes) <= len(style.LINES) - 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    elif shows_held:
        axes.legend(loc="lower right")
    axes.set_ylim(0, top * 1.06)
    style.whole_numbers(axes)
    style.shade_faults(axes, data.results, seconds)
    return f"Connected devices: at most {max(y):,.0f}, {y[-1]:,.0f} at the end.{more}"


def _excess(connected: Series, held: Series) -> float:
    """How many connections the relay held at most, at one sample, beyond those that devices had."""
    if not held.at_s:
        return 0.0
    by_time = dict(zip(connected.at_s[""], connected.values[""], strict=True))
    return max((v - by_time[t] for t, v in zip(held.at_s[""], held.values[""], strict=True) if t in by_time), default=0)


def draw_attempts(axes: Any, data: _Data) -> str:
    """Attempts to connect per second, by whether they came to be authenticated."""
    attempts = data.attempts
    axes.set_title("Connection attempts")
    total = sum(attempts.authenticated) + sum(attempts.others)
    if not total:
        style.no_data(axes, "nobody tried to connect")
        return "No attempt to connect."
    seconds = style.time_axis(axes, data.results)
    axes.set_ylabel("attempts per second")
    edges = [i * attempts.width_s / seconds for i in range(len(attempts.authenticated) + 1)]
    good = [n / attempts.width_s for n in attempts.authenticated]
    all_of_them = [g + n / attempts.width_s for g, n in zip(good, attempts.others, strict=True)]
    share = f"authenticated ({sum(attempts.authenticated):,})", f"not authenticated ({sum(attempts.others):,})"
    axes.stairs(good, edges, fill=True, color=style.SKY, label=share[0])
    axes.stairs(all_of_them, edges, baseline=good, fill=True, color=style.VERMILLION, label=share[1])
    axes.stairs(all_of_them, edges, color=style.INK, lw=0.6)
    axes.set_ylim(0, max(all_of_them) * 1.2)
    style.shade_faults(axes, data.results, seconds)
    axes.legend(loc="upper right", ncols=2)
    peak = max(all_of_them)
    when = all_of_them.index(peak) * attempts.width_s
    return f"Connection attempts: {total:,}, at most {number(float(peak))} a second, {when:,} s after the start."


def draw_reconnect(axes: Any, data: _Data) -> str:
    """The distribution of the time from losing a connection to having one again."""
    results = data.results
    axes.set_title("Reconnect time")
    histogram = results.metrics.get("reconnect_time_s", Histogram())
    why = "no connection was lost and replaced"
    return _draw_cdfs(
        axes,
        results,
        [("reconnect_time_s", "all", histogram)],
        log=None,
        label="from the loss of a connection to AUTH_SUCCESS",
        share="share of lost connections (%)",
        why=why,
    )


def draw_delivery(axes: Any, data: _Data) -> str:
    """The distribution of delivery latency, and of its parts by push and by fetch."""
    results = data.results
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
    return _draw_cdfs(
        axes,
        results,
        curves,
        log=True,
        label="send() to first shown",
        share="share of copies (%)",
        why="no message was shown",
    )


def _draw_cdfs(
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
    axes.set_xlabel(f"{label} ({unit.name}{', log scale' if log else ''})")
    axes.set_ylabel(share)
    if log:
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
    return f"{title}: {whole.count:,} values, {marks}, at most {number((whole.max or 0) / unit.scale)} {unit.name}."


def _mark_quantiles(axes: Any, histogram: Histogram, scale: int, unit: str, censored: int) -> str:
    """A dot and its figure at p50, p90 and p99 of what came to its end; returns the same in words."""
    low, high = axes.get_xlim()
    # Before the layout is done, axes are about a tenth narrower than they will be.
    inches = max(axes.get_position().width * axes.figure.get_figwidth() * 1.1, 1.0)
    words = []
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        value = (histogram.quantile(q) or 0) / scale
        height = 100.0 * q * histogram.count / (histogram.count + censored)
        text = f"{name} {number(value)} {unit}"
        words.append(text)
        at = min(max(value, low), high)
        place = axes.transAxes.inverted().transform(axes.transData.transform((at, height)))[0]
        # A distribution rises: what lies right of and below a point is free of it, and so is left and above.
        tight = place + (0.12 + 0.07 * len(text)) / inches > 1
        axes.plot([at], [height], "o", color=style.INK, ms=4.5, zorder=5)
        axes.annotate(
            text,
            xy=(at, height),
            xytext=(-6, 6) if tight else (8, -4 if name == "p50" else -11),
            textcoords="offset points",
            ha="right" if tight else "left",
            fontsize=8.5,
            zorder=6,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    return ", ".join(words)


def draw_causes(data: _Data) -> tuple[str, Any]:
    """Bars of what went wrong, messages apart from connections since their figures differ in kind."""
    families = [f for f in ("messages", "connections") if any(c.family == f for c in data.causes)]
    groups = [[c for c in data.causes if c.family == family][:12] for family in families]
    rows = [len(group) for group in groups]
    size = (style.SINGLE[0], max(2.4, 0.9 + 0.85 * len(rows) + 0.32 * sum(rows)))
    figure = style.new_figure(size, data.results)
    grid = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[n + 0.8 for n in rows])
    for axes, family, group in zip(grid.flat, families, groups, strict=True):
        colour = style.VERMILLION if family == "messages" else style.ORANGE
        words = [style.plain(cause.label, 40) for cause in group]
        bars = axes.barh(range(len(group)), [c.count for c in group], color=colour, height=0.65)
        axes.bar_label(bars, labels=[f"{c.count:,}" for c in group], padding=4, fontsize=9)
        axes.set_yticks(range(len(group)), words)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlim(0, max(c.count for c in group) * 1.15)
        axes.xaxis.set_major_locator(_whole_locator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_title("What happened to messages" if family == "messages" else "What happened to connections")
        axes.set_xlabel("how often (count)")
    return "; ".join(f"{cause.label}: {cause.count:,}" for group in groups for cause in group) + ".", figure


def _whole_locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, integer=True)
