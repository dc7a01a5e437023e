"""The pictures of a sweep: one per metric, its median run by run with intervals, over the parameters that vary.

A parameter whose values are quantities is an axis to scale; names stand side by side. The parameter with most values
is the x axis, what remains are curves. Where there would be too many curves, every combination has a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zentalk_sim.files.units import UnitError, parse_bit_rate, parse_duration, parse_rate, parse_size
from zentalk_sim.report import style
from zentalk_sim.report.drawing import Drawers, Picture
from zentalk_sim.report.metrics import title_of, unit_of
from zentalk_sim.report.summary import figure as number
from zentalk_sim.report.sweep_results import Sweep, combination_text
from zentalk_sim.report.sweep_statistics import interval_words

PANELS = ("p50", "p99")
PANEL_TITLES = {"p50": "p50", "p99": "p99"}
MAX_ROWS = 40
_BESIDE_PT = 7.0
"""How far a curve's dots stand to the left of its median and bar."""
_MAX_SPREAD = 20.0
"""A picture whose values span more than this factor is drawn to a logarithmic scale."""


class SweepAlbum:
    """A picture of every metric that has values."""

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self._sweep = sweep
        self._plots = folder / "plots"

    @property
    def names(self) -> list[str]:
        """The metrics."""
        sweep = self._sweep
        return [metric for metric in sweep.metrics if "." not in metric and sweep.is_any(f"{metric}.count")]

    def draw(self, name: str) -> Picture:
        """Draw one into ``plots/``, within ``style.house_style``. Raises OSError."""
        figure, text = draw_metric(self._sweep, name)
        return Picture(name, title_of(name), text, style.save(figure, self._plots, name))


def draw_sweep(sweep: Sweep, folder: Path, drawers: Drawers | None = None) -> list[Picture]:
    """Draw a picture of every metric that has values into ``plots/``, with ``drawers`` to help. Raises OSError."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.*g"):
        old.unlink()
    return (drawers or Drawers()).draw(SweepAlbum(sweep, folder), folder)


def draw_metric(sweep: Sweep, metric: str) -> tuple[Any, str]:
    """A picture of one metric, and the same in words."""
    curves = _curves(sweep)
    if not sweep.parameters or curves is None:
        figure = _draw_rows(sweep, metric)
    else:
        figure = _draw_curves(sweep, metric, *curves)
    return figure, _words(sweep, metric)


def x_parameter(sweep: Sweep) -> str:
    """The parameter on the x axis: the one with most values, quantities before names."""

    def rank(path: str) -> tuple[bool, int]:
        return scale_of(sweep.meta.parameters[path])[0] is not None, len(sweep.meta.parameters[path])

    return max(sweep.parameters, key=rank)


def scale_of(values: Sequence[Any]) -> tuple[list[float] | None, str]:
    """Positions of a parameter's values on an axis and their unit; None where they are names."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values], ""
    texts = [str(value) for value in values]
    for parse, unit, scale in (
        (parse_duration, "s", 1e6),
        (parse_size, "KiB", 1024.0),
        (parse_bit_rate, "Mbit/s", 1e6),
        (_per_minute, "per min", 1.0),
        (_per_cent, "%", 1.0),
    ):
        try:
            return [parse(text) / scale for text in texts], unit
        except (UnitError, ValueError):
            continue
    return None, ""


def _per_minute(text: str) -> float:
    return parse_rate(text, "min")


