"""Whether an event is what a match asks for, and if not, where it differs.

Rules and the journal share this: ``Matcher.differences`` is the one definition, and to match is to have none. ``nth``
and ``every`` count what has none, in order (``ordinal_difference``); chance is the ruleset's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.faults.reading import steps
from zentalk_sim.faults.rules import Match
from zentalk_sim.protocol.frames import ADDRESS_PATTERN, UUID_PATTERN

_CASELESS: Final = re.compile(f"{ADDRESS_PATTERN}|{UUID_PATTERN}")
_WEIGHT: Final = {"event": 3, "type": 3, "direction": 3, "method": 3, "path": 3}
"""An entry of another kind is farther from what was wanted than one of the kind with other values."""


class FaultEvent(Struct, frozen=True):
    """Something that happens, as rules see it. What an event does not have is None."""

    event: str
    now_us: int
    """The space's clock."""
    opened_us: int | None = None
    """When the connection opened (its upgrade was answered with 101)."""
    connection: int | str | None = None
    user: str | None = None
    """The address."""
    names: tuple[str, ...] = ()
    """What else the user is called."""
    device: str | None = None
    type: str | None = None
    payload: Any = None
    """Decoded, bytes as base64; None where it cannot be decoded, or where ``Ruleset.wants_payload`` says no."""
    method: str | None = None
    path: str | None = None
    """Without its query."""
    direction: str | None = None
    close_code: int | None = None
    rule: str | None = None
    comment: str | None = None
    """Of the rule that fired."""

    @classmethod
    def of_entry(
        cls, entry: Mapping[str, Any], *, names: Sequence[str] = (), opened_us: int | None = None
    ) -> FaultEvent:
        """A journal's entry, with the names of its user and its connection's opening, which an entry does not hold.

        An entry's ``rule`` may be the rule's id, or an object with ``id`` and ``comment``.
        """
        frame: Any = entry.get("frame")
        rule: Any = entry.get("rule")
        comment: Any = entry.get("comment")
        if isinstance(rule, Mapping):
            rule, comment = rule.get("id"), rule.get("comment")
        return cls(
            event=entry["event"],
            now_us=entry.get("t_ms", 0) * 1000,
            opened_us=opened_us,
            connection=entry.get("connection"),
            user=entry.get("user"),
            names=tuple(names),
            device=entry.get("device"),
            type=entry.get("type"),
            payload=frame.get("payload") if isinstance(frame, Mapping) else None,
            method=entry.get("method"),
            path=entry.get("path"),
            direction=entry.get("direction"),
            close_code=entry.get("close_code"),
            rule=rule,
            comment=comment,
        )


class Difference(Struct, frozen=True):
    """One way in which an event is not what was wanted; ``got`` is None also where there is nothing."""

    path: str
    wanted: Any
    got: Any


class Miss(Struct, frozen=True):
    """An event that does not match: its place in what was searched, and why."""

    index: int
    differences: tuple[Difference, ...]


