"""A report of checks as text, JSON and JUnit XML. What came from the trace is escaped or shortened."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import msgspec

from zentalk_sim.checks.engine import Report
from zentalk_sim.checks.registry import Result

MARKS: Final = {"held": "held", "broken": "BROKEN", "not_exercised": "not exercised"}
_ORDER: Final = ("BROKEN", "warning", "held", "not exercised")
_TEXT_CHARACTERS: Final = 300


def shown(text: str) -> str:
    """A text of the trace's making, fit for a terminal, a page or XML: one line, no control characters, not long."""
    plain = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return plain if len(plain) <= _TEXT_CHARACTERS else plain[: _TEXT_CHARACTERS - 1] + "…"


def instant(t: int) -> str:
    """Unix µs as a time of day in UTC."""
    try:
        at = datetime.fromtimestamp(t // 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{t} µs"
    return f"{at:%Y-%m-%d %H:%M:%S}.{t % 1_000_000:06d}Z"


def verdict_of(result: Result) -> str:
    """The verdict in words; a ``should`` that is broken is a warning."""
    if result.verdict == "broken" and result.severity == "should":
        return "warning"
    return MARKS[result.verdict]


def lines_of(lines: tuple[int, ...]) -> str:
    """``line 3`` or ``lines 3, 9``."""
    if not lines:
        return "no line"
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


def summary(report: Report) -> str:
    """One line: how many held, broke, warned, were not exercised."""
    musts = sum(r.verdict == "broken" and r.severity == "must" for r in report.results)
    warnings = report.count("broken") - musts
    parts = [f"{report.count('held')} held", f"{musts} broken", f"{warnings} warnings"]
    return ", ".join(parts) + f", {report.count('not_exercised')} not exercised"


def as_text(report: Report, *, everything: bool = False) -> str:
    """A table: what broke, with its evidence, then what held; what was not exercised only where asked for."""
    rows = [r for r in report.results if everything or r.verdict != "not_exercised"]
    width = max((len(r.id) for r in rows), default=0)
    cited = max((len(r.citation) for r in rows), default=0)
    out: list[str] = []
    for result in sorted(rows, key=lambda r: (_ORDER.index(verdict_of(r)), r.id)):
        times = "" if result.verdict == "not_exercised" else f"{result.exercised}×"
        name = f"{result.id:<{width}}  {result.citation:<{cited}}"
        out.append(f"{verdict_of(result):<13}  {name}  {times:>6}  {result.title}")
        out.extend(f"    {instant(e.t)}  {lines_of(e.lines)}: {shown(e.message)}" for e in result.evidence)
        more = result.broken - len(result.evidence)
        if more > 0:
            out.append(f"    and {more} more")
    out.append("")
    out.append(f"{report.events} events, {report.frames} frames: {summary(report)}")
    for kind, count in sorted(report.passed_over.items()):
        out.append(f"passed over: {count} lines of kind {shown(kind)!r}, which this version does not know")
    return "\n".join(out) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """The report as what JSON can hold."""
    return {
        "held": report.held,
        "events": report.events,
        "frames": report.frames,
        "counts": {verdict: report.count(verdict) for verdict in MARKS},
        "passed_over": report.passed_over,
        "checks": msgspec.to_builtins(report.results),
    }


def as_junit(report: Report, name: str) -> bytes:
    """JUnit XML: a suite a side, a case a check; broken is a failure (a warning is printed), not exercised skipped."""
    musts = [r for r in report.results if r.verdict == "broken" and r.severity == "must"]
    root = Element("testsuites", name="zsim check", tests=str(len(report.results)), failures=str(len(musts)))
    for side in ("client", "relay"):
        results = [r for r in report.results if r.side == side]
        failures = sum(r.side == side for r in musts)
        skipped = sum(r.verdict == "not_exercised" for r in results)
        suite = SubElement(
            root,
            "testsuite",
            name=side,
            tests=str(len(results)),
            failures=str(failures),
            skipped=str(skipped),
            errors="0",
        )
        for result in results:
            case = SubElement(suite, "testcase", classname=f"{shown(name)}.{side}", name=result.id)
            if result.verdict == "not_exercised":
                SubElement(case, "skipped", message="not exercised")
            elif result.verdict == "broken":
                text = "\n".join(f"{lines_of(e.lines)}: {shown(e.message)}" for e in result.evidence)
                if result.severity == "must":
                    message = f"{result.title} ({result.citation}): broken {result.broken} times"
                    SubElement(case, "failure", message=message, type=result.citation).text = text
                else:
                    SubElement(case, "system-out").text = f"warning: {result.title} ({result.citation})\n{text}"
    indent(root)
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"
