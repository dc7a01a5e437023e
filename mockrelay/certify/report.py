"""The folder of a report: a JSON and a JUnit file for each app, and pages over all apps whose JSON lies there.

The law of this file: what is read back is not trusted: it is validated, and a file that cannot be read is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import msgspec

from mockrelay.certify.verdicts import LABELS, AppReport, CaseResult
from zentalk_sim.checks.render import shown

APP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an app may be called: it becomes a file's name."""
_MAX_BYTES: Final = 512 << 20


class ReportError(Exception):
    """A report that cannot be read or written; one line."""


def write(folder: Path, report: AppReport) -> None:
    """Keep an app's results in a folder. Raises ReportError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / f"{report.app}.json", msgspec.json.format(msgspec.json.encode(report), indent=1))
        _replace(folder / f"{report.app}.junit.xml", as_junit(report))
    except OSError as error:
        raise ReportError(f"--out: {error.filename or folder}: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole, so that an interruption leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    os.replace(draft, path)


def read_folder(folder: Path) -> list[AppReport]:
    """The reports of a folder, by the names of their apps. Raises ReportError."""
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder")
    return [read(path) for path in sorted(folder.glob("*.json"))]


def read(path: Path) -> AppReport:
    """One app's report. Raises ReportError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReportError(f"{path}: larger than {_MAX_BYTES >> 20} MiB")
        report = msgspec.json.decode(path.read_bytes(), type=AppReport)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ReportError(f"{path}: no report of certify: {error}") from None
    if not APP_NAME.fullmatch(report.app):
        raise ReportError(f"{path}: the app's name {report.app[:80]!r} cannot be a file's name")
    for result in report.results:
        if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", result.id):
            raise ReportError(f"{path}: {result.id[:80]!r} is no case's number")
    return report


def merged(reports: Sequence[AppReport]) -> list[AppReport]:
    """One report an app, the latest where there are several, in the order of their names."""
    latest: dict[str, AppReport] = {}
    for report in sorted(reports, key=lambda report: report.started_ms):
        latest[report.app] = report
    return [latest[app] for app in sorted(latest)]


def write_pages(folder: Path, reports: Sequence[AppReport]) -> None:
    """The index and the case pages of these apps. Raises ReportError."""
    from mockrelay.certify.pages import case_page, index_page

    try:
        for report in reports:
            pages = folder / report.app
            pages.mkdir(parents=True, exist_ok=True)
            ids = {f"{result.id}.html" for result in report.results}
            for old in pages.glob("*.html"):
                if old.name not in ids and re.fullmatch(r"[0-9.]+\.html", old.name):
                    old.unlink()
            for at, result in enumerate(report.results):
                before = report.results[at - 1].id if at else None
                after = report.results[at + 1].id if at + 1 < len(report.results) else None
                _replace(pages / f"{result.id}.html", case_page(report, result, before, after).encode())
        _replace(folder / "index.html", index_page(reports).encode())
    except OSError as error:
        raise ReportError(f"--out: {error.filename or folder}: {error.strerror}") from None


def as_junit(report: AppReport) -> bytes:
    """JUnit XML: a suite for the app, a test for each case."""
    failed = len(report.failed)
    skipped = sum(_skipped(result) for result in report.results)
    count = str(len(report.results))
    suites = Element("testsuites", name=f"certify {report.app}", tests=count, failures=str(failed))
    suite = SubElement(
        suites, "testsuite", name=report.app, tests=count, failures=str(failed), skipped=str(skipped), errors="0"
    )
    for result in report.results:
        name = f"{result.id} {result.title}"
        test = SubElement(suite, "testcase", classname=f"{report.app}.{result.group}", name=name)
        test.set("time", f"{result.duration_s:.3f}")
        said = [shown(finding.text) for finding in result.findings]
        if result.failed:
            message = f"message {LABELS[result.message]}, close {LABELS[result.close]}"
            SubElement(test, "failure", message=message).text = "\n".join([*said, f"expected: {result.expectation}"])
        elif _skipped(result):
            SubElement(test, "skipped", message="; ".join(said))
        elif said:
            SubElement(test, "system-out").text = "\n".join(said)
    indent(suites)
    found: bytes = tostring(suites, encoding="utf-8", xml_declaration=True)
    return found


def _skipped(result: CaseResult) -> bool:
    return not result.failed and result.message in ("unsupported", "not_exercised")
