"""What happened to each message, copy and connection, and how often everything else did.

The face tells the recorder of each fact once, at its instant. Messages are kept as records until the run ends and
then written in the order of sending; so that memory does not grow with their number, those of which nothing more is
expected wait on disk, and come back where a fact names them after all. Connections are written as they end. Counts
come from the cores' notes, so that the ledgers are balanced by what the protocol did, not by what the model thinks it
should have done.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from zentalk_sim.model.sent import Copy as Copy
from zentalk_sim.model.sent import Sent as Sent
from zentalk_sim.protocol.effects import Note
from zentalk_sim.protocol.node import Facts
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.trace.digest import Digest
from zentalk_sim.trace.tables import TableWriter

if TYPE_CHECKING:
    from zentalk_sim.model.calendar import Calendar
    from zentalk_sim.model.message_spill import MessageSpill

MOST_IN_MEMORY: Final = 32_768
"""Messages that a run holds in memory, some 25 MB; a run with fewer makes no file for them."""
COLD_US: Final = 3_600_000_000
"""After this long a message leaves memory whether or not anything is still expected of it."""
_DROPPED: Final = "copies.dropped."
_REJECTED: Final = "messages.rejected."
_RELAY_NAMES: Final = {"messages.duplicate": "messages.sent_again"}
"""The relay's duplicates are sends it had accepted before; ``messages.duplicate`` is what a device had shown before."""
_STORED: Final = 1
_CONFIRMED: Final = 2
_READ: Final = 3
_COUNTED: Final = 4
_KINDS: Final = {
    "copies.stored": _STORED,
    "copies.confirmed": _CONFIRMED,
    "messages.read": _READ,
    "messages.delivered": _COUNTED,
}
"""The facts that each message brings, as numbers: compiled, texts are compared character by character."""


