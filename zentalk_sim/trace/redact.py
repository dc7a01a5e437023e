"""Takes the secrets out of a trace, so that it can be shown to others: for reading and checks, not for replay.

Ciphertexts become zeros of the same length, and asterisks where they are no Base64, which a check shall still see.
Tokens, keys, nonces, signatures, challenges, push tokens and device names become pseudonyms of the same form, equal
ones for equal values; addresses, conversation ids and IPs likewise. What cannot be parsed, and so may hide anything,
is blanked. Header and restarts lose seed and snapshot.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator
from os import PathLike
from typing import Any, Final

import msgspec

from zentalk_sim.trace.lines import TraceLines
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.replacing import replacing

_SECRET: Final = frozenset(
    (
        *("bearer", "token", "session_token", "resume_token", "push_token", "challenge", "nonce", "signature"),
        *("key", "identity_key", "identityKey", "ephemeral_key", "new_key", "message_mac", "name", "device_name"),
        *("old_key_fingerprint", "new_key_fingerprint"),
    )
)
"""Names of fields whose value becomes a pseudonym, wherever they stand."""
_BLANK: Final = frozenset(("ciphertext",))
_DROPPED_HEADERS: Final = frozenset(("authorization", "cookie", "x-forwarded-for", "forwarded"))
_IDENTIFIER: Final = re.compile(r"0x[0-9a-fA-F]{40}|conv_[0-9A-Za-z_-]+")
_BINARY_HEAD_BYTES: Final = 29
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

Event = dict[str, Any]


class Redactor:
    """Redacts the events of one trace; equal values get equal pseudonyms throughout."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def event(self, event: Event) -> Event:
        """A redacted copy of an event as JSON has it, or of the header."""
        if "zentalk_trace" in event:
            return {**event, "seed": 0, "snapshot": "", "redacted": True}
        kind = event.get("e")
        found = {name: self._field(str(kind), name, value) for name, value in event.items()}
        if kind == "restart":
            found["snapshot"] = ""
        return found

    def _field(self, kind: str, name: str, value: Any) -> Any:
        if name == "data" and kind in ("text", "send", "wire"):
            return self.frame_text(value)
        if name == "data" and kind in ("binary", "send_binary"):
            return self._binary(value)
        if name == "data64" or (name == "data" and kind == "bad_text"):
            return _blanked64(value)
        if name == "body" and kind == "request":
            return self.frame_text(value)
        if name == "body64":
            return _blanked64(value)
        if name == "ip":
            return self._pseudonym("ip", str(value))
        if name == "headers" and isinstance(value, dict):
            kept = {key: text for key, text in value.items() if key.lower() not in _DROPPED_HEADERS}
            return self.value(kept)
        if (kind, name) in (("note", "name"), ("control", "e")):
            return value
        return self._member(name, value)

    def value(self, value: Any) -> Any:
        """A redacted copy of anything JSON can hold."""
        if isinstance(value, dict):
            return {self._identifiers(str(key)): self._member(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        return self._identifiers(value) if isinstance(value, str) else value

    def _member(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name in _BLANK:
            return _blanked64(value) if _bytes_in(value) is not None else "*" * len(value)
        if isinstance(value, str) and name in _SECRET and value:
            return self._pseudonym(name, value)
        return self.value(value)

    def frame_text(self, text: Any) -> Any:
        """A text frame or a body: redacted where it is JSON, else blanked."""
        if not isinstance(text, str):
            return text
        try:
            return _encode(self.value(_decode(text))).decode()
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return f"<{len(text)} characters that are not JSON>"

    def _binary(self, data64: Any) -> str:
        try:
            data = base64.b64decode(str(data64), validate=True)
            payload = _encode(self.value(_decode(data[_BINARY_HEAD_BYTES:])))
        except (msgspec.MsgspecError, RecursionError, UnicodeError, binascii.Error):
            return _blanked64(data64)
        head = data[: _BINARY_HEAD_BYTES - 4] + len(payload).to_bytes(4, "big")
        return base64.b64encode(head + payload).decode()

    def _identifiers(self, text: str) -> str:
        return _IDENTIFIER.sub(self._identifier, text)

    def _identifier(self, found: re.Match[str]) -> str:
        value = found[0]
        return self._pseudonym("address" if value.startswith("0x") else "conversation", value.lower())

    def _pseudonym(self, kind: str, value: str) -> str:
        known = self._known.get(value)
        if known is None:
            number = len(self._known) + 1
            known = self._known[value] = _alike(kind, value, number)
        return known


def _alike(kind: str, value: str, number: int) -> str:
    """A value of the same form that tells nothing but which one it is."""
    if kind == "address":
        return f"0x{number:040x}"
    if kind == "conversation":
        return f"conv_{number:016x}"
    if kind == "ip":
        return f"ip-{number}"
    size = _bytes_in(value)
    if size is not None and size >= 8:
        return base64.b64encode(number.to_bytes(size, "big")).decode()
    return f"redacted-{number}"


def _bytes_in(value: str) -> int | None:
    try:
        return len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return None


def _blanked64(value: Any) -> str:
    size = _bytes_in(value) if isinstance(value, str) else 0
    return base64.b64encode(bytes(size or 0)).decode()


def redacted_events(path: str | PathLike[str]) -> Iterator[Event]:
    """The header and the events of a trace, redacted, one by one.

    Raises RecordingError (``file:line: message``) for what is no trace, OSError where it cannot be read.
    """
    redactor = Redactor()
    with TraceLines(path) as lines:
        while line := lines.read():
            try:
                event = _decode(line)
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                raise RecordingError(f"{lines.name}:{lines.number}: not JSON: {error}") from None
            if not isinstance(event, dict) or (lines.number == 1) is not ("zentalk_trace" in event):
                what = "the header of a recording" if lines.number == 1 else "an event"
                raise RecordingError(f"{lines.name}:{lines.number}: not {what}")
            try:
                redacted = redactor.event(event)
            except RecursionError:
                raise RecordingError(f"{lines.name}:{lines.number}: nested too deeply") from None
            yield redacted
    if lines.number == 1:
        raise RecordingError(f"{lines.name}:1: the file is empty; a recording begins with a header line")


def redact(path_in: str | PathLike[str], path_out: str | PathLike[str]) -> int:
    """Write a redacted copy of a trace, compressed where its name ends in ``.gz``; how many events it has.

    Raises RecordingError for what is no trace, OSError, and ValueError where both paths name one file.
    """
    if os.path.exists(path_out) and os.path.samefile(path_in, path_out):
        raise ValueError(f"{os.fspath(path_out)}: a trace cannot be redacted in its place; name another file")
    count = -1
    with replacing(path_out) as out:
        for event in redacted_events(path_in):
            out.write(_encode(event) + b"\n")
            count += 1
    return count
