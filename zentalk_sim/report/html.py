"""`report.html`: one page a reader can forward, with nothing loaded from elsewhere.

Style and pictures are inside, there is no script, and a content policy forbids both loading and running anything.
All text of the run is escaped. The page follows the reader's light or dark preference, and prints.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from zentalk_sim.report.html_style import CSS
from zentalk_sim.report.metrics import METRICS, metric_order, title_of
from zentalk_sim.report.narrative import ASSUMPTIONS, what_happened
from zentalk_sim.report.notes import is_early
from zentalk_sim.report.rules_told import rule_rows
from zentalk_sim.report.summary import COUNTS_SHOWN, figure, found_words, shown_counts, time_words

if TYPE_CHECKING:
    from zentalk_sim.report.drawing import Picture
    from zentalk_sim.report.results import Results

_QUANTILES = ("mean", "p50", "p90", "p99", "p999", "max")


def render(
    results: Results, summary: Mapping[str, Any], manifest: Mapping[str, Any], pictures: Sequence[Picture]
) -> str:
    """The whole page. ``pictures`` go in as they stand in the folder; without any the page says how to draw them."""
    sections = [
        _section("Asked", _asked(results)),
        _section("What happened", "".join(f"<p>{escape(s)}</p>" for s in what_happened(results, summary))),
        _section("Thresholds and checks", _verdicts(summary)),
        _section("Pictures", _pictures(pictures)),
        _section("Metrics", _metrics(results, summary["metrics"])),
        _section("Faults", _faults(results) + _rules(results)) if results.faults or rule_rows(results) else "",
        _section("Counts", _counts(summary["counts"])),
        _section(_taken_for_granted(results), _assumptions(results)),
        _section("How to reproduce", _reproduce(results, manifest)),
    ]
    title = f"{results.name}, seed {results.seed}"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<h1>{escape(results.name)}</h1>
<p class="sub">seed {results.seed} · {time_words(results.simulated_us / 1_000_000, "s")} {_how(results)} ·
digest <code>{escape(results.digest[:12])}</code></p>
{_verdict(summary)}
</header>
{"".join(sections)}
</main>
</body>
</html>
"""


