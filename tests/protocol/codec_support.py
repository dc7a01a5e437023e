"""Text frames from the raw JSON of their fields, and what the codec has to say against them."""

from __future__ import annotations

import pytest

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.frames import Payload

UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
LIMIT = 16_384
"""Bytes of a text frame's payload."""


def envelope(payload: str = "{}", **fields: str) -> bytes:
    """A text frame from the raw JSON of its fields."""
    parts = {"type": '"PONG"', "id": f'"{UUID}"', "timestamp": "1704067200000", "payload": payload, **fields}
    return ("{" + ",".join(f'"{name}":{raw}' for name, raw in parts.items()) + "}").encode()


def refusal(data: bytes) -> ProtocolError:
    """Why a text frame is not decoded."""
    with pytest.raises(ProtocolError) as caught:
        codec.decode_text(data, LIMIT)
    return caught.value


def wrong(kind: type[Payload], raw: bytes) -> ProtocolError:
    """Why a payload is not decoded."""
    with pytest.raises(ProtocolError) as caught:
        codec.decode_payload(kind, raw)
    return caught.value
