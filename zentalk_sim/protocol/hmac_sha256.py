"""HMAC-SHA256 (RFC 2104) of one key over many texts.

As RFC 2104 §4 recommends, what is kept of a key are the two states of the hash that have taken it in, and each MAC
begins with copies of them. ``hmac`` of the standard library keeps such states too, but lets OpenSSL look its algorithm
up, and copies more, at each MAC. Equal to ``hmac.digest(key, text, "sha256")`` for every key and text.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

_KEYS: Final = 16_384
"""So many keys at most are kept ready for use, at a kilobyte each; then all are begun anew."""
_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
"""What the two paddings of RFC 2104 §2 make of each byte of a key."""

_Begin = Callable[[], Any]
"""A hash that has taken in a padded key; another copy at each call."""
_begun: Final[dict[bytes, tuple[_Begin, _Begin]]] = {}
"""Key → what its inner and its outer hash begin with."""


def _begin(key: bytes) -> tuple[_Begin, _Begin]:
    block = (key if len(key) <= _BLOCK_BYTES else sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    if len(_begun) >= _KEYS:
        _begun.clear()
    begun = _begun[key] = sha256(block.translate(_INNER)).copy, sha256(block.translate(_OUTER)).copy
    return begun


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """The 32 bytes of a MAC."""
    begun = _begun.get(key)
    begin_inner, begin_outer = _begin(key) if begun is None else begun
    inner = begin_inner()
    inner.update(text)
    outer = begin_outer()
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac
