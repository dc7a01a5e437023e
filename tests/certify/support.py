"""Certifying apps that run in this process: many at a time, each case's app and relay in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mockrelay.certify.case import Case, chosen
from mockrelay.certify.run import Outcome, Plan, Runner
from mockrelay.certify.scene import Settings
from mockrelay.certify.verdicts import CaseResult
from mockrelay.server import MockRelay, Options
from tests.certify.in_process import HANGS_S, StillDrive
from tests.certify.still_loop import run_still
from zentalk_sim.protocol.config import RelayConfig

PATIENT = Settings(limit_s=HANGS_S)
"""No verdict in this process depends on real time: a case knows when nothing more can come."""


def dev() -> RelayConfig:
    """The profile that certify serves."""
    found: RelayConfig = msgspec.convert({"upgrade": {"profile": "dev"}}, RelayConfig)
    return found


async def certified_all(
    apps: Mapping[str, tuple[Callable[[Any], Any], Sequence[Case]]], jobs: int, settings: Settings = PATIENT
) -> dict[str, Outcome]:
    """Certify several apps at once on one relay; name → what it came to."""
    async with MockRelay(Options(config=dev(), port=0, http_port=0)) as relay:

        async def one(make: Callable[[Any], Any], cases: Sequence[Case]) -> Outcome:
            return await Runner(relay, Plan(cases, lambda: StillDrive(make, relay), settings, jobs=jobs)).run()

        found = await asyncio.gather(*(one(make, cases) for make, cases in apps.values()))
    return dict(zip(apps, found, strict=True))


def certified(make: Callable[[Any], Any], *ids: str, jobs: int = 40) -> dict[str, CaseResult]:
    """Certify one app by some cases, or by all; id → result."""
    outcome = run_still(certified_all({"app": (make, chosen(ids))}, jobs))["app"]
    return {result.id: result for result in outcome.results}


def said(result: CaseResult) -> str:
    """What was found in a case, for the message of a failed test."""
    lines = [f"{f.part} {f.verdict} {f.check or ''} {f.text}" for f in result.findings]
    return f"{result.id} {result.title}: message {result.message}, close {result.close}\n  " + "\n  ".join(lines)
