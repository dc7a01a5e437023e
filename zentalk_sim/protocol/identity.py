"""Names made from keys: addresses, conversation ids, fingerprints, and the bytes that signatures cover.

Integers in signed material are unsigned big-endian; bytes are concatenated.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha512
from typing import Final

from zentalk_sim.protocol.frames import X3dhHeader
from zentalk_sim.protocol.hmac_sha256 import sha256

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_sha256: Final = sha256


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID in its 36-character form."""
    return bytes.fromhex(text.replace("-", ""))


def address_of(identity_key: bytes) -> str:
    """The address given to an identity registered here: ``0x`` and the first 40 hex digits of SHA-256 of its key.

    The specification does not say how a wallet address and an identity key belong together; any pair can be
    registered by the relay's tools.
    """
    return "0x" + _sha256(identity_key).hex()[:40]


@lru_cache(maxsize=8192)
def conversation_id(one: str, other: str) -> str:
    """R-6.4: ``conv_`` and 16 hex digits of SHA-256 over the two lower-case addresses in ascending order."""
    low, high = sorted((one.lower(), other.lower()))
    return "conv_" + _sha256((low + high).encode("ascii")).hex()[:16]


def fingerprint(key: bytes) -> str:
    """R-7.5: six groups of five digits, each from the next 5 bytes of SHA-512 of the raw key."""
    digest = sha512(key).digest()
    return " ".join(f"{int.from_bytes(digest[i : i + 5], 'big') % 100_000:05d}" for i in range(0, 30, 5))


def auth_signed_data(challenge: bytes, server_time_ms: int, device_id: str, client_time_ms: int) -> bytes:
    """R-4.1: challenge ‖ server_time ‖ device_id ‖ client_time, 64 bytes."""
    return challenge + server_time_ms.to_bytes(8, "big") + uuid_bytes(device_id) + client_time_ms.to_bytes(8, "big")


def token_signed_data(device_id: str, timestamp_ms: int) -> bytes:
    """R-3.3: what a request for a connection token signs."""
    return b"zentalk.v1 token" + uuid_bytes(device_id) + timestamp_ms.to_bytes(8, "big")


def content_hash(
    recipient: str,
    ciphertext: bytes,
    nonce: bytes,
    message_type: str,
    conversation: str,
    header: X3dhHeader | None,
) -> bytes:
    """R-5.6: SHA-256 over a message's length-prefixed decoded fields; equal for equal content, whatever the framing."""
    to, kind, named = recipient.lower().encode(), message_type.encode(), conversation.encode()
    fields = [
        len(to).to_bytes(4, "big"),
        to,
        len(ciphertext).to_bytes(4, "big"),
        ciphertext,
        len(nonce).to_bytes(4, "big"),
        nonce,
        len(kind).to_bytes(4, "big"),
        kind,
        len(named).to_bytes(4, "big"),
        named,
    ]
    if header is not None:
        key_id = header.one_time_key_id
        for key in (header.identity_key, header.ephemeral_key, b"%d" % key_id if isinstance(key_id, int) else b""):
            fields += (len(key).to_bytes(4, "big"), key)
    return _sha256(b"".join(fields))
