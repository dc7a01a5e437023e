"""Replay: a recording's inputs fed to a fresh core, every output compared byte for byte with what was recorded.

The lines of outputs are made by the same function that wrote them and compared as bytes, so nothing of an
output is left out of the comparison. Lines of kind ``wire``, what a fault rule did to a frame after the core, are
passed over: the core's own bytes are compared. Reading is bounded line by line, and a file is never trusted: what is no
recording, or has been tampered with, ends in a RecordingError that names the line.
"""

from __future__ import annotations

from collections import deque
from os import PathLike
from typing import Final

import msgspec
from msgspec import Struct

from zentalk_sim import __version__
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.trace.lines import TraceLines
from zentalk_sim.trace.recording import (
    FORMAT,
    OUTPUT_KINDS,
    Crashed,
    End,
    Header,
    Input,
    RecordingError,
    Restarted,
    feed,
    output_line,
    unfold,
)

_CONTEXT_LINES: Final = 8
"""How many lines before a difference are shown with it."""
_MAX_SHOWN_CHARACTERS: Final = 500
_MAX_BLOOM_CAPACITY: Final = 100_000_000
_MAX_TIME_US: Final = 1 << 56
_WIRE: Final = b'{"e":"wire",'
_decode_input = msgspec.json.Decoder(Input).decode


class Difference(Struct, frozen=True):
    """Where a replay first differs: the recording's line, and the line the core's output would have made.

    ``recorded`` is None where the recording ends too soon, ``replayed`` None where the core gave no such output.
    """

    line: int
    recorded: str | None
    replayed: str | None
    context: tuple[str, ...] = ()
    """The recording's lines just before, oldest first, long ones cut."""
    event: int | None = None
    """The line of the input that was being replayed."""
    version: str = ""
    """That of this project which made the recording."""


class ReplayResult(Struct, frozen=True):
    """How many inputs were fed and how many outputs were the same, up to the first difference, if there is one."""

    events: int
    outputs: int
    first_difference: Difference | None


class _Probe(Struct):
    e: str = ""


def read_header(lines: TraceLines) -> Header:
    """The header of a recording, which is the next line. Raises RecordingError."""
    name, line = lines.name, lines.read()
    if not line:
        raise RecordingError(f"{name}:1: the file is empty; a recording begins with a header line")
    if b'"zentalk_trace"' not in line[:4096]:
        raise RecordingError(f'{name}:1: not a recording: the first line has no "zentalk_trace"')
    try:
        probe = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise RecordingError(f"{name}:1: the header is not JSON: {error}") from None
    found = probe.get("zentalk_trace") if isinstance(probe, dict) else None
    if found != FORMAT:
        raise RecordingError(f"{name}:1: format {found!r} is not known here; this version reads format {FORMAT}")
    if probe.get("redacted"):
        raise RecordingError(f"{name}:1: this recording is redacted: it serves checks and reading, not replay")
    if probe.get("extent"):
        raise RecordingError(f"{name}:1: the trace of a simulation, not a recording: run its experiment again instead")
    try:
        header = msgspec.convert(probe, Header)
    except msgspec.ValidationError as error:
        raise RecordingError(f"{name}:1: {_by_another(probe.get('versions'))}header: {error}") from None
    return header


def _by_another(versions: object) -> str:
    """Says so where another version of this project wrote the file, since that is the likeliest cause."""
    found = versions.get("zentalk_sim") if isinstance(versions, dict) else None
    if not isinstance(found, str) or found == __version__:
        return ""
    return f"made by zentalk-sim {found[:40]}, this is {__version__}: "


def _restored(snapshot: bytes, config: RelayConfig, where: str) -> Relay:
    if config.dedup.bloom_capacity > _MAX_BLOOM_CAPACITY:
        raise RecordingError(f"{where}: config.dedup.bloom_capacity is above {_MAX_BLOOM_CAPACITY}")
    try:
        return Relay.restored(snapshot, config)
    except Exception as error:
        # A snapshot that decodes may still contradict itself anywhere; whatever that raises means one thing here.
        raise RecordingError(f"{where}: the snapshot cannot be restored ({error or type(error).__name__})") from error


