"""Bytes to frames and back; what is not a frame becomes an error that names the field.

Decoding goes in two steps, since the checks between them (R-1.8: state, MAC, token, direction, sequence,
timestamp) come before the payload's form: ``decode_text`` / ``decode_binary`` read the envelope and keep the
payload as the exact bytes sent, over which the MAC is computed; ``decode_payload`` types it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from zentalk_sim.protocol.envelope import BinaryIncoming, QuickRead, QuickReceived, QuickSend, Salvage, StrictEnvelope
from zentalk_sim.protocol.envelope import Incoming as Incoming
from zentalk_sim.protocol.errors import (
    INVALID_MESSAGE,
    MALFORMED,
    PAYLOAD_REQUIRES_BINARY,
    CloseCode,
    CloseConnection,
    ProtocolError,
)
from zentalk_sim.protocol.frame_sizes import BINARY_HEADER_BYTES as BINARY_HEADER_BYTES
from zentalk_sim.protocol.frames import (
    BINARY_CODES,
    CLIENT_FRAMES,
    RELAY_FRAMES,
    BinaryFrame,
    Frame,
    MessageRead,
    MessageReceived,
    MessageSend,
    Payload,
)

_TYPE_TO_CODE: Final = {name: code for code, name in BINARY_CODES.items()}
_PATH_MARK: Final = " - at `$"
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_LENGTH = re.compile(r"Expected `(\w+)` of length (?:>=|<=) (\d+)")
_REASON_CHARACTERS: Final = 200
MAX_DEPTH: Final = 100
"""Arrays and objects within one another that a frame may hold (RFC 8259 §9 allows a limit). Without one of our own
the decoder's would count, which is the interpreter's stack and differs from caller to caller."""
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)
_BRACKET: Final = ord("[")
_BRACE: Final = ord("{")
_SHALLOW_BYTES: Final = 5 * MAX_DEPTH
"""Objects that nest deeper take more, with no array among them: each ``{"":`` and ``}``."""


_decode_envelope: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(Incoming).decode
_decode_strictly: Final = msgspec.json.Decoder(StrictEnvelope).decode
# The decoder would ask the pattern of every id, which costs five times what this does.
_DIGITS_ALIKE: Final = bytes(ord("0") if chr(byte) in "0123456789abcdefABCDEF" else byte for byte in range(256))
_UUID_ALIKE: Final = b"00000000-0000-0000-0000-000000000000"
"""Any UUID's 36 characters, and nothing else, once all hex digits are made alike."""
_ADDRESS_ALIKE: Final = b"0x" + bytes(40).replace(b"\0", b"0")
"""Any address, likewise; but so is one whose first digit is another, which is to be looked at."""
_QUICK: Final[dict[type, tuple[str, Callable[[bytes], Any]]]] = {
    MessageSend: ("to", msgspec.json.Decoder(QuickSend).decode),
    MessageReceived: ("message_id", msgspec.json.Decoder(QuickReceived).decode),
    MessageRead: ("message_id", msgspec.json.Decoder(QuickRead).decode),
}
"""For the payloads that come most: what its decoder leaves unchecked, and it."""
_decode_salvage: Final = msgspec.json.Decoder(Salvage).decode
_encoder: Final = msgspec.json.Encoder()
_decode: Final[dict[type, Callable[[bytes], Any]]] = {
    payload: msgspec.json.Decoder(payload).decode
    for table in (CLIENT_FRAMES, RELAY_FRAMES)
    for payload in table.values()
}


encode_text: Final[Callable[[Frame], bytes]] = _encoder.encode
"""A text frame as UTF-8 bytes."""


def explain(error: Exception, prefix: str) -> tuple[str, str | None]:
    """A sentence for a person, and the path of the field at fault (``payload.nonce``), if there is one."""
    if not isinstance(error, msgspec.ValidationError):
        return "not a JSON object that can be read", None
    # The reason may quote what the peer sent; the path, which stands last, never does.
    reason, _, path = str(error).rpartition(_PATH_MARK) if _PATH_MARK in str(error) else (str(error), "", "")
    path = path.removesuffix("`").removeprefix(".")
    missing = _MISSING.match(reason)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
    if prefix:
        path = f"{prefix}.{path}" if path else prefix
    if not path:
        return "not a JSON object", None
    if missing:
        return f"{path} is missing", path
    length = _LENGTH.match(reason)
    if length:
        return f"{path} must be {length.group(2)} {'bytes' if length.group(1) == 'bytes' else 'characters'} long", path
    if reason.startswith("Expected `str` matching regex"):
        return f"{path} must be {'an address' if '0x' in reason else 'a UUID'}", path
    return f"{path}: {reason[:_REASON_CHARACTERS]}", path


