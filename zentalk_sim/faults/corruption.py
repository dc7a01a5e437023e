"""Five ways to spoil a frame's bytes, chosen by a stream; the result is never what went in, and is still one frame.

A text frame stays valid UTF-8 under all of them but ``bad_utf8``, so that each shows one weakness of the reader. In a
binary frame ``bad_json``, ``bad_utf8`` and ``wrong_type`` spoil the JSON behind the header and set the length right
(R-2.1); ``bit_flip`` and ``truncate`` spoil the frame itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from zentalk_sim.protocol.codec import BINARY_HEADER_BYTES, too_deep
from zentalk_sim.protocol.streams import Stream

_BAD_SEQUENCES: Final = (b"\xff", b"\xc0\xaf", b"\xc3\x28", b"\xed\xa0\x80")
"""Never valid, wherever they stand: no such byte, an overlong form, a lead without its continuation, a surrogate."""
_LENGTH: Final = slice(25, 29)

_Path = tuple[str | int, ...]


def corrupt(kind: str, data: bytes, stream: Stream, *, is_text: bool = True) -> bytes:
    """The frame spoilt. ``kind`` is one of ``vocabulary.CORRUPTIONS``; raises KeyError for another."""
    spoil = _KINDS[kind]
    if is_text or kind in ("bit_flip", "truncate") or len(data) < BINARY_HEADER_BYTES:
        return spoil(data, stream, is_text)
    body = spoil(data[BINARY_HEADER_BYTES:], stream, True)
    return data[: _LENGTH.start] + len(body).to_bytes(4, "big") + body


def _bit_flip(data: bytes, stream: Stream, is_text: bool) -> bytes:
    if not data:
        return b"\x00"
    places, bits = range(len(data)), 8
    if is_text:
        # The last byte of a character has bits that make another character of it: seven in ASCII, six elsewhere.
        ends = [at for at in places if at + 1 == len(data) or data[at + 1] & 0xC0 != 0x80]
        at = ends[stream.between(0, len(ends) - 1)]
        bits = 7 if data[at] < 0x80 else 6
    else:
        at = stream.between(0, len(data) - 1)
    spoilt = bytearray(data)
    spoilt[at] ^= 1 << stream.between(0, bits - 1)
    return bytes(spoilt)


def _truncate(data: bytes, stream: Stream, is_text: bool) -> bytes:
    if not data:
        return b"\x00"
    end = stream.between(min(1, len(data) - 1), len(data) - 1)
    return data[: _boundary(data, end) if is_text else end]


def _bad_json(data: bytes, stream: Stream, is_text: bool) -> bytes:
    middle = _boundary(data, stream.between(0, len(data)))
    spoilt = [
        data + b"}",
        data.rstrip()[:-1] if data.rstrip()[-1:] in (b"}", b"]") else data + b",",
        data.replace(b":", b"=", 1),
        data.replace(b'"', b"'", 2),
        data[:middle] + b"\x00" + data[middle:],
    ]
    first = stream.between(0, len(spoilt) - 1)
    for candidate in spoilt[first:] + spoilt[:first]:
        if candidate != data and not _is_json(candidate):
            return candidate
    return b"{," + data


def _bad_utf8(data: bytes, stream: Stream, is_text: bool) -> bytes:
    at = _boundary(data, stream.between(0, len(data)))
    return data[:at] + _BAD_SEQUENCES[stream.between(0, len(_BAD_SEQUENCES) - 1)] + data[at:]


def _wrong_type(data: bytes, stream: Stream, is_text: bool) -> bytes:
    if not _is_json(data):
        return b"0"
    root = msgspec.json.decode(data)
    places = list(_members((), root))
    if not places:
        return b"{}" if not isinstance(root, dict) else b"[]"
    path = places[stream.between(0, len(places) - 1)]
    return _with_member(data, path)


_KINDS: Final[dict[str, Callable[[bytes, Stream, bool], bytes]]] = {
    "bit_flip": _bit_flip,
    "truncate": _truncate,
    "bad_json": _bad_json,
    "bad_utf8": _bad_utf8,
    "wrong_type": _wrong_type,
}


def _boundary(data: bytes, at: int) -> int:
    """The last place up to ``at`` that is not amid a character."""
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _is_json(data: bytes) -> bool:
    if too_deep(data):
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False
    return True


def _members(at: _Path, value: Any) -> Iterator[_Path]:
    """The paths of all members of objects, outermost first."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*at, name)
            yield from _members((*at, name), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _members((*at, index), item)


def _with_member(data: bytes, path: _Path) -> bytes:
    """The JSON with one member's value of another type; all other values keep their bytes."""
    if not path:
        return _of_another_type(data)
    step = path[0]
    if isinstance(step, str):
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        members[step] = msgspec.Raw(_with_member(bytes(members[step]), path[1:]))
        return msgspec.json.encode(members)
    items = msgspec.json.decode(data, type=list[msgspec.Raw])
    items[step] = msgspec.Raw(_with_member(bytes(items[step]), path[1:]))
    return msgspec.json.encode(items)


def _of_another_type(data: bytes) -> bytes:
    match msgspec.json.decode(data):
        case bool() | None:
            return b'"%s"' % data.strip()
        case int() | float():
            return b'"%s"' % data.strip()
        case str(value):
            return b"%d" % len(value)
        case list():
            return b"{}"
        case _:
            return b"[]"
