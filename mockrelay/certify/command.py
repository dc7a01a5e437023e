"""What ``mockrelay certify`` does once its options are read; the exit code is its answer."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from mockrelay.certify import report as reports
from mockrelay.certify.case import Case
from mockrelay.certify.drive import Drive, Quit
from mockrelay.certify.drive_hand import HandDrive
from mockrelay.certify.drive_process import CommandDrive, Pool, ProcessDrive
from mockrelay.certify.run import Outcome, Plan, Runner
from mockrelay.certify.scene import Settings
from mockrelay.certify.verdicts import LABELS, AppReport, CaseResult
from mockrelay.server import MockRelay, Options
from zentalk_sim import __version__
from zentalk_sim.checks.render import shown
from zentalk_sim.protocol.config import RelayConfig

FAILED: Final = 99
INTERRUPTED: Final = 130
_COLOURS: Final = {"pass": "32", "fail": "1;31", "non_strict": "33", "informational": "36"}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The command line, read and checked."""

    app: str
    out: Path
    cases: tuple[Case, ...]
    drive: str | None = None
    drive_each: str | None = None
    keep_running: bool = False
    slow: bool = False
    jobs: int = 8
    timeout_s: float = 10.0
    patience_s: float | None = None
    """See ``scene.Settings``; None: 3, and 10 by hand."""
    merge: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    http_port: int = 0
    advertise: str | None = None
    tls: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None


def _drives(wishes: Wishes) -> tuple[Callable[[], Drive], Pool | None]:
    """What makes a case's drive; and the programs that are kept running, if any are."""
    if wishes.drive_each is not None:
        each = wishes.drive_each
        return (lambda: CommandDrive(each, wishes.timeout_s)), None
    if wishes.drive is None:
        hand = HandDrive()
        return (lambda: hand), None
    command = wishes.drive
    if wishes.keep_running:
        pool = Pool(command, wishes.timeout_s)
        return pool.take, pool
    return (lambda: ProcessDrive(command, wishes.timeout_s)), None


def rewriting(advertise: str | None) -> Callable[[str], str]:
    """Makes of a URL of the relay's one with the host by which the app reaches it."""
    if advertise is None:
        return str
    host = f"[{advertise}]" if ":" in advertise and not advertise.startswith("[") else advertise

    def rewrite(url: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=f"{host}:{parts.port}").geturl()

    return rewrite


def _options(wishes: Wishes) -> Options:
    defaults = RelayConfig()
    hosts = (*defaults.upgrade.hosts, *([wishes.advertise] if wishes.advertise else []))
    upgrade = msgspec.structs.replace(defaults.upgrade, profile="dev", hosts=hosts)
    return Options(
        config=msgspec.structs.replace(defaults, upgrade=upgrade),
        host=wishes.host,
        port=wishes.port,
        http_port=wishes.http_port,
        tls=wishes.tls or wishes.tls_cert is not None,
        tls_cert=wishes.tls_cert,
        tls_key=wishes.tls_key,
    )


class _Progress:
    """A line a case, as it ends."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty()

    def __call__(self, result: CaseResult) -> None:
        verdicts = "  ".join(self._verdict(v) for v in (result.message, result.close))
        print(f"{result.id:>5}  {verdicts}  {result.title}")
        for finding in result.findings:
            if finding.verdict in ("fail", "non_strict"):
                print(f"       {finding.part}: {shown(finding.text)}")
        sys.stdout.flush()

    def _verdict(self, verdict: str) -> str:
        text = f"{LABELS[verdict].lower():<13}"  # type: ignore[index]
        colour = _COLOURS.get(verdict, "90")
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


async def _certify(wishes: Wishes) -> tuple[Outcome, bool]:
    """Run the cases; what they came to, and whether all came to an end."""
    make_drive, pool = _drives(wishes)
    async with MockRelay(_options(wishes)) as relay:
        tls = relay.development_tls
        settings = Settings(
            patience_s=wishes.patience_s or (10.0 if wishes.drive is None and wishes.drive_each is None else 3.0),
            settle_s=0.1,
            rewrite=rewriting(wishes.advertise),
            ca_file=wishes.tls_cert or (None if tls is None else tls.cert_file),
        )
        plan = Plan(wishes.cases, make_drive, settings, wishes.jobs, wishes.slow, _Progress())
        runner = Runner(relay, plan)
        running = asyncio.create_task(runner.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
            except NotImplementedError:  # Windows: Ctrl-C comes as KeyboardInterrupt
                break
        try:
            await running
            return runner.outcome, True
        except (asyncio.CancelledError, Quit):
            return runner.outcome, False
        finally:
            if pool is not None:
                await pool.end()


def certify(wishes: Wishes) -> int:
    """Certify an app and write its report. Raises ReportError, and what keeps the relay from starting."""
    others = _others(wishes)
    started_ms = time.time_ns() // 1_000_000
    outcome, whole = asyncio.run(_certify(wishes))
    report = AppReport(
        1,
        wishes.app,
        __version__,
        started_ms,
        "virtual" if outcome.virtual else "real",
        whole,
        tuple(outcome.results),
        outcome.said,
    )
    reports.write(wishes.out, report)
    _write_all(wishes.out, [*others, report])
    _summary(report, wishes.out)
    if not whole:
        return INTERRUPTED
    return FAILED if report.failed else 0


def merge(wishes: Wishes) -> int:
    """Lay the reports of several folders side by side. Raises ReportError."""
    everything = reports.merged(_others(wishes))
    if not everything:
        raise reports.ReportError(f"{', '.join(map(str, wishes.merge))}: no report is there")
    for report in everything:
        reports.write(wishes.out, report)
    reports.write_pages(wishes.out, everything)
    for report in everything:
        _summary(report, wishes.out)
    return FAILED if any(report.failed for report in everything) else 0


def _others(wishes: Wishes) -> list[AppReport]:
    """The reports that lie in the folders already; read before anything is run, so that a bad one costs no run."""
    folders = [*wishes.merge, *([wishes.out] if wishes.out.is_dir() else [])]
    return [report for folder in folders for report in reports.read_folder(folder)]


def _write_all(out: Path, found: Sequence[AppReport]) -> None:
    everything = reports.merged(found)
    for report in everything:
        reports.write(out, report)
    reports.write_pages(out, everything)


def _summary(report: AppReport, out: Path) -> None:
    failed = report.failed
    count = len(report.results)
    text = f"{len(failed)} of {count} cases failed: {', '.join(failed)}" if failed else f"no failure in {count} cases"
    interrupted = "" if report.whole else " (interrupted: this is what was kept)"
    print(f"{report.app}: {text}{interrupted}; {out / 'index.html'}")


def listing(cases: Sequence[Case]) -> str:
    """All cases, a line each."""
    lines: list[str] = []
    group = ""
    for case in cases:
        if case.group != group:
            group = case.group
            lines.append(f"{'' if not lines else chr(10)}{group}")
        marks = " (slow)" if case.slow else ""
        lines.append(f"  {case.id:>5}  {case.title}{marks}  [{case.citation}]")
    return "\n".join(lines)
