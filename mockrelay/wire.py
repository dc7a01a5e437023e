"""Bytes a WebSocket server sends: frames (RFC 6455 §5.2), close payloads (§5.5.1), whole HTTP answers."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from struct import Struct
from typing import Final

import msgspec

_MAX_REASON_BYTES: Final = 123
"""A control frame holds 125 bytes, two of them the code."""

_medium: Final = Struct(">BBH").pack
_large: Final = Struct(">BBQ").pack


def frame_head(opcode: int, size: int) -> bytes:
    """What stands before an unmasked payload of that size (RFC 6455 §5.2); the frame is whole."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65_536:
        return _medium(0x80 | opcode, 126, size)
    return _large(0x80 | opcode, 127, size)


TEXT_HEADS: Final = tuple(frame_head(0x1, size) for size in range(2048))
"""By size: what stands before a text of less than 2 KiB, which nearly all are."""


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """An unfragmented, unmasked frame (RFC 6455 §5.2)."""
    return frame_head(opcode, len(payload)) + payload


def close_payload(code: int, reason: str) -> bytes:
    """A close frame's payload, the reason cut to what a control frame holds (RFC 6455 §5.5)."""
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


@lru_cache(maxsize=2)
def _date_of(time_s: int) -> str:
    return formatdate(time_s, usegmt=True)


def http_date() -> str:
    """The present second as a Date header has it (RFC 9110 §5.6.7)."""
    return _date_of(int(time.time()))


def http_response(status: int, body: dict[str, object], headers: dict[str, str]) -> bytes:
    """A whole HTTP/1.1 answer with a JSON body, after which the connection ends."""
    content = msgspec.json.encode(body)
    head = {
        "Date": http_date(),
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **headers,
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + content
