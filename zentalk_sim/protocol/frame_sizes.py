"""How many bytes a frame takes, without encoding it: a link with bandwidth asks for each frame that crosses it.

Of the frames that travel most, all is known but the lengths of texts, base64 and numbers: the sizes of the JSON around
them stand below. The others are encoded. The law is ``text_size(frame) == len(codec.encode_text(frame))``, and the
like for binary frames and payloads.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from zentalk_sim.protocol.frames import (
    BinaryFrame,
    Frame,
    MessageAck,
    MessageDelivered,
    MessageNew,
    MessageRead,
    MessageReadNotice,
    MessageReceived,
    MessageSend,
    Payload,
    Ping,
    Pong,
)

BINARY_HEADER_BYTES: Final = 29

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_encode: Final[Any] = msgspec.json.Encoder().encode
_UNSET: Final[Any] = UNSET
_BINARY: Final[type] = BinaryFrame
_SEND: Final[type] = MessageSend
_NEW: Final[type] = MessageNew
_ACK: Final[type] = MessageAck
_DELIVERED: Final[type] = MessageDelivered
_RECEIVED: Final[type] = MessageReceived
_READ: Final[type] = MessageRead
_READ_NOTICE: Final[type] = MessageReadNotice
_PING: Final[type] = Ping
_PONG: Final[type] = Pong

_FRAME_BYTES: Final = len('{"type":"","id":"","timestamp":,"payload":}')
_MAC_BYTES: Final = len(',"message_mac":""')
_SEQ_BYTES: Final = len(',"seq":')
_SEND_BYTES: Final = len('{"to":"","ciphertext":"","nonce":"","message_type":""}')
_CONVERSATION_BYTES: Final = len(',"conversation_id":')
_HEADER_BYTES: Final = len(',"x3dh_header":')
_NEW_BYTES: Final = len('{"from":"","conversation_id":,"ciphertext":"","nonce":"","message_type":"","timestamp":}')
_ACK_BYTES: Final = len('{"message_id":"","server_timestamp":,"status":"","recipient_devices":}')
_DELIVERED_BYTES: Final = len('{"message_id":"","device_id":"","timestamp":}')
_RECEIPT_BYTES: Final = len('{"message_id":""}')
_READ_NOTICE_BYTES: Final = len('{"message_id":"","read_by":"","timestamp":}')
_PING_BYTES: Final = len('{"timestamp":}')
_RTT_BYTES: Final = len(',"rtt_ms":')
_PONG_BYTES: Final = len('{"timestamp":,"client_time":}')
_ID_CHARACTERS: Final = 36
_ADDRESS_CHARACTERS: Final = 42


def frame_size(frame: Frame) -> int:
    """Bytes of the frame's WebSocket payload: ``len(codec.encode(frame))``, or its UTF-8's."""
    if type(frame) is _BINARY:
        return BINARY_HEADER_BYTES + payload_size(frame.payload)
    size = _known_size(frame.payload)
    if size < 0:
        return len(_encode(frame))
    size += _FRAME_BYTES + len(frame.type) + _name(frame.id) + _digits(frame.timestamp)
    mac = frame.message_mac
    if mac is not None:
        size += _MAC_BYTES + _base64(mac)
    seq = frame.seq
    if seq is not None:
        size += _SEQ_BYTES + _digits(seq)
    return size


def payload_size(payload: Payload) -> int:
    """``len(codec.encode_payload(payload))``."""
    size = _known_size(payload)
    return size if size >= 0 else len(_encode(payload))


def _known_size(payload: Any) -> int:
    """A payload's size; -1 where only encoding it tells."""
    kind = type(payload)
    if kind is _PONG:
        return _PONG_BYTES + _digits(payload.timestamp) + _digits(payload.client_time)
    if kind is _PING:
        return _ping_size(payload)
    if kind is _RECEIVED or kind is _READ:
        return _RECEIPT_BYTES + _name(payload.message_id)
    if kind is _DELIVERED:
        size = _DELIVERED_BYTES + _name(payload.message_id) + _name(payload.device_id)
        return size + _digits(payload.timestamp)
    if kind is _ACK:
        status: Any = payload.status
        size = _ACK_BYTES + _name(payload.message_id) + (6 if status == "queued" else _text(status))
        return size + _digits(payload.server_timestamp) + _digits(payload.recipient_devices)
    if kind is _SEND:
        return _send_size(payload)
    if kind is _NEW:
        return _new_size(payload)
    if kind is _READ_NOTICE:
        size = _READ_NOTICE_BYTES + _name(payload.message_id) + _name(payload.read_by)
        return size + _digits(payload.timestamp)
    return -1


def _ping_size(ping: Ping) -> int:
    size = _PING_BYTES + _digits(ping.timestamp)
    rtt_ms: Any = ping.rtt_ms
    if rtt_ms is _UNSET:
        return size
    return size + _RTT_BYTES + (_digits(rtt_ms) if type(rtt_ms) is int else len(_encode(rtt_ms)))


def _send_size(send: MessageSend) -> int:
    size = _SEND_BYTES + _name(send.to) + _base64(send.ciphertext) + _base64(send.nonce) + len(send.message_type)
    conversation: Any = send.conversation_id
    if conversation is not _UNSET:
        size += _CONVERSATION_BYTES + len(_encode(conversation))
    header: Any = send.x3dh_header
    if header is not _UNSET:
        size += _HEADER_BYTES + len(_encode(header))
    return size


def _new_size(new: MessageNew) -> int:
    size = _NEW_BYTES + _name(new.sender) + _base64(new.ciphertext) + _base64(new.nonce) + len(new.message_type)
    # Whoever began the conversation named it, with any characters.
    size += len(_encode(new.conversation_id)) + _digits(new.timestamp)
    header: Any = new.x3dh_header
    if header is not _UNSET:
        size += _HEADER_BYTES + len(_encode(header))
    return size


def _name(text: str) -> int:
    """Bytes of an id or an address, which need no escapes, without its quotes; any other text is encoded."""
    count = len(text)
    if (count == _ID_CHARACTERS and text[8] == "-") or (count == _ADDRESS_CHARACTERS and text[1] == "x"):
        return count
    return _text(text)


def _text(text: str) -> int:
    return len(_encode(text)) - 2


def _base64(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4


def _digits(number: int) -> int:
    """Characters of a whole number; times in ms have 13."""
    if 1_000_000_000_000 <= number < 10_000_000_000_000:
        return 13
    if 0 <= number < 10:
        return 1
    return len(str(number))
