"""How many bytes a frame takes, without encoding it: a link with bandwidth asks for each frame that crosses it.

Of the frames that travel most, all is known but the lengths of texts, base64 and numbers: the sizes of the JSON around
them stand below. The others are encoded. The law is ``text_size(frame) == len(codec.encode_text(frame))``, and the
like for binary frames and payloads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

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
_fields: Final[Callable[[Any], tuple[Any, ...]]] = astuple
"""One call for all of a record's fields, which one by one cost compiled code a look-up each."""
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
_QUEUED_BYTES: Final = len("queued")
_ID_CHARACTERS: Final = 36
_ADDRESS_CHARACTERS: Final = 42


def frame_size(frame: Frame) -> int:
    """Bytes of the frame's WebSocket payload: ``len(codec.encode(frame))``, or its UTF-8's."""
    kind, frame_id, timestamp, payload, mac, seq = _fields(frame)
    if type(frame) is _BINARY:
        return BINARY_HEADER_BYTES + payload_size(payload)
    size = _known_size(payload)
    if size < 0:
        return len(_encode(frame))
    size += _FRAME_BYTES + len(kind) + _name(frame_id) + _digits(timestamp)
    if mac is not None:
        size += _MAC_BYTES + _base64(mac)
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
        timestamp, client_time = _fields(payload)
        return _PONG_BYTES + _digits(timestamp) + _digits(client_time)
    if kind is _PING:
        return _ping_size(payload)
    if kind is _RECEIVED or kind is _READ:
        return _RECEIPT_BYTES + _name(payload.message_id)
    if kind is _DELIVERED:
        message_id, device_id, timestamp = _fields(payload)
        return _DELIVERED_BYTES + _name(message_id) + _name(device_id) + _digits(timestamp)
    if kind is _ACK:
        message_id, timestamp, status, devices = _fields(payload)
        size = _ACK_BYTES + _name(message_id) + (_QUEUED_BYTES if status == "queued" else _text(status))
        return size + _digits(timestamp) + _digits(devices)
    if kind is _SEND:
        return _send_size(payload)
    if kind is _NEW:
        return _new_size(payload)
    if kind is _READ_NOTICE:
        message_id, reader, timestamp = _fields(payload)
        return _READ_NOTICE_BYTES + _name(message_id) + _name(reader) + _digits(timestamp)
    return -1


def _ping_size(ping: Ping) -> int:
    timestamp, rtt_ms = _fields(ping)
    size = _PING_BYTES + _digits(timestamp)
    if rtt_ms is _UNSET:
        return size
    return size + _RTT_BYTES + (_digits(rtt_ms) if type(rtt_ms) is int else len(_encode(rtt_ms)))


def _send_size(send: MessageSend) -> int:
    to, ciphertext, nonce, kind, conversation, header = _fields(send)
    size = _SEND_BYTES + _name(to) + _base64(ciphertext) + _base64(nonce) + len(kind)
    if conversation is not _UNSET:
        size += _CONVERSATION_BYTES + len(_encode(conversation))
    if header is not _UNSET:
        size += _HEADER_BYTES + len(_encode(header))
    return size


def _new_size(new: MessageNew) -> int:
    sender, conversation, ciphertext, nonce, kind, timestamp, header = _fields(new)
    size = _NEW_BYTES + _name(sender) + _base64(ciphertext) + _base64(nonce) + len(kind)
    # Whoever began the conversation named it, with any characters.
    size += len(_encode(conversation)) + _digits(timestamp)
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
    if 0 <= number < 1_000:
        return 1 if number < 10 else 2 if number < 100 else 3
    if 0 <= number < 100_000:
        return 4 if number < 10_000 else 5
    return len(str(number))