def too_deep(data: bytes) -> bool:
    """Whether a JSON text nests deeper than ``MAX_DEPTH``. Cheap where it has few brackets, as frames do."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _BRACKETS.finditer(data):
        mark = data[token.start()]
        if mark in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in b"]}":
            depth -= 1
    return False


def _check_depth(data: bytes) -> None:
    if too_deep(data):
        raise ProtocolError(INVALID_MESSAGE, f"nested deeper than {MAX_DEPTH} levels", reason=MALFORMED)


def _malformed_envelope(data: bytes) -> ProtocolError:
    """What is wrong with a text frame: its depth, or else the first field at fault. Raises the former."""
    _check_depth(data)
    try:
        _decode_strictly(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return _malformed(error, "")
    raise AssertionError("a good envelope was refused")


def _malformed(error: Exception, prefix: str) -> ProtocolError:
    message, field = explain(error, prefix)
    if field is None:
        return ProtocolError(INVALID_MESSAGE, message, reason=MALFORMED)
    return ProtocolError(INVALID_MESSAGE, message, reason=MALFORMED, field=field)


def salvage(data: bytes) -> tuple[str | None, str | None]:
    """Type and id of a text frame whose envelope is wrong elsewhere, as far as they can be read (R-1.7)."""
    if too_deep(data):
        return None, None
    try:
        found = _decode_salvage(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None, None
    kind = found.type if isinstance(found.type, str) else None
    return kind, found.id if isinstance(found.id, str) else None


def decode_text(data: bytes, max_payload_bytes: int) -> Incoming:
    """The envelope of a text frame. ``data`` is valid UTF-8.

    Raises ProtocolError, ``malformed`` (R-1.5) or ``payload_requires_binary`` (R-1.6).
    """
    try:
        incoming = _decode_envelope(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise _malformed_envelope(data) from None
    frame_id: str = incoming.id_as_sent
    if frame_id.encode().translate(_DIGITS_ALIKE) != _UUID_ALIKE:
        raise _malformed_envelope(data)
    raw = incoming.raw_payload = bytes(incoming.raw_payload)
    # To search for a byte costs a tenth of counting it, and of nearly all frames it tells enough.
    if _BRACKET in data or _BRACE in raw[1:] or len(data) - len(raw) > _SHALLOW_BYTES:
        _check_depth(data)
    if raw[0] != _BRACE:
        raise ProtocolError(INVALID_MESSAGE, "payload must be an object", reason=MALFORMED, field="payload")
    if len(raw) > max_payload_bytes:
        raise requires_binary(len(raw), max_payload_bytes)
    found: Incoming = incoming
    return found


def requires_binary(payload_bytes: int, limit_bytes: int) -> ProtocolError:
    """R-1.6: a text frame's payload is above the limit."""
    return ProtocolError(
        INVALID_MESSAGE,
        f"a payload above {limit_bytes} bytes must travel as a binary frame",
        reason=PAYLOAD_REQUIRES_BINARY,
        payload_bytes=payload_bytes,
        limit_bytes=limit_bytes,
    )


def decode_binary(data: bytes) -> Incoming:
    """The envelope of a binary frame. Raises CloseConnection, 1002 or 1003 (R-2.3)."""
    if len(data) < BINARY_HEADER_BYTES:
        raise CloseConnection(CloseCode.PROTOCOL_ERROR, "binary frame shorter than its header")
    if int.from_bytes(data[25:29], "big") != len(data) - BINARY_HEADER_BYTES:
        raise CloseConnection(CloseCode.PROTOCOL_ERROR, "binary frame length does not match")
    kind = BINARY_CODES.get(data[0])
    if kind is None:
        raise CloseConnection(CloseCode.UNSUPPORTED, f"binary type code 0x{data[0]:02x}")
    h = data[1:17].hex()
    return BinaryIncoming(
        kind,
        f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}",
        int.from_bytes(data[17:25], "big"),
        data[BINARY_HEADER_BYTES:],
    )


def decode_payload(kind: type[Payload], raw: bytes, *, bounded: bool = False) -> Payload:
    """The typed payload. ``bounded``: its depth was looked at with the envelope, as ``decode_text`` does; then it may
    be of a subclass that has the same fields.

    Raises ProtocolError ``malformed`` with the field's path.
    """
    if bounded:
        quick = _QUICK.get(kind)
        found = None if quick is None else _decode_quickly(quick, raw)
        if found is not None:
            return found
    else:
        _check_depth(raw)
    try:
        payload: Payload = _decode[kind](raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _malformed(error, "payload") from None
    return payload


def _decode_quickly(quick: tuple[str, Callable[[bytes], Any]], raw: bytes) -> Payload | None:
    """The payload; None where anything is wrong with it, and the decoder that checks all is to say what."""
    name, decode = quick
    found: Any
    try:
        found = decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    if name == "to":
        to: str = found.to
        is_good = to.encode().translate(_DIGITS_ALIKE) == _ADDRESS_ALIKE and to[0] == "0"
    else:
        message_id: str = found.message_id
        is_good = message_id.encode().translate(_DIGITS_ALIKE) == _UUID_ALIKE
    payload: Payload = found
    return payload if is_good else None


def encode_payload(payload: Payload) -> bytes:
    """The payload's JSON, as it stands in a frame; what a MAC covers."""
    return _encoder.encode(payload)


def encode(frame: Frame) -> str | bytes:
    """What goes on the wire: ``str`` for a text frame, ``bytes`` for a binary one."""
    if type(frame) is not BinaryFrame:
        return _encoder.encode(frame).decode()
    return encode_binary(frame)


def encode_binary(frame: Frame) -> bytes:
    """A binary frame (R-2.1)."""
    payload = _encoder.encode(frame.payload)
    return b"".join(
        (
            bytes((_TYPE_TO_CODE[frame.type],)),
            bytes.fromhex(frame.id.replace("-", "")),
            frame.timestamp.to_bytes(8, "big"),
            len(payload).to_bytes(4, "big"),
            payload,
        )
    )


def with_seq(body: bytes, seq: int) -> bytes:
    """An encoded text frame that has no ``seq``, given one; equal to encoding it with that ``seq``."""
    return b'%s,"seq":%d}' % (body[:-1], seq)
