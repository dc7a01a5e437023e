"""Records of messages that have left memory: a temporary database on disk, gone with the process however that ends.

A fact may name a message days after it was sent, so that its record must be found again by its id; and the table of
messages is written in the order of sending, so that all records must come in that order at the end. SQLite does both.
It makes the file in ``$SQLITE_TMPDIR``, ``$TMPDIR`` or ``/var/tmp``, and takes its name away as soon as it is open.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from zentalk_sim.model.sent import Copy, Sent
from zentalk_sim.protocol.timers import NEVER

CACHE_KIB = 8_192
"""What the database keeps in memory."""
_SCHEMA = f"""
PRAGMA temp_store = FILE;
ATTACH '' AS spill;
PRAGMA spill.journal_mode = OFF;
PRAGMA spill.synchronous = OFF;
PRAGMA spill.cache_size = -{CACHE_KIB};
CREATE TABLE spill.messages (number INTEGER PRIMARY KEY, id TEXT UNIQUE, record BLOB);
"""
_PUT = "INSERT INTO messages VALUES (?, ?, ?) ON CONFLICT (number) DO UPDATE SET record = excluded.record"

_PackedCopy = tuple[int, int | None, int | None, int | None, int | None, int, int]
_Packed = tuple[int, int, int, int, int | None, int, int, bool, list[_PackedCopy]]


class MessageSpill:
    """Records by id, and in the order of sending. Every method raises OSError where the disk is full or fails."""

    def __init__(self) -> None:
        with _on_disk():
            self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._database.executescript(_SCHEMA)
        self._names: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}
        """Addresses, devices and outcomes: few, and many times the same, so that a record holds their numbers."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Packed).decode

    def put(self, messages: Sequence[Sent]) -> None:
        """Take in messages, in place of what was put for them before."""
        with _on_disk():
            self._database.execute("BEGIN")
            self._database.executemany(_PUT, ((m.number, m.id, self._encode(self._pack(m))) for m in messages))
            self._database.execute("COMMIT")

    def get(self, message_id: str) -> Sent | None:
        """A message's record as it was put, or None; it stays here until put anew."""
        with _on_disk():
            found = self._database.execute("SELECT * FROM messages WHERE id = ?", (message_id,)).fetchone()
        return None if found is None else self._unpack(*found)

    def messages(self) -> Iterator[Sent]:
        """All records, in the order of sending."""
        with _on_disk():
            for number, message_id, record in self._database.execute("SELECT * FROM messages ORDER BY number"):
                yield self._unpack(number, message_id, record)

    def close(self) -> None:
        """Give the disk's room back."""
        self._database.close()

    def _number(self, name: str | None) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self._names)
            self._names.append(name)
        return found

    def _pack(self, message: Sent) -> _Packed:
        sent_us, number = message.sent_us, self._number
        return (
            number(message.sender),
            number(message.recipient),
            message.bytes,
            sent_us,
            _since(sent_us, message.acked_us),
            number(message.outcome),
            message.retries,
            message.stored,
            [
                (
                    number(device_id),
                    _since(sent_us, copy.pushed_us),
                    _since(sent_us, copy.shown_us),
                    _since(sent_us, copy.received_us),
                    _since(sent_us, copy.read_us),
                    number(copy.via),
                    number(copy.dropped),
                )
                for device_id, copy in message.copies.items()
            ],
        )

    def _unpack(self, number: int, message_id: str, record: bytes) -> Sent:
        names = self._names
        sender, recipient, size, sent_us, acked, outcome, retries, stored, copies = self._decode(record)
        message = Sent(number, message_id, names[sender] or "", names[recipient] or "", size, sent_us)
        message.acked_us = _at(sent_us, acked)
        message.outcome = names[outcome]
        message.retries = retries
        message.stored = stored
        for device, pushed, shown, received, read, via, dropped in copies:
            copy = message.copies[names[device] or ""] = Copy()
            copy.pushed_us = _at(sent_us, pushed)
            copy.shown_us = _at(sent_us, shown)
            copy.received_us = _at(sent_us, received)
            copy.read_us = _at(sent_us, read)
            copy.via = names[via]
            copy.dropped = names[dropped]
        return message


def _since(sent_us: int, at_us: int) -> int | None:
    """An instant as what it is after the sending: a smaller number, which takes fewer bytes. None for NEVER."""
    return None if at_us == NEVER else at_us - sent_us


def _at(sent_us: int, after_us: int | None) -> int:
    return NEVER if after_us is None else sent_us + after_us


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        remedy = "records of messages go there; $SQLITE_TMPDIR can name a folder with more room"
        raise OSError(errno.EIO, f"{error}; {remedy}", "the folder for temporary files") from None
