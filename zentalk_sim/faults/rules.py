"""Rules as typed records, read from what JSON or YAML holds and written back to it.

Reading refuses what could never fire, and every name that is none, with all faults at once (RuleFaults). Only
``{"match", "action", "times"?, "comment"?}`` is a rule; its id and counters belong to the ruleset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from zentalk_sim.faults import reading
from zentalk_sim.faults.reading import WRONG, Read, Reader, within
from zentalk_sim.faults.verdicts import ACTIONS, Action, Pass, name_of
from zentalk_sim.faults.vocabulary import (
    ACTIONS_AT,
    EVENTS,
    FIELDS_AT,
    FRAME_TYPES,
    JOURNAL_EVENTS,
    events_of_action,
    events_of_type,
    quoted,
)


class Match(Struct, frozen=True, omit_defaults=True):
    """What an event must be; everything that is said must hold. None: not said."""

    event: str | None = None
    """One of ``vocabulary.EVENTS``. Not said: every event at which the action can be carried out."""
    type: str | None = None
    user: str | None = None
    """A name, or an address in any case."""
    device: str | None = None
    connection: int | str | None = None
    nth: int | None = None
    """Only the nth, counted from 1, of what matches the rest."""
    every: int | None = None
    """Only each of this many, counted from 1, of what matches the rest."""
    probability: float | None = None
    payload: dict[str, Any] | None = None
    """Path, relative to the payload, → value. An object as the value stands for the paths below it."""
    after_ms: int | None = None
    """By the space's clock since the connection's opening; at ``connected``, that long after it."""
    method: str | None = None
    """HTTP method of a REST call."""
    path: str | None = None
    """Path of a REST call, without its query; ``*`` at its end stands for any ending."""
    direction: str | None = None
    """In a journal: ``in`` or ``out``."""
    close_code: int | None = None
    """In a journal."""
    rule: str | None = None
    """In a journal: the id or the comment of the rule that fired."""


class Rule(Struct, frozen=True, omit_defaults=True):
    """One fault rule."""

    match: Match
    action: Action
    times: int | None = None
    """How often it fires at most; then it is as if it were not there."""
    comment: str | None = None
    id: str = ""
    """Given by the ruleset."""

    @property
    def events(self) -> tuple[str, ...]:
        """The events at which this rule can fire."""
        return _reach(self.match, name_of(self.action))


_RULE_FIELDS: Final = ("match", "action", "times", "comment")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_MATCH_READERS: Final[dict[str, Read]] = {
    "event": reading.one_of(EVENTS, "event"),
    "type": reading.one_of(FRAME_TYPES, "frame type"),
    "user": reading.text("a user's name or address"),
    "device": reading.text("a device's id"),
    "connection": reading.connection,
    "nth": reading.count,
    "every": reading.count,
    "probability": reading.probability,
    "payload": reading.payload,
    "after_ms": reading.ms,
    "method": reading.one_of(_METHODS, "HTTP method"),
    "path": reading.text("a path such as `/api/messages` or `/api/keys/*`"),
}
_JOURNAL_READERS: Final[dict[str, Read]] = {
    **{name: read for name, read in _MATCH_READERS.items() if name != "probability"},
    "direction": reading.direction,
    "close_code": reading.whole(0, 4999),
    "rule": reading.text("a rule's id or comment"),
}
_NOT_IN_JOURNAL: Final = "a journal holds what has happened: `probability` has no meaning here"


def parse_rule(raw: object) -> Rule:
    """The rule that an object stands for, without an id. Raises RuleFaults with every fault found."""
    reader = Reader()
    rule = _rule(reader, "", raw)
    reader.finish()
    return rule


def parse_rules(raw: object, place: str = "rules") -> list[Rule]:
    """The rules of a list, as in a file; ``place`` is how messages call it. Raises RuleFaults with every fault."""
    reader = Reader()
    if not isinstance(raw, list | tuple):
        reader.fault(place, f"must be a list of rules, not {reading.described(raw)}")
        reader.finish()
        return []
    rules = [_rule(reader, f"{place}[{index}]", item) for index, item in enumerate(raw)]
    reader.finish()
    return rules


def parse_match(raw: object) -> Match:
    """A rule's ``match`` by itself. Raises RuleFaults with every fault found."""
    reader = Reader()
    match = _match(reader, "match", raw, _MATCH_READERS)
    reader.finish()
    return match


def parse_journal_match(raw: object, events: Sequence[str] = JOURNAL_EVENTS) -> Match:
    """A ``match`` over a journal's entries: as in rules, but for chance, and with ``direction``, ``close_code`` and
    ``rule``. ``events`` are those that the journal holds. Raises RuleFaults with every fault found."""
    reader = Reader()
    if isinstance(raw, dict) and raw.get("probability") is not None:
        reader.fault("match.probability", _NOT_IN_JOURNAL)
        raw = {name: value for name, value in raw.items() if name != "probability"}
    match = _match(reader, "match", raw, {**_JOURNAL_READERS, "event": reading.one_of(events, "event")})
    reader.finish()
    return match


def to_builtins(rule: Rule | Match) -> dict[str, Any]:
    """What ``parse_rule`` (or ``parse_match``) reads again as the same; without an id."""
    found: dict[str, Any] = msgspec.to_builtins(rule)
    found.pop("id", None)
    return found


