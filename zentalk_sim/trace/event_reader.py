"""Reads a recording or a simulation's trace, line by line, plain or compressed with gzip or zstd, as events.

Nothing of the file is kept here, and nothing in it is trusted: what cannot be read raises TraceError with
``file:line:``, and a line of a kind not known here is passed on as ``Other``.
"""

from __future__ import annotations

import gzip
import io
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct

from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import Command
from zentalk_sim.protocol.relay import RelayImage
from zentalk_sim.trace.events import (
    Abort,
    Accept,
    AnyEvent,
    Arrival,
    Begin,
    Close,
    Config,
    Control,
    Crash,
    End,
    Faulted,
    FrameIn,
    FrameOut,
    Lost,
    Note,
    Other,
    Oversized,
    Publish,
    Push,
    Refuse,
    Request,
    Response,
    Restart,
    Shown,
    State,
    Timer,
    Transmitted,
    Turn,
    Upgrade,
    Wrote,
)
from zentalk_sim.trace.frame_events import read_binary, read_text
from zentalk_sim.trace.lines import ZSTD_MAGIC, unpacked_zstd

MAX_HEADER_BYTES: Final = 1 << 30
MAX_LINE_BYTES: Final = 16 << 20
MAX_TIME_US: Final = 1 << 56
_GZIP_MAGIC: Final = b"\x1f\x8b"
_TRUE_TIME: Final = (Turn, State, Shown, Wrote, Transmitted)


class TraceError(Exception):
    """A file that is no trace, or cannot be read on; the message begins with ``file:line:``."""


class _Line(Struct):
    """Any line: every field that any kind has. One decoding a line, and room for what later versions add."""

    e: str
    t: int
    c: int | None = None
    r: int | None = None
    node: str = ""
    event: Any = None
    at: int = 0
    data: str = ""
    path: str = ""
    query: dict[str, str] = {}
    headers: Any = None
    ip: str = ""
    real: int | None = None
    cause: str = ""
    method: str = ""
    bearer: str | None = None
    body: Any = None
    body64: str | None = None
    command: Any = None
    config: Any = None
    status: int = 0
    error_code: str = ""
    message: str = ""
    code: int = 0
    reason: str = ""
    user: str | None = None
    device: str | None = None
    pending: int = 0
    name: str = ""
    count: int = 1
    message_id: str | None = None
    value_us: int | None = None
    old: str = ""
    new: str = ""
    dir: str = ""
    rule: str = ""
    did: str = ""
    snapshot: str = ""
    type: str = ""
    id: str = ""


class _Header(Struct):
    zentalk_trace: Any
    config: Any = None
    client: Any = None
    snapshot: str = ""
    started: int = 0
    extent: str = ""
    modelled: bool = False
    redacted: bool = False
    nodes: int = 1
    skewed: bool = False


_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode_image: Final = msgspec.msgpack.Decoder(RelayImage).decode
_KNOWN: Final = [msgspec.msgpack.Decoder(kind) for kind in (Command, RelayConfig, ClientConfig)]
"""Traces are read in threads too, and msgspec (0.22) crashes where two threads meet a type for the first time at
once. So each is met here, by whoever imports."""
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError)
_READERS: Final[dict[str, Callable[[_Line, int, RelayConfig], AnyEvent]]] = {}


def _reads(*kinds: str) -> Callable[[Any], Any]:
    def keep(function: Any) -> Any:
        for kind in kinds:
            _READERS[kind] = function
        return function

    return keep


