"""The requirement checks over a run, in this process: every line of its trace is judged as it is written, none kept.

What the checks need is the whole trace (docs/checks.md). Writing and reading it takes several times as long as the run
alone; it changes nothing in the run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from zentalk_sim.checks.engine import Engine
from zentalk_sim.checks.registry import Result
from zentalk_sim.model.tracer import Tracer
from zentalk_sim.report.results import CheckResult
from zentalk_sim.trace.event_reader import read_header, read_line

ID: Final = "requirements"
"""The verdict on all of them together, in ``checks`` of a run's summary."""


class Requirements:
    """All checks over one run. ``tracer`` is the run's own, or one made for the checks where it has none.

    Raises ValueError for a tracer that keeps a sample only.
    """

    def __init__(self, tracer: Tracer | None) -> None:
        self._engine = Engine()
        self._number = 0
        self._config: Any = None
        if tracer is None:
            tracer = Tracer(self._read, full=True)
        elif tracer.full:
            tracer.tell(self._read)
        else:
            raise ValueError("`checks: [requirements]` needs the whole trace: have `trace` be full or none")
        self.tracer = tracer

    def _read(self, data: bytes) -> None:
        for line in data.splitlines(keepends=True):
            self._number += 1
            if self._number == 1:
                begin = read_header(line)
                self._config = begin.config
                self._engine.feed(begin)
            else:
                self._engine.feed(read_line(line, self._number, self._config))

    def results(self) -> list[CheckResult]:
        """The verdict on all, then each check whose requirement was broken, with its first breach.

        A ``should`` that was broken is counted as a warning, as `zsim check` does, and breaks nothing.
        """
        report = self._engine.report()
        broken = [result for result in report.results if result.verdict == "broken"]
        musts = [result for result in broken if result.severity == "must"]
        tested = len(report.results) - report.count("not_exercised")
        text = f"{tested} of {len(report.results)} checks put to the test, {len(musts)} broken"
        warnings = ", ".join(result.id for result in broken if result.severity == "should")
        if warnings:
            text += f"; warnings: {warnings}"
        return [CheckResult(ID, not musts, text), *(_found(result) for result in musts)]


def _found(result: Result) -> CheckResult:
    first = result.evidence[0]
    at = datetime.fromtimestamp(first.t // 1_000_000, UTC).strftime("%H:%M:%S") + f".{first.t % 1_000_000:06d}"
    return CheckResult(result.id, False, f"{result.broken}×, first at {at}: {first.message} ({result.citation})")
