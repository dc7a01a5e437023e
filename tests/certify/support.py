"""Certifying apps that run in this process: many at a time, each case's app and relay in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mockrelay.certify.case import Case, chosen
from mockrelay.certify.drive import LocalDrive
from mockrelay.certify.run import Outcome, Plan, Runner
from mockrelay.certify.scene import Settings
from mockrelay.certify.verdicts import CaseResult
from mockrelay.server import MockRelay, Options
from zentalk_sim.protocol.config import RelayConfig

QUICK = Settings(patience_s=1.5, settle_s=0.02)


def dev() -> RelayConfig:
    """The profile that certify serves."""
    found: RelayConfig = msgspec.convert({"upgrade": {"profile": "dev"}}, RelayConfig)
    return found


async def certified_all(
    apps: Mapping[str, tuple[Callable[[Any], Any], Sequence[Case]]], jobs: int, settings: Settings = QUICK
) -> dict[str, Outcome]:
    """Certify several apps at once on one relay; name → what it came to."""
    async with MockRelay(Options(config=dev(), port=0, http_port=0)) as relay:

        async def one(make: Callable[[Any], Any], cases: Sequence[Case]) -> Outcome:
            return await Runner(relay, Plan(cases, lambda: LocalDrive(make), settings, jobs=jobs)).run()

        found = await asyncio.gather(*(one(make, cases) for make, cases in apps.values()))
    return dict(zip(apps, found, strict=True))


def certified(make: Callable[[Any], Any], *ids: str, jobs: int = 40) -> dict[str, CaseResult]:
    """Certify one app by some cases, or by all; id → result."""
    outcome = asyncio.run(certified_all({"app": (make, chosen(ids))}, jobs))["app"]
    return {result.id: result for result in outcome.results}


def said(result: CaseResult) -> str:
    """What was found in a case, for the message of a failed test."""
    lines = [f"{f.part} {f.verdict} {f.check or ''} {f.text}" for f in result.findings]
    return f"{result.id} {result.title}: message {result.message}, close {result.close}\n  " + "\n  ".join(lines)
