"""Signatures and MACs, real and modelled, behind one interface.

``Ed25519`` is what travels on real wires: Ed25519 (RFC 8032) by PyNaCl, HKDF-SHA256 (RFC 5869), HMAC-SHA256.
``Modelled`` stands for it in simulations of fidelity ``frames``: keyed hashes of the same lengths, whose CPU
cost the experiment states. It keeps every decision (a signature of another key or other data fails) and no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, Protocol
from zlib import crc32

from nacl.bindings import crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from zentalk_sim.protocol.hmac_sha256 import hmac_sha256

_WORD: Final = (1 << 32) - 1
_checksum: Final[Callable[..., Any]] = crc32
"""Of no declared result, so that compiled code hands it on as it is."""
_sealed: Final = Struct(">28sI").pack
"""28 bytes, of which more may be given, and a checksum."""


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


class Ed25519(Crypto):
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
        return hmac_sha256(key, mac_input(type, id, timestamp, payload))


class Modelled(Crypto):
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

        Two for each frame of an authenticated client, so it is the cheapest that tells other keys and material apart:
        the timestamp is what the checksum begins with.
        """
        checksum = _checksum((type + id).encode(), (timestamp ^ (timestamp >> 32)) & _WORD)
        return _sealed(key, _checksum(payload, checksum) if len(payload) else checksum)
