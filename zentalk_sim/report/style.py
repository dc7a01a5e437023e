"""The house style of the pictures: Okabe–Ito colours, units on every axis, a light grid, seed and digest below.

Figures are made without pyplot, so that drawing leaves no global state behind, and are saved byte for byte the
same: fixed font, fixed salt for SVG ids, no date, no version of the library.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INK, FAINT, GRID, SHADE = "#1f1f1f", "#5f5f5f", "#dddddd", "#d9d9d9"

LINES: tuple[tuple[str, Any], ...] = (
    (BLUE, "-"),
    (GREEN, "--"),
    (VERMILLION, "-."),
    (PURPLE, ":"),
    (ORANGE, (0, (7, 1.5, 1.2, 1.5, 1.2, 1.5))),
)
"""Colour and dash (as matplotlib has it) of the first curves of a picture: told apart without colour too."""

SINGLE = (8.0, 4.5)
OVERVIEW = (13.0, 8.5)
_DPI = 144
_LABEL_CHARS = 36
_FAULT_LABELS = 4
"""So many faults are named above the axes; where there are more, numbers stand there, and a key below."""
_NUMBER_ROWS = 3
_KEY_LINES = 3
_KEY_ID = "faults"
_CAPTION_IN, _LINE_IN, _CHAR_IN = 0.30, 0.14, 0.060
"""Of a caption's text: the height of its strip, of a further line, and the width of a character, in inches."""

_RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c8c8c",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,
    "lines.linewidth": 1.8,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": GRID,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "svg.hashsalt": "zentalk-sim",
    "svg.fonttype": "path",
    "path.simplify": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save within this. What a user's matplotlibrc says does not count here."""
    import matplotlib

    rc: Any = _RC
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(rc)
        # A name may hold letters the font lacks; they show as boxes, which is no fault of the run.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(size: tuple[float, float], results: Results) -> Any:
    """An empty figure with its run's caption; the layout keeps clear of it."""
    caption = f"{plain(results.name)} · seed {results.seed} · digest {results.digest[:12] or 'none'}"
    return captioned_figure(size, caption)


def captioned_figure(size: tuple[float, float], caption: str) -> Any:
    """An empty figure with a line below; the layout keeps clear of it."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    _keep_clear(figure, _CAPTION_IN)
    figure.text(0.01, 0.09 / size[1], caption, fontsize=8, color=FAINT, va="bottom")
    return figure


def _keep_clear(figure: Any, bottom_in: float) -> None:
    """Have the layout leave so much free at the bottom."""
    layout, margin = figure.get_layout_engine(), bottom_in / figure.get_figheight()
    if layout is not None:
        layout.set(rect=(0, margin, 1, 1 - margin))


def save(figure: Any, folder: Path, name: str) -> Path:
    """Write ``NAME.png`` and ``NAME.svg``; returns the SVG's path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # ``savefig`` would lay out and draw twice for each file; this does both once.
    figure.set_dpi(_DPI)
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")
    # The solver's last digits depend on where objects lie in memory; rounded, the same run draws the same bytes.
    for axes in figure.axes:
        axes.set_position([round(float(edge), 4) for edge in axes.get_position().bounds])
    raster: Any = FigureCanvasAgg(figure)
    raster.print_png(folder / f"{name}.png", metadata={"Software": None})
    path = folder / f"{name}.svg"
    vector: Any = FigureCanvasSVG(figure)
    vector.print_svg(path, metadata={"Date": None, "Creator": None})
    return path


def plain(text: str, length: int = 80) -> str:
    """Text fit for one line of a picture: no control characters, cut to length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def no_data(axes: Any, why: str) -> None:
    """Say that there is nothing to draw, and why, in place of an empty frame."""
    axes.text(0.5, 0.56, "no data", transform=axes.transAxes, ha="center", va="center", fontsize=14, color=FAINT)
    axes.text(0.5, 0.44, why, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=FAINT)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_facecolor("#f6f6f6")


def time_unit(length_us: int) -> tuple[str, float]:
    """The unit in which a stretch of time is shown, and its seconds."""
    seconds = length_us / 1_000_000
    if seconds > 4 * 86_400:
        return "d", 86_400.0
    if seconds > 3 * 3600:
        return "h", 3600.0
    return ("min", 60.0) if seconds > 900 else ("s", 1.0)


def time_axis(axes: Any, results: Results) -> float:
    """Make x the time of a run; returns the seconds of its unit."""
    unit, seconds = time_unit(results.simulated_us)
    axes.set_xlim(0, max(results.simulated_us, 1) / 1_000_000 / seconds)
    axes.set_xlabel(f"{results.time_called} ({unit})")
    return seconds


def whole_numbers(axes: Any) -> None:
    """Ticks of y at whole numbers with their thousands marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def plain_numbers(axes: Any, top: float) -> None:
    """Ticks of y with their thousands marked; whole ones where ``top``, the greatest value, is no small number."""
    from matplotlib.ticker import FuncFormatter

    if top >= 5:
        whole_numbers(axes)
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


