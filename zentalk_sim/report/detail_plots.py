"""Pictures of the details: single messages stage by stage, what one device was doing when."""

from __future__ import annotations

from typing import Any

from zentalk_sim.report import style
from zentalk_sim.report.detail_data import STATES, DeviceStates, Timeline
from zentalk_sim.report.results import Results
from zentalk_sim.report.summary import figure as number

_MARKS = {
    "acked_us": ("acknowledged to the sender", "D", style.ORANGE, 7),
    "pushed_us": ("pushed by the relay", "^", style.SKY, 8),
    "shown_us": ("shown", "o", style.BLUE, 6),
    "received_us": ("confirmed at the relay", "s", style.GREEN, 9.5),
    "read_us": ("read", "*", style.PURPLE, 11),
}
"""Stage → words, mark, colour and size. What is shown is confirmed a moment later: the smaller mark stands on top."""
_ON_TOP = ("received_us", "read_us", "pushed_us", "acked_us", "shown_us")
_STATE_COLOURS = {
    "connected": style.BLUE,
    "authenticating": style.SKY,
    "connecting": style.ORANGE,
    "waiting": style.VERMILLION,
}


_STATE_WORDS = {"waiting": "neither: waiting,\nor switched off"}
"""A table of connections does not part a client that waits for its backoff from a device that is off."""


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
            _, mark, colour, size = _MARKS[stage]
            above = 3 + 0.1 * _ON_TOP.index(stage)
            axes.plot([max(us / scale, low)], [row], mark, color=colour, ms=size, mec="white", mew=0.6, zorder=above)
    for words, mark, colour, size in _MARKS.values():
        axes.plot([], [], mark, color=colour, ms=size, label=words)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, borderaxespad=0.2, fontsize=8.5)
    style.log_x(axes, low, max(max(t.stages.values()) for t in timelines) / scale)
    axes.set_xlabel(f"time after send() ({unit}, log scale)")
    axes.set_yticks(range(len(timelines)), [_row_label(timeline) for timeline in timelines])
    axes.set_ylim(len(timelines) - 0.4, -0.6)
    axes.grid(False, axis="y")
    slowest = timelines[-1].stages["shown_us"] / scale
    chosen = f"{len(timelines)} copies from the distribution of delivery latency"
    return f"Single messages: {chosen}; the slowest was shown {number(slowest)} {unit} after send()."


def _row_label(timeline: Timeline) -> str:
    place = {0.0: "fastest", 1.0: "slowest", 0.5: "median"}.get(timeline.share, f"{timeline.share * 100:g} %")
    again = f", sent {timeline.retries + 1} times" if timeline.retries else ""
    return f"{place} ({timeline.via}{again})"


def draw_states(axes: Any, results: Results, states: DeviceStates) -> str:
    """What one device was doing when, a lane per state."""
    name = style.plain(states.device, 40)
    axes.set_title(f"The device with the most attempts ({states.attempts:,})")
    axes.set_title(name, loc="right", fontsize=8, fontweight="normal", color=style.FAINT)
    seconds = style.time_axis(axes, results)
    for lane, state in enumerate(STATES):
        bars = [
            ((start - results.start_us) / 1e6 / seconds, max(end - start, 0) / 1e6 / seconds)
            for start, end in states.stretches[state]
        ]
        colour = _STATE_COLOURS[state]
        axes.broken_barh(bars, (lane - 0.36, 0.72), facecolors=colour, edgecolors=colour, linewidth=0.8)
    axes.set_yticks(range(len(STATES)), [_STATE_WORDS.get(state, state) for state in STATES])
    axes.set_ylim(len(STATES) - 0.4, -0.6)
    axes.grid(False, axis="y")
    style.shade_faults(axes, results, seconds)
    connected = sum(end - start for start, end in states.stretches["connected"])
    share = 100.0 * connected / max(results.simulated_us, 1)
    return f"The device with the most attempts, {name}: {states.attempts:,}, connected {share:.3g} % of the time."
