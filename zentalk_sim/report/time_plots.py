"""Pictures over simulated time: connected devices, attempts, work that waits, copies that wait, memory."""

from __future__ import annotations

from typing import Any

from zentalk_sim.report import style
from zentalk_sim.report.plot_data import Attempts, Series, thin
from zentalk_sim.report.results import Results
from zentalk_sim.report.summary import figure as number

_MIB = 1024.0 * 1024.0
_NONE = float("nan")
_UNITS = (("second", 1), ("minute", 60), ("hour", 3600))


def draw_connected(axes: Any, results: Results, connected: Series, held: Series) -> str:
    """Devices with an authenticated connection over time: the whole, and each node's share where there are a few."""
    axes.set_title("Connected devices")
    if not connected.at_s:
        style.no_data(axes, "the time series has no sample of devices.connected")
        return "No sample of connected devices."
    seconds = style.time_axis(axes, results)
    axes.set_ylabel("devices connected")
    # Where the samples do not part the devices by node, a node's open connections tell the same but for a moment.
    parted = connected if len(connected.at_s) > 1 else held
    nodes = _draw_nodes(axes, parted, seconds)
    x, y = thin(connected.at_s[""], connected.values[""])
    label = "all devices" if nodes else "devices"
    axes.step([t / seconds for t in x], y, where="post", color=style.BLUE, lw=2.0, label=label)
    top, more = max(*y, 1.0), ""
    beyond = _excess(connected, held)
    shows_held = beyond > 0.01 * top
    if shows_held:
        xh, yh = thin(held.at_s[""], held.values[""])
        label = "open at the relay"
        axes.step([t / seconds for t in xh], yh, where="post", color=style.INK, ls=":", lw=1.5, label=label)
        top = max(top, *yh)
        more = f" The relay held at most {beyond:,.0f} connections more than devices had."
    if nodes:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    elif shows_held:
        axes.legend(loc="lower right")
    axes.set_ylim(0, top * 1.06)
    style.whole_numbers(axes)
    style.shade_faults(axes, results, seconds)
    return f"Connected devices: at most {max(y):,.0f}, {y[-1]:,.0f} at the end.{more}"


def _draw_nodes(axes: Any, series: Series, seconds: float) -> int:
    """A thin line for every node, where there are few enough to tell apart; returns how many were drawn."""
    nodes = [node for node in series.at_s if node]
    if not 1 < len(nodes) <= len(style.LINES) - 1:
        return 0
    for node, (colour, dash) in zip(nodes, style.LINES[1:], strict=False):
        x, y = thin(series.at_s[node], series.values[node])
        label = style.plain(f"node {node}" if node.isdigit() else node, 24)
        axes.step([t / seconds for t in x], y, where="post", color=colour, ls=dash, lw=1.5, label=label)
    return len(nodes)


def _excess(connected: Series, held: Series) -> float:
    """How many connections the relay held at most, at one sample, beyond those that devices had."""
    if not held.at_s:
        return 0.0
    by_time = dict(zip(connected.at_s[""], connected.values[""], strict=True))
    return max((v - by_time[t] for t, v in zip(held.at_s[""], held.values[""], strict=True) if t in by_time), default=0)


def draw_attempts(axes: Any, results: Results, attempts: Attempts) -> str:
    """Attempts to connect over time, by whether they came to be authenticated; per second where the run is short."""
    axes.set_title("Connection attempts")
    total = sum(attempts.authenticated) + sum(attempts.others)
    if not total:
        style.no_data(axes, "nobody tried to connect")
        return "No attempt to connect."
    seconds = style.time_axis(axes, results)
    # A bin of half an hour speaks of an hour: thousandths of an attempt a second would tell nobody anything.
    unit, unit_s = next((u for u in _UNITS if attempts.width_s <= 15 * u[1]), _UNITS[-1])
    axes.set_ylabel(f"attempts per {unit}")
    edges = [i * attempts.width_s / seconds for i in range(len(attempts.authenticated) + 1)]
    rate = unit_s / attempts.width_s
    good = [n * rate for n in attempts.authenticated]
    all_of_them = [g + n * rate for g, n in zip(good, attempts.others, strict=True)]
    share = f"authenticated ({sum(attempts.authenticated):,})", f"not authenticated ({sum(attempts.others):,})"
    # The edge has the area's colour: a bin narrower than a dot of the picture still shows. Where there is nothing to
    # show there is no edge either.
    looks: dict[str, Any] = {"fill": True, "lw": 0.8}
    axes.stairs([g or _NONE for g in good], edges, fc=style.SKY, ec=style.SKY, label=share[0], **looks)
    failed = [a if a > g else _NONE for g, a in zip(good, all_of_them, strict=True)]
    colour = style.VERMILLION
    axes.stairs(failed, edges, baseline=good, fc=colour, ec=colour, label=share[1], **looks)
    peak = max(all_of_them)
    axes.set_ylim(0, peak * 1.2)
    style.plain_numbers(axes, peak)
    style.shade_faults(axes, results, seconds)
    axes.legend(loc="upper right", ncols=2)
    when = all_of_them.index(peak) * attempts.width_s
    return f"Connection attempts: {total:,}, at most {number(float(peak))} a {unit}, {when:,} s after the start."