def summary_tables(results: Results, summary: Mapping[str, Any]) -> str:
    """The run's tables as a fragment, for notebooks; it carries no style of its own."""
    head = f"<h3>{escape(results.name)}, seed {results.seed}</h3>"
    parts = [head, _metrics(results, summary["metrics"]), _interesting(summary["counts"]), _verdicts(summary)]
    return f"<div>{''.join(parts)}</div>"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: frozenset[int] = frozenset()) -> str:
    """Rows of cells that are HTML already; ``numeric`` are the columns set flush right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i in numeric else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    titles = f"<thead><tr>{cells('th', head)}</tr></thead>\n" if any(head) else ""
    return f'<div class="wide"><table>\n{titles}<tbody>\n{body}\n</tbody>\n</table></div>'


def _asked(results: Results) -> str:
    parts = [f"<p>{escape(results.description)}</p>"] if results.description else []
    asked = [
        f"<dt>{label}</dt><dd>{escape(text)}</dd>"
        for label, text in (("Question", results.question), ("Expected", results.expectation))
        if text
    ]
    if asked:
        parts.append(f"<dl>{''.join(asked)}</dl>")
    return "".join(parts) or "<p class=faint>The experiment states no question.</p>"


def _verdict(summary: Mapping[str, Any]) -> str:
    entries = [*summary["thresholds"], *summary["checks"]]
    broken = [entry for entry in entries if not entry["held"]]
    if not entries:
        return '<p class="verdict none">No threshold or check was set</p>'
    if broken:
        return f'<p class="verdict broken">✗ {len(broken)} of {len(entries)} thresholds and checks broken</p>'
    words = "The one threshold or check held" if len(entries) == 1 else f"All {len(entries)} thresholds and checks held"
    return f'<p class="verdict held">✓ {words}</p>'


def _verdicts(summary: Mapping[str, Any]) -> str:
    rows = []
    for kind in ("thresholds", "checks"):
        for entry in summary[kind]:
            verdict = "<span class=held>✓ held</span>" if entry["held"] else "<span class=broken>✗ broken</span>"
            rows.append(
                (kind[:-1], escape(str(entry["id"])), escape(found_words(str(entry["id"]), entry["value"])), verdict)
            )
    if not rows:
        return "<p class=faint>None was set.</p>"
    return _table(("", "what", "found", "verdict"), rows, frozenset({2}))


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return "<p class=faint>No pictures were drawn; <code>zsim report</code> on the run's folder draws them.</p>"
    figures = []
    for picture in pictures:
        data = base64.b64encode(picture.svg.read_bytes()).decode("ascii")
        kind = "overview" if picture.name == "overview" else "single"
        caption = "" if kind == "overview" else f"<figcaption>{escape(picture.text)}</figcaption>"
        alt = escape(picture.text if caption else f"{picture.title}. {picture.text}", quote=True)
        image = f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">'
        figures.append(f'<figure class="{kind}">{image}{caption}</figure>')
    return f'<div class="pictures">{"".join(figures)}</div>'


def _metrics(results: Results, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    if not metrics:
        return "<p class=faint>None was recorded.</p>"
    rows = []
    notes = []
    for name in metric_order(metrics):
        entry, split = metrics[name], name.partition(".")[2]
        split = split if title_of(name) != name else ""
        title = f"by {split}" if split else title_of(name)
        label = (
            f'<span class="{"split" if split else "whole"}" title="{escape(name, quote=True)}">{escape(title)}</span>'
        )
        values = [figure(entry[q]) for q in _QUANTILES]
        censored = figure(entry["censored"]) if "censored" in entry else ""
        rows.append((label, escape(results.unit(name).name), figure(entry["count"]), *values, censored))
        if name in METRICS and not split:
            metric = METRICS[name]
            text = f"{metric.definition}. Over: {metric.population}."
            text += f" Censored: {metric.censored}." if metric.censored else ""
            notes.append(f"<dt>{escape(title)} <code>{escape(name)}</code></dt><dd>{escape(text)}</dd>")
    head = ("metric", "unit", "count", *_QUANTILES, "censored")
    warm_up = (
        f"<p class=faint>What began in the first {figure(results.warm_up_us / 1_000_000)} s is left out.</p>"
        if results.warm_up_us
        else ""
    )
    return _table(head, rows, frozenset(range(2, 10))) + warm_up + f"<dl class=notes>{''.join(notes)}</dl>"


def _faults(results: Results) -> str:
    rows = []
    for number, fault in enumerate(results.faults, 1):
        start = (fault.start_us - results.start_us) / 1_000_000
        end = "the end" if fault.end_us is None else figure((fault.end_us - results.start_us) / 1_000_000)
        end = "at once" if fault.end_us == fault.start_us else end
        label = escape(fault.label) + (" <span class=faint>(in the warm-up)</span>" if is_early(results, fault) else "")
        rows.append((str(number), label, figure(start), end))
    return _table(("no.", "fault", "from (s)", "to (s)"), rows, frozenset({2, 3})) if rows else ""


def _rules(results: Results) -> str:
    rows = rule_rows(results)
    if not rows:
        return ""
    head = ("fault rule", "where", "what is done", "fired, all rules that do it")
    return _table(head, [tuple(map(escape, row)) for row in rows], frozenset({3}))


def _interesting(counts: Mapping[str, int]) -> str:
    rows = [
        (escape(words), f"<code>{escape(name)}</code>", f"{count:,}") for name, words, count in shown_counts(counts)
    ]
    return _table(("what", "name", "count"), rows, frozenset({2}))


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "<p class=faint>None was kept.</p>"
    shown = {name for name, _, _ in shown_counts(counts)} | {name for name, _ in COUNTS_SHOWN}
    others = [(f"<code>{escape(n)}</code>", f"{counts[n]:,}") for n in sorted(counts) if n not in shown]
    body = _interesting(counts)
    if others:
        body += f"<details><summary>All other counts ({len(others)})</summary>"
        body += _table(("name", "count"), others, frozenset({1})) + "</details>"
    return body


def _how(results: Results) -> str:
    return "in real time" if results.source == "live" else "simulated"


def _taken_for_granted(results: Results) -> str:
    return "What to keep in mind" if results.source == "live" else "What the model takes for granted"


def _assumptions(results: Results) -> str:
    # What the model leaves out says nothing of a real relay.
    of_the_model = ASSUMPTIONS if results.source == "simulation" else ()
    items = "".join(f"<li>{escape(text)}</li>" for text in (*of_the_model, *results.assumptions))
    return f"<ul>{items}</ul>"


def _reproduce(results: Results, manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions") or {}
    rows = [("seed", str(results.seed)), ("digest", results.digest)]
    rows += [("typed", str(manifest.get("command") or "–"))]
    rows += [("versions", ", ".join(f"{name} {versions[name]}" for name in sorted(versions)))] if versions else []
    rows += [("platform", str(manifest.get("platform") or "–"))]
    if results.wall_s and results.source == "simulation":
        speed = results.simulated_us / 1_000_000 / results.wall_s
        rows.append(
            ("took", f"{figure(float(results.wall_s))} s of real time, {figure(speed)} times as fast as real time")
        )
    if results.events:
        rows.append(("events", f"{results.events:,}"))
    table = _table(("", ""), [(escape(key), f"<code>{escape(value)}</code>") for key, value in rows])
    text = (
        "<p>The same experiment and seed give the same digest with the same version, on the same kind of machine. "
        f"In this folder:</p><pre>zsim run experiment.yaml --seed {results.seed}</pre>"
    )
    if results.source == "live":
        text = "<p>In real time no run is quite the same again. The users and what they do are, by the seed.</p>"
    return text + table + _experiment(results.experiment)


def _experiment(experiment: Mapping[str, Any]) -> str:
    if not experiment:
        return ""
    import msgspec

    data = msgspec.json.format(msgspec.json.encode(experiment), indent=2).decode()
    return f"<details><summary>The experiment, with every default</summary><pre>{escape(data)}</pre></details>"
