"""Runs cases: each in a space of its own, many at a time; what the case, the checks and the connection's end say.

The law of this file: a case always comes to a result, whatever the app and its drive program do, and what has come to
a result is kept when the run is interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mockrelay.certify.case import Case
from mockrelay.certify.drive import Drive, DriveError, Json, Quit, Unsupported
from mockrelay.certify.scene import ENDS, Over, Settings, Someone
from mockrelay.certify.stage import Stage, said_end
from mockrelay.certify.verdicts import CaseResult, Finding, Part, Verdict, part_of
from mockrelay.certify.wire_log import wire_log
from mockrelay.clock import MovableClock
from mockrelay.http.relay_routes import merged_config
from zentalk_sim.checks.engine import run_checks
from zentalk_sim.checks.registry import Result, catalogue
from zentalk_sim.trace.event_reader import TraceError, read_events

if TYPE_CHECKING:
    from mockrelay.server import MockRelay

CONFIG: Final[Json] = {
    "limits": {"connection_rate": "off", "connections_per_ip": "off", "auth_attempts": "off", "send_message": "off"}
}
"""A case provokes more attempts than the limits allow; where limits matter a case sets its own."""
CLOSE_CHECKS: Final = (
    "client.backoff",
    "client.backoff_growth",
    "client.backoff_jitter",
    "client.stop_on_close",
    "client.wait_after_4002",
    "client.token_after_4001",
)
"""Checks that speak of how a connection ended and what followed; all others speak of messages."""
_log: Final = logging.getLogger("mockrelay")


@dataclass
class Plan:
    """What is to be run, and how."""

    cases: Sequence[Case]
    make_drive: Callable[[], Drive]
    settings: Settings = field(default_factory=Settings)
    jobs: int = 8
    slow: bool = False
    """Whether to run what takes long on an app's own clock."""
    on_result: Callable[[CaseResult], None] = lambda _: None
    on_begin: Callable[[Case], None] = lambda _: None


@dataclass
class Outcome:
    """What a run came to; filled as it goes, so that an interruption loses nothing."""

    results: list[CaseResult] = field(default_factory=list)
    virtual: bool = False
    said: str = ""
    """What the app calls itself."""


class Runner:
    """A run of cases against one app."""

    def __init__(self, relay: MockRelay, plan: Plan) -> None:
        self.relay = relay
        self.plan = plan
        self.outcome = Outcome()
        self._who = Someone()

    async def run(self) -> Outcome:
        """Run all cases; on cancellation the drives are stopped and ``outcome`` holds what was done.

        Raises Quit.
        """
        gate = asyncio.Semaphore(self.plan.jobs)
        try:
            async with asyncio.TaskGroup() as group:
                for case in self.plan.cases:
                    group.create_task(self._one(case, gate))
        except BaseExceptionGroup as failures:
            quits, _ = failures.split(Quit)
            if quits is None:
                raise
            raise Quit from None
        finally:
            order = {case.id: at for at, case in enumerate(self.plan.cases)}
            self.outcome.results.sort(key=lambda result: order[result.id])
        return self.outcome

    async def _one(self, case: Case, gate: asyncio.Semaphore) -> None:
        async with gate:
            self.plan.on_begin(case)
            result = await self.case(case)
        self.outcome.results.append(result)
        self.plan.on_result(result)

    # --- one case ------------------------------------------------------------------------------------

    async def case(self, case: Case) -> CaseResult:
        """Run one case to its result."""
        began_s = time.monotonic()
        drive = self.plan.make_drive()
        try:
            try:
                await drive.start(case.id)
                said = await _hello(drive, case)
            except DriveError as error:
                return _result(case, [_finding("fail", str(error))], began_s)
            virtual = said.get("clock") == "virtual"
            self.outcome.virtual = self.outcome.virtual or virtual
            self.outcome.said = self.outcome.said or str(said.get("name") or "")[:100]
            if (why := _passed_over(case, virtual, self.plan.slow)) is not None:
                return _result(case, [_finding("not_exercised", why)], began_s)
            return await self._staged(case, drive, said, virtual, began_s)
        finally:
            await drive.stop()

    async def _staged(self, case: Case, drive: Drive, said: Json, virtual: bool, began_s: float) -> CaseResult:
        spaces = self.relay.spaces
        config = merged_config(merged_config(spaces.default.initial_config, CONFIG), case.config)
        space = spaces.create(config, clock=MovableClock(scale=0 if virtual else 1))
        try:
            stage = Stage(case, space, drive, self.plan.settings, self._who, virtual=virtual)
            stage.publish_keys(stage.bob)
            space.recordings.start()
            reports = said.get("reports")
            stage.reports = tuple(map(str, reports)) if isinstance(reports, list) else ()
            await self._play(stage)
            recorder = space.driver.recorder
            assert recorder is not None
            path = recorder.path
            space.recordings.stop()
            exercised = await asyncio.to_thread(_check, path, case, stage.findings)
            return _result(case, stage.findings, began_s, wire_log(stage.log), exercised)
        finally:
            spaces.delete(space)

    async def _play(self, stage: Stage) -> None:
        """The case and its last step; whatever happens becomes a finding."""
        limit_s = stage.settings.limit_s + 2 * stage.case.takes_s + (3600 if stage.drive.by_hand else 0)
        try:
            async with asyncio.timeout(limit_s):
                for action in stage.case.needs:
                    if not stage.can(action):
                        raise Unsupported(action)
                await stage.case.body(stage)
                await _finish(stage)
        except Over:
            pass
        except Unsupported as error:
            stage.find("unsupported", str(error))
        except DriveError as error:
            stage.find("fail", str(error))
        except TimeoutError:
            stage.find("fail", f"the case did not come to its end within {limit_s:g} s")
        except Exception as error:
            # One case must not take the others' results with it.
            _log.exception("case %s failed by itself", stage.case.id)
            stage.find("fail", f"a fault of this program, not of the app: {type(error).__name__}: {error}")


