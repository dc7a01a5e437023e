"""Which rule fires at an event: ordered rules, first match wins, with counters that a snapshot keeps.

Every rule sees every event of its kind and counts what matches it, also where an earlier rule wins: "the third ACK" is
the third ACK, whatever other rules there are. Each decision takes the same number of bytes from the stream, and each
rule makes its own numbers of them: a rule more or less does not move another's chances.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from zentalk_sim.faults.matching import FaultEvent, Matcher, ordinal_difference
from zentalk_sim.faults.rules import Rule, parse_rule, parse_rules, to_builtins
from zentalk_sim.faults.verdicts import Action, drawn
from zentalk_sim.faults.vocabulary import EVENTS
from zentalk_sim.protocol.streams import Stream, keyed

_KEY_BYTES: Final = 16


class RuleState(Struct, frozen=True):
    """A rule and how often it has matched (``nth`` and ``every`` aside) and fired."""

    rule: Rule
    matched: int = 0
    fired: int = 0


class RulesetState(Struct, frozen=True):
    """All that a ruleset is, for a snapshot; msgspec can encode it."""

    next_number: int
    rules: tuple[RuleState, ...]


class Firing:
    """A rule that fires at an event, and what the face must do."""

    __slots__ = ("number", "rule", "stream", "verdict")

    def __init__(self, rule: Rule, verdict: Action, number: int, stream: Stream) -> None:
        self.rule = rule
        self.verdict = verdict
        self.number = number
        """Its how-manieth firing this is, from 1."""
        self.stream = stream
        """For what the verdict leaves to chance still: ``corruption.corrupt``, ``verdicts.completed``."""

    def __repr__(self) -> str:
        return f"Firing({self.rule.id}, {self.verdict!r}, number={self.number})"


class _Entry:
    """A rule at work."""

    __slots__ = ("fired", "matched", "matcher", "rule")

    def __init__(self, rule: Rule, matched: int = 0, fired: int = 0) -> None:
        self.rule = rule
        self.matcher = Matcher(rule.match)
        self.matched = matched
        self.fired = fired

    def is_spent(self) -> bool:
        return self.rule.times is not None and self.fired >= self.rule.times


class Ruleset:
    """The rules of one relay or space, in their order."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._at: dict[str, tuple[_Entry, ...]] = dict.fromkeys(EVENTS, ())
        self.are_at_frames = False
        """Whether any rule could ever fire at a frame, either way; ``has_rules_at`` says at which."""
        self._next_number = 1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order."""
        return tuple(entry.rule for entry in self._entries)

    # --- changing ------------------------------------------------------------------------------------

    def add(self, raw: object) -> Rule:
        """Append a rule given as JSON or YAML holds it. Raises RuleFaults with every (place, message)."""
        return self.append(parse_rule(raw))

    def add_all(self, raw: object, place: str = "rules") -> list[Rule]:
        """Append a list of rules, all of them or, where one has a fault, none. Raises RuleFaults."""
        return [self.append(rule) for rule in parse_rules(raw, place)]

    def append(self, rule: Rule) -> Rule:
        """Append a rule already read; returned with its id."""
        rule = replace(rule, id=f"rule-{self._next_number}")
        self._next_number += 1
        self._entries.append(_Entry(rule))
        self._index()
        return rule

    def remove(self, rule_id: str) -> bool:
        """Take a rule out; False where there is none of that id."""
        kept = [entry for entry in self._entries if entry.rule.id != rule_id]
        is_found = len(kept) < len(self._entries)
        self._entries = kept
        self._index()
        return is_found

    def clear(self) -> int:
        """Take all rules out; how many there were. Ids are not given again."""
        count = len(self._entries)
        self._entries = []
        self._index()
        return count

    def _index(self) -> None:
        self._at = {event: tuple(e for e in self._entries if event in e.rule.events) for event in EVENTS}
        self.are_at_frames = self.has_rules_at("frame_in") or self.has_rules_at("frame_out")

    # --- asking --------------------------------------------------------------------------------------

    def decide(self, event: FaultEvent, stream: Stream) -> Firing | None:
        """The first rule that matches, having counted this firing; None lets the event pass.

        At ``connected`` the face asks once at the opening and again at each of ``connected_instants``. Raises KeyError
        for an event that rules do not know.
        """
        key = stream.bytes(_KEY_BYTES)
        winner: _Entry | None = None
        chance: Stream | None = None
        for entry in self._at[event.event]:
            if not entry.matcher.holds(event):
                continue
            own = Stream(keyed(key), entry.rule.id.encode())
            likelihood = entry.rule.match.probability
            if likelihood is not None and own.uniform() >= likelihood:
                continue
            entry.matched += 1
            if winner is None and not entry.is_spent() and ordinal_difference(entry.rule.match, entry.matched) is None:
                winner, chance = entry, own
        if winner is None or chance is None:
            return None
        winner.fired += 1
        return Firing(winner.rule, drawn(winner.rule.action, chance), winner.fired, chance)

    def has_rules_at(self, event: str) -> bool:
        """Whether any rule could ever fire there; a face may leave out the asking where none could.

        A face that does so gives each kind of event its own stream, so that rules at one move no chances at another.
        """
        return bool(self._at[event])

    def wants_payload(self, event: str) -> bool:
        """Whether any rule there looks into the payload, which is then to be decoded."""
        return any(entry.rule.match.payload for entry in self._at[event])

    def connected_instants(self, opened_us: int) -> list[int]:
        """When to ask about ``connected`` again for a connection opened then, if it still stands; in order.

        The event's ``now_us`` is to be the instant given here, however late the timer comes.
        """
        found = {entry.rule.match.after_ms for entry in self._at["connected"] if not entry.is_spent()}
        return sorted(opened_us + after_ms * 1000 for after_ms in found if after_ms)

    def listing(self) -> list[dict[str, Any]]:
        """The rules as JSON holds them, with ``id`` and the counters ``matched`` and ``fired``."""
        return [
            {"id": entry.rule.id, **to_builtins(entry.rule), "matched": entry.matched, "fired": entry.fired}
            for entry in self._entries
        ]

    # --- keeping -------------------------------------------------------------------------------------

    def snapshot(self) -> RulesetState:
        """Rules, counters and the next id."""
        states = tuple(RuleState(entry.rule, entry.matched, entry.fired) for entry in self._entries)
        return RulesetState(self._next_number, states)

    @classmethod
    def restored(cls, state: RulesetState) -> Ruleset:
        """A ruleset that goes on as the one of the snapshot would have."""
        ruleset = cls()
        ruleset._next_number = state.next_number
        ruleset._entries = [_Entry(item.rule, item.matched, item.fired) for item in state.rules]
        ruleset._index()
        return ruleset
