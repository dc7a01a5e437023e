"""What of a client survives its application's restart (R-11.4), as bytes.

The restored client is DISCONNECTED. Sends that were out are sent again at the next connection, under the same ids;
streams go on where they stood, so that no id or nonce repeats. Between ``take`` and the end of the old client
nothing may happen, or the new one does not know of it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.client_receipts import Receipt
from zentalk_sim.protocol.client_records import PendingImage
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import SettableStatus
from zentalk_sim.protocol.streams import Stream

if TYPE_CHECKING:
    from zentalk_sim.protocol.client import Client

VERSION = 1


class _Image(Struct, forbid_unknown_fields=True):
    version: int
    token: str
    resume_token: str | None
    seq: int
    last_id: str
    ids: int
    draws: tuple[int, int, int]
    queue: list[PendingImage]
    sent: list[PendingImage]
    receipts: list[Receipt]
    presence: SettableStatus | None
    topics: dict[str, int]
    shown: list[tuple[str, str]]
    offset_us: int = 0


def take(client: Client) -> bytes:
    """The client's image. Raises nothing; the client goes on."""
    if client._ids is not None:
        # What is left of a begun block is dropped on both sides, so that this client and the restored one
        # would draw alike.
        client._ids = _ids_at(client, client._ids.counter)
    outbox, receipts, signals, inbox = client._outbox, client._receipts, client._signals, client._inbox
    image = _Image(
        version=VERSION,
        token=client.token,
        resume_token=client.session.resume_token,
        seq=client.session.seq,
        last_id=client.last_id,
        ids=client._ids.counter if client._ids is not None else 0,
        draws=(client._drawn_backoff, client._drawn_nonce, client._drawn_refresh),
        queue=[PendingImage.of(entry) for entry in outbox.queue] if outbox is not None else [],
        sent=[PendingImage.of(entry) for entry in outbox.sent.values()] if outbox is not None else [],
        receipts=receipts.all() if receipts is not None else [],
        presence=signals.presence if signals is not None else None,
        topics=signals.surely_held() if signals is not None else {},
        shown=inbox.remembered() if inbox is not None else [],
        offset_us=client.session.offset_us,
    )
    return msgspec.msgpack.encode(image)


def put(client: Client, snapshot: bytes) -> None:
    """Give an unused client what ``take`` kept. Raises ValueError for other bytes, or where it has been used."""
    if client.state is not ClientState.DISCONNECTED or client._outbox is not None or client._ids is not None:
        raise ValueError("restore() needs a client that has not been used yet: make a new one")
    try:
        image = msgspec.msgpack.decode(snapshot, type=_Image)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not a client's snapshot: {error}") from None
    if image.version != VERSION:
        raise ValueError(f"a snapshot of version {image.version}, where {VERSION} is understood: start without it")
    client.token = image.token
    client.session.resume_token = image.resume_token
    client.session.seq = image.seq
    # Without it a device whose clock is off could ask for no token before it is challenged again.
    client.session.offset_us = image.offset_us
    client.last_id = image.last_id
    client._ids = _ids_at(client, image.ids)
    client._drawn_backoff, client._drawn_nonce, client._drawn_refresh = image.draws
    if image.queue or image.sent:
        client.outbox.restore([one.entry() for one in image.queue], [one.entry() for one in image.sent])
    if image.receipts:
        client.receipts.waiting = deque(image.receipts)
    if image.presence is not None or image.topics:
        client.signals.presence = image.presence
        client.signals.topics = image.topics
    for sender, message_id in image.shown:
        client.inbox.remember(sender, message_id)


def _ids_at(client: Client, counter: int) -> Stream:
    stream = client.streams.fresh(f"{client.name}/ids")
    stream.counter = counter
    return stream
