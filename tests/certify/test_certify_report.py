"""The report: verdicts, files, pages, several apps side by side."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from mockrelay.certify import report as reports
from mockrelay.certify.pages import case_page, index_page
from mockrelay.certify.verdicts import AppReport, CaseResult, Finding, Verdict, part_of, worst
from mockrelay.certify.wire_log import MAX_ENTRIES, wire_log


def result(case_id: str = "1.1", message: Verdict = "pass", close: Verdict = "pass", *texts: str) -> CaseResult:
    findings = tuple(Finding("message", message, text) for text in texts)
    wire = ({"n": 1, "t_ms": 5, "event": "upgrade", "status": 101},)
    return CaseResult(case_id, "A case", "Connecting", "R-3.1", "All is well.", message, close, findings, wire, {}, 0.5)


def app(name: str = "web", *results: CaseResult, started_ms: int = 1) -> AppReport:
    return AppReport(1, name, "0.1", started_ms, "virtual", True, results or (result(),))


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        (("pass", "fail", "unsupported"), "fail"),
        (("pass", "non_strict", "informational"), "non_strict"),
        (("pass", "informational"), "informational"),
        (("pass", "unsupported"), "unsupported"),
        ((), "not_exercised"),
    ],
)
def test_the_worst_finding_is_the_verdict(verdicts: tuple[Verdict, ...], found: Verdict) -> None:
    assert worst(verdicts) == found


def test_message_and_close_are_judged_apart() -> None:
    findings = [Finding("message", "pass", ""), Finding("close", "fail", "came again")]
    assert (part_of(findings, "message"), part_of(findings, "close")) == ("pass", "fail")


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    report = app("web", result(), result("1.2", "fail", "pass", "no"))
    reports.write(tmp_path, report)
    assert reports.read_folder(tmp_path) == [report]


def test_junit_has_a_test_a_case_with_failures_and_what_was_left_out() -> None:
    report = app(
        "web", result(), result("1.2", "fail", "pass", "two <at> once"), result("1.3", "not_exercised", "not_exercised")
    )
    root = ElementTree.fromstring(reports.as_junit(report))
    suite = root[0]
    assert (root.get("failures"), suite.get("tests"), suite.get("skipped")) == ("1", "3", "1")
    assert [child.tag for test in suite for child in test] == ["failure", "skipped"]
    assert "two <at> once" in (suite[1][0].text or "")


def test_apps_are_columns_and_cases_are_rows(tmp_path: Path) -> None:
    both = reports.merged([app("web", result("1.1", "fail")), app("ios", result("1.2"))])
    reports.write_pages(tmp_path, both)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.index(">ios</th>") < page.index(">web</th>")
    assert 'href="web/1.1.html">Fail</a>' in page
    assert 'id="case-1.1"' in page
    assert page.count(">not run<") == 2
    assert "../index.html#case-1.2" in (tmp_path / "ios" / "1.2.html").read_text(encoding="utf-8")


def test_the_latest_report_of_an_app_counts() -> None:
    old, new = app("web", result("1.1", "fail"), started_ms=1), app("web", started_ms=2)
    assert reports.merged([new, old]) == [new]


def test_pages_of_cases_that_are_no_more_go(tmp_path: Path) -> None:
    reports.write_pages(tmp_path, [app("web", result("1.1"), result("1.2"))])
    reports.write_pages(tmp_path, [app("web", result("1.1"))])
    assert [page.name for page in (tmp_path / "web").iterdir()] == ["1.1.html"]


def test_nothing_from_an_app_is_markup() -> None:
    evil = "<script>alert(1)</script>"
    wire = ({"n": 1, "t_ms": 1, "event": "frame_in", "type": evil, "frame": {"id": evil, "payload": {evil: evil}}},)
    bad = msgspec.structs.replace(result("1.1", "fail", "pass", evil), wire=wire, exercised={evil: 1})
    report = msgspec.structs.replace(app("web", bad), said=evil, tool=evil)
    for page in (index_page([report]), case_page(report, bad, None, None)):
        assert "<script" not in page
        assert "default-src 'none'" in page


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "no report of certify"),
        (b"[]", "no report of certify"),
        (b"\xff", "no report of certify"),
        (msgspec.json.encode(app("../../etc")), "cannot be a file's name"),
        (msgspec.json.encode(app("web", result("../x"))), "is no case's number"),
    ],
)
def test_a_bad_report_is_named_and_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(reports.ReportError, match=f"bad.json: .*{text}"):
        reports.read_folder(tmp_path)


def test_a_long_wire_log_is_cut_in_its_middle_and_says_so() -> None:
    entries = [{"n": n, "t_ms": n, "event": "frame_in", "text": "x" * 500} for n in range(1_000)]
    shown = wire_log(entries)
    assert len(shown) == MAX_ENTRIES + 1
    gaps = [entry for entry in shown if entry["event"] == "left_out"]
    assert [gap["count"] for gap in gaps] == [1_000 - MAX_ENTRIES]
    assert shown[-1]["n"] == 999
    assert len(shown[0]["text"]) < 80
