"""What is read of a frame before its payload is: the records that ``codec`` decodes into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, field

from zentalk_sim.protocol.frames import Bytes32, MessageRead, MessageReceived, MessageSend, Uuid

if TYPE_CHECKING:
    RawPayload = bytes
    Seq = int | None
    Mac = bytes | None
else:
    # To the decoder these are what a frame may hold. What is absent is None all the same, since defaults are not
    # checked, and null is refused as any other value of a wrong type is.
    RawPayload = msgspec.Raw
    Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
    Mac = Bytes32


class Incoming(Struct, gc=False):
    """A text frame as it came in: the envelope read, the payload not yet typed, and of the id's form nothing known."""

    type: str
    id_as_sent: str = field(name="id")
    """As it stands in the frame; what a MAC covers."""
    timestamp: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    raw_payload: RawPayload = field(name="payload")
    """The exact bytes of the payload, once ``codec`` has made them of what the decoder hands out."""
    seq: Seq = None
    message_mac: Mac = None
    binary: ClassVar[bool] = False
    payload: ClassVar[None] = None
    """Never typed; what travels by reference has it."""

    @property
    def id(self) -> str:
        """The frame's id in lower case, in which ids are compared."""
        return self.id_as_sent.lower()


class BinaryIncoming(Incoming):
    """A binary frame (R-2.1)."""

    binary: ClassVar[bool] = True


class StrictEnvelope(Incoming):
    """A text frame checked whole: says where one is at fault that ``Incoming`` or the id's pattern refused."""

    id_as_sent: Uuid = field(name="id")


# A pattern costs the decoder more than all the rest of such a payload: ``codec`` looks at these fields itself.


class QuickSend(MessageSend, frozen=True):
    """A MESSAGE_SEND of whose recipient's form nothing is known."""

    to: str


class QuickReceived(MessageReceived, frozen=True):
    """A MESSAGE_RECEIVED of whose id's form nothing is known."""

    message_id: str


class QuickRead(MessageRead, frozen=True):
    """A MESSAGE_READ of whose id's form nothing is known."""

    message_id: str


class Salvage(Struct):
    """What names a frame, whatever it is."""

    type: Any = UNSET
    id: Any = UNSET
