"""The record of one message and of its copies: what the recorder keeps until the table of messages is written."""

from __future__ import annotations

from zentalk_sim.protocol.timers import NEVER


class Copy:
    """A message's copy for one device. Instants are NEVER until they come."""

    __slots__ = ("dropped", "pushed_us", "read_us", "received_us", "shown_us", "via")

    def __init__(self) -> None:
        self.pushed_us = NEVER
        self.shown_us = NEVER
        self.received_us = NEVER
        self.read_us = NEVER
        self.via: str | None = None
        self.dropped: str | None = None


class Sent:
    """A message that an application handed to its client."""

    __slots__ = (
        "acked_us",
        "bytes",
        "copies",
        "id",
        "number",
        "outcome",
        "recipient",
        "retries",
        "sender",
        "sent_us",
        "stored",
    )

    def __init__(self, number: int, message_id: str, sender: str, recipient: str, size: int, now_us: int) -> None:
        self.number = number
        """Counts the messages in the order of sending."""
        self.id = message_id
        self.sender = sender
        self.recipient = recipient
        self.bytes = size
        self.sent_us = now_us
        self.acked_us = NEVER
        self.outcome: str | None = None
        """acked, rejected or failed: whatever came first; None until then."""
        self.retries = -1
        """Transmissions beyond the first; -1 until there was one."""
        self.stored = False
        self.copies: dict[str, Copy] = {}

    def is_over(self) -> bool:
        """Whether nothing more is expected of it but that somebody reads it."""
        if self.outcome is None:
            return False
        if self.stored:
            for copy in self.copies.values():
                if copy.received_us == NEVER and copy.dropped is None:
                    return False
        return True
