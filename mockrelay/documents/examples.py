"""One example of each frame, as typed payloads: what the documents show is what the code would encode.

The bytes in them have the right lengths and mean nothing: no signature verifies, no ciphertext can be read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from zentalk_sim.protocol import codec
from zentalk_sim.protocol import frames as f
from zentalk_sim.protocol.identity import conversation_id, fingerprint

_ALICE: Final = "0x9bd7f2e4c1a05b3d8e6f7a1c2b4d5e6f70819203"
_BOB: Final = "0x1f3c5e7a9b0d2f4e6a8c0b1d3f5e7a9c0b2d4f60"
_DEVICE: Final = "0b7c9b1e-5a0e-4d5c-9a53-1d1c0f5f8a10"
_MESSAGE: Final = "7f1de37e-7a3b-4bb1-8a1d-6f3a0f2d9c11"
_CONVERSATION: Final = conversation_id(_ALICE, _BOB)
_NOW_MS: Final = 1_767_225_600_000
_JWT: Final = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIweDliZDcifQ.c2lnbmF0dXJl"


def _bytes(count: int, start: int = 1) -> bytes:
    return bytes((start + index) % 256 for index in range(count))


_X3DH: Final = f.X3dhHeader(_bytes(32), _bytes(32, 40), 17)

CLIENT_EXAMPLES: Final[dict[str, f.Payload]] = {
    "AUTH_RESPONSE": f.AuthResponse(_bytes(32), _DEVICE, _bytes(64, 3), _NOW_MS),
    "MESSAGE_SEND": f.MessageSend(_BOB, b"ciphertext", _bytes(12), "text", x3dh_header=_X3DH),
    "MESSAGE_RECEIVED": f.MessageReceived(_MESSAGE),
    "MESSAGE_READ": f.MessageRead(_MESSAGE),
    "TYPING_START": f.TypingSignal(_CONVERSATION),
    "TYPING_STOP": f.TypingSignal(_CONVERSATION),
    "PRESENCE_SET": f.PresenceSet("away"),
    "SUBSCRIBE": f.Topics((f"presence:{_BOB}", f"typing:{_CONVERSATION}")),
    "UNSUBSCRIBE": f.Topics((f"presence:{_BOB}",)),
    "PONG": f.Pong(_NOW_MS, _NOW_MS + 40),
    "TOKEN_REFRESH": f.TokenRefresh(_JWT, _bytes(64, 5)),
}
RELAY_EXAMPLES: Final[dict[str, f.Payload]] = {
    "AUTH_CHALLENGE": f.AuthChallenge(_bytes(32, 7), _NOW_MS, _bytes(16)),
    "AUTH_SUCCESS": f.AuthSuccess(
        _JWT,
        _NOW_MS + 86_400_000,
        _NOW_MS,
        "sess_4f2a9c01d7e3",
        ("send_message", "receive_message", "presence"),
        "res_" + _bytes(16, 30).hex(),
        False,
    ),
    "AUTH_FAILED": f.AuthFailed("UNAUTHORIZED", "signature does not verify"),
    "MESSAGE_NEW": f.MessageNew(_ALICE, _CONVERSATION, b"ciphertext", _bytes(12), "text", _NOW_MS, _X3DH),
    "MESSAGE_ACK": f.MessageAck(_MESSAGE, _NOW_MS, "queued", 2),
    "MESSAGE_DELIVERED": f.MessageDelivered(_MESSAGE, _DEVICE, _NOW_MS),
    "MESSAGE_READ": f.MessageReadNotice(_MESSAGE, _BOB, _NOW_MS),
    "TYPING_START": f.TypingUpdate(_CONVERSATION, _ALICE),
    "TYPING_STOP": f.TypingUpdate(_CONVERSATION, _ALICE),
    "PRESENCE_UPDATE": f.PresenceUpdate(_BOB, "online", None, 1),
    "KEY_CHANGE": f.KeyChange(_BOB, _bytes(32, 9), fingerprint(_bytes(32)), fingerprint(_bytes(32, 9)), "reinstall"),
    "PING": f.Ping(_NOW_MS, 42),
    "ERROR": f.ErrorPayload(
        "INVALID_MESSAGE",
        "payload.nonce must be 12 bytes in base64",
        "req_5b1f0c9a7e21",
        {"reason": "malformed", "field": "payload.nonce"},
        "MESSAGE_SEND",
        _MESSAGE,
    ),
    "SYNC_REQUIRED": f.SyncRequired("offline_messages", 3, _NOW_MS - 60_000, _NOW_MS, _NOW_MS - 60_000),
    "TOKEN_REFRESHED": f.TokenRefreshed(_JWT, _NOW_MS + 86_400_000),
    "TOKEN_EXPIRING": f.TokenExpiring(_NOW_MS + 300_000, 300, "refresh_recommended"),
}


def envelope(kind: str, payload: f.Payload, seq: int | None) -> dict[str, Any]:
    """A whole text frame as JSON has it."""
    frame: dict[str, Any] = {
        "type": kind,
        "id": _MESSAGE,
        "timestamp": _NOW_MS,
        "payload": msgspec.to_builtins(payload),
    }
    return frame if seq is None else {**frame, "seq": seq}


def binary(kind: str, payload: f.Payload) -> bytes:
    """A whole binary frame (R-2.1)."""
    data = codec.encode(f.BinaryFrame(kind, _MESSAGE, _NOW_MS, payload))
    assert isinstance(data, bytes)
    return data
