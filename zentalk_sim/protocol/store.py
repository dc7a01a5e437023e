"""What all nodes of a relay share: users, mailboxes, the message index, limits, presence and sessions.

A small synchronous interface. Every scan has a total order: dictionaries keep the order of insertion, and
nothing here iterates a set. The nodes of a simulated cluster share one object; a durable store overrides
the methods that change something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

import msgspec

from zentalk_sim.protocol.config import DedupConfig, Limit
from zentalk_sim.protocol.dedup import SeenIds
from zentalk_sim.protocol.derived_ids import DerivedIds
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE, ProtocolError
from zentalk_sim.protocol.frames import RELAY_FRAMES
from zentalk_sim.protocol.ratelimit import LimitState, fresh
from zentalk_sim.protocol.records import (
    Counters,
    Device,
    DeviceKey,
    Message,
    Notice,
    Presence,
    Session,
    StoreImage,
    UsedNonce,
    User,
)

NonceKey = tuple[str, bytes]
"""(sender, nonce)"""
STORE_AWAY: Final = "the relay's store is away; try again"
"""What SERVICE_UNAVAILABLE says for a store that is away (R-12.2)."""
_NOBODY: Final[dict[str, Presence]] = {}
_NOTHING: Final[dict[str, Message]] = {}


class MemoryStore:
    """The store in memory."""

    is_durable: ClassVar[bool] = False
    """Whether what happens must be committed before any of its effects may be seen."""

    def __init__(self, signing_seed: bytes = b"", dedup: DedupConfig | None = None) -> None:
        self.signing_seed = signing_seed
        """The 32-byte Ed25519 seed that signs tokens; empty until a relay draws one."""
        self.counters = Counters()
        self.users: dict[str, User] = {}
        self.messages: dict[str, Message] = {}
        """The index, in order of acceptance."""
        # What leaves from the front stands in a queue of keys too: a dictionary walks over all that has left before,
        # and one with links takes seven times the queue's memory.
        self._message_ids: deque[str] = deque()
        self.mailboxes: dict[DeviceKey, dict[str, Message]] = {}
        self.notices: dict[DeviceKey, list[Notice]] = {}
        self.nonces: dict[NonceKey, Message | UsedNonce] = {}
        """(sender, nonce) → the message that used it last; in the order of these uses."""
        self._nonce_keys: deque[NonceKey] = deque()
        self._nonces_from_us = 0
        """No nonce was last used before this instant."""
        self.conversations: dict[str, tuple[str, str]] = {}
        self.limits: dict[str, dict[str, LimitState]] = {}
        """Operation → device or IP → its limiter: a key of both would be an object more for each."""
        self.presence: dict[str, dict[str, Presence]] = {}
        """Address → connected device → where; the presence cache of the cluster."""
        self._places: dict[str, int] | None = None
        """Node → entries of ``presence`` that name it, once anybody asked for those of a node."""
        self.ip_connections: dict[str, int] = {}
        """IP → connections on all nodes; those of one node are in ``node_ips``."""
        self.node_ips: dict[str, dict[str, int]] = {}
        self.sessions: dict[DeviceKey, Session] = {}
        self.shown_status: dict[str, str] = {}
        """The status that others were last told of a user."""
        self.subscribers: dict[str, dict[DeviceKey, None]] = {}
        """Topic → the devices whose session subscribes to it."""
        self.typing: dict[tuple[str, str, str], tuple[int, int | None]] = {}
        """(user, device, conversation) → last accepted TYPING_START, and when typing stops by itself."""
        self.seen_ids = SeenIds(dedup or DedupConfig())
        self.derived_ids = DerivedIds()
        """Whose derived conversations ids are; worked out anew after a restart."""
        self.endings = 0
        """Counts what may have ended a connection without its node's hearing of it: users saved, places lost or taken.

        Where it stands still there is nothing to look for, which nodes ask at each heartbeat (R-12.5)."""
        self.available = True
        """False while the store is away: what needs it is answered SERVICE_UNAVAILABLE (R-12.2)."""

    # --- durability ----------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make what has changed durable. A store in memory has nothing to do."""

    def close(self) -> None:
        """Give back what the store holds open; what was not committed is lost."""

    def note_progress(self, key: DeviceKey) -> None:
        """A frame came in or went out on a session, whose counters stand in the record that ``sessions`` holds."""

    def need(self) -> None:
        """Raises ProtocolError ``SERVICE_UNAVAILABLE`` while the store is away (R-12.2)."""
        if not self.available:
            raise ProtocolError(SERVICE_UNAVAILABLE, STORE_AWAY)

    # --- users and devices ---------------------------------------------------------------------------

    def user(self, address: str) -> User | None:
        """The user of a lower-case address."""
        return self.users.get(address)

    def save_user(self, user: User) -> None:
        """Add a user, or keep what was changed in one (devices, settings, contacts and keys included)."""
        self.users[user.address] = user
        self.endings += 1

    def note_activity(self, user: User, device_id: str) -> None:
        """A user and one of its devices were active: what ``save_user`` would keep, but for every frame."""

    def adopt_waiting(self, user: User, device: Device) -> None:
        """Hand a user's first device the copies that waited for one (R-6.2)."""
        waiting = self.mailboxes.pop((user.address, ""), None)
        if waiting:
            self.mailboxes[user.address, device.device_id] = waiting

    # --- messages and copies -------------------------------------------------------------------------

    def add_message(self, message: Message, devices: Iterable[str]) -> None:
        """Store a message and a copy of it for each device; ``""`` where the recipient has none yet."""
        message_id, accepted_us, recipient, body = message.id, message.accepted_us, message.recipient, message.body
        assert body is not None
        self.messages[message_id] = message
        self._message_ids.append(message_id)
        self.seen_ids.add(message_id, accepted_us)
        self._use_nonce((message.sender, body.nonce), message)
        copies = message.copies
        for device_id in devices:
            key = (recipient, device_id)
            box = self.mailboxes.get(key)
            if box is None:
                box = self.mailboxes[key] = {}
            box[message_id] = message
            copies += 1
        message.copies = copies
        if not copies:
            message.body = None

    def restore_message(self, message: Message) -> None:
        """Put an entry into the index as it was kept, in order of acceptance; its copies are restored apart."""
        self.messages[message.id] = message
        self._message_ids.append(message.id)
        self.seen_ids.add(message.id, message.accepted_us)

    def oldest(self) -> Message | None:
        """The index's oldest entry."""
        ids = self._message_ids
        return self.messages[ids[0]] if ids else None

    def save_message(self, message: Message) -> None:
        """Keep what was changed in a message's index entry."""

    def mailbox(self, address: str, device_id: str) -> dict[str, Message]:
        """The copies of one device by message id, in the order of their acceptance; not to be changed."""
        box = self.mailboxes.get((address, device_id))
        return _NOTHING if box is None else box

    def remove_copy(self, address: str, device_id: str, message_id: str) -> Message | None:
        """Take a copy out of a mailbox; None where there was none. The body goes with the last copy."""
        key = (address, device_id)
        box = self.mailboxes.get(key)
        message = None if box is None else box.get(message_id)
        if box is None or message is None:
            return None
        del box[message_id]
        if not box:
            del self.mailboxes[key]
        copies = message.copies = message.copies - 1
        if copies == 0:
            message.body = None
        return message

    def set_conversation(self, conversation_id: str, members: tuple[str, str]) -> None:
        """Fix the two members of a conversation (R-6.4)."""
        self.conversations[conversation_id] = members

    def forget_message(self, message_id: str) -> None:
        """Take an entry out of the index."""
        del self.messages[message_id]
        # It is the oldest that is forgotten: then this looks no further than the first.
        self._message_ids.remove(message_id)

    # --- notices -------------------------------------------------------------------------------------

    def add_notice(self, key: DeviceKey, notice: Notice, limit: int) -> int:
        """Keep a notice for a device; how many older ones were dropped to make room (0 or 1)."""
        kept = self.notices.setdefault(key, [])
        kept.append(notice)
        if len(kept) <= limit:
            return 0
        del kept[0]
        return 1

    def take_notices(self, key: DeviceKey) -> list[Notice]:
        """The notices kept for a device, oldest first; they are gone from the store."""
        return self.notices.pop(key, [])

    # --- nonces --------------------------------------------------------------------------------------

    def nonce_holder(self, sender: str, nonce: bytes, since_us: int) -> str | None:
        """The id of the message that used this nonce at or after ``since_us`` (R-5.5)."""
        found = self.nonces.get((sender, nonce))
        return found.id if found is not None and found.accepted_us >= since_us else None

    def restore_nonce(self, sender: str, nonce: bytes, message_id: str, used_us: int) -> None:
        """Note the last use of a nonce as it was kept, after the index was filled and in the order of uses."""
        message = self.messages.get(message_id)
        known = message is not None and message.accepted_us == used_us
        self._use_nonce((sender, nonce), message if known and message is not None else UsedNonce(message_id, used_us))

    def _use_nonce(self, key: NonceKey, used: Message | UsedNonce) -> None:
        if key in self.nonces:
            # Taken out first, so that the order stays that of the last use.
            del self.nonces[key]
            self._nonce_keys.remove(key)
            self._nonces_from_us = 0
        self.nonces[key] = used
        self._nonce_keys.append(key)

    def forget_nonces(self, before_us: int) -> None:
        """Drop nonces last used before an instant."""
        if before_us <= self._nonces_from_us:
            return
        keys = self._nonce_keys
        while keys and self.nonces[keys[0]].accepted_us < before_us:
            del self.nonces[keys.popleft()]
        self._nonces_from_us = self.nonces[keys[0]].accepted_us if keys else before_us

    # --- limits, presence, sessions ------------------------------------------------------------------

    def limit_state(self, operation: str, scope: str, limit: Limit, now_us: int) -> LimitState:
        """The limiter of an operation for a device or an IP; a fresh one at first."""
        states = self.limits.get(operation)
        if states is None:
            states = self.limits[operation] = {}
        state = states.get(scope)
        if state is None:
            state = states[scope] = fresh(limit, now_us)
        return state

    def connected(self, address: str) -> dict[str, Presence]:
        """The connected devices of a user, in the order of their connecting; not to be changed."""
        found = self.presence.get(address)
        return _NOBODY if found is None else found

    def set_connected(self, address: str, device_id: str, presence: Presence) -> None:
        """Note a device as connected; a device connected before goes to the end of the order."""
        devices = self.presence.setdefault(address, {})
        older = devices.pop(device_id, None)
        devices[device_id] = presence
        if older is not None:
            self.endings += 1
        if self._places is not None:
            self._count_place(presence.node, 1)
            if older is not None:
                self._count_place(older.node, -1)

    def set_disconnected(self, address: str, device_id: str, conn: int) -> bool:
        """Note the loss of a connection; False where another connection has taken its place."""
        devices = self.presence.get(address)
        found = devices.get(device_id) if devices else None
        if devices is None or found is None or found.conn != conn:
            return False
        del devices[device_id]
        if not devices:
            del self.presence[address]
        self.endings += 1
        if self._places is not None:
            self._count_place(found.node, -1)
        return True

    def _count_place(self, node: str, change: int) -> None:
        assert self._places is not None
        self._places[node] = self._places.get(node, 0) + change

    def save_session(self, key: DeviceKey, session: Session) -> None:
        """Begin a device's session, or keep what was changed in it; its counters run on without this."""
        self.sessions[key] = session

    def drop_session(self, key: DeviceKey) -> Session | None:
        """Forget a device's session; the one there was."""
        return self.sessions.pop(key, None)

    def count_ip(self, node: str, ip: str, change: int) -> None:
        """Add to the connections that an IP has on a node."""
        for counts in (self.ip_connections, self.node_ips.setdefault(node, {})):
            count = counts.get(ip, 0) + change
            if count > 0:
                counts[ip] = count
            else:
                counts.pop(ip, None)

    def forget_node_ips(self, node: str) -> None:
        """A node is gone: its connections no longer count for their IPs."""
        for ip, count in list(self.node_ips.get(node, {}).items()):
            self.count_ip(node, ip, -count)

    def connections_of_node(self, node: str) -> Iterator[tuple[str, str, Presence]]:
        """(address, device, presence) of every connection a node has, in the order of users."""
        if self._places is None:
            self._places = {}
            for devices in self.presence.values():
                for presence in devices.values():
                    self._count_place(presence.node, 1)
        if not self._places.get(node):
            # Of many nodes that learn of a death only the first finds anything; the others need not look at everybody.
            return
        for address, devices in list(self.presence.items()):
            for device_id, presence in list(devices.items()):
                if presence.node == node:
                    yield address, device_id, presence

    # --- snapshots -----------------------------------------------------------------------------------

    def image(self) -> StoreImage:
        """All of the store in one record."""
        return StoreImage(
            users=self.users,
            messages=list(self.messages.values()),
            mailboxes=[(a, d, list(box)) for (a, d), box in self.mailboxes.items()],
            notices=[(a, d, kept) for (a, d), kept in self.notices.items()],
            nonces=[(a, nonce, used.id, used.accepted_us) for (a, nonce), used in self.nonces.items()],
            conversations=self.conversations,
            limits=[(operation, scope, state) for operation, of in self.limits.items() for scope, state in of.items()],
            presence=[(a, d, p) for a, devices in self.presence.items() for d, p in devices.items()],
            sessions=[(a, d, session) for (a, d), session in self.sessions.items()],
            shown_status=self.shown_status,
            subscribers=[(topic, list(keys)) for topic, keys in self.subscribers.items()],
            typing=[(*key, last, stop) for key, (last, stop) in self.typing.items()],
            node_ips=self.node_ips,
            signing_seed=self.signing_seed,
            counters=self.counters,
        )

    def snapshot(self) -> bytes:
        """The image as MessagePack."""
        return msgspec.msgpack.encode(self.image())

    def restarted(self, dedup: DedupConfig | None = None) -> MemoryStore:
        """The store as a relay that starts anew finds it; this one is not to be used any more.

        Connections are gone, but stand in ``presence`` until the command ``NodeLost`` has ended them; what others
        were shown and who was typing are forgotten with them. The boot number counts up.
        """
        image = msgspec.msgpack.decode(self.snapshot(), type=StoreImage)
        image.counters.boot += 1
        image.shown_status, image.typing, image.node_ips = {}, [], {}
        return MemoryStore.of_image(image, dedup)

    def drop_future(self, now_us: int) -> None:
        """Forget what a clock that was moved ahead left behind, and what would hold up a relay whose clock was not.

        Limiters that were filled after ``now_us`` are dropped, and sessions lost after it count as lost now.
        """
        for states in self.limits.values():
            for scope in [scope for scope, state in states.items() if state.refilled_us > now_us]:
                del states[scope]
        for session in self.sessions.values():
            if session.lost_us is not None and session.lost_us > now_us:
                session.lost_us = now_us

    @classmethod
    def restored(cls, snapshot: bytes, dedup: DedupConfig | None = None) -> MemoryStore:
        """A store made from a snapshot. Raises msgspec.DecodeError where it is none."""
        return cls.of_image(msgspec.msgpack.decode(snapshot, type=StoreImage), dedup)

    @classmethod
    def of_image(cls, image: StoreImage, dedup: DedupConfig | None = None) -> MemoryStore:
        """A store made from its image, whose records it takes over."""
        store = cls(image.signing_seed, dedup)
        store.counters = image.counters
        store.users = image.users
        store.conversations = image.conversations
        store.shown_status = image.shown_status
        for message in image.messages:
            store.restore_message(message)
        for address, device_id, ids in image.mailboxes:
            store.mailboxes[address, device_id] = {mid: store.messages[mid] for mid in ids}
        for address, device_id, kept in image.notices:
            for notice in kept:
                notice.payload = msgspec.convert(notice.payload, RELAY_FRAMES[notice.type])
            store.notices[address, device_id] = kept
        for address, nonce, mid, at in image.nonces:
            store.restore_nonce(address, nonce, mid, at)
        for operation, scope, state in image.limits:
            store.limits.setdefault(operation, {})[scope] = state
        for node, counts in image.node_ips.items():
            store.node_ips[node] = {}
            for ip, count in counts.items():
                store.count_ip(node, ip, count)
        for address, device_id, presence in image.presence:
            store.presence.setdefault(address, {})[device_id] = presence
        for address, device_id, session in image.sessions:
            store.sessions[address, device_id] = session
        for topic, keys in image.subscribers:
            store.subscribers[topic] = dict.fromkeys(keys)
        for address, device_id, conversation, last_us, stop_us in image.typing:
            store.typing[address, device_id, conversation] = (last_us, stop_us)
        return store