class Recorder(Facts):
    """Tables, counts and histograms of one run."""

    def __init__(
        self, messages: TableWriter, connections: TableWriter, timeseries: TableWriter, measured_from_us: int
    ) -> None:
        self.messages = messages
        self.connections = connections
        self.timeseries = timeseries
        self.measured_from_us = measured_from_us
        """What begins before is left out of the metrics: the warm-up."""
        self.digest = Digest()
        self.counts: dict[str, int] = dict.fromkeys(
            (
                "messages.sent",
                "messages.shown",
                "messages.delivered",
                "messages.read",
                "messages.duplicate",
                "messages.failed_but_stored",
                "copies.stored",
                "copies.confirmed",
                "copies.dropped.overflow",
                "copies.dropped.expired",
                "copies.dropped.device_removed",
                "connections.attempted",
                "connections.authenticated",
                "clients.gave_up",
                "heartbeats.sent",
                "heartbeats.missed",
                "push.sent",
            ),
            0,
        )
        self.metrics: dict[str, Histogram] = {
            name: Histogram()
            for name in (
                "delivery_latency_ms",
                "delivery_latency_ms.push",
                "delivery_latency_ms.fetch",
                "ack_latency_ms",
                "reconnect_time_s",
                "rtt_ms",
                "half_open_s",
                "queue_depth",
            )
        }
        self.censored: dict[str, int] = {}
        self.clock: Calendar | None = None
        """Where ``tell`` takes the time from."""
        self._rtt = self.metrics["rtt_ms"]
        self._acks = self.metrics["ack_latency_ms"]
        self._deliveries = self.metrics["delivery_latency_ms"]
        self._plain: set[str] = set()
        """Facts that are counts and nothing else, by name, as they are met."""
        self._sent: dict[str, Sent] = {}
        """The messages in memory; those that came back from disk stand last."""
        self._spill: MessageSpill | None = None
        """The messages on disk, once there are any; of one that is in memory too the record there is the older."""
        self._last_number = 0
        self._last_sent_us = 0
        self.most_in_memory = MOST_IN_MEMORY
        self._limit = 0
        """With how many messages in memory some must leave it; the work under way may take it above the most."""
        self.presumes_stored = False
        """Whether what was acknowledged counts as stored at the end, for want of a relay that tells (R-6.2)."""
        self.copies_pending = 0
        """Copies in the mailboxes, by the relay's notes."""

    def count(self, name: str, count: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + count

    def observe(self, metric: str, value: int, began_us: int) -> None:
        """Add a value to a metric, unless what it measures began in the warm-up."""
        if began_us >= self.measured_from_us:
            self.metrics[metric].record(value)

    def messages_sent(self) -> Iterator[Sent]:
        """The messages that applications have sent so far, in order; kept until ``finish``."""
        return iter(self._sent.values()) if self._spill is None else self._in_order(self._spill)

    def _in_order(self, spill: MessageSpill) -> Iterator[Sent]:
        """The messages on disk and those in memory, in the order of sending."""
        held = sorted(self._sent.values(), key=attrgetter("number"))
        next_held = 0
        for message in spill.messages():
            while next_held < len(held) and held[next_held].number < message.number:
                yield held[next_held]
                next_held += 1
            if message.id not in self._sent:
                yield message
        for message in held[next_held:]:
            yield message

    def _find(self, message_id: str | None) -> Sent | None:
        """A message that was sent, brought back to memory where it is on disk."""
        if message_id is None:
            return None
        message = self._sent.get(message_id)
        if message is None and self._spill is not None:
            message = self._spill.get(message_id)
            if message is not None:
                self._make_room()
                self._sent[message_id] = message
        return message

    def _make_room(self) -> None:
        """Where memory is full, have the older half leave it, but for what is under way."""
        count = len(self._sent)
        if count < self._limit or count < self.most_in_memory:
            return
        kept: dict[str, Sent] = {}
        leaving: list[Sent] = []
        older = count // 2
        cold_us = self._last_sent_us - COLD_US
        for message in self._sent.values():
            if older > 0 and (message.sent_us < cold_us or message.is_over()):
                leaving.append(message)
            else:
                kept[message.id] = message
            older -= 1
        if leaving:
            if self._spill is None:
                # Imported here: a run with few messages needs no database.
                from zentalk_sim.model.message_spill import MessageSpill

                self._spill = MessageSpill()
            self._spill.put(leaving)
        self._sent = kept
        self._limit = len(kept) + max(len(kept), self.most_in_memory) // 2

    # --- messages ------------------------------------------------------------------------------------

    def sent(self, message_id: str, sender: str, recipient: str, devices: tuple[str, ...], size: int, now: int) -> None:
        """An application sent a message to a user who has these devices."""
        self.counts["messages.sent"] += 1
        self._make_room()
        self._last_number += 1
        self._last_sent_us = now
        message = self._sent[message_id] = Sent(self._last_number, message_id, sender, recipient, size, now)
        for device_id in devices:
            message.copies[device_id] = Copy()

    def transmitted(self, message_id: str) -> None:
        """A client put a MESSAGE_SEND on its socket."""
        message = self._find(message_id)
        if message is not None:
            message.retries += 1

    def acked(self, message_id: str, now: int) -> None:
        """A sender got its MESSAGE_ACK."""
        message = self._find(message_id)
        if message is None or message.acked_us != NEVER:
            return
        message.acked_us = now
        if message.outcome is None:
            message.outcome = "acked"
            if message.sent_us >= self.measured_from_us:
                self._acks.record(now - message.sent_us)

    def settled(self, message_id: str, outcome: str, reason: str = "") -> None:
        """A sender's client rejected or gave up a message; what was settled before stays so."""
        message = self._find(message_id)
        if message is not None and message.outcome is None:
            message.outcome = outcome
            if outcome == "rejected" and reason:
                self.count(_REJECTED + reason)

    def pushed(self, message_id: str, device_id: str, now: int) -> None:
        """A relay sent MESSAGE_NEW to a device."""
        copy = self._copy(message_id, device_id)
        if copy is not None and copy.pushed_us == NEVER:
            copy.pushed_us = now

    def shown(self, message_id: str, device_id: str, via: str, now: int) -> None:
        """A device showed a message."""
        self.counts["messages.shown"] += 1
        message = self._find(message_id)
        copy = message.copies.get(device_id) if message is not None else None
        if message is None or copy is None or copy.shown_us != NEVER:
            return
        copy.shown_us = now
        copy.via = via
        if message.sent_us >= self.measured_from_us:
            latency_us = now - message.sent_us
            self._deliveries.record(latency_us)
            self.metrics["delivery_latency_ms." + via].record(latency_us)

    def _copy(self, message_id: str | None, device_id: str | None) -> Copy | None:
        message = self._find(message_id)
        return message.copies.get(device_id or "") if message is not None else None

    # --- notes of the relay --------------------------------------------------------------------------

    def note(self, note: Note, now: int) -> None:
        """A fact the relay counted, as the effect it stands in."""
        self.fact(now, note.name, note.count, note.message_id, note.device_id, note.value_us)

    def tell(self, name: str, count: int, message_id: str | None, device_id: str | None, value_us: int | None) -> None:
        """A fact the relay counted just now."""
        if name in self._plain:
            self.counts[name] += count
            return
        clock = self.clock
        assert clock is not None
        if name != "rtt":
            self.fact(clock.now, name, count, message_id, device_id, value_us)
        elif value_us is not None and clock.now >= self.measured_from_us:
            self._rtt.record(value_us)

    def round_trip(self, rtt_us: int) -> None:
        """See Facts."""
        clock = self.clock
        assert clock is not None
        if clock.now >= self.measured_from_us:
            self._rtt.record(rtt_us)

    def fact(
        self, now: int, name: str, count: int, message_id: str | None, device_id: str | None, value_us: int | None
    ) -> None:
        """A fact the relay counted."""
        if name == "rtt":
            if value_us is not None:
                self.observe("rtt_ms", value_us, now)
            return
        kind = _KINDS.get(name, 0)
        if kind:
            self.counts[name] += count
            if kind == _STORED:
                self.copies_pending += count
                message = self._find(message_id)
                if message is not None:
                    message.stored = True
            elif kind == _CONFIRMED:
                self.copies_pending -= count
                copy = self._copy(message_id, device_id)
                if copy is not None:
                    copy.received_us = now
            elif kind == _READ:
                copy = self._copy(message_id, device_id)
                if copy is not None and copy.read_us == NEVER:
                    copy.read_us = now
            return
        name = _RELAY_NAMES.get(name, name)
        self.counts[name] = self.counts.get(name, 0) + count
        if name.startswith(_DROPPED):
            self.copies_pending -= count
            copy = self._copy(message_id, device_id)
            if copy is not None:
                copy.dropped = name[len(_DROPPED) :]
        elif message_id is None and value_us is None:
            self._plain.add(name)

    def client_count(self, name: str, count: int) -> None:
        """A fact a client counted. Both sides count errors and time-outs, so the client's have a name of their own."""
        self.count("client." + name if name.startswith(("errors.", "connections.")) else name, count)

    # --- connections ---------------------------------------------------------------------------------

    def connection(self, row: tuple[object, ...]) -> None:
        """An attempt to connect has ended, or the run has; ``row`` is as the table's schema says."""
        self.connections.append(row)
        self.digest.row("connections", row)

    # --- the end -------------------------------------------------------------------------------------

    def finish(self, pending: int, without_connection: list[int], most_messages: int | None = None) -> None:
        """Write the messages, close the ledgers and take the digest's rows.

        ``pending`` is what the mailboxes hold; ``without_connection`` when each device still cut off lost its own.
        ``most_messages`` bounds the messages that are looked at, where a run is cut short: its books do not balance.
        """
        outcomes = {"acked": 0, "rejected": 0, "failed": 0, "unacked": 0}
        delivery = acks = 0
        for message in islice(self.messages_sent(), most_messages):
            if self.presumes_stored:
                message.stored = message.acked_us != NEVER
            outcome = message.outcome or "unacked"
            outcomes[outcome] += 1
            self.counts["messages.failed_but_stored"] += outcome == "failed" and message.stored
            measured = message.sent_us >= self.measured_from_us
            acks += measured and outcome == "unacked"
            for device_id, copy in message.copies.items():
                delivery += measured and copy.shown_us == NEVER and (message.stored or outcome == "unacked")
                row = self._message_row(message, device_id, copy, outcome)
                self.messages.append(row)
                self.digest.row("messages", row)
        if self._spill is not None:
            self._spill.close()
            self._spill = None
        for outcome, count in outcomes.items():
            self.counts["messages." + outcome] = count
        self.counts["copies.pending"] = pending
        self.censored = {
            "delivery_latency_ms": delivery,
            "ack_latency_ms": acks,
            "reconnect_time_s": sum(lost_us >= self.measured_from_us for lost_us in without_connection),
        }
        self.digest.counts(self.counts)

    @staticmethod
    def _message_row(message: Sent, device_id: str, copy: Copy, outcome: str) -> tuple[object, ...]:
        if copy.shown_us != NEVER:
            outcome = "shown"
        elif copy.dropped is not None:
            outcome = "dropped_" + copy.dropped
        elif message.stored:
            outcome = "pending" if copy.received_us == NEVER else "received"
        return (
            message.id,
            message.sender,
            message.recipient,
            device_id,
            message.bytes,
            message.sent_us,
            _or_none(message.acked_us),
            _or_none(copy.pushed_us),
            _or_none(copy.shown_us),
            _or_none(copy.received_us),
            _or_none(copy.read_us),
            outcome,
            copy.via,
            max(0, message.retries),
        )


def _or_none(at_us: int) -> int | None:
    return None if at_us == NEVER else at_us
