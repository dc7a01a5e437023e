"""The report page of a sweep, and its table for notebooks: in the same style and under the same policy as a run's."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zentalk_sim.report.html_style import CSS
from zentalk_sim.report.metrics import METRICS, title_of, unit_of
from zentalk_sim.report.results import read_manifest
from zentalk_sim.report.summary import COUNTS_SHOWN, figure
from zentalk_sim.report.sweep_statistics import ENOUGH, EXACT_BELOW, RESAMPLES, coverage
from zentalk_sim.report.sweep_table import text

if TYPE_CHECKING:
    from zentalk_sim.report.drawing import Drawers, Picture
    from zentalk_sim.report.sweep_results import Sweep

STATISTICS = ("mean", "p50", "p90", "p99", "max")


def draw(sweep: Sweep, folder: Path, *, plots: bool = True, drawers: Drawers | None = None) -> None:
    """Write a sweep's pictures and ``report.html`` into its folder. Raises OSError, RunFolderError."""
    pictures: list[Picture] = []
    if plots:
        from zentalk_sim.report.sweep_plots import draw_sweep

        pictures = draw_sweep(sweep, folder, drawers)
    (folder / "report.html").write_text(render(sweep, read_manifest(folder), pictures), encoding="utf-8")


def render(sweep: Sweep, manifest: Mapping[str, Any], pictures: Sequence[Picture]) -> str:
    """The whole page, pictures inside."""
    simulated = " in the first" if "duration" in sweep.meta.parameters else " in each" if sweep.runs > 1 else ""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    sections = [
        _section("Asked", _asked(sweep)),
        _section("Pictures", _pictures(pictures)),
        _section("Metrics", _note(sweep) + "".join(_metric(sweep, metric) for metric in _shown(sweep))),
        _section("Counts", _counts(sweep)),
        _section("Thresholds and checks", _bounds(sweep)),
        _section("How to reproduce", _reproduce(sweep, manifest)),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(sweep.name)}, {escape(sweep.seeds_text)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<h1>{escape(sweep.name)}</h1>
<p class="sub">{escape(sweep.size_text)} · {figure(sweep.meta.simulated_s)} s simulated{simulated}</p>
{_verdict(sweep)}
</header>
{"".join(sections)}
</main>
</body>
</html>
"""


def fragment(sweep: Sweep) -> str:
    """The sweep's tables for notebooks; without a style of its own."""
    head = f"<h3>{escape(sweep.name)}, {escape(sweep.seeds_text)}</h3>"
    return (
        f"<div>{head}{_note(sweep)}{''.join(_metric(sweep, metric) for metric in _shown(sweep))}{_bounds(sweep)}</div>"
    )


def _shown(sweep: Sweep) -> list[str]:
    return [metric for metric in sweep.metrics if sweep.is_any(f"{metric}.count")]


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Rows of cells that are HTML already; all columns but the first ``texts`` are set flush right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i >= texts else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{cells("th", head)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        "</table></div>"
    )


def _asked(sweep: Sweep) -> str:
    meta = sweep.meta
    parts = [f"<p>{escape(meta.description)}</p>"] if meta.description else []
    asked = [
        f"<dt>{label}</dt><dd>{escape(said)}</dd>"
        for label, said in (("Question", meta.question), ("Expected", meta.expectation))
        if said
    ]
    parts += [f"<dl>{''.join(asked)}</dl>"] if asked else []
    rows = [(f"<code>{escape(p)}</code>", escape(", ".join(map(str, v)))) for p, v in meta.parameters.items()]
    rows += [(f"<code>{escape(path)}</code>", escape(value) + " in all") for path, value in meta.settings.items()]
    parts.append(_table(("varied", "values"), rows, texts=2) if rows else "<p>Nothing but the seed varies.</p>")
    return "".join(parts)


def _verdict(sweep: Sweep) -> str:
    bounds = sweep.meta.bounds
    if not bounds:
        return '<p class="verdict none">No threshold or check was set</p>'
    broken = {bound.id for bound in bounds if bound.held < bound.cells}
    if broken:
        # Told of each once, however many combinations it was judged in; and of the cells, in how many anything broke.
        of = f"{len(broken)} of {len({bound.id for bound in bounds})} thresholds and checks"
        cells = f", in {sweep.columns['held'].values.count(False):,} of {sweep.runs:,} cells" if sweep.runs > 1 else ""
        return f'<p class="verdict broken">✗ {of} broken{cells}</p>'
    where = f" in all {sweep.runs:,} cells" if sweep.runs > 1 else ""
    return f'<p class="verdict held">✓ All thresholds and checks held{where}</p>'


def _note(sweep: Sweep) -> str:
    seeds = sweep.seeds
    if seeds < 2:
        note = "A single seed: each figure is one draw, and there is no interval."
    elif seeds < ENOUGH:
        note = f"Each figure is the median over {seeds} seeds, in brackets the least and the greatest of them. "
        note += f"These are too narrow for a 95 % interval: they hold the true median in {100 * coverage(seeds):.3g} % "
        note += f"of such sweeps. Run {ENOUGH} seeds or more."
    elif seeds < EXACT_BELOW:
        note = f"Each figure is the median over {seeds} seeds, in brackets its 95 % interval, between two of the runs."
    else:
        note = f"Each figure is the median over {seeds} seeds, "
        note += f"in brackets its 95 % bootstrap interval ({RESAMPLES:,} resamples)."
    return f"<p class=faint>{note}</p>"


def _metric(sweep: Sweep, metric: str) -> str:
    unit = unit_of(metric).name
    split = metric.partition(".")[2]
    title = title_of(metric) + (f", by {split}" if split else "") + (f" ({unit})" if unit else "")
    shown = [name for name in (*STATISTICS, "censored") if f"{metric}.{name}" in sweep.columns]
    rows = []
    for combination in sweep.meta.combinations:
        figures = [escape(text(sweep.interval(f"{metric}.{name}", combination))) for name in shown]
        rows.append((escape(sweep.label(combination)), *figures))
    about = ""
    if metric in METRICS and not split:
        line = METRICS[metric]
        about = f"<p class=faint>{escape(line.definition)}. Over: {escape(line.population)}.</p>"
    return f"<h3>{escape(title)}</h3>{about}" + _table(("", *shown), rows)


def _counts(sweep: Sweep) -> str:
    names = [(name, words) for name, words in COUNTS_SHOWN if sweep.is_any(name)]
    known = {name for name, _ in COUNTS_SHOWN}
    others = [n for n in sweep.measures if n not in known and "." in n]
    metrics = tuple(f"{metric}." for metric in sweep.metrics)
    names += [(n, n) for n in others if not n.startswith(metrics) and sweep.is_any(n)]
    rows = [
        (
            f"<span title={_attribute(name)}>{escape(words)}</span>",
            *(escape(text(sweep.interval(name, combination))) for combination in sweep.meta.combinations),
        )
        for name, words in names
    ]
    return _table(("", *(escape(sweep.label(c)) for c in sweep.meta.combinations)), rows)


def _attribute(value: str) -> str:
    return f'"{escape(value, quote=True)}"'


def _bounds(sweep: Sweep) -> str:
    rows = []
    for bound in sweep.meta.bounds:
        held = bound.held == bound.cells
        verdict = "<span class=held>✓ held</span>" if held else "<span class=broken>✗ broken</span>"
        where = sweep.label(sweep.meta.combinations[bound.combination])
        rows.append((escape(bound.id), escape(where), verdict, f"{bound.held} of {bound.cells}"))
    if not rows:
        return "<p class=faint>None was set.</p>"
    return _table(("what", "where", "verdict", "held in"), rows, texts=3)


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return "<p class=faint>No pictures were drawn.</p>"
    figures = []
    for picture in pictures:
        data = base64.b64encode(picture.svg.read_bytes()).decode("ascii")
        image = f'<img alt={_attribute(picture.text)} src="data:image/svg+xml;base64,{data}">'
        caption = f"<figcaption>{escape(picture.text)}</figcaption>"
        figures.append(f'<figure class="overview">{image}{caption}</figure>')
    return f'<div class="pictures">{"".join(figures)}</div>'


def _reproduce(sweep: Sweep, manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions") or {}
    rows = [
        ("code", sweep.meta.code),
        ("versions", ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) or "–"),
        ("platform", str(manifest.get("platform") or "–")),
    ]
    words = "<p>The same experiment and seeds give the same table, whatever runs the cells. In this folder:</p>"
    again = f"<pre>{escape(str(manifest.get('again') or 'zsim sweep experiment.yaml'))}</pre>"
    seeds = "<p>The tables, pictures and trace of a single cell: <code>zsim run</code> with its settings and seed.</p>"
    return (
        words + again + seeds + _table(("", ""), [(escape(k), f"<code>{escape(v)}</code>") for k, v in rows], texts=2)
    )