async def _hello(drive: Drive, case: Case) -> Json:
    try:
        return await drive.act("hello", protocol=1, case=case.id, title=case.title)
    except Unsupported:
        return {}


def _passed_over(case: Case, virtual: bool, slow: bool) -> str | None:
    """Why a case is not run; None where it is."""
    if virtual:
        return None
    if case.app_clock:
        return f"takes {case.takes_s / 3600:.1f} hours of the app's own clock, which cannot be moved"
    if case.slow and not slow:
        return f"takes {case.takes_s:g} s of the app's own clock; run it with --slow"
    return None


async def _finish(stage: Stage) -> None:
    """The last step of a case: the application closes, if that has not been judged already."""
    judged = any(finding.part == "close" for finding in stage.findings)
    ends = stage.ends()
    if ends and not stage.case.ends:
        stage.find("fail", f"amid the case {said_end(ends[0])}", "close")
        return
    if stage.connection() is None:
        return
    try:
        await stage.act("close")
    except Unsupported as error:
        if not judged:
            stage.find("unsupported", str(error), "close")
        return
    await stage.wait(lambda: len(stage.ends()) > len(ends), 1.0 if judged else None)
    if not judged:
        _judge_close(stage, stage.ends()[len(ends) :])


def _judge_close(stage: Stage, ends: list[Json]) -> None:
    if not ends:
        stage.find("fail", "the application closed, and the connection stands", "close")
        return
    code = ends[0].get("close_code")
    if ends[0]["event"] == ENDS[1]:
        stage.find("non_strict", "the app dropped the connection without a closing handshake", "close")
    elif ends[0].get("direction") == "out":
        stage.find("fail", said_end(ends[0]), "close")
    elif code in (1001, 1005):
        stage.find("non_strict", f"the app closed with {code}; 1000 is a normal close", "close")
    else:
        stage.judge(code == 1000, f"the app closed with {code}, not with 1000", "close")


# --- checks ------------------------------------------------------------------------------------------


def _check(path: str, case: Case, findings: list[Finding]) -> dict[str, int]:
    """Run the client's checks over the case's recording; how often each was exercised."""
    checks = [kind for kind in catalogue() if kind.side == "client"]
    try:
        report = run_checks(read_events(path), checks)
    except (TraceError, OSError) as error:
        findings.append(_finding("informational", f"the recording cannot be checked: {error}"))
        return {}
    for result in report.results:
        if result.verdict == "broken" and result.id not in case.ignores:
            findings.extend(_of_check(result))
    return {result.id: result.exercised for result in report.results if result.exercised}


def _of_check(result: Result) -> list[Finding]:
    part: Part = "close" if result.id in CLOSE_CHECKS else "message"
    verdict: Verdict = "fail" if result.severity == "must" else "non_strict"
    return [
        Finding(part, verdict, f"{result.title}: {evidence.message}", evidence.t // 1000, result.id)
        for evidence in result.evidence[:2]
    ]


def _finding(verdict: Any, text: str) -> Finding:
    return Finding("message", verdict, text)


def _result(
    case: Case,
    findings: list[Finding],
    began_s: float,
    wire: tuple[Json, ...] = (),
    exercised: dict[str, int] | None = None,
) -> CaseResult:
    return CaseResult(
        case.id,
        case.title,
        case.group,
        case.citation,
        case.expectation,
        part_of(findings, "message"),
        part_of(findings, "close"),
        tuple(finding for finding in findings if finding.text),
        wire,
        exercised or {},
        round(time.monotonic() - began_s, 3),
    )


__all__ = ["CLOSE_CHECKS", "Outcome", "Plan", "Runner"]
