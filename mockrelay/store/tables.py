"""The tables of the durable store, and how an SQLite file is opened, recognised and read.

Records are MessagePack, as in snapshots; what orders, finds or changes often has a column. ``ord`` is the order of
acceptance, which keys messages, copies and nonces, so that new rows go to the end of each B-tree.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final

import msgspec

from mockrelay.store.errors import StoreError
from zentalk_sim.protocol.frames import RELAY_FRAMES, MessageNew
from zentalk_sim.protocol.ratelimit import LimitState
from zentalk_sim.protocol.records import Counters, Message, Notice, Presence, Session, User
from zentalk_sim.protocol.store import MemoryStore

APPLICATION_ID: Final = 0x5A4E544B
"""``ZNTK``, in the file's header: the file is one of ours."""
SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT_S: Final = 1.0
"""A relay that is just ending still holds its file for a moment."""

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE users (address TEXT NOT NULL UNIQUE, record BLOB NOT NULL);
CREATE TABLE activity (address TEXT, device_id TEXT, last_active_us INTEGER, last_seen_ms INTEGER,
                       PRIMARY KEY (address, device_id)) WITHOUT ROWID;
CREATE TABLE messages (ord INTEGER PRIMARY KEY, record BLOB NOT NULL, body BLOB);
CREATE TABLE copies (ord INTEGER, address TEXT, device_id TEXT, PRIMARY KEY (ord, address, device_id)) WITHOUT ROWID;
CREATE TABLE nonces (ord INTEGER PRIMARY KEY, sender TEXT NOT NULL, nonce BLOB NOT NULL, message_id TEXT NOT NULL,
                     at_us INTEGER NOT NULL);
CREATE TABLE notices (n INTEGER PRIMARY KEY, address TEXT NOT NULL, device_id TEXT NOT NULL, type TEXT NOT NULL,
                      payload BLOB NOT NULL);
CREATE TABLE conversations (id TEXT NOT NULL UNIQUE, one TEXT NOT NULL, other TEXT NOT NULL);
CREATE TABLE limits (operation TEXT, scope TEXT, record BLOB NOT NULL, PRIMARY KEY (operation, scope)) WITHOUT ROWID;
CREATE TABLE sessions (address TEXT NOT NULL, device_id TEXT NOT NULL, record BLOB NOT NULL, seq_in INTEGER NOT NULL,
                       seq_out INTEGER NOT NULL, UNIQUE (address, device_id));
CREATE TABLE presence (address TEXT NOT NULL, device_id TEXT NOT NULL, record BLOB NOT NULL,
                       UNIQUE (address, device_id));
"""

encode: Final = msgspec.msgpack.Encoder().encode
_user: Final = msgspec.msgpack.Decoder(User).decode
_message: Final = msgspec.msgpack.Decoder(Message).decode
_body: Final = msgspec.msgpack.Decoder(MessageNew).decode
_limit: Final = msgspec.msgpack.Decoder(LimitState).decode
_session: Final = msgspec.msgpack.Decoder(Session).decode
_presence: Final = msgspec.msgpack.Decoder(Presence).decode
_counters: Final = msgspec.msgpack.Decoder(Counters).decode
_payloads: Final = {kind: msgspec.msgpack.Decoder(payload).decode for kind, payload in RELAY_FRAMES.items()}


def connect(path: str, *, is_synchronous_full: bool) -> sqlite3.Connection:
    """Open a relay's file for this process alone, or make it. Raises StoreError."""
    database: sqlite3.Connection | None = None
    try:
        # Ours before SQLite sees it: the file holds the signing key. SQLite gives its journals the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN IMMEDIATE")
        _recognise(database, path)
        database.execute("COMMIT")
        # In EXCLUSIVE mode the log needs no shared memory, and the lock is given back by the kernel if we are killed.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'FULL' if is_synchronous_full else 'NORMAL'}")
        return database
    except StoreError:
        _close(database)
        raise
    except OSError as error:
        raise StoreError(f"--store sqlite: {path}: cannot be opened: {error.strerror}") from None
    except sqlite3.Error as error:
        _close(database)
        raise StoreError(f"--store sqlite: {path}: {explained(error)}") from None


def _close(database: sqlite3.Connection | None) -> None:
    if database is not None:
        database.close()


