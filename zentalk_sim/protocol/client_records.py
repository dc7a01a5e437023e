"""The records of a client's outbox and inbox: a message not yet acknowledged, and a page of a mailbox.

They stand by themselves, since a module that defines msgspec Structs cannot be compiled, and both boxes can.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.frames import MessageNew, MessageSend, Uuid

SENT: Final = 1
"""What was sent awaits its ACK."""
RESEND: Final = 2
"""It is due for the drain."""
DELAYED: Final = 3
"""It waits for a backoff."""
REKEY: Final = 4
"""It waits for the recipient's keys."""


class Pending(Struct):
    """A message not yet acknowledged (specification, "Pending Message Storage"); times in µs."""

    message_id: str
    payload: MessageSend
    max_retries: int
    binary: bool = False
    first_attempt: int | None = None
    retry_count: int = 0
    status: int = SENT
    due_us: int = 0
    rekeyed: bool = False


class _Entry(Struct, gc=False):
    id: Uuid
    payload: MessageNew


class _Page(Struct, gc=False):
    messages: list[_Entry]


_decode_page = msgspec.json.Decoder(_Page).decode


def read_page(body: Any) -> list[tuple[str, MessageNew]] | None:
    """(id, payload) of each message in the answer to GET /api/messages; None if it has another form.

    ``body`` is raw JSON, or objects where the simulator passes them by reference.
    """
    try:
        if isinstance(body, (bytes, str)):
            return [(entry.id.lower(), entry.payload) for entry in _decode_page(body).messages]
        page: list[tuple[str, MessageNew]] = []
        for entry in body["messages"]:
            payload = entry["payload"]
            if not isinstance(payload, MessageNew):
                payload = msgspec.convert(payload, MessageNew, builtin_types=(bytes,))
            page.append((entry["id"].lower(), payload))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    return page
