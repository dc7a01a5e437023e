"""A frame as it came in."""

from __future__ import annotations

from msgspec import Struct
from websockets.frames import Opcode


class Received(Struct, frozen=True, gc=False):
    """One frame."""

    opcode: Opcode
    data: bytes
    fin: bool = True
