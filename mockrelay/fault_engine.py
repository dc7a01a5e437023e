"""The fault rules of one space at work: decides at every event which rule fires, and knows who is connected.

The law of this file: rules are asked once for each thing that happens, in the order in which it happens, and each kind
of event draws from a stream of its own, so that a rule at one moves no chances at another. What a verdict means for a
connection is carried out by its ``Gate``; for a REST call by ``http.rest_faults``.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mockrelay.clock import ClockTimers
from mockrelay.journal import Journal
from mockrelay.journal_entries import Party, frame_of, kind_of
from zentalk_sim.faults import FaultEvent, Firing, Rule, Ruleset
from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.vocabulary import EVENTS
from zentalk_sim.protocol.streams import Streams

if TYPE_CHECKING:
    from mockrelay.driver import Driver
    from mockrelay.gate import Gate

_MAX_TOKEN_CHARACTERS: Final = 4096


def claims_of(token: str | None) -> tuple[str | None, str | None]:
    """The address and device that a token claims, believed by rules and journals only: nothing is checked."""
    parts = (token or "")[:_MAX_TOKEN_CHARACTERS].split(".")
    if len(parts) != 3:
        return None, None
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None, None
    if not isinstance(claims, dict):
        return None, None
    user, device = claims.get("sub"), claims.get("device_id")
    return user if isinstance(user, str) else None, device if isinstance(device, str) else None


class FaultEngine:
    """Rules, their streams, and what waits by the space's clock."""

    def __init__(
        self,
        driver: Driver,
        journal: Journal,
        streams: Streams,
        timers: ClockTimers,
        names: Mapping[str, str] | None = None,
        rules: Ruleset | None = None,
    ) -> None:
        """``streams`` are the space's, by its seed; ``names``: address → name, looked at when a rule is."""
        self.driver = driver
        self.journal = journal
        driver.turns.at_end = journal.settle
        self.timers = timers
        self.rules = Ruleset() if rules is None else rules
        self.gates: dict[int, Gate] = {}
        """The connections that stand, by id."""
        self.held: dict[Gate, None] = {}
        """Connections that a rule stalls, delays at their upgrade, or let fall silent."""
        self.closed = asyncio.Event()
        """Set when the space ends: nothing is stalled any longer."""
        self._names: Mapping[str, str] = {} if names is None else names
        self._streams = {event: streams.stream(f"faults/{event}") for event in EVENTS}

    @property
    def now_us(self) -> int:
        """The space's clock."""
        return self.driver.now_us()

    # --- deciding ------------------------------------------------------------------------------------

    def at_frame(self, event: str, party: Party, data: bytes, binary: bool) -> Firing | None:
        """The rule that fires at a frame; ``event`` is ``frame_in`` or ``frame_out``, at which there are rules."""
        payload = None
        if self.rules.wants_payload(event):
            payload = (frame_of(data, binary) or {}).get("payload")
        return self._decide(self._event(event, party, type=kind_of(data, binary), payload=payload))

    def at_upgrade(self, party: Party) -> Firing | None:
        """The rule that fires at an upgrade request."""
        return self._decide(self._event("upgrade", party)) if self.rules.has_rules_at("upgrade") else None

    def at_connected(self, party: Party, at_us: int) -> Firing | None:
        """The rule that fires at a connection's opening, or at an instant counted from it."""
        if not self.rules.has_rules_at("connected"):
            return None
        return self._decide(self._event("connected", party, now_us=at_us))

    def at_rest(self, party: Party, method: str, path: str, body: bytes | None) -> Firing | None:
        """The rule that fires at a REST call."""
        if not self.rules.has_rules_at("rest"):
            return None
        payload: Any = None
        if body and self.rules.wants_payload("rest"):
            try:
                payload = msgspec.json.decode(body)
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                payload = None
        firing = self._decide(self._event("rest", party, method=method, path=path, payload=payload))
        if firing is not None and not isinstance(firing.verdict, do.Pass):
            self._note_rest(party, firing)
        return firing

    def _note_rest(self, party: Party, firing: Firing) -> None:
        """Have a recording tell of a rule at a REST call, as it does of rules at the frames of the device's connection.

        What the client hears over REST is then not what the core says, and what it does next is no fault of its own.
        """
        if self.driver.recorder is None:
            return
        for conn, gate in self.gates.items():
            if gate.party.device == party.device and gate.party.user == party.user:
                rule = firing.rule.comment or firing.rule.id
                self.driver.note_wire(conn, "in", rule, do.name_of(firing.verdict), None, None, False)

    def _event(self, event: str, party: Party, *, now_us: int | None = None, **more: Any) -> FaultEvent:
        name = self._names.get(party.user or "")
        return FaultEvent(
            event=event,
            now_us=self.now_us if now_us is None else now_us,
            opened_us=party.opened_us,
            connection=party.connection,
            user=party.user,
            names=() if name is None else (name,),
            device=party.device,
            **more,
        )

    def _decide(self, event: FaultEvent) -> Firing | None:
        firing = self.rules.decide(event, self._streams[event.event])
        if firing is not None:
            self.driver.count("faults.fired")
        return firing

    # --- connections ---------------------------------------------------------------------------------

    def opened(self, gate: Gate) -> None:
        """A connection stands: rules with ``after_ms`` are asked at their instants."""
        assert gate.party.connection is not None
        self.gates[gate.party.connection] = gate
        self._watch(gate)

    def ended(self, gate: Gate) -> None:
        """A connection's transport is gone."""
        self.held.pop(gate, None)
        if gate.party.connection is not None:
            self.gates.pop(gate.party.connection, None)

    def rules_changed(self) -> None:
        """Rules were added: those with ``after_ms`` hold for the connections that stand, too."""
        for gate in list(self.gates.values()):
            self._watch(gate)

    def _watch(self, gate: Gate) -> None:
        opened_us = gate.party.opened_us
        assert opened_us is not None
        for at_us in self.rules.connected_instants(opened_us):
            if at_us > self.now_us and at_us not in gate.instants:
                gate.instants[at_us] = self.timers.call_at(at_us, partial(gate.reached, at_us))

    # --- rules ---------------------------------------------------------------------------------------

    def add_rule(self, raw: object) -> Rule:
        """Append a rule. Raises RuleFaults with every (place, message)."""
        rule = self.rules.add(raw)
        self.rules_changed()
        return rule

    def add_rules(self, raw: object, place: str = "rules") -> list[Rule]:
        """Append a list of rules, all or none. Raises RuleFaults."""
        rules = self.rules.add_all(raw, place)
        self.rules_changed()
        return rules

    # --- the end -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The space ends: what is stalled is let go, and nothing waits any longer."""
        self.closed.set()
        self.journal.close()
        for gate in list(self.held):
            gate.socket.abort("stopped")
        self.timers.stop()
