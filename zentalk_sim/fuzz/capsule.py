"""A capsule: one failing trial in one file, with all that is needed to see it fail again.

JSON, indented for readers: the plan in full, the version, what was broken first with its evidence, the faults in
order, and the command that replays it. What a capsule says is used as data only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.fuzz.plan import Plan
from zentalk_sim.fuzz.trial import Outcome

FORMAT: Final = 1


class CapsuleError(Exception):
    """A file that is no capsule; the message begins with ``file:``."""


class Broken(Struct, frozen=True):
    """What was broken first."""

    check: str
    requirement: str
    citation: str
    message: str
    at_s: float
    evidence: tuple[str, ...] = ()
    traceback: str = ""


class Moment(Struct, frozen=True):
    """A fault or an act, and when."""

    at_s: float
    what: str


class Capsule(Struct, frozen=True):
    """One failing trial."""

    zentalk_capsule: int
    version: str
    seed: int
    replay: str
    broken: Broken
    timeline: tuple[Moment, ...]
    plan: Plan
    shrunk_in_trials: int = 0
    note: str = ""
    """What it was, where somebody has found out."""


def make(seed: int, plan: Plan, outcome: Outcome, trials: int, path: Path) -> Capsule:
    """The capsule of a failed trial, which will be kept at ``path``."""
    from zentalk_sim import __version__
    from zentalk_sim.model.world import START_US

    failure = outcome.failure
    assert failure is not None
    at_s = (failure.t_us - START_US) / 1e6
    broken = Broken(
        failure.id, failure.title, failure.citation, failure.message, at_s, failure.evidence, failure.traceback
    )
    timeline = tuple(Moment(at_us / 1e6, what) for at_us, what in outcome.timeline)
    return Capsule(FORMAT, __version__, seed, f"zsim fuzz --replay {path}", broken, timeline, plan, trials)


def write(capsule: Capsule, path: Path) -> None:
    """Keep a capsule. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(capsule), indent=2) + b"\n")


def read(path: Path) -> Capsule:
    """A capsule's file. Raises CapsuleError for what is none, and OSError."""
    data = path.read_bytes()
    try:
        found: Any = msgspec.json.decode(data, type=Capsule)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CapsuleError(f"{path}: not a capsule: {error}") from None
    if found.zentalk_capsule != FORMAT:
        raise CapsuleError(f"{path}: format {found.zentalk_capsule} is not known here; this version reads {FORMAT}")
    capsule: Capsule = found
    return capsule
