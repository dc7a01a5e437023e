"""The records of the store: who is registered, what is kept for whom, what was answered before.

They are mutable Structs so that one encoder writes snapshots of all of them. Whoever changes a record in
place tells the store (``save_user``, ``save_message``), which a durable store turns into a write. Those that there are
many of are none of the garbage collector's business (``gc=False``): nothing in them leads back to them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.protocol.frames import MessageNew
from zentalk_sim.protocol.limit_records import LimitState

DeviceKey = tuple[str, str]
"""(address, device id); the device id is ``""`` for what waits for a user's first device."""


class Prekeys(Struct):
    """A published key bundle (R-6.8). ``one_time`` holds those not yet used up, ``handed_out`` the ids given away."""

    signed_prekey: dict[str, Any]
    signature: bytes
    one_time: dict[int, bytes]
    handed_out: dict[int, None]


class Device(Struct, gc=False):
    """A registered device (R-7.1)."""

    device_id: str
    name: str
    type: str
    registered_us: int
    push_token: str | None = None
    last_active_us: int | None = None
    away_set: bool = False
    """The device set itself away, as against turning away by itself (R-7.3, R-8.3)."""


class Settings(Struct):
    """Privacy settings of a user (R-7.3)."""

    share_presence: bool = True
    show_last_seen: bool = True
    send_read_receipts: bool = True
    typing_disabled_for: list[str] = []


class User(Struct, gc=False):
    """A registered user."""

    address: str
    identity_key: bytes
    devices: dict[str, Device]
    settings: Settings
    contacts: dict[str, None]
    """A set that keeps its order; contacts are mutual (R-7.2)."""
    suspended: bool = False
    status_set: str | None = None
    """online, away or invisible, as the user last set it; it stands until set again (R-7.3)."""
    last_seen_ms: int | None = None
    prekeys: Prekeys | None = None
    push_outstanding: dict[str, None] = {}
    """Devices with a push not yet cleared."""


class Message(Struct, gc=False):
    """An accepted message: its entry in the index (R-6.5), and its body while any copy is left."""

    id: str
    sender: str
    sender_device: str
    recipient: str
    conversation_id: str
    content_hash: bytes
    accepted_us: int
    order: int
    """Counts acceptances of the store; the second half of the order of R-6.6."""
    recipient_devices: int
    body: MessageNew | None
    copies: int
    delivered_to: tuple[str, ...] = ()
    """Devices whose MESSAGE_RECEIVED was processed; a tuple, since an index holds millions of them."""
    first_read_us: int | None = None

    @property
    def server_timestamp(self) -> int:
        """The ACK's, in ms."""
        return self.accepted_us // 1000


class UsedNonce(Struct, gc=False):
    """A message that used a nonce, as far as that goes, where the index has forgotten it before the nonce."""

    id: str
    accepted_us: int


class Notice(Struct):
    """A receipt or a key change kept until a device's next connect (R-6.3)."""

    type: str
    payload: Any


class Presence(Struct, gc=False):
    """Where a device is connected, and whether it has been quiet for long."""

    node: str
    conn: int
    ip: str
    away: bool = False


class Session(Struct, gc=False):
    """What a resumption keeps (R-3.4): the session's id, both counters and the subscriptions."""

    session_id: str
    resume_token: str
    conn: int | None
    """The connection that has it now; None once that is lost."""
    lost_us: int | None = None
    resumable: bool = True
    seq_in: int = 0
    seq_out: int = 0
    topics: dict[str, None] = {}


class Counters(Struct):
    """Numbers of the store that only count up."""

    boot: int = 0
    accepted: int = 0


class StoreImage(Struct):
    """All of a store in one record, for snapshots."""

    users: dict[str, User]
    messages: list[Message]
    mailboxes: list[tuple[str, str, list[str]]]
    notices: list[tuple[str, str, list[Notice]]]
    nonces: list[tuple[str, bytes, str, int]]
    conversations: dict[str, tuple[str, str]]
    limits: list[tuple[str, str, LimitState]]
    presence: list[tuple[str, str, Presence]]
    sessions: list[tuple[str, str, Session]]
    shown_status: dict[str, str]
    subscribers: list[tuple[str, list[DeviceKey]]]
    typing: list[tuple[str, str, str, int, int | None]]
    node_ips: dict[str, dict[str, int]]
    signing_seed: bytes
    counters: Counters
