"""Signatures and MACs, real and modelled, behind one interface.

``Ed25519`` is what travels on real wires: Ed25519 (RFC 8032) by PyNaCl, HKDF-SHA256 (RFC 5869), HMAC-SHA256.
``Modelled`` stands for it in simulations of fidelity ``frames``: keyed hashes of the same lengths, whose CPU
cost the experiment states. It keeps every decision (a signature of another key or other data fails) and no secret.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol
from zlib import crc32

from nacl.bindings import crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

_KEYS: Final = 1024
"""Session keys of which the most recent are kept ready for use."""


class Crypto(Protocol):
    """What the core asks of cryptography. Secrets are 32-byte seeds, keys 32 bytes, signatures 64."""

    def public_key(self, secret: bytes) -> bytes:
        """The public key of a secret."""
        ...

    def sign(self, secret: bytes, data: bytes) -> bytes:
        """A 64-byte signature."""
        ...

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the signature is of that key over that data."""
        ...

    def session_key(self, token: str, challenge: bytes) -> bytes:
        """R-5.1: the key of a connection's MACs."""
        ...

    def message_mac(self, key: bytes, type: str, id: str, timestamp: int, payload: bytes) -> bytes:
        """R-5.2: 32 bytes over type ‖ id ‖ timestamp ‖ payload."""
        ...


def mac_input(type: str, id: str, timestamp: int, payload: bytes) -> bytes:
    """R-5.2: what a MAC covers; the timestamp in decimal ASCII, the payload as its exact bytes in the frame."""
    return f"{type}{id}{timestamp}".encode() + payload


_BLOCK_BYTES: Final = 64
"""SHA-256's block, to which a key of HMAC is filled up (RFC 2104 §2)."""
_INNER: Final = bytes(value ^ 0x36 for value in range(256))
_OUTER: Final = bytes(value ^ 0x5C for value in range(256))


@lru_cache(maxsize=_KEYS)
def _keyed(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """HMAC's inner and outer hash with the key taken in (RFC 2104 §2), only ever copied.

    To go on from copies of both costs little more than half of what a copy of ``hmac``'s own object does.
    """
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


class Ed25519:
    """The specification's cryptography."""

    def public_key(self, secret: bytes) -> bytes:
        """The Ed25519 public key of a 32-byte seed."""
        return crypto_sign_seed_keypair(secret)[0]

    def sign(self, secret: bytes, data: bytes) -> bytes:
        """An Ed25519 signature (RFC 8032)."""
        return SigningKey(secret).sign(data).signature

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether an Ed25519 signature holds."""
        try:
            crypto_sign_open(signature + data, public_key)
        except (BadSignatureError, ValueError, TypeError):
            return False
        return True

    def session_key(self, token: str, challenge: bytes) -> bytes:
        """R-5.1: HKDF-SHA256 of the session token, salted with the challenge."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        hkdf = HKDF(algorithm=SHA256(), length=32, salt=challenge, info=b"zentalk.v1 message_mac")
        return hkdf.derive(token.encode("ascii"))

    def message_mac(self, key: bytes, type: str, id: str, timestamp: int, payload: bytes) -> bytes:
        """R-5.2: HMAC-SHA256."""
        keyed_inner, keyed_outer = _keyed(key)
        inner = keyed_inner.copy()
        inner.update(mac_input(type, id, timestamp, payload))
        outer = keyed_outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Modelled:
    """Keyed hashes in place of signatures; a secret's public key is a hash of it, and signing uses the public key.

    Anyone could forge these. That is no matter inside one process that simulates every party, and it is never
    used on a real wire.
    """

    def public_key(self, secret: bytes) -> bytes:
        """A hash of the secret."""
        return blake2b(secret, digest_size=32, person=b"zs public key").digest()

    def sign(self, secret: bytes, data: bytes) -> bytes:
        """A keyed hash of 64 bytes."""
        return blake2b(data, key=self.public_key(secret), digest_size=64).digest()

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the keyed hash is that of the key and the data."""
        return blake2b(data, key=public_key, digest_size=64).digest() == signature

    def session_key(self, token: str, challenge: bytes) -> bytes:
        """A keyed hash of the token."""
        return blake2b(token.encode(), key=challenge, digest_size=32).digest()

    def message_mac(self, key: bytes, type: str, id: str, timestamp: int, payload: bytes) -> bytes:
        """The key, but for its last four bytes, which are a checksum over the same material.

        Two for each frame of an authenticated client, so it is the cheapest that tells other keys and material apart.
        """
        return key[:28] + crc32(mac_input(type, id, timestamp, payload), crc32(key)).to_bytes(4, "big")
