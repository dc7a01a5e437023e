"""SHA-256, and HMAC-SHA256 (RFC 2104) of one key over many texts.

As RFC 2104 §4 recommends, what is kept of a key are the two states of the hash that have taken it in, and each MAC
begins with copies of them. ``hmac`` of the standard library keeps such states too, but lets OpenSSL look its algorithm
up, and copies more, at each MAC. Equal to ``hmac.digest(key, text, "sha256")`` for every key and text.

What stands here is the definition; where ``_sha256`` is built, the same in C takes its place: a frame's text is so
short that hashlib's objects cost more than the hashing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256 as hashlib_sha256
from typing import Any, Final

_KEYS: Final = 16_384
"""So many keys at most are kept ready for use, at a kilobyte each; then all are begun anew."""
_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
"""What the two paddings of RFC 2104 §2 make of each byte of a key."""
_fresh: Final[Callable[[], Any]] = hashlib_sha256().copy
"""A hash that has taken in nothing; its copy costs half of asking OpenSSL for one."""


def sha256_of(data: bytes) -> bytes:
    """The 32 bytes of SHA-256."""
    hashed = _fresh()
    hashed.update(data)
    digest: bytes = hashed.digest()
    return digest


def begun_of(key: bytes) -> Any:
    """What the inner and the outer hash of a key begin with; another copy at each call."""
    block = (key if len(key) <= _BLOCK_BYTES else sha256_of(key)).ljust(_BLOCK_BYTES, b"\0")
    return hashlib_sha256(block.translate(_INNER)).copy, hashlib_sha256(block.translate(_OUTER)).copy


def mac_of(begun: Any, text: bytes) -> bytes:
    """The 32 bytes of a MAC."""
    begin_inner, begin_outer = begun
    inner = begin_inner()
    inner.update(text)
    outer = begin_outer()
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac


def _forms() -> tuple[Callable[[bytes], bytes], Callable[[bytes], Any], Callable[[Any, bytes], bytes]]:
    """These functions, or where they are built those in C."""
    try:
        from zentalk_sim.protocol import _sha256
    except ImportError:
        return sha256_of, begun_of, mac_of
    return _sha256.sha256, _sha256.begun, _sha256.mac


_FORMS: Final = _forms()
sha256: Final = _FORMS[0]
"""The 32 bytes of SHA-256."""
_begin: Final = _FORMS[1]
_mac: Final = _FORMS[2]
_begun: Final[dict[bytes, Any]] = {}
"""Key → what its MACs begin with."""


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """The 32 bytes of a MAC."""
    begun = _begun.get(key)
    if begun is None:
        if len(_begun) >= _KEYS:
            _begun.clear()
        begun = _begun[key] = _begin(key)
    return _mac(begun, text)
