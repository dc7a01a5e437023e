"""Outgoing messages: the queue, what is sent and not yet acknowledged, re-sends (R-11.4, R-11.5).

A send goes out at once if nothing stands before it. Else it waits in the queue, newest first; the drain sends one
per interval, first what was sent before and must be sent again (oldest first), then the queue. Every send ends in
exactly one of Acked, Rejected and Failed, or is still here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from zentalk_sim.protocol.client_effects import Acked, Count, Effects, Failed, NeedRekey, Rejected
from zentalk_sim.protocol.client_host import TRANSIENT, Host
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.errors import KEY_MISMATCH, RATE_LIMITED
from zentalk_sim.protocol.frames import MessageAck, MessageSend
from zentalk_sim.protocol.pending import DELAYED, REKEY, RESEND, SENT, Pending
from zentalk_sim.protocol.timers import NEVER

NO_ACK: Final = "NO_ACK"

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_CONNECTED: Final = ClientState.CONNECTED
_ACKED: Final = Acked


class Outbox:
    """The queue and the pending sends of one client."""

    __slots__ = (
        "_ack_timeout_us",
        "_drain_us",
        "_host",
        "_max_unacked",
        "_resends",
        "paused_until_us",
        "queue",
        "sent",
    )

    def __init__(self, host: Host) -> None:
        self._host = host
        self.queue: list[Pending] = []
        """What waits; the last is the head."""
        self.sent: dict[str, Pending] = {}
        self._resends = 0
        self._drain_us = 0
        self.paused_until_us = 0
        # Settings that every message asks for.
        self._max_unacked = host.config.queue.max_unacked
        self._ack_timeout_us = host.config.queue.ack_timeout_ms * 1000

    def __len__(self) -> int:
        return len(self.queue) + len(self.sent)

    # --- sending ----------------------------------------------------------------------------------

    def add(self, entry: Pending, now: int, out: Effects) -> None:
        """A new message: sent now, queued, or rejected to the caller."""
        if (
            self._host.state is _CONNECTED
            and not self.queue
            and not self._resends
            and now >= self.paused_until_us
            and len(self.sent) < self._max_unacked
        ):
            self._transmit(entry, now, out)
        elif len(self.queue) >= self._host.config.queue.max_messages:
            out.append(Rejected(entry.message_id, "queue_full"))
        else:
            self.queue.append(entry)

    def _transmit(self, entry: Pending, now: int, out: Effects) -> None:
        if entry.first_attempt is None:
            entry.first_attempt = now
        entry.status = SENT
        entry.due_us = now + self._ack_timeout_us
        self.sent[entry.message_id] = entry
        self._host.emit("MESSAGE_SEND", entry.payload, now, out, entry.message_id, entry.binary)

    def _pump(self, now: int, out: Effects) -> None:
        while (self._resends or self.queue) and self._drain_due_us() <= now:
            if self._resends:
                entry = next(entry for entry in self.sent.values() if entry.status == RESEND)
                self._resends -= 1
                entry.retry_count += 1
                out.append(Count("messages.resent"))
            else:
                entry = self.queue.pop()
            self._drain_us = now + self._host.config.queue.drain_interval_ms * 1000
            self._transmit(entry, now, out)

    def _again(self, entry: Pending, code: str, out: Effects) -> None:
        """Have the drain send an entry of ``sent`` once more, or give it up."""
        if entry.retry_count >= entry.max_retries:
            self._fail(entry, code, out)
        elif entry.status != RESEND:
            entry.status = RESEND
            self._resends += 1

    def _take(self, message_id: str) -> Pending | None:
        entry = self.sent.pop(message_id, None)
        if entry is not None:
            if entry.status == RESEND:
                self._resends -= 1
            return entry
        for i, entry in enumerate(self.queue):
            # A late answer may concern a send that went back to the queue.
            if entry.message_id == message_id:
                return self.queue.pop(i)
        return None

    def _fail(self, entry: Pending, code: str, out: Effects) -> None:
        self._take(entry.message_id)
        out.append(Failed(entry.message_id, code, entry.retry_count))

    def restore(self, queue: list[Pending], sent: list[Pending]) -> None:
        """After a restart: what was sent goes again at the next connection."""
        self.queue = queue
        for entry in sent:
            entry.status = SENT
            self.sent[entry.message_id] = entry

    # --- what happens -----------------------------------------------------------------------------

    def connected(self, now: int, out: Effects) -> None:
        """After AUTH_SUCCESS: what was sent before goes again, oldest first, then the queue."""
        entries = sorted(self.sent.values(), key=lambda entry: entry.first_attempt or 0)
        self.sent = {entry.message_id: entry for entry in entries}
        for entry in entries:
            if entry.status != REKEY:
                self._again(entry, NO_ACK, out)
        self._pump(now, out)

    def acknowledged(self, ack: MessageAck, now: int, out: Effects) -> None:
        """MESSAGE_ACK. One for a message no longer here (a second ACK after a re-send, say) is counted."""
        message_id = ack.message_id.lower()
        if self._take(message_id) is None:
            out.append(Count("acks.unknown"))
            return
        out.append(_ACKED(message_id, ack.server_timestamp, ack.status))
        self._pump(now, out)

    def refused(self, message_id: str, code: str, pause_us: int, now: int, out: Effects) -> bool:
        """An ERROR for a MESSAGE_SEND (R-11.5); False if no such message is here."""
        if code == RATE_LIMITED:
            self.paused_until_us = now + pause_us
        entry = self._take(message_id)
        if entry is None:
            return False
        if code == RATE_LIMITED:
            self.queue.append(entry)
        elif code in TRANSIENT:
            self._delay(entry, code, now, out)
        elif code == KEY_MISMATCH and not entry.rekeyed:
            entry.status = REKEY
            self.sent[message_id] = entry
            self._fetch_keys(entry, now, out)
        else:
            out.append(Failed(message_id, code, entry.retry_count))
        self._pump(now, out)
        return True

    def _delay(self, entry: Pending, code: str, now: int, out: Effects) -> None:
        if entry.retry_count >= entry.max_retries:
            self._fail(entry, code, out)
            return
        self.sent[entry.message_id] = entry
        entry.status = DELAYED
        entry.due_us = now + self._host.backoff_us(entry.retry_count)

    def _fetch_keys(self, entry: Pending, now: int, out: Effects) -> None:
        address = entry.payload.to
        out.append(NeedRekey(address, entry.message_id))
        self._host.fetch("keys", entry.message_id, "GET", f"/api/keys/{address}", None, now, out)

    def keys_answered(self, message_id: str, status: int, body: Any, now: int, out: Effects) -> None:
        """The recipient's key bundle has come, or not (status 0): send once more, or fail."""
        entry = self.sent.get(message_id)
        if entry is None or entry.status != REKEY:
            return
        if status == 200:
            entry.rekeyed = True
            entry.payload = _with_keys(entry.payload, body, self._host.public_key())
            self._again(entry, KEY_MISMATCH, out)
        elif status == 404:
            self._fail(entry, KEY_MISMATCH, out)
        else:
            # The bundle could not be had now: the message is tried again later, and asks for it again.
            self._delay(entry, KEY_MISMATCH, now, out)
        self._pump(now, out)

    # --- time -------------------------------------------------------------------------------------

    def _drain_due_us(self) -> int:
        if self._host.state is not _CONNECTED:
            return NEVER
        if self._resends or (self.queue and len(self.sent) < self._max_unacked):
            return max(self._drain_us, self.paused_until_us)
        return NEVER

    def next_us(self) -> int:
        """The next drain or time-out; NEVER while there is none or no connection."""
        sent = self.sent
        if not (sent or self.queue) or self._host.state is not _CONNECTED:
            return NEVER
        due = self._drain_due_us() if self._resends or self.queue else NEVER
        for entry in sent.values():
            if entry.due_us < due and (entry.status == SENT or entry.status == DELAYED):
                due = entry.due_us
        return due

    def fire(self, now: int, out: Effects) -> None:
        """Run what is due."""
        if self._host.state is not _CONNECTED:
            return
        for entry in [e for e in self.sent.values() if e.status in (SENT, DELAYED) and e.due_us <= now]:
            self._again(entry, NO_ACK, out)
        self._pump(now, out)


def _with_keys(payload: MessageSend, body: Any, own_key: bytes) -> MessageSend:
    """A session-initiating message with its header renewed from a fetched bundle (R-6.8); others as they are.

    The ciphertext is the application's; what makes the relay refuse is the header.
    """
    header = payload.x3dh_header
    if header is UNSET:
        return payload
    try:
        bundle = msgspec.json.decode(body) if isinstance(body, (bytes, str)) else body
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        bundle = None
    prekey = bundle.get("oneTimePreKey") if isinstance(bundle, dict) else None
    key_id = prekey.get("id") if isinstance(prekey, dict) else None
    usable = isinstance(key_id, int) and not isinstance(key_id, bool)
    renewed = msgspec.structs.replace(header, identity_key=own_key, one_time_key_id=key_id if usable else UNSET)
    return msgspec.structs.replace(payload, x3dh_header=renewed)
