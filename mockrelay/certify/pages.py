"""The report's pages: an index with apps as columns and cases as rows, and a page for each case of each app.

The law of this file: no script, nothing loaded, and every text that came from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from mockrelay.certify.case import GROUPS
from mockrelay.certify.style import STYLE
from mockrelay.certify.verdicts import LABELS, VERDICTS, AppReport, CaseResult, Verdict, case_order
from zentalk_sim.checks.registry import catalogue
from zentalk_sim.checks.render import instant, shown

_MEANINGS: Final[dict[Verdict, str]] = {
    "pass": "as the specification requires",
    "fail": "not so",
    "non_strict": "allowed, but not what is asked for",
    "informational": "something to look at; neither right nor wrong",
    "unsupported": "the app cannot be told to do what the case needs",
    "not_exercised": "nothing there to judge",
}
_WHY_NEVER: Final = {
    "client.state_backoff": "speaks of a simulation's trace; group 4 measures the waits",
    "client.state_edges": "speaks of a simulation's trace, where a client tells its states",
    "client.queue_order": "speaks of a simulation's trace; case 6.16 looks at what was written offline",
    "client.shown_once": "speaks of a simulation's trace; the cases of group 7 count what an app says it shows",
    "client.confirms_again": "the relay pushes a message to a device once; case 7.3 doubles it by a fault",
    "client.resend_pace": "to lose several ACKs needs a fault, behind which the check looks away; case 6.5 measures it",
    "client.resend_wait": "the relay answers at once; case 6.6 holds the ACK back by a fault",
}


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _chip(verdict: Verdict, href: str | None = None, label: str | None = None) -> str:
    text = LABELS[verdict] if label is None else label
    if href is None:
        return f'<span class="chip {verdict}">{text}</span>'
    return f'<a class="chip {verdict}" href="{href}">{text}</a>'


# --- the index ---------------------------------------------------------------------------------------


def index_page(reports: Sequence[AppReport]) -> str:
    """All apps and all cases."""
    rows = "".join(_group(name, reports) for _, name in GROUPS)
    heads = "".join(f'<th colspan="2" scope="colgroup" class="app">{escape(r.app)}</th>' for r in reports)
    parts = '<th class="part edge">Message</th><th class="part">Close</th>' * len(reports)
    table = (
        f'<table class="cases"><thead><tr><th rowspan="2" class="case">Case</th>{heads}</tr>'
        f"<tr>{parts}</tr></thead><tbody>{rows}</tbody></table>"
    )
    legend = "".join(f"<li>{_chip(v)} {_MEANINGS[v]}</li>" for v in VERDICTS)
    body = (
        "<header><h1>Zentalk client certification</h1><p>Each case runs against a mock relay of its own. "
        "<b>Message</b> says whether the frames were right, <b>Close</b> whether it ended, and came back or "
        "stayed away, as it must. A verdict leads to its case, with what was expected, what was found and the wire "
        f'log.</p></header><section class="apps">{"".join(map(_card, reports))}</section>'
        f'<ul class="legend">{legend}</ul>{table}{_checks(reports)}'
    )
    return _page("Zentalk client certification", body)


def _card(report: AppReport) -> str:
    failed = len(report.failed)
    total = len(report.results)
    state = "fail" if failed else "pass"
    text = f"{failed} of {total} cases failed" if failed else f"no failure in {total} cases"
    if not report.whole:
        text += "; the run was interrupted"
    counts = {
        v: sum(v == r.message for r in report.results) + sum(v == r.close for r in report.results) for v in VERDICTS
    }
    bar = "".join(f'<i class="{v}" style="flex-grow:{counts[v]}"></i>' for v in VERDICTS if counts[v])
    numbers = " · ".join(f"{counts[v]} {LABELS[v].lower()}" for v in VERDICTS if counts[v])
    clock = "its clock moved with the relay's" if report.clock == "virtual" else "on its own clock, in real time"
    said = f"{escape(shown(report.said))}, " if report.said and report.said != report.app else ""
    return (
        f'<article class="card {state}"><h2>{escape(report.app)}</h2><p class="state">{text}</p>'
        f'<div class="bar">{bar}</div><p class="dim">verdicts: {numbers}</p><p class="dim">{said}{clock}; '
        f"{instant(report.started_ms * 1000)[:19]} UTC, zentalk-sim {escape(shown(report.tool))}</p></article>"
    )


def _group(name: str, reports: Sequence[AppReport]) -> str:
    cases: dict[str, CaseResult] = {}
    for report in reports:
        for result in report.results:
            if result.group == name:
                cases.setdefault(result.id, result)
    if not cases:
        return ""
    width = 1 + 2 * len(reports)
    rows = [f'<tr class="group"><th colspan="{width}" scope="rowgroup">{escape(name)}</th></tr>']
    found = [{result.id: result for result in report.results} for report in reports]
    for case_id in sorted(cases, key=case_order):
        cells = "".join(_cells(r, by_id.get(case_id)) for r, by_id in zip(reports, found, strict=True))
        title = escape(shown(cases[case_id].title))
        rows.append(
            f'<tr id="case-{case_id}"><th scope="row"><span class="number">{case_id}</span> {title}</th>{cells}</tr>'
        )
    return "".join(rows)


def _cells(report: AppReport, result: CaseResult | None) -> str:
    if result is None:
        return '<td class="edge dim" colspan="2">not run</td>'
    href = f"{report.app}/{result.id}.html"
    close = "" if result.close == "not_exercised" else _chip(result.close, href)
    return f'<td class="edge">{_chip(result.message, href)}</td><td>{close or "<span class=dim>–</span>"}</td>'


def _checks(reports: Sequence[AppReport]) -> str:
    """Which checks were exercised by which cases, and which by none."""
    cases: dict[str, dict[str, None]] = {}
    for report in reports:
        for result in report.results:
            for check in result.exercised:
                cases.setdefault(check, {})[result.id] = None
    rows, never = [], []
    for kind in catalogue():
        if kind.side != "client":
            continue
        title = escape(kind.title())
        if kind.id not in cases:
            why = _WHY_NEVER.get(kind.id, "the cases that exercise it were not run, or did not get so far")
            never.append(f"<li><code>{kind.id}</code> {title}. <span class=dim>{escape(why)}.</span></li>")
            continue
        ids = sorted(cases[kind.id], key=case_order)
        links = ", ".join(f'<a href="#case-{one}">{one}</a>' for one in ids[:8])
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        row = f"<td><code>{kind.id}</code></td><td>{kind.citation}</td><td>{title}</td><td>{links}{more}</td>"
        rows.append(f"<tr>{row}</tr>")
    head = "<tr><th>Check</th><th>Source</th><th>Requirement</th><th>Exercised by</th></tr>"
    left = f"<h3>Exercised by no case</h3><ul>{''.join(never)}</ul>" if never else ""
    return (
        "<h2>Checks</h2><p>Besides its own expectation, every case's recording goes through these checks; one that is "
        "broken counts in the case that shows it.</p>"
        f'<div class="scroll"><table class="checks"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
        f"{left}"
    )


# --- a case ------------------------------------------------------------------------------------------


def case_page(report: AppReport, result: CaseResult, before: str | None, after: str | None) -> str:
    """One case of one app."""
    links = [f'<a href="../index.html#case-{result.id}">All cases</a>']
    links += [f'<a href="{before}.html">← {before}</a>'] if before else []
    links += [f'<a href="{after}.html">{after} →</a>'] if after else []
    findings = "".join(
        f"<li>{_chip(f.verdict)} <b>{f.part}</b> {escape(shown(f.text))}"
        + (f' <code class="dim">{escape(shown(f.check))}</code>' if f.check else "")
        + "</li>"
        for f in result.findings
    )
    body = (
        f'<nav>{" · ".join(links)}</nav><h1><span class="number">{result.id}</span> {escape(shown(result.title))}</h1>'
        f'<p class="dim">{escape(report.app)} · {escape(shown(result.group))} · {result.duration_s:g} s</p>'
        f'<dl class="verdicts"><dt>Message</dt><dd>{_chip(result.message)}</dd>'
        f"<dt>Close</dt><dd>{_chip(result.close)}</dd></dl>"
        f'<h2>Expected</h2><p class="expected">{escape(result.expectation)} '
        f'<span class="cite">{escape(shown(result.citation))}</span></p>'
        f"<h2>Found</h2>{f'<ul class=findings>{findings}</ul>' if findings else '<p>As expected.</p>'}"
        f"<h2>Wire log</h2>{_wire(result)}{_exercised(result)}"
    )
    return _page(f"{result.id} {result.title} – {report.app}", body)


def _exercised(result: CaseResult) -> str:
    if not result.exercised:
        return ""
    names = ", ".join(f"<code>{escape(shown(k))}</code> {n}×" for k, n in sorted(result.exercised.items()))
    return f'<h2>Checks put to the test</h2><p class="dim">{names}</p>'


def _wire(result: CaseResult) -> str:
    if not result.wire:
        return '<p class="dim">Nothing came to the relay.</p>'
    first = result.wire[0].get("t_ms", 0)
    rows = []
    for entry in result.wire:
        if entry.get("event") == "left_out":
            rows.append(f'<tr><td colspan="4" class="dim">… {entry.get("count")} entries left out …</td></tr>')
            continue
        rule = entry.get("rule")
        fired = (
            f' <span class="rule">rule: {escape(shown(str(rule.get("do"))))}</span>' if isinstance(rule, dict) else ""
        )
        since = _number(entry.get("t_ms")) - _number(first)
        rows.append(
            f'<tr class="{_side(entry)}"><td class="n">{since / 1000:.3f}</td><td>{_ARROWS[_side(entry)]}</td>'
            f"<td><b>{escape(shown(_name(entry)))}</b>{_id(entry)}{fired}</td><td>{_body(entry)}</td></tr>"
        )
    head = "<tr><th>s</th><th></th><th>What</th><th>With</th></tr>"
    note = '<p class="dim">Times are the relay\'s. → from the app, ← to the app.</p>'
    table = f'<table class="wire"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return f'{note}<div class="scroll">{table}</div>'


_ARROWS: Final = {"in": "→", "out": "←", "note": "·"}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _side(entry: dict[str, object]) -> str:
    if entry.get("event") in ("upgrade", "rest"):
        return "in"
    direction = str(entry.get("direction"))
    return direction if direction in ("in", "out") else "note"


def _name(entry: dict[str, object]) -> str:
    event = str(entry.get("event"))
    if event in ("frame_in", "frame_out"):
        return str(entry.get("type") or "what is no frame")
    if event == "upgrade":
        return f"upgrade: {entry.get('status', 'unanswered')}"
    if event == "rest":
        return f"{entry.get('method')} {entry.get('path')}: {entry.get('status', 'unanswered')}"
    if event == "closed":
        return f"close {entry.get('close_code')}"
    return event


def _id(entry: dict[str, object]) -> str:
    """The beginning of a frame's id, so that a message sent again is seen to be the same."""
    frame = entry.get("frame")
    found = frame.get("id") if isinstance(frame, dict) else None
    return f' <span class="number">{escape(shown(found)[:8])}</span>' if isinstance(found, str) else ""


def _body(entry: dict[str, object]) -> str:
    hidden = {"n", "t_ms", "event", "direction", "connection", "type", "rule", "status", "method", "path", "close_code"}
    frame = entry.get("frame")
    rest = {key: value for key, value in entry.items() if key not in hidden and key != "frame"}
    if isinstance(frame, dict):
        rest = {**{k: v for k, v in frame.items() if k != "type"}, **rest}
    if not rest:
        return ""
    payload = rest.get("payload", rest)
    line = msgspec.json.encode(payload).decode()
    short = line if len(line) <= 110 else line[:109] + "…"
    whole = msgspec.json.format(msgspec.json.encode(rest), indent=2).decode()
    return f"<details><summary><code>{escape(short)}</code></summary><pre>{escape(whole)}</pre></details>"
