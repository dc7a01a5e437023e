"""Pictures of the details: the CPU queue over time, single messages stage by stage, one device's states."""

from __future__ import annotations

from typing import Any

from zentalk_sim.report import style
from zentalk_sim.report.detail_data import STATES, DeviceStates, Timeline
from zentalk_sim.report.plot_data import Series, thin
from zentalk_sim.report.results import Results
from zentalk_sim.report.summary import figure as number

_MARKS = {
    "acked_us": ("acknowledged to the sender", "D", style.ORANGE),
    "pushed_us": ("pushed by the relay", "^", style.SKY),
    "shown_us": ("shown", "o", style.BLUE),
    "received_us": ("confirmed at the relay", "s", style.GREEN),
    "read_us": ("read", "*", style.PURPLE),
}
_STATE_COLOURS = {
    "connected": style.BLUE,
    "authenticating": style.SKY,
    "connecting": style.ORANGE,
    "waiting": style.VERMILLION,
}


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


def draw_timelines(axes: Any, timelines: list[Timeline]) -> str:
    """A line per message, from the fastest to the slowest, with a mark at each stage it reached."""
    axes.set_title("Single messages, the fastest to the slowest", pad=44)
    scale, unit = (1e6, "s") if max(max(t.stages.values()) for t in timelines) > 2e6 else (1e3, "ms")
    least = min((us for t in timelines for us in t.stages.values() if us > 0), default=1)
    low = max(least, 1) / scale / 1.5
    for row, timeline in enumerate(timelines):
        last = max(timeline.stages.values()) / scale
        axes.plot([low, max(last, low)], [row, row], color=style.GRID, lw=2.5, zorder=1, solid_capstyle="round")
        for stage, us in timeline.stages.items():
            _, mark, colour = _MARKS[stage]
            size = 11 if mark == "*" else 7
            axes.plot([max(us / scale, low)], [row], mark, color=colour, ms=size, mec="white", mew=0.6, zorder=3)
    for words, mark, colour in _MARKS.values():
        axes.plot([], [], mark, color=colour, ms=8, label=words)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, borderaxespad=0.2, fontsize=8.5)
    style.log_x(axes, low, max(max(t.stages.values()) for t in timelines) / scale)
    axes.set_xlabel(f"time after send() ({unit}, log scale)")
    axes.set_yticks(range(len(timelines)), [_row_label(timeline) for timeline in timelines])
    axes.set_ylim(len(timelines) - 0.4, -0.6)
    axes.grid(False, axis="y")
    slowest = timelines[-1].stages["shown_us"] / scale
    return f"Single messages: of {len(timelines)}, the slowest was shown {number(slowest)} {unit} after send()."


def _row_label(timeline: Timeline) -> str:
    place = {0.0: "fastest", 1.0: "slowest", 0.5: "median"}.get(timeline.share, f"{timeline.share * 100:g} %")
    again = f", sent {timeline.retries + 1} times" if timeline.retries else ""
    return f"{place} ({timeline.via}{again})"


def draw_states(axes: Any, results: Results, states: DeviceStates) -> str:
    """What one device was doing when, a lane per state."""
    axes.set_title(f"The device with the most attempts ({states.attempts:,})")
    seconds = style.time_axis(axes, results)
    for lane, state in enumerate(STATES):
        bars = [
            ((start - results.start_us) / 1e6 / seconds, max(end - start, 0) / 1e6 / seconds)
            for start, end in states.stretches[state]
        ]
        colour = _STATE_COLOURS[state]
        axes.broken_barh(bars, (lane - 0.36, 0.72), facecolors=colour, edgecolors=colour, linewidth=0.8)
    axes.set_yticks(range(len(STATES)), STATES)
    axes.set_ylim(len(STATES) - 0.4, -0.6)
    axes.grid(False, axis="y")
    style.shade_faults(axes, results, seconds)
    connected = sum(end - start for start, end in states.stretches["connected"])
    share = 100.0 * connected / max(results.simulated_us, 1)
    return f"The device with the most attempts: {states.attempts:,}, connected {share:.3g} % of the time."
