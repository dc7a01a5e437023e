"""What a case came to: two verdicts, one for the messages and one for how connections ended, each with its reasons.

The law of this file: a verdict is the worst of its findings, so that nothing found later can hide what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, get_args

from msgspec import Struct

Verdict = Literal["pass", "fail", "non_strict", "informational", "unsupported", "not_exercised"]
"""pass: as required. fail: not. non_strict: a ``should`` is not kept, or another way was found that the specification
allows. informational: something to know. unsupported: the app cannot be told to do it. not_exercised: it did not come
to that."""
Part = Literal["message", "close"]

VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
_WORST_FIRST: Final[tuple[Verdict, ...]] = (
    "fail",
    "unsupported",
    "non_strict",
    "informational",
    "pass",
    "not_exercised",
)
LABELS: Final[dict[Verdict, str]] = {
    "pass": "Pass",
    "fail": "Fail",
    "non_strict": "Non-strict",
    "informational": "Informational",
    "unsupported": "Unsupported",
    "not_exercised": "Not exercised",
}


class Finding(Struct, frozen=True):
    """One thing that was found, in a sentence."""

    part: Part
    verdict: Verdict
    text: str
    t_ms: int | None = None
    """The relay's time, where the finding has one."""
    check: str | None = None
    """The check of ``zentalk_sim.checks`` that found it."""


class CaseResult(Struct, frozen=True):
    """What became of one case."""

    id: str
    title: str
    group: str
    citation: str
    expectation: str
    message: Verdict
    close: Verdict
    findings: tuple[Finding, ...]
    wire: tuple[dict[str, Any], ...]
    """The journal's entries of the app's connections and requests, tokens taken out."""
    exercised: dict[str, int]
    """Check → how often this case put it to the test."""
    duration_s: float
    """Of real time."""

    @property
    def failed(self) -> bool:
        """Whether either verdict is ``fail``."""
        return "fail" in (self.message, self.close)


class AppReport(Struct, frozen=True):
    """All cases of one app, as ``APP.json`` holds it."""

    certify: Literal[1]
    """The format's number."""
    app: str
    tool: str
    """The version that made it."""
    started_ms: int
    clock: str
    """``virtual`` where the app's clock was moved with the relay's, else ``real``."""
    whole: bool
    """Whether all cases that were asked for came to an end."""
    results: tuple[CaseResult, ...]
    said: str = ""
    """What the app calls itself."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The ids of the cases that failed."""
        return tuple(result.id for result in self.results if result.failed)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that several come to."""
    return min(verdicts, key=_WORST_FIRST.index, default="not_exercised")


def part_of(findings: Iterable[Finding], part: Part) -> Verdict:
    """The verdict of one part of a case."""
    return worst(finding.verdict for finding in findings if finding.part == part)


def case_order(case_id: str) -> tuple[int, ...]:
    """``3.10`` after ``3.9``."""
    return tuple(int(number) for number in case_id.split("."))