class Matcher:
    """A match made ready to be held against many events."""

    def __init__(self, match: Match) -> None:
        self.match = match
        self._user = None if match.user is None else match.user.lower()
        self._connection = None if match.connection is None else str(match.connection)
        self._after_us = None if match.after_ms is None else match.after_ms * 1000
        self._payload = tuple(_leaves("", match.payload or {}))

    def holds(self, event: FaultEvent) -> bool:
        """Whether the event is all that the match says, ``nth``, ``every`` and ``probability`` aside."""
        return next(self._misses(event), None) is None

    def differences(self, event: FaultEvent) -> list[Difference]:
        """Every way in which the event is not what the match says; empty exactly where ``holds``."""
        return list(self._misses(event))

    def _misses(self, event: FaultEvent) -> Iterator[Difference]:
        match = self.match
        if match.event is not None and match.event != event.event:
            yield Difference("event", match.event, event.event)
        if match.type is not None and match.type != event.type:
            yield Difference("type", match.type, event.type)
        if self._user is not None and not self._is_user(event):
            yield Difference("user", match.user, event.names[0] if event.names else event.user)
        if match.device is not None and match.device.lower() != (event.device or "").lower():
            yield Difference("device", match.device, event.device)
        if self._connection is not None and (event.connection is None or self._connection != str(event.connection)):
            yield Difference("connection", match.connection, event.connection)
        if self._after_us is not None or event.event == "connected":
            yield from self._misses_of_time(event)
        yield from self._misses_elsewhere(event)
        for path, wanted in self._payload:
            got, is_there = _at(event.payload, path)
            if not is_there or not _equal(wanted, got):
                yield Difference(_shown("payload", path), wanted, got)

    def _is_user(self, event: FaultEvent) -> bool:
        return self.match.user in event.names or (event.user is not None and event.user.lower() == self._user)

    def _misses_of_time(self, event: FaultEvent) -> Iterator[Difference]:
        """``after_ms``. At ``connected`` it is an instant, at which the face asks again; elsewhere the time from it."""
        if event.opened_us is None:
            if self._after_us is not None:
                yield Difference("after_ms", self.match.after_ms, None)
            return
        elapsed_us = event.now_us - event.opened_us
        wanted_us = self._after_us or 0
        if elapsed_us < wanted_us or (event.event == "connected" and elapsed_us != wanted_us):
            yield Difference("after_ms", self.match.after_ms or 0, elapsed_us // 1000)

    def _misses_elsewhere(self, event: FaultEvent) -> Iterator[Difference]:
        match = self.match
        if match.method is not None and match.method != event.method:
            yield Difference("method", match.method, event.method)
        if match.path is not None and not _is_path(match.path, event.path):
            yield Difference("path", match.path, event.path)
        if match.direction is not None and match.direction != event.direction:
            yield Difference("direction", match.direction, event.direction)
        if match.close_code is not None and match.close_code != event.close_code:
            yield Difference("close_code", match.close_code, event.close_code)
        if match.rule is not None and match.rule not in (event.rule, event.comment):
            yield Difference("rule", match.rule, event.rule)


def ordinal_difference(match: Match, number: int) -> Difference | None:
    """How the ``number``-th, from 1, of what matches the rest falls short of ``nth`` and ``every``."""
    if match.nth is not None and number != match.nth:
        return Difference("nth", match.nth, number)
    if match.every is not None and number % match.every:
        return Difference("every", match.every, number)
    return None


def matching(events: Iterable[FaultEvent], match: Match) -> list[int]:
    """The places of the events that match, in order, with ``nth`` and ``every`` counted over all given."""
    matcher = Matcher(match)
    found: list[int] = []
    number = 0
    for index, event in enumerate(events):
        if matcher.holds(event):
            number += 1
            if ordinal_difference(match, number) is None:
                found.append(index)
    return found


def _weight(difference: Difference) -> int:
    weight = _WEIGHT.get(difference.path, 1)
    return weight + 2 if difference.got is None and weight > 1 else weight


def nearest_misses(events: Iterable[FaultEvent], match: Match, limit: int = 3) -> list[Miss]:
    """The events that come nearest to the match without being it: fewest differences first, then the earliest.

    A difference in what kind of event it is (event, type, method, path) counts as three, and as five where there is no
    such thing: who looks for a frame is told of frames before anything else.
    """
    matcher = Matcher(match)
    ranked: list[tuple[int, int, tuple[Difference, ...]]] = []
    number = 0
    for index, event in enumerate(events):
        differences = matcher.differences(event)
        if not differences:
            number += 1
            out_of_turn = ordinal_difference(match, number)
            if out_of_turn is None:
                continue
            differences = [out_of_turn]
        distance = sum(_weight(difference) for difference in differences)
        if len(ranked) < limit or distance < ranked[-1][0]:
            # Few are kept, so that a journal of 100 000 entries costs one pass and no memory.
            ranked.append((distance, index, tuple(differences)))
            ranked.sort(key=lambda miss: miss[:2])
            del ranked[limit:]
    return [Miss(index, differences) for _, index, differences in ranked]


# --- values ------------------------------------------------------------------------------------------


def _leaves(path: str, wanted: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The payload's wanted values by their steps; an object that is not empty stands for what is in it."""
    for name, value in wanted.items():
        yield from _below(steps(name), value)


def _below(at: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _below((*at, name), item)
    else:
        yield at, value


def _at(value: Any, path: tuple[str | int, ...]) -> tuple[Any, bool]:
    """What stands at a path, and whether anything does."""
    for step in path:
        is_item = isinstance(step, int) and isinstance(value, list | tuple) and step < len(value)
        is_member = isinstance(step, str) and isinstance(value, Mapping) and step in value
        if not is_item and not is_member:
            return None, False
        value = value[step]
    return value, True


def _shown(root: str, path: tuple[str | int, ...]) -> str:
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _equal(wanted: Any, got: Any) -> bool:
    """Equality of JSON values: true is not 1, and addresses and UUIDs have no case (R-1.2, R-6.1)."""
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, str) and isinstance(got, str):
        return wanted == got or (wanted.lower() == got.lower() and _CASELESS.match(wanted) is not None)
    if isinstance(wanted, list) and isinstance(got, list | tuple):
        return len(wanted) == len(got) and all(map(_equal, wanted, got))
    if isinstance(wanted, dict) and isinstance(got, Mapping):
        return wanted.keys() == got.keys() and all(_equal(item, got[name]) for name, item in wanted.items())
    return bool(wanted == got)


def _is_path(wanted: str, got: str | None) -> bool:
    if got is None:
        return False
    return got.startswith(wanted[:-1]) if wanted.endswith("*") else got == wanted
