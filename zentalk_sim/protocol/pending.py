"""A message on its way out of a client, from the application's ``send`` to its ACK."""

from __future__ import annotations

from typing import Final

from zentalk_sim.protocol.frames import MessageSend

SENT: Final = 1
"""What was sent awaits its ACK."""
RESEND: Final = 2
"""It is due for the drain."""
DELAYED: Final = 3
"""It waits for a backoff."""
REKEY: Final = 4
"""It waits for the recipient's keys."""


class Pending:
    """A message not yet acknowledged (specification, "Pending Message Storage"); times in µs.

    No Struct, since the outbox looks at it again and again; a snapshot has it as a ``PendingImage``.
    """

    __slots__ = (
        "binary",
        "due_us",
        "first_attempt",
        "max_retries",
        "message_id",
        "payload",
        "rekeyed",
        "retry_count",
        "status",
    )

    def __init__(self, message_id: str, payload: MessageSend, max_retries: int, binary: bool = False) -> None:
        self.message_id = message_id
        self.payload = payload
        self.max_retries = max_retries
        self.binary = binary
        self.first_attempt: int | None = None
        self.retry_count = 0
        self.status = SENT
        self.due_us = 0
        self.rekeyed = False