def draw_queue(axes: Any, results: Results, waiting: Series, accepts: Series) -> str:
    """Work waiting for a CPU worker, all nodes together, and of it the connections that wait to be accepted."""
    axes.set_title("Work waiting for a CPU")
    seconds = style.time_axis(axes, results)
    axes.set_ylabel("pieces of work waiting, all nodes")
    x, y = thin(waiting.at_s[""], waiting.values[""])
    axes.step([t / seconds for t in x], y, where="post", color=style.BLUE, lw=1.6, label="frames and connections")
    if accepts.at_s:
        xa, ya = thin(accepts.at_s[""], accepts.values[""])
        label = "of them connections to accept"
        axes.step([t / seconds for t in xa], ya, where="post", color=style.ORANGE, ls="--", lw=1.4, label=label)
    axes.set_ylim(0, max(*y, 1) * 1.06)
    style.whole_numbers(axes)
    style.shade_faults(axes, results, seconds)
    axes.legend(loc="upper right")
    return f"Work waiting for a CPU, at the steps of the time series: at most {max(y):,.0f} pieces."


def draw_mailboxes(axes: Any, results: Results, pending: Series) -> str:
    """Copies in the mailboxes of all devices: stored and not yet confirmed, dropped or expired."""
    axes.set_title("Copies waiting in mailboxes")
    seconds = style.time_axis(axes, results)
    axes.set_ylabel("copies stored, all devices")
    x, y = thin(pending.at_s[""], pending.values[""])
    axes.step([t / seconds for t in x], y, where="post", color=style.BLUE, lw=1.6)
    axes.set_ylim(0, max(*y, 1) * 1.06)
    style.whole_numbers(axes)
    style.shade_faults(axes, results, seconds)
    return f"Copies waiting in mailboxes: at most {max(y):,.0f}, {y[-1]:,.0f} at the end."


def draw_memory(axes: Any, results: Results, used: Series, limit_bytes: int) -> str:
    """Memory of connections and their outboxes on each node, against the limit at which it refuses upgrades."""
    axes.set_title("Memory of connections")
    seconds = style.time_axis(axes, results)
    axes.set_ylabel("memory of a node (MiB)")
    nodes = [node for node in used.at_s if node] or [""]
    few = nodes if len(nodes) <= len(style.LINES) else []
    for node, (colour, dash) in zip(few, style.LINES, strict=False):
        x, y = thin(used.at_s[node], used.values[node])
        label = style.plain(f"node {node}" if node.isdigit() else node or "node", 24)
        axes.step(
            [t / seconds for t in x], [v / _MIB for v in y], where="post", color=colour, ls=dash, lw=1.5, label=label
        )
    top = max(max(used.values[node]) for node in nodes)
    if not few:
        x, y = _greatest(used, nodes)
        axes.step(
            [t / seconds for t in x],
            [v / _MIB for v in y],
            where="post",
            color=style.BLUE,
            lw=1.5,
            label=f"the fullest of {len(nodes)} nodes",
        )
    axes.axhline(limit_bytes / _MIB, color=style.VERMILLION, lw=1.2, ls=(0, (6, 2)), label="limit")
    axes.set_ylim(0, max(top, limit_bytes) / _MIB * 1.12)
    style.shade_faults(axes, results, seconds)
    axes.legend(loc="lower right", ncols=2)
    share = 100.0 * top / limit_bytes
    return f"Memory of connections: at most {top / _MIB:,.4g} MiB on a node, {share:.3g} % of its limit."


def _greatest(series: Series, nodes: list[str]) -> tuple[list[float], list[float]]:
    """The greatest of the nodes' values at each instant at which any was sampled."""
    by_time: dict[float, float] = {}
    for node in nodes:
        for t, value in zip(series.at_s[node], series.values[node], strict=True):
            by_time[t] = max(by_time.get(t, 0.0), value)
    times = sorted(by_time)
    return thin(times, [by_time[t] for t in times])
