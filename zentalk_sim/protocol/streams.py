"""Randomness by name: a seed, a boot number and a name determine a stream, whatever else was drawn.

A stream is BLAKE2b in counter mode, keyed by the seed, over (boot, name, counter). Adding a device
or a fault therefore never moves another's numbers, and no challenge repeats after a restart, since
the boot number counts up. Draws are our own arithmetic over raw words, so that results do not depend
on a library's choice of algorithm.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Final

_BLOCK_BYTES = 64
_LAST_WORD = _BLOCK_BYTES - 8
_LAST_UUID = _BLOCK_BYTES - 16
_TO_UNIT = 2.0**-53
"""Multiplying by a power of two is exact, as dividing would be."""
_word_at = Struct(">Q").unpack_from
_VARIANT: Final = "89ab"


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


@lru_cache(maxsize=64)
def _keyed(key: bytes) -> blake2b:
    """A hash that has taken in the key; only ever copied."""
    return blake2b(key=key, digest_size=_BLOCK_BYTES)


class Stream:
    """One named sequence of random words."""

    __slots__ = ("_block", "_keyed", "_name", "_offset", "counter")

    def __init__(self, key: bytes, name: bytes, counter: int = 0) -> None:
        self._keyed = _keyed(key)
        self._name = name
        self.counter = counter
        """How many blocks were begun; all that a snapshot needs, the rest of a block being dropped."""
        self._block = b""
        self._offset = _BLOCK_BYTES

    def bytes(self, count: int) -> bytes:
        """``count`` random bytes."""
        offset = self._offset
        end = offset + count
        if end <= _BLOCK_BYTES:
            self._offset = end
            return self._block[offset:end]
        parts = [self._block[offset:]]
        have = _BLOCK_BYTES - offset
        while have < count:
            # A copy of the hash that has taken in the key costs half of beginning with the key.
            running = self._keyed.copy()
            running.update(self.counter.to_bytes(8, "big") + self._name)
            self._block = running.digest()
            self.counter += 1
            parts.append(self._block)
            have += _BLOCK_BYTES
        self._offset = _BLOCK_BYTES - (have - count)
        return b"".join(parts)[:count]

    def word(self) -> int:
        """A uniform integer in [0, 2⁶⁴)."""
        offset = self._offset
        if offset <= _LAST_WORD:
            # The common case, without a call: this is the simulator's most frequent draw.
            self._offset = offset + 8
            word: int = _word_at(self._block, offset)[0]
            return word
        return int.from_bytes(self.bytes(8), "big")

    def uniform(self) -> float:
        """A uniform number in [0, 1) with 53 bits."""
        offset = self._offset
        if offset <= _LAST_WORD:
            self._offset = offset + 8
            word: int = _word_at(self._block, offset)[0]
            return (word >> 11) * _TO_UNIT
        return (int.from_bytes(self.bytes(8), "big") >> 11) * _TO_UNIT

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
        offset = self._offset
        if offset <= _LAST_UUID:
            self._offset = offset + 16
            raw = self._block[offset : offset + 16]
        else:
            raw = self.bytes(16)
        h = raw.hex()
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[raw[8] >> 6]}{h[17:20]}-{h[20:]}"

    def hex(self, digits: int) -> str:
        """``digits`` random lower-case hex digits."""
        return self.bytes((digits + 1) // 2).hex()[:digits]


class Streams:
    """All streams of one seed and boot."""

    __slots__ = ("_boot", "_key", "_open", "boot", "seed")

    def __init__(self, seed: int | str | bytes, boot: int = 0) -> None:
        self.seed = seed
        self.boot = boot
        self._boot = boot.to_bytes(8, "big")
        self._key = seed_bytes(seed)
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

    def fresh(self, name: str) -> Stream:
        """The stream of that name from its beginning, which this object does not keep (for many short uses)."""
        return Stream(self._key, self._boot + name.encode())

    def _make(self, name: str, counter: int) -> Stream:
        return Stream(self._key, self._boot + name.encode(), counter)

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
