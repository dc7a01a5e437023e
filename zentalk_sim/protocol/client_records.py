"""The records of a client's outbox and inbox: a snapshot's message not yet acknowledged, and a page of a mailbox.

They stand by themselves, since a module that defines msgspec Structs cannot be compiled, and both boxes can.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.frames import MessageNew, MessageSend, Uuid
from zentalk_sim.protocol.pending import SENT, Pending


class PendingImage(Struct):
    """A message not yet acknowledged, as a snapshot has it; times in µs."""

    message_id: str
    payload: MessageSend
    max_retries: int
    binary: bool = False
    first_attempt: int | None = None
    retry_count: int = 0
    status: int = SENT
    due_us: int = 0
    rekeyed: bool = False

    @classmethod
    def of(cls, entry: Pending) -> PendingImage:
        """The image of an entry."""
        return cls(**{name: getattr(entry, name) for name in cls.__struct_fields__})

    def entry(self) -> Pending:
        """The entry that this is the image of."""
        made = Pending(self.message_id, self.payload, self.max_retries, self.binary)
        for name in self.__struct_fields__:
            setattr(made, name, getattr(self, name))
        return made


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
