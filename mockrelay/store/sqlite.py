"""The durable store: everything in memory, every change in a write set, the write set in SQLite at ``commit``.

The law of this file: a change is made in memory first, then noted; ``commit`` writes what is noted, as it stands in
memory then, in one transaction, or raises and leaves the file at the commit before. Nothing is read from the file
but at the opening.

SQLite runs with a write-ahead log. With ``synchronous=NORMAL``, the default, a commit is in the kernel's hands when it
returns: killing the process loses nothing that was committed, a power cut or a crash of the system may lose the last
commits, never the file's consistency. With FULL each commit waits until the disk has it.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar, Final

import msgspec

from mockrelay.store import tables
from mockrelay.store.errors import StoreError
from mockrelay.store.tables import encode
from zentalk_sim.protocol.config import DedupConfig, Limit
from zentalk_sim.protocol.ratelimit import LimitState
from zentalk_sim.protocol.records import Device, DeviceKey, Message, Notice, Presence, Session, User
from zentalk_sim.protocol.store import MemoryStore

_NEW: Final = 1
_RECORD: Final = 2
_BODY_GONE: Final = 4


class SqliteStore(MemoryStore):
    """A MemoryStore that keeps a file. One process has a file at a time."""

    is_durable: ClassVar[bool] = True

    def __init__(self, path: str, dedup: DedupConfig | None = None, *, is_synchronous_full: bool = False) -> None:
        """Open ``path`` and load what it holds, or make it. The boot number counts up at each opening but the first.

        Raises StoreError for a file that another process has, that is damaged, or that is no store of a relay.
        """
        super().__init__(dedup=dedup)
        self.path = path
        self.is_synchronous_full = is_synchronous_full
        self.failed: StoreError | None = None
        """Why the last commit failed; nothing is committed after that."""
        self._database = tables.connect(path, is_synchronous_full=is_synchronous_full)
        self._notice_numbers: dict[DeviceKey, deque[int]] = {}
        self._next_notice = 1
        try:
            self._facts = tables.load(self._database, self)
            self._load_notices()
            if "counters" in self._facts:
                self.counters.boot += 1
            self._clear()
            self.commit()
        except StoreError:
            self.close()
            raise
        except (sqlite3.Error, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            self.close()
            raise StoreError(
                f"--store sqlite: {path}: damaged ({error}); name another file, or restore this one from a copy"
            ) from None

    def _load_notices(self) -> None:
        for number, key, notice in tables.load_notices(self._database):
            self.notices.setdefault(key, []).append(notice)
            self._notice_numbers.setdefault(key, deque()).append(number)
            self._next_notice = number + 1

    # --- facts of the relay that owns the file ---------------------------------------------------------

    @property
    def seed(self) -> bytes:
        """The 32 bytes the relay's own draws begin with, as ``keep_seed`` was told; empty in a new file."""
        return self._facts.get("seed", b"")

    def keep_seed(self, seed: bytes) -> None:
        """Remember the seed, so that a relay started again without one has the same named users."""
        self._fact("seed", seed)

    def _fact(self, name: str, value: bytes) -> None:
        if self._facts.get(name) != value:
            self._facts[name] = value
            self._dirty_facts[name] = None

    # --- what is noted ---------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._dirty_facts: dict[str, None] = {}
        self._users: dict[str, None] = {}
        self._activity: dict[DeviceKey, None] = {}
        self._changed: dict[str, int] = {}
        self._forgotten: list[tuple[int]] = []
        self._copies: dict[tuple[int, str, str], bool] = {}
        self._nonces: list[tuple[int, str, bytes, str, int]] = []
        self._nonces_before_us: int | None = None
        self._new_notices: dict[int, tuple[int, str, str, str, bytes]] = {}
        self._gone_notices: list[tuple[int]] = []
        self._conversations: dict[str, None] = {}
        self._limits: dict[tuple[str, str], None] = {}
        self._sessions: dict[DeviceKey, None] = {}
        self._progress: dict[DeviceKey, None] = {}
        self._presence: dict[DeviceKey, None] = {}

    def save_user(self, user: User) -> None:
        """See MemoryStore."""
        super().save_user(user)
        self._users[user.address] = None

    def note_activity(self, user: User, device_id: str) -> None:
        """See MemoryStore."""
        self._activity[user.address, device_id] = None

    def adopt_waiting(self, user: User, device: Device) -> None:
        """See MemoryStore."""
        super().adopt_waiting(user, device)
        for message in self.mailbox(user.address, device.device_id).values():
            self._copies[message.order, user.address, ""] = False
            self._copies[message.order, user.address, device.device_id] = True

    def add_message(self, message: Message, devices: Iterable[str]) -> None:
        """See MemoryStore."""
        devices = list(devices)
        body = message.body
        assert body is not None
        super().add_message(message, devices)
        self._changed[message.id] = _NEW
        self._nonces.append((message.order, message.sender, body.nonce, message.id, message.accepted_us))
        for device_id in devices:
            self._copies[message.order, message.recipient, device_id] = True

    def save_message(self, message: Message) -> None:
        """See MemoryStore."""
        super().save_message(message)
        self._changed[message.id] = self._changed.get(message.id, 0) | _RECORD

    def remove_copy(self, address: str, device_id: str, message_id: str) -> Message | None:
        """See MemoryStore."""
        message = super().remove_copy(address, device_id, message_id)
        if message is not None:
            self._copies[message.order, address, device_id] = False
            if message.body is None:
                self._changed[message_id] = self._changed.get(message_id, 0) | _BODY_GONE
        return message

    def forget_message(self, message_id: str) -> None:
        """See MemoryStore."""
        order = self.messages[message_id].order
        super().forget_message(message_id)
        if not self._changed.pop(message_id, 0) & _NEW:
            self._forgotten.append((order,))

    def set_conversation(self, conversation_id: str, members: tuple[str, str]) -> None:
        """See MemoryStore."""
        super().set_conversation(conversation_id, members)
        self._conversations[conversation_id] = None

    def add_notice(self, key: DeviceKey, notice: Notice, limit: int) -> int:
        """See MemoryStore."""
        dropped = super().add_notice(key, notice, limit)
        number = self._next_notice
        self._next_notice += 1
        numbers = self._notice_numbers.setdefault(key, deque())
        numbers.append(number)
        self._new_notices[number] = (number, *key, notice.type, encode(notice.payload))
        for _ in range(dropped):
            self._drop_notice(numbers.popleft())
        return dropped

    def take_notices(self, key: DeviceKey) -> list[Notice]:
        """See MemoryStore."""
        for number in self._notice_numbers.pop(key, ()):
            self._drop_notice(number)
        return super().take_notices(key)

    def _drop_notice(self, number: int) -> None:
        if self._new_notices.pop(number, None) is None:
            self._gone_notices.append((number,))

    def forget_nonces(self, before_us: int) -> None:
        """See MemoryStore."""
        count = len(self.nonces)
        super().forget_nonces(before_us)
        if len(self.nonces) != count:
            self._nonces_before_us = before_us

    def limit_state(self, operation: str, scope: str, limit: Limit, now_us: int) -> LimitState:
        """See MemoryStore."""
        self._limits[operation, scope] = None
        return super().limit_state(operation, scope, limit, now_us)

    def set_connected(self, address: str, device_id: str, presence: Presence) -> None:
        """See MemoryStore."""
        super().set_connected(address, device_id, presence)
        self._presence[address, device_id] = None

    def set_disconnected(self, address: str, device_id: str, conn: int) -> bool:
        """See MemoryStore."""
        gone = super().set_disconnected(address, device_id, conn)
        if gone:
            self._presence[address, device_id] = None
        return gone

    def save_session(self, key: DeviceKey, session: Session) -> None:
        """See MemoryStore."""
        super().save_session(key, session)
        self._sessions[key] = None

    def drop_session(self, key: DeviceKey) -> Session | None:
        """See MemoryStore."""
        self._sessions[key] = None
        return super().drop_session(key)

    def note_progress(self, key: DeviceKey) -> None:
        """A frame came in or went out on a session: its counters are to be kept."""
        self._progress[key] = None

    # --- commit ----------------------------------------------------------------------------------------

    def is_clean(self) -> bool:
        """Whether nothing has changed since the last commit."""
        self._fact("counters", encode(self.counters))
        self._fact("signing_seed", self.signing_seed)
        return not (
            self._dirty_facts
            or self._changed
            or self._progress
            or self._copies
            or self._limits
            or self._users
            or self._activity
            or self._sessions
            or self._presence
            or self._new_notices
            or self._gone_notices
            or self._conversations
            or self._forgotten
            or self._nonces_before_us is not None
        )

    def commit(self) -> None:
        """Write everything noted, in one transaction. Raises StoreError; the file then stands as before."""
        if self.failed is not None:
            raise self.failed
        if self.is_clean():
            return
        try:
            self._database.execute("BEGIN")
            self._write_people()
            self._write_messages()
            self._write_connections()
            self._database.execute("COMMIT")
        except Exception as error:
            # Whatever it is, memory is ahead of the file now, and only loading anew makes them one again.
            reason = tables.explained(error) if isinstance(error, sqlite3.Error) else repr(error)
            self.failed = StoreError(f"--store sqlite: {self.path}: {reason}")
            raise self.failed from error
        self._clear()

    def _many(self, statement: str, rows: Any) -> None:
        if rows:
            self._database.executemany(statement, rows)

    def _write_people(self) -> None:
        self._many("REPLACE INTO facts VALUES (?, ?)", [(name, self._facts[name]) for name in self._dirty_facts])
        users = self.users
        self._many(
            "INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record",
            [(address, encode(users[address])) for address in self._users],
        )
        activity = []
        for address, device_id in self._activity:
            user = users[address]
            device = user.devices.get(device_id)
            activity.append((address, device_id, device.last_active_us if device else None, user.last_seen_ms))
        self._many("REPLACE INTO activity VALUES (?, ?, ?, ?)", activity)
        self._many(
            "INSERT INTO conversations VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET one = excluded.one, other = excluded.other",
            [(name, *self.conversations[name]) for name in self._conversations],
        )
        states = [(operation, scope, self.limits[operation].get(scope)) for operation, scope in self._limits]
        self._many(
            "REPLACE INTO limits VALUES (?, ?, ?)",
            [(operation, scope, encode(state)) for operation, scope, state in states if state is not None],
        )

    def _write_messages(self) -> None:
        new, records, bodies = [], [], []
        for message_id, change in self._changed.items():
            message = self.messages[message_id]
            body, message.body = message.body, None
            if change & _NEW:
                new.append((message.order, encode(message), None if body is None else encode(body)))
            elif change & _RECORD:
                records.append((encode(message), message.order))
            if change & _BODY_GONE and not change & _NEW:
                bodies.append((message.order,))
            message.body = body
        self._many("INSERT INTO messages VALUES (?, ?, ?)", new)
        self._many("UPDATE messages SET record = ? WHERE ord = ?", records)
        self._many("UPDATE messages SET body = NULL WHERE ord = ?", bodies)
        self._many("DELETE FROM messages WHERE ord = ?", self._forgotten)
        self._many("REPLACE INTO copies VALUES (?, ?, ?)", [key for key, kept in self._copies.items() if kept])
        self._many(
            "DELETE FROM copies WHERE ord = ? AND address = ? AND device_id = ?",
            [key for key, kept in self._copies.items() if not kept],
        )
        if self._nonces_before_us is not None:
            # The oldest come first; the scan ends at the first that stays.
            self._database.execute(
                "DELETE FROM nonces WHERE ord < coalesce("
                "(SELECT ord FROM nonces WHERE at_us >= ? ORDER BY ord LIMIT 1), 9223372036854775807)",
                (self._nonces_before_us,),
            )
        self._many("INSERT INTO nonces VALUES (?, ?, ?, ?, ?)", self._nonces)
        self._many("INSERT INTO notices VALUES (?, ?, ?, ?, ?)", list(self._new_notices.values()))
        self._many("DELETE FROM notices WHERE n = ?", self._gone_notices)

    def _write_connections(self) -> None:
        kept, gone, moved = [], [], []
        for key in self._sessions:
            session = self.sessions.get(key)
            if session is None:
                gone.append(key)
            else:
                kept.append((*key, encode(session), session.seq_in, session.seq_out))
        for key in self._progress:
            session = self.sessions.get(key)
            if session is not None and key not in self._sessions:
                moved.append((session.seq_in, session.seq_out, *key))
        self._many("DELETE FROM sessions WHERE address = ? AND device_id = ?", gone)
        self._many(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET record = excluded.record, seq_in = excluded.seq_in, seq_out = excluded.seq_out",
            kept,
        )
        self._many("UPDATE sessions SET seq_in = ?, seq_out = ? WHERE address = ? AND device_id = ?", moved)
        here, left = [], []
        for address, device_id in self._presence:
            place = self.connected(address).get(device_id)
            if place is None:
                left.append((address, device_id))
            else:
                here.append((address, device_id, encode(place)))
        self._many("REPLACE INTO presence VALUES (?, ?, ?)", here)
        self._many("DELETE FROM presence WHERE address = ? AND device_id = ?", left)

    # --- life ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the file back; what was not committed is lost. A second call does nothing."""
        self._database.close()

    def restarted(self, dedup: DedupConfig | None = None) -> MemoryStore:
        """See MemoryStore: the file given back and opened again. Raises StoreError; call it again later then."""
        self.close()
        return SqliteStore(self.path, dedup, is_synchronous_full=self.is_synchronous_full)
