"""Randomness by name: a seed, a boot number and a name determine a stream, whatever else was drawn.

A stream is BLAKE2b in counter mode, keyed by the seed, over (boot, name, counter). Adding a device
or a fault therefore never moves another's numbers, and no challenge repeats after a restart, since
the boot number counts up. Draws are our own arithmetic over raw words, so that results do not depend
on a library's choice of algorithm.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

_BLOCK_BYTES: Final = 64
_LAST_WORD: Final = _BLOCK_BYTES - 8
_TO_UNIT: Final = 2.0**-53
"""Multiplying by a power of two is exact, as dividing would be."""
_word_at: Final = Struct(">Q").unpack_from

# Ids are made four at a time, one block's, by one ``translate`` of their places in a table of digits: the block's own
# 128, what the variant's digit would be were it drawn by each of the block's bytes, and the two that are fixed.
_ID_CHARS: Final = 36
_IDS_CHARS: Final = 4 * _ID_CHARS
_hex_of: Final = hexlify
_VARIANTS: Final = bytes(ord("89ab"[byte >> 6]) for byte in range(256))
_FIXED: Final = b"-4".ljust(256 - 3 * _BLOCK_BYTES)
_DASH, _VERSION = 3 * _BLOCK_BYTES, 3 * _BLOCK_BYTES + 1


def _places_of(number: int) -> bytes:
    """Where in the table the 36 characters of a block's ``number``-th id are (RFC 9562 §5.4)."""
    digits = list(range(32 * number, 32 * number + 32))
    digits[12], digits[16] = _VERSION, 2 * _BLOCK_BYTES + 16 * number + 8
    for place in (20, 16, 12, 8):
        digits.insert(place, _DASH)
    return bytes(digits)


_PLACES: Final = b"".join(_places_of(number) for number in range(4))


def _ids_of(block: bytes) -> str:
    """The four ids of a block, one after the other."""
    return _PLACES.translate(_hex_of(block) + block.translate(_VARIANTS) + _FIXED).decode("ascii")


def seed_bytes(seed: int | str | bytes) -> bytes:
    """The 32-byte key for a seed given as a number, a text or raw bytes."""
    if isinstance(seed, bytes):
        if len(seed) == 32:
            return seed
        data = b"b" + seed
    elif isinstance(seed, int):
        data = b"i%d" % seed
    else:
        data = b"s" + seed.encode()
    return blake2b(data, digest_size=32).digest()


def begun_of(key: bytes) -> Any:
    """A hash that has taken in a key; only ever copied, which costs half of beginning with the key."""
    return blake2b(key=key, digest_size=_BLOCK_BYTES)


def block_of(begun: Any, number: int, name: bytes) -> bytes:
    """A block: 64 bytes, those of BLAKE2b over number and name."""
    running = begun.copy()
    running.update(number.to_bytes(8, "big") + name)
    digest: bytes = running.digest()
    return digest


def ids_of(begun: Any, number: int, name: bytes) -> str:
    """The four ids that a block stands for."""
    return _ids_of(block_of(begun, number, name))


def _forms() -> tuple[Callable[[bytes], Any], Callable[[Any, int, bytes], bytes], Callable[[Any, int, bytes], str]]:
    """These functions, or where they are built those in C, which take a third of the time."""
    try:
        from zentalk_sim.protocol import _blocks
    except ImportError:
        return begun_of, block_of, ids_of
    return _blocks.begun, _blocks.block, _blocks.ids


_FORMS: Final = _forms()
keyed: Final = _FORMS[0]
"""What the streams of a key begin with."""
_block: Final = _FORMS[1]
_ids: Final = _FORMS[2]