class _Replay:
    """One pass over the lines of a recording."""

    def __init__(self, relay: Relay, name: str) -> None:
        self.relay = relay
        self.name = name
        self.events = 0
        self.outputs = 0
        self._due: deque[bytes] = deque()
        self._raised: Exception | None = None
        self._now_us = relay.now_us
        self._ended = False
        self._event = 0

    def line(self, line: bytes, number: int) -> Difference | None:
        """Take one line; the difference it shows, if it does."""
        due = self._due
        if due and due[0] == line:
            due.popleft()
            self.outputs += 1
            return None
        if line.startswith(_WIRE):
            return None
        if self._ended:
            raise RecordingError(f"{self.name}:{number}: there is more after the recording's end")
        if due:
            return Difference(number, _text(line), _text(due[0]))
        try:
            event: Input = _decode_input(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            if _kind(line) in OUTPUT_KINDS:
                return Difference(number, _text(line), None)
            raise RecordingError(f"{self.name}:{number}: not an event: {error}") from None
        return self._feed(event, line, number)

    def _feed(self, event: Input, line: bytes, number: int) -> Difference | None:
        if not self._now_us <= event.t <= _MAX_TIME_US:
            raise RecordingError(f"{self.name}:{number}: t is {event.t}, after {self._now_us} in the event before")
        self._now_us = event.t
        self._event = number
        if self._raised is not None and type(event) is not Crashed:
            return Difference(number, _text(line), f"the input before raised {self._raised!r}")
        if self._raised is None and type(event) is Crashed:
            return Difference(number, _text(line), "the input before did not raise")
        self._raised = None
        self.events += 1
        if type(event) is Restarted:
            self.relay = _restored(event.snapshot, event.config, f"{self.name}:{number}: restart")
            return None
        try:
            effects = feed(self.relay, event)
        except ProtocolError:
            return None
        except Exception as error:
            # The core broke on this input; the recording must say that it did then, too.
            self._raised = error
            return None
        t = event.t
        self._due.extend([output_line(t, output) for output in unfold(effects)])
        self._ended = type(event) is End
        return None

    def end(self, number: int) -> Difference | None:
        """The lines are over."""
        if self._due:
            return Difference(number, None, _text(self._due[0]))
        if self._raised is not None:
            return Difference(number, None, f"the last input raised {self._raised!r}")
        return None

    @property
    def event_line(self) -> int | None:
        """The line of the last input."""
        return self._event or None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\n")


def _shown(line: bytes) -> str:
    text = _text(line[: 4 * _MAX_SHOWN_CHARACTERS])
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + "…"


def _kind(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Probe).e
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""


def replay_file(path: str | PathLike[str]) -> ReplayResult:
    """Replay a recording up to its end or the first difference; gzip is known by its first bytes.

    Raises RecordingError (``file:line: message``) for what is no recording or is cut off, OSError where it
    cannot be read.
    """
    with TraceLines(path) as lines:
        header = read_header(lines)
        where = f"{lines.name}:1: {_by_another(header.versions)}header"
        replay = _Replay(_restored(header.snapshot, header.config, where), lines.name)
        before: deque[bytes] = deque(maxlen=_CONTEXT_LINES)
        difference: Difference | None = None
        while line := lines.read():
            difference = replay.line(line, lines.number)
            if difference is not None:
                break
            before.append(line)
        else:
            difference = replay.end(lines.number)
    if difference is not None:
        context = tuple(_shown(line) for line in before)
        difference = msgspec.structs.replace(
            difference,
            context=context,
            event=replay.event_line,
            version=header.versions.get("zentalk_sim", ""),
        )
    return ReplayResult(replay.events, replay.outputs, difference)
