"""Feeds events to the checks, one after another, and collects what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.checks.registry import Check, Result, catalogue
from zentalk_sim.checks.world import World
from zentalk_sim.trace import events as ev
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.frame_events import FrameIn, FrameOut

Handler = Callable[..., None]
_KINDS: Final = {
    kind: f"on_{kind.__name__.lower()}" for kind in ev.AnyEvent.__args__ if kind not in (FrameIn, FrameOut)
}
_MOST_NAMES: Final = 500
_BEGINS_GROUP: Final = frozenset((*ev.INPUTS, ev.Turn))


class _Listeners:
    """Who listens to frames of one type in one direction: to all of them, and to the well-formed; of all checks, and
    of the relay's alone."""

    __slots__ = ("all", "malformed", "malformed_of_relay", "of_relay")

    def __init__(self, checks: list[Check], side: str, kind: str) -> None:
        found = [
            (check.side, getattr(check, f"{side}_any"))
            for check in checks
            if hasattr(check, f"{side}_any") and _wants(getattr(check, f"{side}_types"), kind)
        ]
        self.malformed, self.malformed_of_relay = _both(found)
        name = f"{side}_{kind.lower()}"
        found += [(check.side, getattr(check, name)) for check in checks if hasattr(check, name)]
        self.all, self.of_relay = _both(found)


def _wants(names: frozenset[str] | None, name: str) -> bool:
    return names is None or name in names


def _both(found: Sequence[tuple[str, Handler]]) -> tuple[tuple[Handler, ...], tuple[Handler, ...]]:
    return tuple(handle for _, handle in found), tuple(handle for side, handle in found if side == "relay")


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
        self._always = [check.on_group_end for check in self.checks if check.always_at_group_end]
        self._of_kind = {kind: tuple(self._of(name)) for kind, name in _KINDS.items()}
        self._accepted = tuple(self._of("on_accepted"))
        self._in: dict[str, _Listeners] = {}
        self._out: dict[str, _Listeners] = {}
        self._notes: dict[str, tuple[Handler, ...]] = {}
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

    def _of(self, name: str) -> list[Handler]:
        return [getattr(check, name) for check in self.checks if hasattr(check, name)]

    def _listeners(self, kept: dict[str, _Listeners], side: str, kind: str) -> _Listeners:
        found = kept.get(kind)
        if found is None:
            found = _Listeners(self.checks, side, kind)
            # Frame types come from the file: they are not kept without bound.
            if len(kept) < _MOST_NAMES:
                kept[kind] = found
        return found

    def _note_listeners(self, name: str) -> tuple[Handler, ...]:
        found = self._notes.get(name)
        if found is None:
            checks = [check for check in self.checks if hasattr(check, "on_note") and _wants(check.notes, name)]
            found = tuple(check.on_note for check in checks)
            if len(self._notes) < _MOST_NAMES:
                self._notes[name] = found
        return found

    def feed(self, event: Any) -> None:
        """Take one event."""
        world = self.world
        kind = type(event)
        self._events += 1
        if kind in _BEGINS_GROUP:
            self._end_group(event)
        world.prepare(event)
        if kind is FrameIn or kind is FrameOut:
            self._frame(event, kind)
        elif kind is ev.Note:
            for handle in self._note_listeners(event.name):
                handle(event)
        else:
            if kind is ev.Other and len(self._other) < 100:
                self._other[event.kind] = self._other.get(event.kind, 0) + 1
            for handle in self._of_kind[kind]:
                handle(event)
        world.settle(event)

    def _frame(self, event: Any, kind: type) -> None:
        self._frames += 1
        side, kept = ("in", self._in) if kind is FrameIn else ("out", self._out)
        who = kept.get(event.type) or self._listeners(kept, side, event.type)
        # A fault may stand between what the trace shows and the client.
        faulted = self.world.conn(event.c).faulted
        if event.payload is None:
            handlers = who.malformed_of_relay if faulted else who.malformed
        else:
            handlers = who.of_relay if faulted else who.all
        for handle in handlers:
            handle(event)
        if event.type == "MESSAGE_ACK" and kind is FrameOut and event.payload is not None:
            send = self.world.send
            if send is not None and send.c == event.c and event.payload.message_id.lower() == send.id:
                for accept in self._accepted:
                    accept(send, event)

    def _end_group(self, following: Any) -> None:
        for handle in self._always:
            handle(following)
        world = self.world
        if world.awaiting:
            awaiting, world.awaiting = world.awaiting, []
            for check in awaiting:
                check.awaits_group_end = False
                check.on_group_end(following)

    def report(self) -> Report:
        """What all checks found; nothing may be fed afterwards."""
        if not self._finished:
            self._finished = True
            self._end_group(None)
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
