"""Test vectors for clients in other languages, made by the code and checked in.

    python tests/vectors/generate.py

writes ``*.json`` beside this file. ``test_vectors.py`` requires that the files are what this makes, and
``verify.mjs`` checks them with nothing but Node's own crypto. Every file is a list of cases with ``in`` and
``out``; bytes are lower-case hex, times are in ms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from zentalk_sim.protocol import codec, identity
from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.protocol.crypto import Ed25519, mac_input
from zentalk_sim.protocol.frames import BinaryFrame, MessageNew, MessageSend
from zentalk_sim.protocol.streams import Streams

HERE = Path(__file__).parent
CRYPTO = Ed25519()
DRAW = Streams("vectors")
Case = dict[str, Any]


def _secrets() -> list[bytes]:
    return [bytes(range(32)), b"\xff" * 32, DRAW.fresh("secret").bytes(32)]


def keys() -> Iterator[Case]:
    """Ed25519 seed → public key, address, fingerprint (RFC 8032, R-7.5)."""
    for secret in _secrets():
        key = CRYPTO.public_key(secret)
        yield {
            "in": {"secret": secret.hex()},
            "out": {
                "identity_key": key.hex(),
                "address": identity.address_of(key),
                "fingerprint": identity.fingerprint(key),
            },
        }


def auth() -> Iterator[Case]:
    """Challenge → signed data and signature of AUTH_RESPONSE (R-4.1)."""
    for n, secret in enumerate(_secrets()):
        stream = DRAW.fresh(f"auth/{n}")
        challenge, device_id = stream.bytes(32), stream.uuid4()
        server_time, client_time = 1_704_067_200_000 + n, 1_704_067_200_500 - 1000 * n
        signed = identity.auth_signed_data(challenge, server_time, device_id, client_time)
        yield {
            "in": {
                "secret": secret.hex(),
                "challenge": challenge.hex(),
                "server_time": server_time,
                "device_id": device_id.upper() if n == 1 else device_id,
                "client_time": client_time,
            },
            "out": {"signed_data": signed.hex(), "signature": CRYPTO.sign(secret, signed).hex()},
        }


def token_request() -> Iterator[Case]:
    """POST /api/token: what is signed, and the signature (R-3.3)."""
    for n, secret in enumerate(_secrets()):
        device_id, timestamp = DRAW.fresh(f"token/{n}").uuid4(), 1_704_067_200_000 + 86_400_000 * n
        signed = identity.token_signed_data(device_id, timestamp)
        yield {
            "in": {"secret": secret.hex(), "device_id": device_id, "timestamp": timestamp},
            "out": {"signed_data": signed.hex(), "signature": CRYPTO.sign(secret, signed).hex()},
        }


def mac() -> Iterator[Case]:
    """Session key by HKDF-SHA256 and message MAC by HMAC-SHA256 (R-5.1, R-5.2)."""
    payloads = ['{"message_id":"550e8400-e29b-41d4-a716-446655440000"}', '{ "status" : "away" }', '{"topics":["é"]}']
    for n, payload in enumerate(payloads):
        stream = DRAW.fresh(f"mac/{n}")
        challenge, message_id = stream.bytes(32), stream.uuid4()
        token = f"header.payload{n}.signature"
        key = CRYPTO.session_key(token, challenge)
        kind, timestamp = ["MESSAGE_RECEIVED", "PRESENCE_SET", "SUBSCRIBE"][n], 1_704_067_200_000 + n
        raw = payload.encode()
        yield {
            "in": {
                "session_token": token,
                "challenge": challenge.hex(),
                "type": kind,
                "id": message_id,
                "timestamp": timestamp,
                "payload": raw.hex(),
            },
            "out": {
                "session_key": key.hex(),
                "mac_input": mac_input(kind, message_id, timestamp, raw).hex(),
                "message_mac": CRYPTO.message_mac(key, kind, message_id, timestamp, raw).hex(),
            },
        }


def conversations() -> Iterator[Case]:
    """Two addresses → conversation id, in either order and letter case (R-6.4)."""
    low, high = "0x" + "1234567890abcdef" * 2 + "12345678", "0x" + "9876543210fedcba" * 2 + "98765432"
    for one, other in ((low, high), (high, low), (low.upper().replace("0X", "0x"), high), (low, low)):
        yield {"in": {"one": one, "other": other}, "out": {"conversation_id": identity.conversation_id(one, other)}}


def binary_frames() -> Iterator[Case]:
    """Envelope and payload → the binary frame (R-2.1)."""
    nonce = b"n" * 12
    sends = MessageSend("0x" + "ab" * 20, b"x" * 40, nonce, "image")
    new = MessageNew("0x" + "cd" * 20, "conv_0123456789abcdef", b"", nonce, "text", 1_704_067_200_100)
    for n, (kind, payload) in enumerate((("MESSAGE_SEND", sends), ("MESSAGE_NEW", new))):
        frame = BinaryFrame(kind, DRAW.fresh(f"binary/{n}").uuid4(), 1_704_067_200_000 + n, payload)
        encoded = codec.encode(frame)
        assert isinstance(encoded, bytes)
        yield {
            "in": {
                "type": kind,
                "id": frame.id,
                "timestamp": frame.timestamp,
                "payload": msgspec.json.encode(payload).decode(),
            },
            "out": {"frame": encoded.hex()},
        }


def backoff() -> Iterator[Case]:
    """Attempt k → the least and the greatest wait before it, in ms (R-11.2)."""
    config = BackoffConfig()
    for k in range(10):
        delay = min(config.cap_ms, config.base_ms * 2**k)
        yield {"in": {"k": k}, "out": {"least_ms": delay, "greatest_ms": round(delay * (1 + config.jitter))}}


FILES = {
    "keys": keys,
    "auth": auth,
    "token_request": token_request,
    "mac": mac,
    "conversations": conversations,
    "binary_frames": binary_frames,
    "backoff": backoff,
}


def text_of(name: str) -> str:
    """The file's text."""
    make = FILES[name]
    content = {"description": (make.__doc__ or "").strip(), "cases": list(make())}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (HERE / f"{name}.json").write_text(text_of(name), encoding="utf-8")
