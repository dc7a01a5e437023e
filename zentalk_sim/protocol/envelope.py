"""What is read of a frame before its payload is: the records that ``codec`` decodes into."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from zentalk_sim.protocol.frames import Bytes32, Payload, Uuid


class Envelope(Struct, gc=False):
    """A text frame with its payload as it stands; of the id's form nothing is known yet."""

    type: str
    id: str
    timestamp: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    payload: msgspec.Raw
    seq: Annotated[int, Meta(ge=1, le=2**63 - 1)] | UnsetType = UNSET
    message_mac: Bytes32 | UnsetType = UNSET


class StrictEnvelope(Envelope):
    """The same, checked whole: says where a frame is at fault that ``Envelope`` or the id's pattern refused."""

    id: Uuid


class Salvage(Struct):
    """What names a frame, whatever it is."""

    type: Any = UNSET
    id: Any = UNSET


class Incoming(Struct, gc=False):
    """A frame as it came in: the envelope read, the payload not yet typed."""

    type: str
    id_as_sent: str
    """As it stands in the frame; what a MAC covers."""
    timestamp: int
    raw_payload: bytes | None = None
    payload: Payload | None = None
    seq: int | None = None
    message_mac: bytes | None = None
    binary: bool = False

    @property
    def id(self) -> str:
        """The frame's id in lower case, in which ids are compared."""
        return self.id_as_sent.lower()