def _per_cent(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError(text)
    return float(text[:-1])


def _curves(sweep: Sweep) -> tuple[str, list[tuple[str, list[dict[str, Any]]]]] | None:
    """The x parameter, and per curve its name and combinations; None where there are too many to tell apart."""
    if not sweep.parameters:
        return None
    x = x_parameter(sweep)
    found: dict[str, list[dict[str, Any]]] = {}
    for combination in sweep.meta.combinations:
        rest = {path: value for path, value in combination.items() if path != x}
        found.setdefault(combination_text(rest), []).append(combination)
    return (x, list(found.items())) if len(found) <= len(style.LINES) else None


def _figure(sweep: Sweep, height: float) -> Any:
    """An empty figure that says what stands in it, since a picture goes about without its page."""
    caption = f"{style.plain(sweep.name)} · {style.plain(sweep.seeds_text, 40)}"
    if sweep.seeds > 1:
        caption += f" · median over the seeds; bars: {interval_words(sweep.seeds)}; faint dots: the runs"
    return style.captioned_figure((10.5, height), caption)


def _draw_curves(sweep: Sweep, metric: str, x: str, curves: list[tuple[str, list[dict[str, Any]]]]) -> Any:
    """Median and interval over the x parameter, a panel for each of ``PANELS``; a dot for every run."""
    figure = _figure(sweep, 4.6)
    panels = figure.subplots(1, len(PANELS), sharex=True)
    values = sweep.meta.parameters[x]
    places, unit = scale_of(values)
    at = dict(zip(map(repr, values), places or [float(i) for i in range(len(values))], strict=True))
    # Curves stand a little beside each other, so that one's interval does not hide another's.
    nudge = min(0.12, 0.5 / len(curves)) if places is None else 0.012 * (max(places) - min(places))
    if places is not None and _is_wide(min(places), max(places)):
        nudge = 0.0
    for axes, statistic in zip(panels, PANELS, strict=True):
        seen: list[float] = []
        for index, (label, combinations) in enumerate(curves):
            shift = (index - (len(curves) - 1) / 2) * nudge
            colour, dash = style.LINES[index]
            points = _points(sweep, f"{metric}.{statistic}", combinations, lambda c: at[repr(c[x])] + shift)  # noqa: B023
            _draw_curve(axes, points, colour, dash if places else "", label)
            seen += [value for _, _, values in points for value in values]
        axes.set_title(f"{title_of(metric)}, {PANEL_TITLES[statistic]}")
        _value_axis(axes, metric, seen, vertical=True)
        axes.set_xlabel(style.plain(x) + (f" ({unit})" if unit else ""))
        if places:
            _scale_x(axes, places)
        else:
            axes.set_xticks(list(at.values()), [style.plain(str(value), 24) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
    if len(curves) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, [style.plain(text, 60) for text in labels], loc="outside upper center", ncols=2)
    panels[0].set_ylabel(_label(metric))
    return figure


def _points(sweep: Sweep, measure: str, combinations: list[dict[str, Any]], place: Any) -> Any:
    """(x, interval, the runs' values) in the order of x, where there is a value."""
    points = []
    for combination in combinations:
        interval = sweep.interval(measure, combination)
        if interval.median is not None:
            points.append((place(combination), interval, sweep.values(measure, combination)))
    return sorted(points, key=lambda point: point[0])


def _draw_curve(axes: Any, points: Any, colour: str, dash: str, label: str) -> None:
    from matplotlib.transforms import ScaledTranslation

    # Beside the bar: of few runs the least and the greatest would lie under its ends, the middle one under the median.
    beside = axes.transData + ScaledTranslation(-_BESIDE_PT / 72, 0, axes.figure.dpi_scale_trans)
    for x, _, values in points:
        axes.plot([x] * len(values), values, "o", ms=3.5, mew=0, color=colour, alpha=0.45, zorder=2, transform=beside)
    xs = [x for x, _, _ in points]
    medians = [interval.median for _, interval, _ in points]
    low = [m - (i.low if i.low is not None else m) for (_, i, _), m in zip(points, medians, strict=True)]
    high = [(i.high if i.high is not None else m) - m for (_, i, _), m in zip(points, medians, strict=True)]
    axes.errorbar(
        xs, medians, yerr=[low, high], fmt="o", ms=6, capsize=4, lw=1.4, ls=dash or "none", color=colour, label=label
    )


def _draw_rows(sweep: Sweep, metric: str) -> Any:
    """A row per combination, or, where nothing varies, a row per statistic."""
    if sweep.parameters:
        shown = sweep.meta.combinations[:MAX_ROWS]
        labels = [sweep.label(combination) for combination in shown]
        panels: tuple[str, ...] = PANELS
    else:
        shown, panels = sweep.meta.combinations[:1], ("",)
        labels = ["p50", "p90", "p99", "p999", "max"]
    figure = _figure(sweep, 1.6 + 0.32 * max(len(labels), 5))
    for axes, statistic in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        seen: list[float] = []
        for row, label in enumerate(labels):
            combination = shown[row if statistic else 0]
            measure = f"{metric}.{statistic or label}"
            interval = sweep.interval(measure, combination)
            values = sweep.values(measure, combination)
            if interval.median is None:
                continue
            seen += values
            axes.plot(values, [row - 0.22] * len(values), "o", ms=3.5, mew=0, color=style.BLUE, alpha=0.35, zorder=2)
            if interval.low is not None and interval.high is not None:
                axes.plot([interval.low, interval.high], [row, row], color=style.BLUE, lw=2.2, zorder=3)
            axes.plot([interval.median], [row], "D", ms=6, color=style.BLUE, mec="white", zorder=4)
        axes.set_title(", ".join(filter(None, (title_of(metric), PANEL_TITLES.get(statistic)))))
        axes.set_yticks(range(len(labels)), [style.plain(label, 60) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel(_label(metric))
        _value_axis(axes, metric, seen, vertical=False)
    return figure


def _label(metric: str) -> str:
    unit = unit_of(metric).name
    return title_of(metric).lower() + (f" ({unit})" if unit else "")


def _value_axis(axes: Any, metric: str, values: list[float], *, vertical: bool) -> None:
    """Scale the axis of values: from zero, or logarithmic where they span a wide range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis, limits = (axes.yaxis, axes.set_ylim) if vertical else (axes.xaxis, axes.set_xlim)
    most, least = max(values, default=0.0), min(values, default=0.0)
    if not values:
        style.no_data(axes, f"no run has a value of {metric}")
    elif _is_wide(least, most):
        (axes.set_yscale if vertical else axes.set_xscale)("log")
        limits(least / 1.3, most * 1.3)
        axis.set_major_locator(LogLocator(subs=(1.0,) if most / least > 300 else (1.0, 2.0, 5.0), numticks=20))
        axis.set_minor_formatter(NullFormatter())
    else:
        limits(0, most * 1.08 if most else 1.0)
    if values:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _is_wide(least: float, most: float) -> bool:
    return least > 0 and most / least > _MAX_SPREAD


def _scale_x(axes: Any, places: list[float]) -> None:
    least, most = min(places), max(places)
    if _is_wide(least, most):
        style.log_x(axes, least, most)
        return
    from matplotlib.ticker import FuncFormatter

    margin = 0.06 * (most - least)
    axes.set_xlim(least - margin, most + margin)
    if len(places) <= 8:
        axes.set_xticks(places)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _words(sweep: Sweep, metric: str) -> str:
    """The least and the greatest median of the metric, and where."""
    unit = unit_of(metric).name
    told = []
    for statistic in PANELS:
        found = [
            (interval.median, sweep.label(combination))
            for combination in sweep.meta.combinations
            if (interval := sweep.interval(f"{metric}.{statistic}", combination)).median is not None
        ]
        if not found:
            continue
        (low, at_low), (high, at_high) = min(found), max(found)
        if len(found) == 1 or low == high:
            told.append(f"{statistic} {number(low)} {unit}".rstrip())
        else:
            told.append(f"{statistic} from {number(low)} {unit} ({at_low}) to {number(high)} {unit} ({at_high})")
    if not told:
        return f"{title_of(metric)}: no value."
    bars = f" Bars: {interval_words(sweep.seeds)}." if sweep.seeds > 1 else ""
    return f"{title_of(metric)}, median over the seeds: {'; '.join(told)}.{bars}"