class Stream:
    """One named sequence of random words: of those that begin with ``begun``, the one of that ``name``."""

    __slots__ = ("_begun", "_block", "_ids", "_ids_at", "_name", "_offset", "counter")

    def __init__(self, begun: Any, name: bytes, counter: int = 0) -> None:
        self._begun = begun
        self._name = name
        self.counter = counter
        """How many blocks were begun; all that a snapshot needs, the rest of a block being dropped."""
        self._block = b""
        self._offset = _BLOCK_BYTES
        self._ids = ""
        """The last block instead, where it was begun by ``uuid4``."""
        self._ids_at = _IDS_CHARS

    def _next_block(self) -> bytes:
        number = self.counter
        self.counter = number + 1
        return _block(self._begun, number, self._name)

    def _begins_block(self) -> bool:
        """Begin the next block where nothing is left of the last; whether that was so."""
        if self._ids_at < _IDS_CHARS:
            # What is left of a block of ids, as the bytes that it is.
            self.counter -= 1
            self._block = self._next_block()
            self._offset = self._ids_at // _ID_CHARS * 16
            self._ids_at = _IDS_CHARS
            return True
        if self._offset < _BLOCK_BYTES:
            return False
        self._block = self._next_block()
        self._offset = 0
        return True

    def bytes(self, count: int) -> bytes:
        """``count`` random bytes."""
        offset = self._offset
        end = offset + count
        if end <= _BLOCK_BYTES:
            self._offset = end
            return self._block[offset:end]
        if self._begins_block():
            return self.bytes(count)
        parts = [self._block[offset:]]
        left = end - _BLOCK_BYTES
        while left > _BLOCK_BYTES:
            parts.append(self._next_block())
            left -= _BLOCK_BYTES
        self._block = self._next_block()
        self._offset = left
        parts.append(self._block[:left])
        return b"".join(parts)

    def word(self) -> int:
        """A uniform integer in [0, 2⁶⁴)."""
        offset = self._offset
        if offset <= _LAST_WORD:
            # The common case, without a call: this is the simulator's most frequent draw.
            self._offset = offset + 8
            word: int = _word_at(self._block, offset)[0]
            return word
        return self.word() if self._begins_block() else int.from_bytes(self.bytes(8), "big")

    def uniform(self) -> float:
        """A uniform number in [0, 1) with 53 bits."""
        offset = self._offset
        if offset <= _LAST_WORD:
            self._offset = offset + 8
            block = self._block
            # Byte by byte, and no whole word: compiled, that makes no object.
            high = block[offset] << 24 | block[offset + 1] << 16 | block[offset + 2] << 8 | block[offset + 3]
            low = block[offset + 4] << 13 | block[offset + 5] << 5 | block[offset + 6] >> 3
            return (high << 21 | low) * _TO_UNIT
        return self.uniform() if self._begins_block() else (int.from_bytes(self.bytes(8), "big") >> 11) * _TO_UNIT

    def between(self, low: int, high: int) -> int:
        """A uniform integer in [``low``, ``high``], both included; ``low`` if they are equal.

        Raises ValueError where ``high < low``.
        """
        if high < low:
            raise ValueError(f"empty range {low}..{high}")
        # 64 bits scaled to the span: the bias is below span / 2⁶⁴, and one word is used whatever the span.
        return low + ((self.word() * (high - low + 1)) >> 64)

    def uuid4(self) -> str:
        """A version-4 UUID in its 36-character form (RFC 9562 §5.4)."""
        at = self._ids_at
        if at < _IDS_CHARS:
            self._ids_at = at + _ID_CHARS
            return self._ids[at : at + _ID_CHARS]
        if self._offset < _BLOCK_BYTES:
            return _ids_of(self.bytes(16).ljust(_BLOCK_BYTES))[:_ID_CHARS]
        self._block = b""
        number = self.counter
        self.counter = number + 1
        self._ids = _ids(self._begun, number, self._name)
        self._ids_at = _ID_CHARS
        return self._ids[:_ID_CHARS]

    def hex(self, digits: int) -> str:
        """``digits`` random lower-case hex digits."""
        return self.bytes((digits + 1) // 2).hex()[:digits]


class Streams:
    """All streams of one seed and boot."""

    __slots__ = ("_begun", "_boot", "_key", "_open", "boot", "seed")

    def __init__(self, seed: int | str | bytes, boot: int = 0) -> None:
        self.seed = seed
        self.boot = boot
        self._boot = boot.to_bytes(8, "big")
        self._key = seed_bytes(seed)
        self._begun = keyed(self._key)
        self._open: dict[str, Stream] = {}

    @property
    def key(self) -> bytes:
        """The 32 bytes that the seed stands for; as a seed, they give the same streams."""
        return self._key

    def stream(self, name: str) -> Stream:
        """The stream of that name; the same object at every call."""
        found = self._open.get(name)
        if found is None:
            found = self._open[name] = self._make(name, 0)
        return found

    def fresh(self, name: str, counter: int = 0) -> Stream:
        """The stream of that name from its beginning, or after so many blocks; not kept here (for many short uses)."""
        return Stream(self._begun, self._boot + name.encode(), counter)

    def _make(self, name: str, counter: int) -> Stream:
        return Stream(self._begun, self._boot + name.encode(), counter)

    def counters(self) -> dict[str, int]:
        """Name → blocks begun, for a snapshot. Restoring drops what was left of each begun block, so
        the snapshotting side must call ``realign`` too."""
        return {name: stream.counter for name, stream in sorted(self._open.items())}

    def realign(self) -> None:
        """Drop what is left of each begun block, so that a stream restored by its counter goes on alike."""
        for name, stream in self._open.items():
            self._open[name] = self._make(name, stream.counter)

    def restore(self, counters: dict[str, int]) -> None:
        """Put every named stream at its counter."""
        self._open = {name: self._make(name, counter) for name, counter in counters.items()}
