"""HMAC-SHA256 (RFC 2104) of one key over many texts.

As RFC 2104 §4 recommends, what is kept of a key are the two states of the hash that have taken it in, and each MAC
begins with copies of them. ``hmac`` of the standard library keeps such states too, but lets OpenSSL look its algorithm
up, and copies more, at each MAC. Equal to ``hmac.digest(key, text, "sha256")`` for every key and text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

_KEYS: Final = 1024
"""Keys of which the most recent are kept ready for use."""
_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
"""What the two paddings of RFC 2104 §2 make of each byte of a key."""

_Begin = Callable[[], Any]
"""A hash that has taken in a padded key; another copy at each call."""


@lru_cache(maxsize=_KEYS)
def _begun(key: bytes) -> tuple[_Begin, _Begin]:
    """What the inner and the outer hash of a key begin with."""
    block = (key if len(key) <= _BLOCK_BYTES else sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    return sha256(block.translate(_INNER)).copy, sha256(block.translate(_OUTER)).copy


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """The 32 bytes of a MAC."""
    begin_inner, begin_outer = _begun(key)
    inner = begin_inner()
    inner.update(text)
    outer = begin_outer()
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac
