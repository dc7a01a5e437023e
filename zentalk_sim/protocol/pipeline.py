"""A frame's way in: the checks of R-1.8 in their order; the first that fails answers.

frame size → UTF-8 → JSON and envelope → state → MAC → token life → direction and type → seq → timestamp →
payload form → capability → (the handler:) duplicate id → rate limit → nonce → recipient → membership → keys → store.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final

from msgspec.structs import astuple

from zentalk_sim.protocol import (
    authentication,
    codec,
    heartbeat,
    messages,
    presence,
    token_refresh,
    topics,
    typing_indicators,
)
from zentalk_sim.protocol.codec import Incoming
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.errors import (
    FORBIDDEN,
    INVALID_MESSAGE,
    MALFORMED,
    MALFORMED_REASONS,
    RATE_LIMITED,
    SEQUENCE_REPLAYED,
    TIMESTAMP_OUT_OF_WINDOW,
    UNKNOWN_TYPE,
    WRONG_DIRECTION,
    CloseCode,
    CloseConnection,
    ProtocolError,
)
from zentalk_sim.protocol.frame_sizes import frame_size, payload_size
from zentalk_sim.protocol.frames import (
    CLIENT_FRAMES,
    RELAY_FRAMES,
    BinaryFrame,
    ErrorPayload,
    Frame,
    Payload,
    Pong,
    Topics,
)
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import User

# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_CLIENT_FRAMES: Final = CLIENT_FRAMES
_Frame: Final[type[Frame]] = Frame
_Incoming: Final[type[Incoming]] = Incoming
_Topics: Final[type[Topics]] = Topics
_equal_in_constant_time: Final = compare_digest
_fields_of: Final[Callable[[Any], Any]] = astuple
"""All fields of a frame by one call: compiled, two of them, each by itself, cost as much."""

Handler = Callable[[Node, Connection, User, Any, int], None]
Arrived = Incoming | Frame
"""A frame read from its bytes, or one that travelled by reference (fidelity ``frames``)."""

HANDLERS: Final[dict[str, tuple[str | None, Handler]]] = {
    "MESSAGE_RECEIVED": ("receive_message", messages.handle_received),
    "MESSAGE_READ": ("receive_message", messages.handle_read),
    "TYPING_START": ("presence", typing_indicators.handle_start),
    "TYPING_STOP": ("presence", typing_indicators.handle_stop),
    "PRESENCE_SET": ("presence", presence.handle_presence_set),
    "SUBSCRIBE": ("presence", topics.handle_subscribe),
    "UNSUBSCRIBE": ("presence", topics.handle_unsubscribe),
    "TOKEN_REFRESH": (None, token_refresh.handle_refresh),
}
"""Frame type → the capability it needs (R-4.5) and who handles it; MESSAGE_SEND also needs its id, see below."""


def receive_bytes(node: Node, conn: Connection, data: bytes, binary: bool, now: int) -> None:
    """A frame as its bytes: size, UTF-8, form, and on."""
    if len(data) > node.max_frame_bytes:
        node.close(conn, CloseCode.TOO_LARGE, "frame too large")
        return
    try:
        if binary:
            incoming = codec.decode_binary(data)
        else:
            if not data.isascii():
                data.decode()
            incoming = codec.decode_text(data, node.max_text_payload_bytes)
    except UnicodeDecodeError:
        node.close(conn, CloseCode.INVALID_PAYLOAD, "not UTF-8")
    except CloseConnection as ending:
        node.close(conn, ending.code, ending.reason)
    except ProtocolError as error:
        kind, frame_id = codec.salvage(data)
        _refuse_form(node, conn, error, kind, frame_id, now)
    else:
        receive(node, conn, incoming, now)


def _refuse_form(
    node: Node, conn: Connection, error: ProtocolError, kind: str | None, frame_id: str | None, now: int
) -> None:
    """A frame whose form is wrong: ERROR, or AUTH_FAILED before there is a session."""
    if conn.state == "challenged":
        if kind == "AUTH_RESPONSE" and not authentication.count_attempt(node, conn, now):
            return
        authentication.fail(node, conn, f"form: {error.message}", now)
    else:
        answer(node, conn, error, kind, frame_id, now)


def receive_measured(node: Node, conn: Connection, frame: Frame, now: int) -> None:
    """A frame by reference where a limit is below the specification's, which no client's frame exceeds.

    The sizes are those of the bytes that it would be, so that both fidelities refuse the same frames.
    """
    if frame_size(frame) > node.max_frame_bytes:
        node.close(conn, CloseCode.TOO_LARGE, "frame too large")
        return
    size = 0 if _is_binary(frame) else payload_size(frame.payload)
    if size > node.max_text_payload_bytes:
        error = codec.requires_binary(size, node.max_text_payload_bytes)
        _refuse_form(node, conn, error, frame.type, frame.id, now)
    else:
        receive(node, conn, frame, now)


def receive(node: Node, conn: Connection, incoming: Arrived, now: int) -> None:
    """A frame whose envelope was read, or that travelled by reference: the rest of the checks, then its handler."""
    try:
        if conn.state == "challenged":
            _receive_first(node, conn, incoming, now)
        else:
            _receive_ready(node, conn, incoming, now)
    except CloseConnection as ending:
        node.close(conn, ending.code, ending.reason)
    except ProtocolError as error:
        answer(node, conn, error, incoming.type, incoming.id.lower(), now)
    else:
        if conn.state == "ready":
            node.arm(conn)


def _receive_first(node: Node, conn: Connection, incoming: Arrived, now: int) -> None:
    """Before AUTH_SUCCESS only AUTH_RESPONSE; anything else fails authentication (R-4.2)."""
    if incoming.type != "AUTH_RESPONSE":
        authentication.fail(node, conn, f"form: {incoming.type[:40]} before AUTH_RESPONSE", now)
        return
    if not authentication.count_attempt(node, conn, now):
        return
    if not node.is_near(incoming.timestamp, now):
        # Not processed, so the challenge still waits for its answer, and its time-out runs on.
        due_us = authentication.answer_due_us(node, conn)
        conn.auth_due_us = due_us if due_us > now else now
        raise _out_of_window(now)
    try:
        payload = _payload_of(node, CLIENT_FRAMES["AUTH_RESPONSE"], incoming)
    except ProtocolError as error:
        authentication.fail(node, conn, f"form: {error.message}", now)
        return
    authentication.handle_response(node, conn, payload, now)


def _receive_ready(node: Node, conn: Connection, incoming: Arrived, now: int) -> None:
    store = node.store
    session = conn.session
    assert session is not None
    if conn.looked_endings != store.endings and store.users[conn.user].suspended:
        # Another node's word of it may have been lost on the bus.
        raise CloseConnection(CloseCode.BANNED, "suspended")
    kind: str
    frame_id: str
    timestamp: int
    payload: Any
    raw: bytes
    mac: bytes | None
    seq: int | None
    is_text = type(incoming) is _Incoming
    if is_text or isinstance(incoming, _Incoming):
        kind, frame_id, timestamp, raw, seq, mac = _fields_of(incoming)
        payload = None
    else:
        kind, frame_id, timestamp, payload, mac, seq = _fields_of(incoming)
        # A frame that travelled as an object has no payload bytes: its modelled MAC covers none.
        raw = b""
    if mac is not None:
        _check_mac(node, conn, mac, kind, frame_id, timestamp, raw)
    elif node.needs_mac and not _is_binary(incoming):
        raise CloseConnection(CloseCode.POLICY_VIOLATION, "message_mac is missing")
    if now // 1_000_000 >= conn.token_exp_s:
        token_refresh.check_life(node, conn, now)
    payload_type = _CLIENT_FRAMES.get(kind)
    if payload_type is None:
        if kind in RELAY_FRAMES:
            raise ProtocolError(
                INVALID_MESSAGE, f"{kind} is sent by the relay only", reason=WRONG_DIRECTION, field="type"
            )
        raise ProtocolError(INVALID_MESSAGE, "no such frame type", reason=UNKNOWN_TYPE, field="type")
    if seq is not None:
        if seq <= session.seq_in:
            _settle_run(node, conn, payload_type, incoming)
            raise ProtocolError(
                INVALID_MESSAGE,
                f"seq must be above {session.seq_in}",
                reason=SEQUENCE_REPLAYED,
                field="seq",
            )
        session.seq_in = seq
    if kind != "PONG" and not node.is_near(timestamp, now):
        _settle_run(node, conn, payload_type, incoming)
        raise _out_of_window(now)
    if type(payload) is not payload_type or payload_type is _Topics:
        try:
            if is_text and payload_type is not _Topics:
                payload = codec.decode_payload(payload_type, raw, bounded=True)
            else:
                payload = _payload_of(node, payload_type, incoming)
        except ProtocolError as error:
            if error.reason != MALFORMED:
                conn.malformed_in_a_row = 0
            raise
    if kind == "PONG":
        heartbeat.handle_pong(node, conn, payload, now)
        return
    conn.malformed_in_a_row = 0
    user = store.users[conn.user]
    if kind == "AUTH_RESPONSE":
        raise ProtocolError(FORBIDDEN, "this connection is authenticated already")
    if kind == "MESSAGE_SEND":
        _need(conn, "send_message")
        messages.handle_send(node, conn, user, frame_id, payload, now)
        return
    capability, handler = HANDLERS[kind]
    if capability is not None:
        _need(conn, capability)
    handler(node, conn, user, payload, now)


def _check_mac(
    node: Node, conn: Connection, mac: bytes, kind: str, frame_id: str, timestamp: int, payload: bytes
) -> None:
    """R-5.3, of a frame that has a MAC."""
    key = conn.session_key
    if key is None:
        key = conn.session_key = node.crypto.session_key(conn.key_token, conn.challenge)
    expected = node.crypto.message_mac(key, kind, frame_id, timestamp, payload)
    is_right = expected == mac if node.is_modelled else _equal_in_constant_time(expected, mac)
    if not is_right:
        raise CloseConnection(CloseCode.POLICY_VIOLATION, "message_mac does not verify")


def _is_binary(incoming: Arrived) -> bool:
    return incoming.binary if isinstance(incoming, Incoming) else type(incoming) is BinaryFrame


def _payload_of(node: Node, kind: type[Payload], incoming: Arrived) -> Any:
    """The payload, typed. Raises ProtocolError, ``malformed`` or, for topics, ``too_many_topics``."""
    payload: Any
    if type(incoming) is _Incoming:
        payload = codec.decode_payload(kind, incoming.raw_payload, bounded=True)
    elif isinstance(incoming, Incoming):
        payload = codec.decode_payload(kind, incoming.raw_payload)
    elif type(incoming.payload) is kind:
        payload = incoming.payload
    else:
        raise ProtocolError(INVALID_MESSAGE, "payload of another type", reason=MALFORMED, field="payload")
    if kind is _Topics:
        topics.check_form(node, payload)
    return payload


def _settle_run(node: Node, conn: Connection, kind: type[Payload], incoming: Arrived) -> None:
    """A frame refused before its payload's form was looked at still ends the run of R-1.5, if it is well formed."""
    if kind is Pong:
        return
    try:
        _payload_of(node, kind, incoming)
    except ProtocolError as error:
        if error.reason == MALFORMED:
            return
    conn.malformed_in_a_row = 0


def _need(conn: Connection, capability: str) -> None:
    if capability not in conn.token_capabilities:
        raise ProtocolError(FORBIDDEN, f"the token does not grant {capability}", capability=capability)


def _out_of_window(now: int) -> ProtocolError:
    return ProtocolError(
        INVALID_MESSAGE,
        "timestamp is not within the time window of the relay's clock",
        reason=TIMESTAMP_OUT_OF_WINDOW,
        field="timestamp",
        server_time=now // 1000,
    )


def answer(
    node: Node, conn: Connection, error: ProtocolError, kind: str | None, frame_id: str | None, now: int
) -> None:
    """Send ERROR (R-1.7), and close where it is the last of a run (R-1.5, R-10.2)."""
    payload = ErrorPayload(error.code, error.message, node.request_id(), error.details).about(kind, frame_id)
    node.send(conn, "ERROR", payload, now)
    node.note(f"errors.{error.code}", conn=conn)
    if error.code == INVALID_MESSAGE and error.reason in MALFORMED_REASONS:
        conn.malformed_in_a_row += 1
        if conn.malformed_in_a_row >= node.config.frames.max_malformed_in_a_row:
            node.close(conn, CloseCode.POLICY_VIOLATION, "too many malformed frames")
            return
    if error.code == RATE_LIMITED:
        conn.refused_in_a_row += 1
        if conn.refused_in_a_row >= node.config.frames.max_refused_in_a_row:
            node.close(conn, CloseCode.RATE_LIMITED, "too many refusals")
            return
    node.arm(conn)
