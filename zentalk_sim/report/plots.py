"""The pictures of a run, and which of them there are: each is drawn into axes it is given, alone or in the overview."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from zentalk_sim.report import cdf_plots, detail_plots, style, time_plots
from zentalk_sim.report.cause_plots import draw_causes
from zentalk_sim.report.detail_data import read_device_states, read_timelines
from zentalk_sim.report.drawing import Drawers, Picture
from zentalk_sim.report.plot_data import Series, causes, read_all_series, read_attempts
from zentalk_sim.report.results import Results

CONNECTED = "devices.connected"
HELD = "node.connections"
WAITING, ACCEPTS = "queue_depth", "accept_queue"
PENDING = "copies.pending"
MEMORY = "memory_bytes"
_PANELS = 4
"""Pictures in the overview, the first that have something to show."""


class _Drawing(Struct, frozen=True):
    """A picture that may be drawn: whether it has something to show, and how it is drawn into axes."""

    name: str
    title: str
    is_worth: bool
    draw: Callable[[Any], str]


MAIN = ("connected_devices", "connection_attempts", "reconnect_time", "delivery_latency")
"""Drawn for every run; what has nothing to show says so."""
OPTIONAL = ("queue_depth", "mailboxes", "memory", "message_timelines", "device_states", "causes")
"""Drawn only where there is something to show."""


class RunAlbum:
    """The pictures of a run, from its folder's tables; the overview comes first."""

    def __init__(self, results: Results, folder: Path) -> None:
        self._results = results
        self._plots = folder / "plots"
        self._over_time = [d for d in _drawings(results, folder) if d.name in MAIN or d.is_worth]
        self._single = {drawing.name: drawing for drawing in (*self._over_time, *_details(results, folder))}
        self._causes = causes(results.counts)

    @property
    def names(self) -> list[str]:
        """In the order in which they stand on the page."""
        return ["overview", *self._single, *(["causes"] if self._causes else [])]

    def draw(self, name: str) -> Picture:
        """Draw one into ``plots/``, within ``style.house_style``. Raises OSError."""
        if name == "overview":
            return _overview(self._results, self._over_time, self._plots)
        if name == "causes":
            title = "Drops, errors and closes"
            text, figure = draw_causes(self._results, self._causes)
        else:
            drawing = self._single[name]
            title = drawing.title
            figure = style.new_figure(style.SINGLE, self._results)
            text = drawing.draw(figure.subplots())
        return Picture(name, title, text, style.save(figure, self._plots, name))


def draw_all(results: Results, folder: Path, drawers: Drawers | None = None) -> list[Picture]:
    """Draw every picture of a run into ``plots/`` of its folder, with ``drawers`` to help. Raises OSError."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    pictures = (drawers or Drawers()).draw(RunAlbum(results, folder), folder)
    _remove_others(plots, {picture.name for picture in pictures})
    return pictures


def _remove_others(plots: Path, drawn: set[str]) -> None:
    """Remove what an earlier drawing of the same folder may have left."""
    for name in OPTIONAL:
        if name not in drawn:
            for suffix in ("png", "svg"):
                (plots / f"{name}.{suffix}").unlink(missing_ok=True)


def _overview(results: Results, drawings: list[_Drawing], plots: Path) -> Picture:
    """Four pictures in one: of those with something to show the first, filled up with those that say they have none."""
    worth = [drawing for drawing in drawings if drawing.is_worth]
    chosen = (worth + [drawing for drawing in drawings if not drawing.is_worth])[:_PANELS]
    chosen.sort(key=drawings.index)
    figure = style.new_figure(style.OVERVIEW, results)
    grid = figure.subplots(2, 2)
    text = " ".join(drawing.draw(axes) for axes, drawing in zip(grid.flat, chosen, strict=True))
    return Picture("overview", "Overview", text, style.save(figure, plots, "overview"))


def _drawings(results: Results, folder: Path) -> list[_Drawing]:
    """What may stand in the overview, in the order in which it is chosen for it and stands on the page."""
    names = (CONNECTED, HELD, WAITING, ACCEPTS, PENDING, MEMORY)
    connected, held, waiting, accepts, pending, memory = read_all_series(results, folder, names)
    attempts = read_attempts(results, folder)
    limit_bytes = memory_limit(results)
    is_pending = max(pending.values.get("", ()), default=0.0) >= max(10, 0.01 * results.counts.get("copies.stored", 0))
    return [
        _Drawing(
            "connected_devices",
            "Connected devices",
            bool(connected.at_s),
            lambda axes: time_plots.draw_connected(axes, results, connected, held),
        ),
        _Drawing(
            "connection_attempts",
            "Connection attempts",
            any(attempts.authenticated) or any(attempts.others),
            lambda axes: time_plots.draw_attempts(axes, results, attempts),
        ),
        _Drawing(
            "reconnect_time",
            "Reconnect time",
            _has_values(results, "reconnect_time_s"),
            lambda axes: cdf_plots.draw_reconnect(axes, results),
        ),
        _Drawing(
            "delivery_latency",
            "Delivery latency",
            _has_values(results, "delivery_latency_ms"),
            lambda axes: cdf_plots.draw_delivery(axes, results),
        ),
        _Drawing(
            "queue_depth",
            "Work waiting for a CPU",
            _ever(waiting),
            lambda axes: time_plots.draw_queue(axes, results, waiting, accepts),
        ),
        _Drawing(
            "memory",
            "Memory of connections",
            limit_bytes is not None and bool(memory.at_s),
            lambda axes: time_plots.draw_memory(axes, results, memory, limit_bytes or 1),
        ),
        _Drawing(
            "mailboxes",
            "Copies waiting in mailboxes",
            is_pending,
            lambda axes: time_plots.draw_mailboxes(axes, results, pending),
        ),
    ]


def _has_values(results: Results, metric: str) -> bool:
    histogram = results.metrics.get(metric)
    return bool((histogram and histogram.count) or results.censored.get(metric))


def _ever(series: Series) -> bool:
    return any(series.values.get("", ()))


def memory_limit(results: Results) -> int | None:
    """The limit of a node's memory in bytes, where the experiment set one (``relay.ingress.memory.limit``)."""
    found: Any = results.experiment
    for key in ("relay", "ingress", "memory", "limit"):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, str):
        from zentalk_sim.files.units import UnitError, parse_size

        try:
            return parse_size(found)
        except UnitError:
            return None
    return found if isinstance(found, int) and found > 0 else None


def _details(results: Results, folder: Path) -> list[_Drawing]:
    """Pictures of single messages and of a single device, where there are any."""
    timelines, states = read_timelines(results, folder), read_device_states(results, folder)
    found = []
    if timelines:
        draw: Callable[[Any], str] = lambda axes: detail_plots.draw_timelines(axes, timelines)  # noqa: E731
        found.append(_Drawing("message_timelines", "Single messages", True, draw))
    if states is not None and states.attempts > 1:
        draw = lambda axes: detail_plots.draw_states(axes, results, states)  # noqa: E731
        found.append(_Drawing("device_states", "States of one device", True, draw))
    return found
