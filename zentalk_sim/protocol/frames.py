"""The frames: one table of types with direction and payload, and the envelope that carries them.

Sources: the specification's tables "Inbound Message Types" and "Outbound Message Types", its prose for
TOKEN_REFRESHED and TOKEN_EXPIRING, and the rulings R-1 to R-9. Bytes are ``bytes`` here and base64 on the
wire (RFC 4648 §4). A field that may be absent defaults to UNSET and is then not sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

_NAME_CHARACTERS: Final = 100
UUID_PATTERN: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
ADDRESS_PATTERN: Final = r"^0x[0-9a-fA-F]{40}\Z"

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN)]
Address = Annotated[str, Meta(pattern=ADDRESS_PATTERN)]
Bytes12 = Annotated[bytes, Meta(min_length=12, max_length=12)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
Int63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""What fits the 8-byte fields of signed and binary material, and can be encoded again."""
MessageType = Literal["text", "image", "file", "voice", "location"]
SettableStatus = Literal["online", "away", "invisible"]


class Payload(Struct, frozen=True, gc=False):
    """The payload of a frame; each type has its own."""


# --- client to relay ---------------------------------------------------------------------------------


class AuthResponse(Payload, frozen=True):
    """R-4.1: ``signature`` is over challenge ‖ server_time ‖ device_id ‖ client_time."""

    identity_key: Bytes32
    device_id: Uuid
    signature: Bytes64
    client_time: Int63


class X3dhHeader(Payload, frozen=True):
    """Of session-initiating messages; ``one_time_key_id`` is absent where no pre-key was left."""

    identity_key: Bytes32
    ephemeral_key: Bytes32
    one_time_key_id: Int63 | UnsetType | None = UNSET


class MessageSend(Payload, frozen=True):
    """R-6.1."""

    to: Address
    ciphertext: bytes
    nonce: Bytes12
    message_type: MessageType
    conversation_id: str | UnsetType = UNSET
    x3dh_header: X3dhHeader | UnsetType = UNSET


class MessageReceived(Payload, frozen=True):
    """R-6.3."""

    message_id: Uuid


class MessageRead(Payload, frozen=True):
    """R-6.3, from the reader."""

    message_id: Uuid


class TypingSignal(Payload, frozen=True):
    """TYPING_START and TYPING_STOP from the one who types; R-7.4."""

    conversation_id: str


class PresenceSet(Payload, frozen=True):
    """R-7.3."""

    status: SettableStatus


class Topics(Payload, frozen=True):
    """SUBSCRIBE and UNSUBSCRIBE; R-7.2."""

    topics: tuple[str, ...]


class Pong(Payload, frozen=True):
    """R-8: ``timestamp`` echoes the PING's."""

    timestamp: Int63
    client_time: Int63


class TokenRefresh(Payload, frozen=True):
    """R-9.3: ``signature`` is over the ASCII of ``session_token``."""

    session_token: str
    signature: Bytes64


# --- relay to client ---------------------------------------------------------------------------------


class AuthChallenge(Payload, frozen=True):
    """R-4.1."""

    challenge: Bytes32
    server_time: int
    nonce: Bytes16


class AuthSuccess(Payload, frozen=True):
    """R-4.5, R-3.4."""

    session_token: str
    expires_at: int
    server_time: int
    session_id: str
    capabilities: tuple[str, ...]
    resume_token: str
    resumed: bool


class AuthFailed(Payload, frozen=True):
    """R-4.2: ``message`` names the step that failed."""

    error_code: str
    message: str


class MessageNew(Payload, frozen=True, rename={"sender": "from"}):
    """R-6.1; ``sender`` is ``from`` on the wire, ``timestamp`` the ACK's ``server_timestamp``."""

    sender: str
    conversation_id: str
    ciphertext: bytes
    nonce: Bytes12
    message_type: MessageType
    timestamp: int
    x3dh_header: X3dhHeader | UnsetType = UNSET


class MessageAck(Payload, frozen=True):
    """R-6.2, R-5.6: ``status`` is ``queued`` or ``duplicate``."""

    message_id: str
    server_timestamp: int
    status: str
    recipient_devices: int


class MessageDelivered(Payload, frozen=True):
    """R-6.3."""

    message_id: str
    device_id: str
    timestamp: int


class MessageReadNotice(Payload, frozen=True):
    """R-6.3: MESSAGE_READ as the sender gets it."""

    message_id: str
    read_by: str
    timestamp: int