# --- reading -----------------------------------------------------------------------------------------


def _rule(reader: Reader, place: str, raw: object) -> Rule:
    before = len(reader.faults)
    found = reader.mapping(place, raw, _RULE_FIELDS, "a rule")
    match, action = Match(), None
    if "match" in found:
        match = _match(reader, within(place, "match"), found["match"], _MATCH_READERS)
    elif isinstance(raw, dict):
        reader.fault(within(place, "match"), "is missing; `{}` matches everything")
    if "action" in found:
        action = _action(reader, within(place, "action"), found["action"])
    elif isinstance(raw, dict):
        reader.fault(within(place, "action"), f"is missing; say what to do, one of {', '.join(ACTIONS)}")
    times = _optional(reader, place, found, "times", reading.count)
    comment = _optional(reader, place, found, "comment", reading.text("a text", may_be_empty=True))
    if action is None or len(reader.faults) > before:
        _check_reach(reader, place, match, _do(found.get("action")))
        # Never used: the faults noted end the reading.
        return Rule(match, Pass())
    _check_reach(reader, place, match, name_of(action))
    return Rule(match, action, times, comment)


def _optional(reader: Reader, place: str, found: dict[str, Any], name: str, read: Read) -> Any:
    value = read(reader, within(place, name), found[name]) if name in found else None
    return None if value is WRONG else value


def _match(reader: Reader, place: str, raw: object, readers: dict[str, Read]) -> Match:
    said = reader.mapping(place, raw, readers, "a match")
    found = {name: readers[name](reader, within(place, name), value) for name, value in said.items()}
    match = Match(**{name: value for name, value in found.items() if value is not WRONG})
    if match.nth is not None and match.every is not None:
        reader.fault(within(place, "every"), "say `nth` or `every`, one of the two")
    return match


def _action(reader: Reader, place: str, raw: object) -> Action | None:
    if not isinstance(raw, dict):
        example = f'; write {{"do": "{raw}"}}' if isinstance(raw, str) and raw in ACTIONS else ""
        reader.fault(place, f"must be an object with `do`, not {reading.described(raw)}{example}")
        return None
    do = raw.get("do")
    if do is None:
        reader.fault(within(place, "do"), f"is missing; one of {', '.join(ACTIONS)}")
        return None
    if reading.one_of(ACTIONS, "action")(reader, within(place, "do"), do) is WRONG:
        return None
    parameters = {field.name: field.required for field in fields(ACTIONS[do])}
    said = reader.mapping(place, raw, ("do", *parameters), f"`{do}`")
    found: dict[str, Any] = {}
    for name, is_required in parameters.items():
        if name in said:
            found[name] = reading.ACTION_READERS[name](reader, within(place, name), said[name])
        elif is_required:
            # Reading null words the fault: what the value must be.
            noted = len(reader.faults)
            reading.ACTION_READERS[name](reader, within(place, name), None)
            where, message = reader.faults[noted]
            reader.faults[noted] = (where, "is missing; it " + message.removesuffix(", not null"))
            found[name] = WRONG
    if any(value is WRONG for value in found.values()):
        return None
    return ACTIONS[do](**found)


def _do(action: object) -> str | None:
    do = action.get("do") if isinstance(action, dict) else None
    return do if isinstance(do, str) and do in ACTIONS else None


# --- what could never fire ---------------------------------------------------------------------------


def _said(match: Match) -> list[tuple[str, tuple[str, ...]]]:
    """The fields that a match says and that not every event has, each with the events that have it."""
    said = [(name, events) for name, events in FIELDS_AT.items() if getattr(match, name) is not None]
    return [(name, events_of_type(match.type) if name == "type" and match.type else events) for name, events in said]


def _reach(match: Match, do: str | None) -> tuple[str, ...]:
    reach = list(EVENTS if do is None else events_of_action(do))
    for _, events in _said(match):
        reach = [event for event in reach if event in events]
    return tuple(event for event in reach if match.event in (None, event))


def _check_reach(reader: Reader, place: str, match: Match, do: str | None) -> None:
    """Note why a rule can never fire, if it cannot: at its event, or for want of an event at which all of it holds."""
    if _reach(match, do):
        return
    event = match.event
    if event is None:
        parts = [f"`{name}` at {quoted(events)}" for name, events in _said(match)]
        if do is not None:
            parts.append(f"`{do}` at {quoted(events_of_action(do))}")
        reader.fault(within(place, "match"), f"no event has all of this: {'; '.join(parts)}")
        return
    for name, events in _said(match):
        if event in events:
            continue
        if name == "type" and event in FIELDS_AT["type"]:
            sender = "the relay" if events == ("frame_out",) else "a client"
            message = f"`{match.type}` is sent by {sender}: it passes at {quoted(events)}, not at `{event}`"
        else:
            message = f"means nothing at `{event}`; it can be matched at {quoted(events)}"
        reader.fault(within(place, f"match.{name}"), message)
    if do is not None and do not in ACTIONS_AT[event]:
        can = ", ".join(ACTIONS_AT[event])
        where = quoted(events_of_action(do))
        message = f"`{do}` cannot be done at `{event}`, only at {where}; at `{event}` there are: {can}"
        reader.fault(within(place, "action.do"), message)
