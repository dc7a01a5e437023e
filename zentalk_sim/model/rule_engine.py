"""The fault rules of a simulated world at work: decides at every event which rule fires, counts it, and traces it.

The law of this file: rules are asked once for each thing that happens, in the order in which it happens, and each kind
of event draws from a stream of its own (``fault_rules/frame_in``), so that a rule at one moves no chances at another,
and no rule moves any other draw of the world. What a verdict means for a connection is carried out by ``RuledSocket``;
for a REST call by ``RuledRestLine``. A world without rules has none of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zentalk_sim.faults import FaultEvent, Firing, Rule, Ruleset
from zentalk_sim.faults.passing import Direction, Messages, body_of, named, payload_of, sides
from zentalk_sim.faults.verdicts import name_of
from zentalk_sim.faults.vocabulary import EVENTS
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frame_sizes import frame_size
from zentalk_sim.protocol.frames import BinaryFrame, Frame
from zentalk_sim.protocol.rest_types import Request

if TYPE_CHECKING:
    from zentalk_sim.model.line import Line
    from zentalk_sim.model.ruled_socket import RuledSocket
    from zentalk_sim.model.world import World


class RawText:
    """A text message that is not UTF-8, as its bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


Message = Frame | str | bytes | RawText
"""What travels: a frame by reference (fidelity ``frames``), a text, a binary message, or what was to be a text."""


def raw_of(message: Message) -> tuple[bytes, bool]:
    """A message's bytes, and whether it is binary."""
    if isinstance(message, RawText):
        return message.data, False
    if isinstance(message, Frame):
        found = codec.encode_text(message) if type(message) is not BinaryFrame else codec.encode(message)
        assert isinstance(found, bytes)
        return found, type(message) is BinaryFrame
    return (message.encode(), False) if isinstance(message, str) else (message, True)


def size_of(message: Message) -> int:
    """Bytes of a message."""
    return frame_size(message) if isinstance(message, Frame) else len(raw_of(message)[0])


def message_of(data: bytes, binary: bool) -> Message:
    """Bytes as a message."""
    if binary:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)


def names_of(message: Message) -> tuple[str | None, str | None]:
    """Type and id of a message, as far as they can be read."""
    if isinstance(message, Frame):
        return message.type, message.id
    return named(*raw_of(message))


class RuleEngine:
    """Rules, their streams and their counts."""

    def __init__(self, world: World, rules: Iterable[Rule]) -> None:
        """``rules`` as ``rule_names.settled`` gives them."""
        self.world = world
        self.rules = Ruleset()
        for rule in rules:
            self.rules.append(rule)
        self._streams = {event: world.streams.fresh(f"fault_rules/{event}") for event in EVENTS}
        self.sees_in = self.rules.has_rules_at("frame_in")
        self.sees_out = self.rules.has_rules_at("frame_out")
        self._sees_rest = self.rules.has_rules_at("rest")
        self._wants_payload = {event: self.rules.wants_payload(event) for event in EVENTS}
        for rule in self.rules.rules:
            # What never fires is told too.
            world.recorder.count(f"faults.fired.{name_of(rule.action)}", 0)

    # --- deciding ------------------------------------------------------------------------------------

    def at_frame(self, event: str, socket: RuledSocket, message: Message) -> Firing | None:
        """The rule that fires at a frame; ``event`` is ``frame_in`` or ``frame_out``, at which there are rules."""
        payload = None
        if self._wants_payload[event]:
            payload = payload_of(*raw_of(message))
        return self._at_socket(event, socket, type=names_of(message)[0], payload=payload)

    def at_upgrade(self, socket: RuledSocket) -> Firing | None:
        """The rule that fires at an upgrade request."""
        return self._at_socket("upgrade", socket) if self.rules.has_rules_at("upgrade") else None

    def at_connected(self, socket: RuledSocket) -> Firing | None:
        """The rule that fires at a connection's opening, or now, at an instant counted from it."""
        return self._at_socket("connected", socket) if self.rules.has_rules_at("connected") else None

    def at_rest(self, line: Line, request: Request) -> Firing | None:
        """The rule that fires at a REST call."""
        if not self._sees_rest:
            return None
        payload = body_of(request.body) if self._wants_payload["rest"] else None
        firing = self._decide("rest", line, method=request.method, path=request.path, payload=payload)
        if firing is not None:
            self._trace(line, None, firing)
        return firing

    def _at_socket(self, event: str, socket: RuledSocket, **more: Any) -> Firing | None:
        firing = self._decide(event, socket, opened_us=socket.edge.opened_us, connection=socket.conn, **more)
        if firing is not None:
            self._trace(socket, socket.conn, firing)
        return firing

    def _decide(self, event: str, line: Line, **more: Any) -> Firing | None:
        member = line.device.member
        found = FaultEvent(
            event=event,
            now_us=self.world.kernel.now,
            user=member.person.address,
            device=member.device_id,
            **more,
        )
        firing = self.rules.decide(found, self._streams[event])
        if firing is not None:
            self.world.recorder.count(f"faults.fired.{name_of(firing.rule.action)}")
        return firing

    def end(self) -> None:
        """Take all rules out: nothing fires any more. What they have done to a connection stays done."""
        self.rules.clear()
        self.sees_in = self.sees_out = self._sees_rest = False

    # --- the trace -----------------------------------------------------------------------------------

    def _trace(self, line: Line, conn: int | None, firing: Firing) -> None:
        """In a sample's trace: that a rule has fired. A full one has lines of kind ``wire``."""
        tracer = line.device.tracer
        if tracer is not None and not tracer.full:
            did = name_of(firing.rule.action)
            name = firing.rule.comment or firing.rule.id
            tracer.event(self.world.kernel.now, "rule", conn, line.device.member.device_id, rule=name, did=did)

    def note_wire(
        self,
        socket: RuledSocket,
        direction: Direction,
        firing: Firing,
        message: Message | None,
        passed: Messages | None,
    ) -> None:
        """Keep what was on the wire where it is not what the core said or heard; ``passed`` None: it is the same."""
        tracer, node = self.world.tracer, socket.node
        if tracer is None or not tracer.full or node is None:
            return
        core, binary = (None, False) if message is None else raw_of(message)
        wire = core
        if passed is not None:
            core, wire, binary = sides(firing, direction, core or b"", binary, passed)
        rule = firing.rule.comment or firing.rule.id
        tracer.wire(node, socket.conn, direction, rule, name_of(firing.rule.action), core, wire, binary)

    # --- what there is to say at the end -------------------------------------------------------------

    def never_fired(self) -> list[str]:
        """The comments, or else the places in their order, of rules that have not fired."""
        quiet = [found for found in self.rules.listing() if not found["fired"]]
        return [str(found.get("comment") or found["id"]) for found in quiet]
