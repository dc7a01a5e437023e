"""Signatures and MACs, real and modelled, behind one interface.

``Ed25519`` is what travels on real wires: Ed25519 (RFC 8032) by PyNaCl, HKDF-SHA256 (RFC 5869), HMAC-SHA256.
``Modelled`` stands for it in simulations of fidelity ``frames``: checksums under a key, of the same lengths, whose CPU
cost the experiment states. It keeps every decision (a signature of another key or other data fails) and no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import digest as one_hmac
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


def _native_mac() -> Callable[[bytes, str, str, int, bytes], bytes] | None:
    try:
        from zentalk_sim.protocol import _blocks
    except ImportError:
        return None
    return _blocks.mac


_mac_in_c: Final = _native_mac()
"""``Modelled.message_mac`` where it is built in C, which takes a third of the time."""
_sealed: Final = Struct(">28sI").pack
"""28 bytes and a checksum."""
_signed: Final = Struct(">60sI").pack
"""As many bytes as a signature has: a key, zeros, and a checksum."""
_session_key: Final = Struct(">I24s").pack
"""A checksum and 24 bytes, of which more may be given: what a MAC has room for beside its own checksum."""
_KEY_INFO: Final = b"zentalk.v1 message_mac\x01"
"""HKDF's ``info`` and the number of the only block."""
_ONE_TO_ONE: Final = bytes((167 * byte + 13) % 256 for byte in range(256))
"""Another byte for each: what makes a modelled public key of a secret. Keys of different secrets differ."""


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
        # One block of the hash is all that is asked for: two MACs (RFC 5869 §2), and no library need be looked up.
        extracted = one_hmac(challenge, token.encode("ascii"), "sha256")
        return one_hmac(extracted, _KEY_INFO, "sha256")

    def message_mac(self, key: bytes, type: str, id: str, timestamp: int, payload: bytes) -> bytes:
        """R-5.2: HMAC-SHA256."""
        return hmac_sha256(key, mac_input(type, id, timestamp, payload))


class Modelled(Crypto):
    """Checksums under a key in place of signatures; a secret's public key is its image, and signing uses that.

    Anyone could forge these. That is no matter inside one process that simulates every party, and it is never
    used on a real wire.
    """

    def public_key(self, secret: bytes) -> bytes:
        """The secret, each byte replaced by its own other one."""
        return secret.translate(_ONE_TO_ONE)

    def sign(self, secret: bytes, data: bytes) -> bytes:
        """The public key and a checksum of the data, in 64 bytes."""
        return _signed(secret.translate(_ONE_TO_ONE), _checksum(data))

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether key and checksum are those of the signature."""
        expected: bytes = _signed(public_key, _checksum(data))
        return expected == signature

    def session_key(self, token: str, challenge: bytes) -> bytes:
        """A checksum of the token and 24 bytes of the challenge; 28 bytes."""
        return _session_key(_checksum(token.encode()), challenge)

    def message_mac(self, key: bytes, type: str, id: str, timestamp: int, payload: bytes) -> bytes:
        """The key, and four bytes of a checksum over the same material.

        Two for each frame of an authenticated client, so it is the cheapest that tells other keys and material apart:
        the timestamp is what the checksum begins with.
        """
        if _mac_in_c is not None:
            return _mac_in_c(key, type, id, timestamp, payload)
        checksum = _checksum((type + id).encode(), (timestamp ^ (timestamp >> 32)) & _WORD)
        return _sealed(key, _checksum(payload, checksum) if len(payload) else checksum)
