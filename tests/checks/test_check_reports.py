"""What ``zsim check`` prints and writes: table, JSON, JUnit, page, exit codes."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.checks.recorded_pair import living
from tests.checks.story import Story
from zentalk_sim.checks import catalogue, run_checks, run_file
from zentalk_sim.checks.html import as_html
from zentalk_sim.checks.render import as_text, shown
from zentalk_sim.cli import errors, zsim
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import read_events

_EVIL = "<script>alert(1)</script>\x1b[31m\u202e&\"'"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "good.jsonl"
    path.write_bytes(living().recording())
    return path


@pytest.fixture(scope="module")
def bad(good: Path) -> Path:
    """The same with a frame that no client may send, its type chosen by an enemy."""
    lines = good.read_bytes().splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if b'\\"PONG\\"' in line)
    wrong = json.loads(lines[index])
    frame = {**json.loads(wrong["data"]), "type": _EVIL}
    frame.pop("message_mac", None)
    lines[index] = json.dumps({**wrong, "data": json.dumps(frame)}).encode() + b"\n"
    path = good.with_name("bad.jsonl")
    # What the relay did afterwards answered a PONG: it is cut off.
    path.write_bytes(b"".join(lines[: index + 1]))
    return path


def _run(*arguments: str) -> int:
    return errors.run(zsim, ["check", *arguments], "zsim")


def test_all_held_ends_with_0(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(good)) == 0
    out, err = capsys.readouterr()
    assert "BROKEN" not in out
    assert "0 broken" in out.splitlines()[-1]
    assert err == ""


def test_a_broken_requirement_ends_with_99_and_shows_its_lines(
    bad: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_file(bad)
    assert [r.id for r in report.results if r.verdict == "broken"] == ["client.well_formed"]
    assert _run(str(bad)) == 0, "a should that is broken is a warning"
    assert _run(str(bad), "--strict") == 99
    lines = good.read_bytes().splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if line.startswith(b'{"e":"respond"'))
    shorter = tmp_path / "unanswered.jsonl"
    shorter.write_bytes(b"".join([*lines[:index], *lines[index + 1 :]]))
    capsys.readouterr()
    assert _run(str(shorter)) == 99
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("BROKEN")
    assert "relay.answers_requests" in out
    assert f"line {index}: a request without an answer" in out


def test_one_side_only(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(good), "--side", "relay", "--all", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [c["id"] for c in found["checks"]] == [kind.id for kind in catalogue() if kind.side == "relay"]
    assert found["held"] is True
    assert sum(found["counts"].values()) == len(found["checks"])


def test_the_table_leaves_out_what_was_not_exercised_unless_asked(good: Path) -> None:
    report = run_file(good)
    assert "not exercised " not in as_text(report)
    assert as_text(report, everything=True).count("\nnot exercised  ") == report.count("not_exercised")


def test_junit_can_be_parsed_and_counts_right(bad: Path, good: Path, tmp_path: Path) -> None:
    target = tmp_path / "checks.xml"
    assert _run(str(bad), "--junit", str(target)) == 0
    root = ElementTree.fromstring(target.read_bytes())
    cases = root.findall("./testsuite/testcase")
    assert [case.get("name") for case in cases] == [kind.id for kind in catalogue()]
    report = run_file(bad)
    assert len(root.findall(".//skipped")) == report.count("not_exercised")
    assert root.get("failures") == "0"
    (warned,) = root.findall(".//system-out")
    assert "unknown_type" in (warned.text or "")
    story = Story(list(read_events(good)))
    story.add(ev.Request(0, story.end_us, 900_001, "GET", "/", {}, None, None))
    from zentalk_sim.checks.render import as_junit

    failed = ElementTree.fromstring(as_junit(run_checks(story.events), _EVIL))
    (failure,) = failed.findall(".//failure")
    assert failure.get("type") == "R-6.6"
    assert failed.get("failures") == "1"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_is_self_contained_and_escapes_what_the_trace_holds(bad: Path, tmp_path: Path) -> None:
    target = tmp_path / "checks.html"
    assert _run(str(bad), "--html", str(target)) == 0
    page = target.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(page)
    assert "script" not in tags.tags
    assert tags.links == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert tags.tags.count("tr") == len(catalogue()) + 2
    assert "<script>" not in as_html(run_file(bad), _EVIL)


def test_the_terminal_gets_no_control_characters(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(str(bad))
    out = capsys.readouterr().out
    assert "alert(1)" in out
    assert not [c for c in out if ord(c) < 32 and c != "\n"]
    assert len(shown("x" * 1_000)) == 300


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("empty.jsonl", b"", ":1: the file is empty"),
        ("cut.jsonl", b'{"zentalk_trace":1}\n{"e":', ":2: the last line is cut off"),
    ],
)
def test_what_cannot_be_read_ends_with_2_and_one_line(
    tmp_path: Path, name: str, data: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert _run(str(tmp_path / name)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_run_folder_without_a_trace_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(tmp_path)) == 2
    assert "--trace full" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_said(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(str(good), "--junit", str(tmp_path / "nowhere" / "x.xml")) == 2
    assert "cannot be written" in capsys.readouterr().err
