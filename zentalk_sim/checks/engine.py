"""Feeds events to the checks, one after another, and collects what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.checks.registry import Check, Result, catalogue
from zentalk_sim.checks.world import World
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.frame_events import FrameIn, FrameOut

Handler = Callable[[Any], None]
_KINDS: Final = {
    kind: f"on_{kind.__name__.lower()}" for kind in ev.AnyEvent.__args__ if kind not in (FrameIn, FrameOut)
}


class Report(Struct, frozen=True):
    """All results, in the order of the checks' names, and how much was read."""

    results: tuple[Result, ...]
    events: int
    frames: int
    passed_over: dict[str, int]
    """Lines of kinds not known here, by kind."""

    @property
    def held(self) -> bool:
        """No ``must`` is broken."""
        return not any(r.verdict == "broken" and r.severity == "must" for r in self.results)

    def count(self, verdict: str) -> int:
        """How many checks ended so."""
        return sum(r.verdict == verdict for r in self.results)


class Engine:
    """All checks over one trace; ``feed`` events in order, then ask for the ``report``."""

    def __init__(self, checks: Iterable[type[Check]] | None = None) -> None:
        self.world = World()
        self.checks = [kind(self.world) for kind in (catalogue() if checks is None else checks)]
        self._handlers: dict[str, list[Handler]] = {}
        self._relay_handlers: dict[str, list[Handler]] = {}
        self._events = 0
        self._frames = 0
        self._other: dict[str, int] = {}
        self._finished = False

    @property
    def frames(self) -> int:
        """Frames read so far."""
        return self._frames

    @property
    def has_breaches(self) -> bool:
        """Whether any check has found a breach so far."""
        return any(check.breaches for check in self.checks)

    def _of(self, name: str, *, relay_only: bool = False) -> list[Handler]:
        """Who listens to a name; ``relay_only`` where a fault stands between what the trace shows and the client."""
        handlers = self._relay_handlers if relay_only else self._handlers
        found = handlers.get(name)
        if found is None:
            checks = [check for check in self.checks if not relay_only or check.side == "relay"]
            found = [getattr(check, name) for check in checks if hasattr(check, name)]
            # Frame types come from the file: names nobody listens to are not kept without bound.
            if found or len(handlers) < 500:
                handlers[name] = found
        return found

    def feed(self, event: Any) -> None:
        """Take one event."""
        world = self.world
        kind = type(event)
        self._events += 1
        if kind in ev.INPUTS or kind is ev.Turn:
            for handle in self._of("on_group_end"):
                handle(event)
        world.prepare(event)
        if kind is FrameIn or kind is FrameOut:
            self._frames += 1
            side = "in" if kind is FrameIn else "out"
            faulted = world.conn(event.c).faulted
            for handle in self._of(f"{side}_any", relay_only=faulted):
                handle(event)
            if event.payload is not None:
                for handle in self._of(f"{side}_{event.type.lower()}", relay_only=faulted):
                    handle(event)
        else:
            if kind is ev.Other and len(self._other) < 100:
                self._other[event.kind] = self._other.get(event.kind, 0) + 1
            for handle in self._of(_KINDS[kind]):
                handle(event)
        world.settle(event)

    def report(self) -> Report:
        """What all checks found; nothing may be fed afterwards."""
        if not self._finished:
            self._finished = True
            for handle in self._of("on_group_end"):
                handle(None)
            for handle in self._of("on_finish"):
                handle(None)
        results = tuple(check.result() for check in self.checks)
        return Report(results, self._events, self._frames, dict(self._other))


def run_checks(events: Iterable[Any], checks: Iterable[type[Check]] | None = None) -> Report:
    """Feed events to all checks, or to those given."""
    engine = Engine(checks)
    for event in events:
        engine.feed(event)
    return engine.report()


def run_file(path: str | PathLike[str]) -> Report:
    """Check a recording or a trace. Raises TraceError (``file:line: message``), and OSError."""
    return run_checks(read_events(path))
