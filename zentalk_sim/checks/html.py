"""A report of checks as one self-contained page: no script, nothing loaded, everything from the trace escaped."""

from __future__ import annotations

from html import escape
from typing import Final

from zentalk_sim.checks.engine import Report
from zentalk_sim.checks.registry import Result
from zentalk_sim.checks.render import instant, lines_of, shown, summary, verdict_of

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c4262e; --warn: #9a6700; --dim: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --warn: #d29922; --dim: #8b949e; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px/1.5 ui-monospace, monospace; white-space: nowrap; }
.held { color: var(--good); } .broken { color: var(--bad); font-weight: 600; } .warning { color: var(--warn); }
.dim { color: var(--dim); } ul { margin: .3rem 0 0; padding-left: 1.1rem; } li { overflow-wrap: anywhere; }
.verdict { white-space: nowrap; }
"""

_MARK: Final = {"held": "✓ held", "BROKEN": "✗ broken", "warning": "! warning", "not exercised": "– not exercised"}
_CLASS: Final = {"held": "held", "BROKEN": "broken", "warning": "warning", "not exercised": "dim"}


def as_html(report: Report, name: str) -> str:
    """The page. ``name`` is what was checked, such as the file's name."""
    sides = "".join(_side(report, side) for side in ("client", "relay"))
    over = "".join(
        f'<p class="dim">Passed over: {count} lines of kind <code>{escape(shown(kind))}</code>.</p>'
        for kind, count in sorted(report.passed_over.items())
    )
    held = "Every requirement put to the test held" if report.held else "Requirements were broken"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Checks of {escape(shown(name))}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Checks of {escape(shown(name))}</h1>"
        f'<p class="{"held" if report.held else "broken"}">{held}.</p>'
        f"<p>{report.events} events, {report.frames} frames: {escape(summary(report))}.</p>{over}{sides}"
        '<p class="dim">“Not exercised”: the trace shows no instance of it. A warning is a requirement that leaves '
        "room for a reason.</p></body></html>\n"
    )


def _side(report: Report, side: str) -> str:
    results = [r for r in report.results if r.side == side]
    order = {"broken": 0, "held": 1, "not_exercised": 2}
    rows = "".join(_row(r) for r in sorted(results, key=lambda r: (order[r.verdict], r.id)))
    head = "<tr><th>Verdict</th><th>Check</th><th>Source</th><th>Times</th><th>Requirement and evidence</th></tr>"
    return f"<h2>The {side}</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _row(result: Result) -> str:
    verdict = verdict_of(result)
    items = [f"<li>{instant(e.t)}, {lines_of(e.lines)}: {escape(shown(e.message))}</li>" for e in result.evidence]
    if result.broken > len(result.evidence):
        items.append(f"<li>and {result.broken - len(result.evidence)} more</li>")
    evidence = f"<ul>{''.join(items)}</ul>" if items else ""
    return (
        f'<tr><td class="verdict {_CLASS[verdict]}">{_MARK[verdict]}</td><td><code>{result.id}</code></td>'
        f'<td class="verdict">{result.citation}</td><td class="n">{result.exercised or ""}</td>'
        f"<td>{escape(result.title)}{evidence}</td></tr>"
    )