_TIMES: tuple[tuple[float, str], ...] = (
    (1e-6, "1 µs"),
    (1e-5, "10 µs"),
    (1e-4, "0.1 ms"),
    (1e-3, "1 ms"),
    (1e-2, "10 ms"),
    (1e-1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (6 * 3600.0, "6 h"),
    (86_400.0, "1 d"),
    (10 * 86_400.0, "10 d"),
    (100 * 86_400.0, "100 d"),
)


def log_time(axes: Any, low: float, high: float, seconds: float) -> None:
    """Make x logarithmic from ``low`` to ``high``, of units ``seconds`` long, with ticks such as 1 s, 1 min, 1 h."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.25)
    shown = [(at / seconds, text) for at, text in _TIMES if low / 1.25 <= at / seconds <= high * 1.25]
    axes.xaxis.set_major_locator(FixedLocator([at for at, _ in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter([text for _, text in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8.5)


def log_x(axes: Any, low: float, high: float) -> None:
    """Make x logarithmic from ``low`` to ``high`` with plain numbers at its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.25)
    wide = high / low > 300
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def shade_faults(axes: Any, results: Results, seconds: float) -> None:
    """Shade each fault over its time and name it above the axes, in as many rows as keep the names apart.

    More than four have numbers, those of the report's table, and a key below the picture.
    """
    has_key = len(results.faults) > _FAULT_LABELS
    end = results.simulated_us / 1_000_000 / seconds
    ends: list[float] = []
    for number, fault in enumerate(results.faults):
        start = (fault.start_us - results.start_us) / 1_000_000 / seconds
        stop = end if fault.end_us is None else (fault.end_us - results.start_us) / 1_000_000 / seconds
        if stop > start:
            axes.axvspan(start, min(stop, end), color=SHADE, alpha=0.6, lw=0, zorder=0)
        axes.axvline(start, color=FAINT, lw=0.9, ls=(0, (4, 2)), zorder=1)
        label = str(number + 1) if has_key else plain(fault.label, _LABEL_CHARS)
        _name_fault(axes, label, start / end if end else 0.0, ends, _NUMBER_ROWS if has_key else _FAULT_LABELS)
    if has_key:
        _add_key(axes.figure, results)
    if ends:
        axes.set_title(axes.get_title(loc="left"), loc="left", pad=8 + 11 * len(ends))


def _add_key(figure: Any, results: Results) -> None:
    """What the numbers of faults stand for, once a figure, above its caption; what has no room is in the report."""
    if any(text.get_gid() == _KEY_ID for text in figure.texts):
        return
    columns = int((figure.get_figwidth() - 0.2) / _CHAR_IN)
    lines = wrap(f"Faults: {'; '.join(fault_key(results))}", columns, break_long_words=True)
    if len(lines) > _KEY_LINES:
        lines = [*lines[: _KEY_LINES - 1], plain(lines[_KEY_LINES - 1], columns - 26) + " … (all in the report)"]
    bottom = (0.09 + _LINE_IN) / figure.get_figheight()
    key = "\n".join(lines)
    figure.text(0.01, bottom, key, fontsize=8, color=FAINT, va="bottom", linespacing=1.2, gid=_KEY_ID)
    _keep_clear(figure, _CAPTION_IN + _LINE_IN * len(lines))


def fault_key(results: Results) -> list[str]:
    """The faults by number, several alike in a row together: ``1: relay-0 crashed``, ``2 to 9: connections reset``."""
    found: list[tuple[int, int, str]] = []
    for number, fault in enumerate(results.faults, 1):
        label = plain(fault.label, _LABEL_CHARS)
        if found and found[-1][2] == label:
            found[-1] = (found[-1][0], number, label)
        else:
            found.append((number, number, label))
    return [f"{first if first == last else f'{first} to {last}'}: {label}" for first, last, label in found]


def _name_fault(axes: Any, label: str, at: float, ends: list[float], most_rows: int) -> None:
    """Put a label at ``at`` (0…1 of the width) in the first row free there; ``ends`` are the rows' right ends.

    Where every row is taken there, its line goes without.
    """
    bounds = axes.get_position()
    inches = max(bounds.width * axes.figure.get_figwidth(), 1.0)
    width = len(label) * 0.066 / inches
    left = max(0.0, min(at, 1.0 - width))
    for row, taken in enumerate(ends):
        if left > taken + 0.01:
            ends[row] = left + width
            break
    else:
        row = len(ends)
        if row >= most_rows:
            return
        ends.append(left + width)
    axes.annotate(
        label,
        xy=(left, 1.0),
        xycoords="axes fraction",
        xytext=(0, 3 + 11 * row),
        textcoords="offset points",
        fontsize=8,
        color=FAINT,
        annotation_clip=False,
    )
