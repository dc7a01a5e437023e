"""The lines of a recording's outputs: what a relay core gave, with each frame as its bytes on the wire.

Driver and replay both make lines here, so that equal outputs are equal lines and lines can be compared as bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.effects import (
    Abort,
    Accept,
    ClearPush,
    Close,
    Effect,
    Note,
    Publish,
    Push,
    Refuse,
    Respond,
    Send,
    SendMany,
)
from zentalk_sim.protocol.frames import BinaryFrame


class Sent(Struct, frozen=True, gc=False):
    """One frame with the bytes it has on the wire."""

    conn: int
    payload: bytes
    binary: bool = False


Output = Sent | Accept | Refuse | Close | Abort | Respond | Push | ClearPush | Publish | Note


def unfold(effects: list[Effect]) -> list[Output]:
    """The effects in order, with each frame encoded once and each connection of a SendMany by itself."""
    outputs: list[Output] = []
    for effect in effects:
        if type(effect) is Send:
            frame = effect.frame
            if type(frame) is BinaryFrame:
                data = codec.encode(frame)
                assert isinstance(data, bytes)
                outputs.append(Sent(effect.conn, data, True))
            else:
                outputs.append(Sent(effect.conn, codec.encode_text(frame)))
        elif type(effect) is SendMany:
            body = codec.encode_text(effect.frame)
            outputs.extend(Sent(conn, codec.with_seq(body, seq)) for conn, seq in effect.targets)
        else:
            outputs.append(effect)  # type: ignore[arg-type]
    return outputs


class _Line(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="e"):
    t: int


class _Accepted(_Line, frozen=True, tag="accept"):
    c: int


class _Refused(_Line, frozen=True, tag="refuse"):
    c: int
    status: int
    error_code: str
    message: str
    retry_after_s: int | None = None


class _SentBinary(_Line, frozen=True, tag="send_binary"):
    c: int
    data: bytes


class _Closed(_Line, frozen=True, tag="close"):
    c: int
    code: int
    reason: str


class _Aborted(_Line, frozen=True, tag="abort"):
    c: int
    cause: str


class _Responded(_Line, frozen=True, tag="respond"):
    r: int
    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


class _Told(_Line, frozen=True, tag="push"):
    user: str
    device: str
    push_token: str
    pending: int


class _Cleared(_Line, frozen=True, tag="clear_push"):
    user: str
    device: str


class _Noted(_Line, frozen=True, tag="note"):
    name: str
    count: int = 1
    c: int | None = None
    user: str | None = None
    device: str | None = None
    message_id: str | None = None
    value_us: int | None = None


class _Published(_Line, frozen=True, tag="publish"):
    node: str
    event: Any


OUTPUT_KINDS: Final = frozenset(
    {"accept", "refuse", "send", "send_binary", "close", "abort", "respond", "push", "clear_push", "note", "publish"}
)

_encode: Final = msgspec.json.Encoder().encode

_OUTPUT: Final[dict[type, Callable[[int, Any], _Line]]] = {
    Accept: lambda t, o: _Accepted(t, o.conn),
    Refuse: lambda t, o: _Refused(t, o.conn, o.status, o.error_code, o.message, o.retry_after_s),
    Close: lambda t, o: _Closed(t, o.conn, o.code, o.reason),
    Abort: lambda t, o: _Aborted(t, o.conn, o.cause),
    Respond: lambda t, o: _Responded(t, o.request, o.status, o.body, o.headers),
    Push: lambda t, o: _Told(t, o.user, o.device_id, o.push_token, o.pending),
    ClearPush: lambda t, o: _Cleared(t, o.user, o.device_id),
    Note: lambda t, o: _Noted(t, o.name, o.count, o.conn, o.user, o.device_id, o.message_id, o.value_us),
    Publish: lambda t, o: _Published(t, o.node, o.event),
}


def output_line(t: int, output: Output) -> bytes:
    """An output as its line, newline included."""
    if type(output) is Sent:
        if output.binary:
            return _encode(_SentBinary(t, output.conn, output.payload)) + b"\n"
        return b'{"e":"send","t":%d,"c":%d,"data":%b}\n' % (t, output.conn, _encode(output.payload.decode()))
    return _encode(_OUTPUT[type(output)](t, output)) + b"\n"