class TypingUpdate(Payload, frozen=True):
    """TYPING_START and TYPING_STOP as the peer gets them; R-7.4."""

    conversation_id: str
    user_id: str


class PresenceUpdate(Payload, frozen=True):
    """R-7.3: without ``last_seen`` and ``device_count`` for one who hides; null ``last_seen`` if never seen."""

    user_id: str
    status: str
    last_seen: int | UnsetType | None = UNSET
    device_count: int | UnsetType = UNSET


class KeyChange(Payload, frozen=True):
    """R-7.5."""

    user_id: str
    new_key: Bytes32
    old_key_fingerprint: str
    new_key_fingerprint: str
    reason: str
    verified: bool = False


class Ping(Payload, frozen=True):
    """R-8.2: ``rtt_ms`` is the last round trip measured."""

    timestamp: int
    rtt_ms: int | float | UnsetType = UNSET


class ErrorPayload(Payload, frozen=True):
    """R-1.7."""

    error_code: str
    message: str
    request_id: str
    details: dict[str, Any]
    original_type: str | UnsetType = UNSET
    original_id: str | UnsetType = UNSET

    def about(self, kind: str | None, frame_id: str | None) -> ErrorPayload:
        """The same error, naming the frame it answers as far as known, each name cut to what a frame can carry."""
        return replace(
            self,
            original_type=UNSET if kind is None else kind[:_NAME_CHARACTERS],
            original_id=UNSET if frame_id is None else frame_id[:_NAME_CHARACTERS],
        )


class SyncRequired(Payload, frozen=True):
    """R-6.6."""

    reason: str
    pending_count: int
    oldest_timestamp: int
    newest_timestamp: int
    since_timestamp: int


class TokenRefreshed(Payload, frozen=True):
    """R-9.3."""

    session_token: str
    expires_at: int


class TokenExpiring(Payload, frozen=True):
    """R-9.1, R-9.2."""

    expires_at: int
    seconds_remaining: int
    action: str


CLIENT_FRAMES: Final[dict[str, type[Payload]]] = {
    "AUTH_RESPONSE": AuthResponse,
    "MESSAGE_SEND": MessageSend,
    "MESSAGE_RECEIVED": MessageReceived,
    "MESSAGE_READ": MessageRead,
    "TYPING_START": TypingSignal,
    "TYPING_STOP": TypingSignal,
    "PRESENCE_SET": PresenceSet,
    "SUBSCRIBE": Topics,
    "UNSUBSCRIBE": Topics,
    "PONG": Pong,
    "TOKEN_REFRESH": TokenRefresh,
}
"""What a client may send ("Outbound Message Types")."""

RELAY_FRAMES: Final[dict[str, type[Payload]]] = {
    "AUTH_CHALLENGE": AuthChallenge,
    "AUTH_SUCCESS": AuthSuccess,
    "AUTH_FAILED": AuthFailed,
    "MESSAGE_NEW": MessageNew,
    "MESSAGE_ACK": MessageAck,
    "MESSAGE_DELIVERED": MessageDelivered,
    "MESSAGE_READ": MessageReadNotice,
    "TYPING_START": TypingUpdate,
    "TYPING_STOP": TypingUpdate,
    "PRESENCE_UPDATE": PresenceUpdate,
    "KEY_CHANGE": KeyChange,
    "PING": Ping,
    "ERROR": ErrorPayload,
    "SYNC_REQUIRED": SyncRequired,
    "TOKEN_REFRESHED": TokenRefreshed,
    "TOKEN_EXPIRING": TokenExpiring,
}
"""What a relay may send ("Inbound Message Types", and the two token frames of the prose)."""


class Frame(Struct, frozen=True, gc=False, omit_defaults=True):
    """A text frame: the envelope of R-1.1 to R-1.3. ``timestamp`` is in ms.

    ``seq`` stands last so that one encoded body can serve many connections, each with its own number.
    """

    type: str
    id: str
    timestamp: int
    payload: Any
    message_mac: bytes | None = None
    seq: int | None = None


class BinaryFrame(Frame, frozen=True):
    """The same envelope as a binary frame (R-2.1); it carries neither ``seq`` nor ``message_mac``."""


BINARY_CODES: Final[dict[int, str]] = {0x02: "MESSAGE_SEND", 0x84: "MESSAGE_NEW"}
"""R-2.2: type code → type; 0x02 from the client, 0x84 from the relay."""
