"""What a client asks of its face and tells its application: frozen records, in the order they must be applied.

A client has at most one socket. After ``AbortSocket`` the face drops it, or the attempt to open it, and reports
nothing of it any more: no data, no ``closed``. After ``CloseSocket`` it runs the closing handshake (RFC 6455 §7.1.2)
and then calls ``closed``. A ``Connect`` comes only when no socket is left.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import Frame, MessageNew


class Identity(Struct, frozen=True, gc=False):
    """Who a client is: a user's identity on one device.

    ``identity_secret`` is the 32-byte Ed25519 seed, ``token`` the connection token to begin with (R-3.3).
    """

    address: str
    identity_secret: bytes
    device_id: str
    token: str


class _ClientEffect(Struct, frozen=True, gc=False, tag=True, tag_field="effect"):
    """One thing to do or to know."""


# --- for the face ------------------------------------------------------------------------------------


class Connect(_ClientEffect, frozen=True):
    """Open a WebSocket to ``/ws/v1`` with this query: token, device_id, protocol_version and maybe resume_token.

    Answered by ``connected`` or ``connect_failed``.
    """

    query: dict[str, str]


class SendFrame(_ClientEffect, frozen=True):
    """Send one frame; ``codec.encode`` makes its bytes."""

    frame: Frame


class CloseSocket(_ClientEffect, frozen=True):
    """Flush, close with a closing handshake, then call ``closed`` with the code it ended with."""

    code: int
    reason: str = ""


class AbortSocket(_ClientEffect, frozen=True):
    """Drop the socket, or the attempt to open one, without a handshake; nothing of it is reported afterwards."""

    cause: str


class Fetch(_ClientEffect, frozen=True):
    """A REST request with bearer ``client.token``; answered by ``receive_response(fetch, …)`` with the same number.

    ``path`` contains the query; ``body`` is JSON. An answer that comes too late is ignored.
    """

    fetch: int
    method: str
    path: str
    body: bytes | None = None


# --- for the application -----------------------------------------------------------------------------


class Deliver(_ClientEffect, frozen=True):
    """Show a message; once for each (``sender``, ``message_id``) (R-11.6)."""

    message_id: str
    sender: str
    conversation_id: str
    payload: MessageNew
    via: Literal["push", "fetch"]


class StateChanged(_ClientEffect, frozen=True):
    """The connection's state moved along an edge of R-11.1; ``cause`` says why, for people and logs."""

    old: ClientState
    new: ClientState
    cause: str


class Rejected(_ClientEffect, frozen=True):
    """Refused by the client itself: ``queue_full``, ``too_large`` or ``too_many_topics``.

    ``message_id`` is empty for what is no message.
    """

    message_id: str
    reason: str


class Failed(_ClientEffect, frozen=True):
    """Given up on (R-11.4, R-11.5). ``message_id`` is the id of the send, or of the control frame refused.

    ``error_code`` is the relay's, or ``NO_ACK`` where retries ran out unanswered.
    """

    message_id: str
    error_code: str
    retries: int


class Acked(_ClientEffect, frozen=True):
    """The relay holds the message (R-6.2); ``server_timestamp`` in ms, ``status`` queued or duplicate."""

    message_id: str
    server_timestamp: int
    status: str


class Receipt(_ClientEffect, frozen=True):
    """R-6.3: a message of ours was delivered to a device (``by`` is its id) or read by a user (``by`` the address)."""

    kind: Literal["delivered", "read"]
    message_id: str
    by: str
    timestamp: int


class Update(_ClientEffect, frozen=True):
    """Presence, typing, a key change or AUTH_FAILED to show.

    A TYPING_STOP may be the client's own, after 5 s without an update (R-7.4).
    """

    frame: Frame


class NeedRekey(_ClientEffect, frozen=True):
    """KEY_MISMATCH: the recipient's keys are being fetched anew and the message is then sent once more (R-11.5)."""

    address: str
    message_id: str


class GaveUp(_ClientEffect, frozen=True):
    """So many attempts failed in a row; none follows until ``connect`` is called (R-11.2)."""

    attempts: int


class NeedToken(_ClientEffect, frozen=True):
    """The token is no longer good: get a new one (``POST /api/token``) and call ``renew_token`` (R-11.3)."""


class Count(_ClientEffect, frozen=True):
    """A counted fact, such as a frame ignored or a receipt dropped; ``name`` is a dotted metric name."""

    name: str
    count: int = 1


ClientEffect = (
    Connect
    | SendFrame
    | CloseSocket
    | AbortSocket
    | Fetch
    | Deliver
    | StateChanged
    | Rejected
    | Failed
    | Acked
    | Receipt
    | Update
    | NeedRekey
    | GaveUp
    | NeedToken
    | Count
)
Effects = list[ClientEffect]
"""What an input leads to, in the order it must be applied."""