@_reads("upgrade")
def _upgrade(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    headers = e.headers if isinstance(e.headers, dict) else {}
    return Upgrade(n, e.t, _conn(e), e.path, e.query, {str(k): str(v) for k, v in headers.items()}, e.ip)


@_reads("text")
def _text(e: _Line, n: int, config: RelayConfig) -> AnyEvent:
    return read_text(FrameIn, n, e.t, _conn(e), e.data.encode("utf-8", "replace"), config, e.real)


@_reads("bad_text")
def _bad_text(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    return FrameIn(n, e.t, _conn(e), "", "", 0, fault="bad_utf8", size=len(_bytes(e.data)))


@_reads("binary")
def _binary(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    return read_binary(FrameIn, n, e.t, _conn(e), _bytes(e.data), e.real)


@_reads("send")
def _send(e: _Line, n: int, config: RelayConfig) -> AnyEvent:
    return read_text(FrameOut, n, e.t, _conn(e), e.data.encode("utf-8", "replace"), config, None)


@_reads("send_binary")
def _send_binary(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    return read_binary(FrameOut, n, e.t, _conn(e), _bytes(e.data), None)


@_reads("frame_up", "frame_down")
def _named(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    kind = FrameIn if e.e == "frame_up" else FrameOut
    return kind(n, e.t, _conn(e), e.type, e.id.lower(), e.t // 1000, partial=True)


_READERS.update(
    accept=lambda e, n, _: Accept(n, e.t, _conn(e)),
    refuse=lambda e, n, _: Refuse(n, e.t, _conn(e), e.status, e.error_code, e.message),
    oversized=lambda e, n, _: Oversized(n, e.t, _conn(e)),
    arrival=lambda e, n, _: Arrival(n, e.t, _conn(e), e.at),
    close=lambda e, n, _: Close(n, e.t, _conn(e), e.code, e.reason),
    abort=lambda e, n, _: Abort(n, e.t, _conn(e), e.cause),
    lost=lambda e, n, _: Lost(n, e.t, _conn(e), e.cause),
    respond=lambda e, n, _: Response(n, e.t, _request(e), e.status, e.body),
    note=lambda e, n, _: Note(n, e.t, e.name, e.count, e.c, e.user, e.device, e.message_id, e.value_us),
    push=lambda e, n, _: Push(n, e.t, e.user or "", e.device or "", e.pending),
    clear_push=lambda e, n, _: Push(n, e.t, e.user or "", e.device or "", None),
    timer=lambda e, n, _: Timer(n, e.t),
    turn=lambda e, n, _: Turn(n, e.t, e.node),
    wire=lambda e, n, _: Faulted(n, e.t, _conn(e), e.dir, e.rule, e.did),
    crash=lambda e, n, _: Crash(n, e.t, e.c),
    end=lambda e, n, _: End(n, e.t),
    shown=lambda e, n, _: Shown(n, e.t, e.device or "", (e.message_id or e.id).lower()),
    transmitted=lambda e, n, _: Transmitted(n, e.t, e.device or "", e.id.lower()),
    wrote=lambda e, n, _: Wrote(n, e.t, e.device or "", e.id.lower()),
    state=lambda e, n, _: State(n, e.t, e.device or "", e.old, e.new, e.cause),
)


@_reads("request")
def _asked(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    body = e.body.encode("utf-8", "replace") if isinstance(e.body, str) else None
    if e.body64 is not None:
        body = _bytes(e.body64)
    return Request(n, e.t, _request(e), e.method, e.path, e.query, e.bearer, body)


@_reads("control")
def _commanded(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    try:
        return Control(n, e.t, msgspec.convert(e.command, Command, str_keys=True))
    except msgspec.ValidationError:
        return Control(n, e.t, e.command)


@_reads("config")
def _configured(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    try:
        return Config(n, e.t, msgspec.convert(e.config, RelayConfig))
    except msgspec.ValidationError as error:
        raise ValueError(f"config: {error}") from None


@_reads("publish")
def _published(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    conn = e.event.get("conn") if isinstance(e.event, dict) else None
    return Publish(n, e.t, e.node, conn if type(conn) is int else -1)


@_reads("restart")
def _restarted(e: _Line, n: int, _: RelayConfig) -> AnyEvent:
    try:
        config = msgspec.convert(e.config, RelayConfig)
    except msgspec.ValidationError as error:
        raise ValueError(f"config: {error}") from None
    return Restart(n, e.t, config, _image(e.snapshot, redacted=False))


def _conn(e: _Line) -> int:
    if e.c is None:
        raise ValueError(f"{e.e} without c, the connection")
    return e.c


def _request(e: _Line) -> int:
    if e.r is None:
        raise ValueError(f"{e.e} without r, the request")
    return e.r


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise ValueError("data is not base64") from None


def read_line(line: bytes, number: int, config: RelayConfig) -> AnyEvent:
    """One line as its event. Raises ValueError, which says why, for what is none."""
    try:
        fields = _decode_line(line)
    except _UNREADABLE as error:
        raise ValueError(f"not an event: {error}") from None
    reader = _READERS.get(fields.e)
    if reader is None:
        return Other(number, fields.t, fields.e[:40])
    return reader(fields, number, config)


def read_header(line: bytes) -> Begin:
    """The first line. Raises ValueError for what is no header."""
    if b'"zentalk_trace"' not in line[:4096]:
        raise ValueError('not a trace: the first line has no "zentalk_trace"')
    try:
        header = _decode_header(line)
        # A simulation's trace may name no settings: those of the specification stand then.
        config = RelayConfig() if header.config is None else msgspec.convert(header.config, RelayConfig)
        client = ClientConfig() if header.client is None else msgspec.convert(header.client, ClientConfig)
    except _UNREADABLE as error:
        raise ValueError(f"header: {error}") from None
    if header.zentalk_trace != 1:
        raise ValueError(f"format {str(header.zentalk_trace)[:20]} is not known here; this version reads format 1")
    return Begin(
        1,
        header.started,
        "simulation" if header.extent else "recording",
        config,
        client,
        _image(header.snapshot, redacted=header.redacted),
        header.modelled,
        header.redacted,
        header.nodes,
        not header.extent or (header.extent == "full" and header.config is not None),
        header.skewed,
    )


def _image(snapshot: str, *, redacted: bool) -> RelayImage | None:
    if not snapshot:
        return None
    try:
        return _decode_image(_bytes(snapshot))
    except (*_UNREADABLE, ValueError) as error:
        if redacted:
            return None
        raise ValueError(f"the snapshot cannot be read ({error})") from None


def read_events(path: str | PathLike[str]) -> Iterator[AnyEvent]:
    """The events of a file, the header as ``Begin`` first.

    Raises TraceError (``file:line: message``) for what is no trace, goes back in time or is cut off, and OSError
    where the file cannot be read.
    """
    name = fspath(path)
    with open(path, "rb") as file:
        magic = file.peek(4)[:4]
        source: BinaryIO = file
        if magic[:2] == _GZIP_MAGIC:
            source = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
        elif magic == ZSTD_MAGIC:
            source = io.BufferedReader(unpacked_zstd(file))  # type: ignore[type-var]
        yield from _events(source, name)


def _events(source: BinaryIO, name: str) -> Iterator[AnyEvent]:
    line = _readline(source, name, 1, MAX_HEADER_BYTES)
    if not line:
        raise TraceError(f"{name}:1: the file is empty; a trace begins with a header line")
    try:
        begin = read_header(line)
    except ValueError as error:
        raise TraceError(f"{name}:1: {error}") from None
    yield begin
    config = begin.config
    now_us = 0
    number = 2
    while line := _readline(source, name, number, MAX_LINE_BYTES):
        try:
            event = read_line(line, number, config)
        except ValueError as error:
            raise TraceError(f"{name}:{number}: {error}") from None
        if begin.skewed and type(event) not in _TRUE_TIME:
            # The nodes' own clocks may differ; only what tells true time must not go back.
            least_us = 0
        else:
            least_us, now_us = now_us, event.t
        if not least_us <= event.t <= MAX_TIME_US:
            raise TraceError(f"{name}:{number}: t is {event.t}, after {least_us} in the event before")
        if type(event) is Config or type(event) is Restart:
            config = event.config
        yield event
        number += 1


def _readline(source: BinaryIO, name: str, number: int, limit: int) -> bytes:
    try:
        line = source.readline(limit)
    except (EOFError, zlib.error, OSError) as error:
        raise TraceError(f"{name}:{number}: the compressed file is damaged or cut off ({error})") from None
    if line and not line.endswith(b"\n"):
        if len(line) >= limit:
            raise TraceError(f"{name}:{number}: this line is longer than {limit} bytes")
        raise TraceError(f"{name}:{number}: the last line is cut off; delete it to check what is before it")
    return line
