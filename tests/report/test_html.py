"""`report.html`: one page, nothing loaded from elsewhere, all text of the run escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from tests.report.synthetic import START_US, Storm, empty_run
from zentalk_sim.report import load
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.html import render
from zentalk_sim.report.narrative import ASSUMPTIONS, what_happened
from zentalk_sim.report.results import CheckResult, FaultSpan, Results, ThresholdResult
from zentalk_sim.report.summary import summarise

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"' & </style></title>"
VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.fixture(scope="module")
def page(run_folder: Path) -> Page:
    return Page((run_folder / "report.html").read_text(encoding="utf-8"))


def hostile_results() -> Results:
    results, _ = empty_run(HOSTILE)
    histogram = Histogram()
    histogram.record(1)
    return msgspec.structs.replace(
        results,
        description=HOSTILE,
        question=HOSTILE,
        expectation=HOSTILE,
        experiment={HOSTILE: HOSTILE},
        counts={HOSTILE: 1, f"copies.dropped.{HOSTILE}": 2, f"rate_limited.{HOSTILE}": 3},
        metrics={HOSTILE: histogram, f"rtt_ms.{HOSTILE}": histogram},
        thresholds=[ThresholdResult(HOSTILE, False, HOSTILE)],
        checks=[CheckResult(HOSTILE, True, HOSTILE)],
        faults=[FaultSpan(HOSTILE, START_US, START_US + 1)],
        assumptions=[HOSTILE],
        digest=HOSTILE,
    )


def test_the_page_tells_what_was_asked_and_what_happened(page: Page, storm: Storm) -> None:
    results = storm.results
    for text in (results.description, results.question, results.expectation, *ASSUMPTIONS):
        assert text in page.text
    for sentence in what_happened(results, summarise(results)):
        assert sentence in page.text
    assert "✗ 1 of 3 thresholds and checks broken" in page.text


def test_the_page_tells_how_to_reproduce_it(page: Page, storm: Storm) -> None:
    assert storm.results.digest in page.text
    assert "zsim run experiment.yaml --seed 7" in page.text
    assert "zsim run experiments/storm.yaml --seed 7" in page.text
    assert re.search(r"zentalk-sim \d+\.\d+", page.text)
    assert "3.21 s of real time" in page.text


def test_the_page_must_load_nothing_and_run_nothing(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policies = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0]
    assert "default-src 'none'" in policies[0]


def test_every_picture_is_inside_and_told_in_words(page: Page) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 8
    assert all((image["alt"] or "").endswith(".") for image in images)
    assert any("Connected devices: at most 120" in (image["alt"] or "") for image in images)


def test_the_page_follows_light_and_dark_and_prints(run_folder: Path) -> None:
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_text_must_stay_text(run_folder: Path) -> None:
    results = hostile_results()
    manifest = {"command": HOSTILE, "platform": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    page = Page(render(results, summarise(results), manifest, []))
    assert {tag for tag, _ in page.tags} & {"script", "img"} == set()
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(HOSTILE) >= 15


def test_a_hostile_name_must_stay_text_in_a_notebook() -> None:
    from zentalk_sim.report.run import Run

    page = Page(Run(hostile_results(), None)._repr_html_())
    assert {tag for tag, _ in page.tags} & {"script", "img"} == set()
    assert HOSTILE in page.text


def test_a_notebook_sees_metrics_counts_and_verdicts(run_folder: Path) -> None:
    page = Page(load(run_folder)._repr_html_())
    for words in ("Delivery latency", "by push", "messages sent", "✗ broken", "✓ held"):
        assert words in page.text


def test_an_empty_run_says_so(tmp_path: Path) -> None:
    results, _ = empty_run()
    page = Page(render(results, summarise(results), {}, []))
    for words in ("No threshold or check was set", "None was recorded.", "No message was sent.", "states no question"):
        assert words in page.text


class TestSentences:
    """What happened, in sentences."""

    def test_a_storm(self, storm: Storm) -> None:
        told = what_happened(storm.results, summarise(storm.results))
        assert told[0].startswith("In 240 s of simulated time, 120 devices tried ")
        assert told[1] == "Faults: crash node 1 at 60 s for 30 s."
        assert told[2].startswith("Of the 40 lost connections that were back, half took at most ")
        assert "Of 480 messages sent, 480 were acknowledged." in told
        assert re.search(
            r"copies that were shown, half took at most [\d.,]+ ms, .*; \d+ were not shown at the end\.$", told[4]
        )

    def test_losses_are_told(self) -> None:
        results, _ = empty_run()
        results.counts = {"copies.dropped.overflow": 3, "copies.dropped.expired": 4, "clients.gave_up": 2}
        results.counts |= {"messages.sent": 9, "messages.acked": 5, "messages.failed": 3, "messages.unacked": 1}
        results.censored = {"reconnect_time_s": 2}
        results.metrics = {"reconnect_time_s": Histogram()}
        told = what_happened(results, summarise(results))
        assert told[1:] == [
            "No lost connections were back; 2 were not back at the end.",
            "Of 9 messages sent, 5 were acknowledged, 3 given up, 1 still waiting at the end.",
            "The relay dropped 7 copies: expired 4, overflow 3.",
            "2 times a device gave up connecting.",
        ]

    def test_an_instant_and_an_endless_fault(self) -> None:
        results, _ = empty_run()
        results.faults = [FaultSpan("reset", START_US, START_US), FaultSpan("crash", START_US + 1_000_000)]
        told = what_happened(results, summarise(results))
        assert told[1] == "Faults: reset at 0 s; crash at 1 s."
        results.faults *= 3
        assert what_happened(results, summarise(results))[1] == "6 faults struck; they are listed below."