def explained(error: sqlite3.Error) -> str:
    """An error of SQLite's in words, with a remedy."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return "in use by another process; end that one or name another file"
    if "not a database" in text:
        return "not an SQLite database; name another file, or one that does not exist yet"
    if "malformed" in text or "corrupt" in text:
        return f"damaged ({text}); name another file, or restore this one from a copy"
    return f"{text}; the relay needs a file it can read and write"


def _recognise(database: sqlite3.Connection, path: str) -> None:
    """See that the file is ours and whole; make the tables of an empty one. Raises StoreError, sqlite3.Error."""
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in _SCHEMA.split(";")[:-1]:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    if application != APPLICATION_ID:
        raise StoreError(f"--store sqlite: {path}: a database of another program; name another file")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"--store sqlite: {path}: written in format {version}, and this version reads {SCHEMA_VERSION}; "
            "use the version that wrote it, or name another file"
        )
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(
            f"--store sqlite: {path}: damaged ({found}); name another file, or restore this one from a copy"
        )


def load(database: sqlite3.Connection, store: MemoryStore) -> dict[str, bytes]:
    """Read everything into a fresh store; the facts by name.

    Raises what reading can raise: sqlite3.Error, msgspec.MsgspecError, LookupError, TypeError, ValueError.
    """
    rows = database.execute
    facts: dict[str, bytes] = dict(rows("SELECT name, value FROM facts"))
    store.signing_seed = facts.get("signing_seed", b"")
    if "counters" in facts:
        store.counters = _counters(facts["counters"])
    for (record,) in rows("SELECT record FROM users ORDER BY rowid"):
        user = _user(record)
        store.users[user.address] = user
    for address, device_id, last_active_us, last_seen_ms in rows("SELECT * FROM activity"):
        _restore_activity(store, address, device_id, last_active_us, last_seen_ms)
    _load_messages(database, store)
    for key in rows("SELECT id, one, other FROM conversations ORDER BY rowid"):
        store.conversations[key[0]] = (key[1], key[2])
    for operation, scope, record in rows("SELECT operation, scope, record FROM limits"):
        store.limits.setdefault(operation, {})[scope] = _limit(record)
    for address, device_id, record, seq_in, seq_out in rows(
        "SELECT address, device_id, record, seq_in, seq_out FROM sessions ORDER BY rowid"
    ):
        session = store.sessions[address, device_id] = _session(record)
        session.seq_in, session.seq_out = seq_in, seq_out
        for topic in session.topics:
            store.subscribers.setdefault(topic, {})[address, device_id] = None
    for address, device_id, record in rows("SELECT address, device_id, record FROM presence ORDER BY rowid"):
        store.presence.setdefault(address, {})[device_id] = _presence(record)
    return facts


def _restore_activity(
    store: MemoryStore, address: str, device_id: str, last_active_us: int | None, last_seen_ms: int | None
) -> None:
    """What ``note_activity`` kept, where the user's record is not newer."""
    user = store.users[address]
    device = user.devices.get(device_id)
    if device is not None and last_active_us is not None:
        device.last_active_us = max(last_active_us, device.last_active_us or 0)
    if last_seen_ms is not None:
        user.last_seen_ms = max(last_seen_ms, user.last_seen_ms or 0)


def _load_messages(database: sqlite3.Connection, store: MemoryStore) -> None:
    by_order: dict[int, Message] = {}
    for order, record, body in database.execute("SELECT ord, record, body FROM messages ORDER BY ord"):
        message = by_order[order] = _message(record)
        message.body = None if body is None else _body(body)
        message.copies = 0
        store.restore_message(message)
    for order, address, device_id in database.execute("SELECT ord, address, device_id FROM copies ORDER BY ord"):
        message = by_order[order]
        if message.body is None:
            raise ValueError(f"message {message.id} has a copy and no body")
        store.mailboxes.setdefault((address, device_id), {})[message.id] = message
        message.copies += 1
    for sender, nonce, message_id, at_us in database.execute(
        "SELECT sender, nonce, message_id, at_us FROM nonces ORDER BY ord"
    ):
        store.restore_nonce(sender, nonce, message_id, at_us)


def load_notices(database: sqlite3.Connection) -> list[tuple[int, tuple[str, str], Notice]]:
    """(number, key, notice) of every notice kept, oldest first. Raises as ``load`` does."""
    found = database.execute("SELECT n, address, device_id, type, payload FROM notices ORDER BY n")
    return [(n, (address, device), Notice(kind, _payloads[kind](data))) for n, address, device, kind, data in found]
