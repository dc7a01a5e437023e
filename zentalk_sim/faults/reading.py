"""From what JSON or YAML can hold to checked values, with every fault noted at its place.

A reader never stops at a fault: it notes it, answers WRONG, and the rest is read on, so that a person sees all of them
at once. Places are paths from the rule's root: ``match.nth``, ``action.kind``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from zentalk_sim.faults.vocabulary import CORRUPTIONS, DIRECTIONS, ERROR_CODES, quoted, remedy

MAX_COUNT: Final = 2**53
MAX_MS: Final = 1000 * 86_400_000
"""A thousand days: no fault lasts longer."""
MAX_TEXT: Final = 1000
MAX_DEPTH: Final = 64
_MAX_REASON_BYTES: Final = 123
"""What a close frame holds beside its code (RFC 6455 §5.5)."""
_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status >= 300)
_PATH: Final = re.compile(r"(?:[^.\[\]]+|\[\d{1,9}\])(?:\.[^.\[\]]+|\[\d{1,9}\])*\Z")
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class RuleFaults(ValueError):
    """What was given is no rule. ``faults`` holds (place, message) for each fault found."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{place}: {message}" for place, message in faults))
        self.faults = faults


class _Wrong:
    """Stands for a value that could not be read."""


WRONG: Final = _Wrong()


class Reader:
    """Collects the faults of one reading."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []

    def fault(self, place: str, message: str) -> Any:
        """Note a fault. Returns WRONG."""
        # A name given may hold what no UTF-8 answer can.
        where, said = ((text or "rule").encode(errors="backslashreplace").decode() for text in (place, message))
        self.faults.append((where, said))
        return WRONG

    def finish(self) -> None:
        """Raise RuleFaults where there is a fault."""
        if self.faults:
            raise RuleFaults(self.faults)

    def mapping(self, place: str, raw: object, names: Iterable[str], what: str) -> dict[str, Any]:
        """The known members of an object that are not null; unknown ones are faults."""
        known = list(names)
        if not isinstance(raw, dict):
            self.fault(place, f"must be an object with {quoted(known)}, not {described(raw)}")
            return {}
        found: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in known:
                label = called(name)
                self.fault(within(place, label), f"{what} has no such field; {remedy(label, known)}")
            elif value is not None:
                found[name] = value
        return found


Read = Callable[[Reader, str, Any], Any]
"""Reads one value at a place: the value, or WRONG once the fault is noted."""


def within(place: str, name: str) -> str:
    """The place of a member."""
    return f"{place}.{name}" if place else name


def called(name: object) -> str:
    """A key for a place, short whatever it is."""
    return name[:100] if isinstance(name, str) else described(name)


def described(value: object) -> str:
    """A value for a message, short whatever it is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"`{value}`" if len(value) <= 60 else f"a text of {len(value)} characters"
        case int() if abs(value) >= 10**18:
            return "a number of more than 18 digits"
        case int() | float():
            return f"{value}"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def whole(low: int, high: int, unit: str = "") -> Read:
    """A reader of whole numbers in [low, high]."""

    def read(reader: Reader, place: str, value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        upper = f" and at most {high:,}" if high != MAX_COUNT else ""
        return reader.fault(place, f"must be a whole number{unit}, at least {low}{upper}, not {described(value)}")

    return read


def one_of(names: Iterable[str], what: str) -> Read:
    """A reader of names."""
    known = tuple(names)

    def read(reader: Reader, place: str, value: Any) -> Any:
        if isinstance(value, str):
            if value in known:
                return value
            return reader.fault(place, f"{described(value)} is no {what}; {remedy(value, known)}")
        return reader.fault(place, f"must be a name, one of {', '.join(known)}, not {described(value)}")

    return read


def text(what: str, *, may_be_empty: bool = False) -> Read:
    """A reader of texts."""

    def read(reader: Reader, place: str, value: Any) -> Any:
        if not isinstance(value, str):
            return reader.fault(place, f"must be {what}, not {described(value)}")
        if not value and not may_be_empty:
            return reader.fault(place, f"must be {what}, not an empty text")
        if len(value) > MAX_TEXT:
            return reader.fault(place, f"must have at most {MAX_TEXT} characters, not {len(value)}")
        return _encodable(reader, place, value)

    return read


def _encodable(reader: Reader, place: str, value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return reader.fault(place, "holds a lone surrogate, which no UTF-8 text can")
    return value


def probability(reader: Reader, place: str, value: Any) -> Any:
    """A number from 0 (never) to 1 (always)."""
    if type(value) in (int, float) and 0 <= value <= 1:
        return float(value)
    return reader.fault(place, f"must be a number from 0 to 1, not {described(value)}")


def connection(reader: Reader, place: str, value: Any) -> Any:
    """A connection's id as ``GET /admin/connections`` gives it."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    return text("a connection's id, a number or a text")(reader, place, value)


def status(reader: Reader, place: str, value: Any) -> Any:
    """A registered HTTP status (RFC 9110 §15) that refuses."""
    if type(value) is int and value in _STATUSES:
        return value
    return reader.fault(
        place, f"must be a registered HTTP status from 300 on, such as 403 or 503, not {described(value)}"
    )


def close_code(reader: Reader, place: str, value: Any) -> Any:
    """A close code that may be sent (RFC 6455 §7.4)."""
    if value in (1005, 1006, 1015) and type(value) is int:
        message = f"{value} is never sent: it is what a client sees where no close frame came; `do: abort` gives 1006"
        return reader.fault(place, message)
    if type(value) is int and (1000 <= value <= 1003 or 1007 <= value <= 1014 or 3000 <= value <= 4999):
        return value
    return reader.fault(place, f"must be a close code: 1000-1003, 1007-1014 or 3000-4999, not {described(value)}")


def reason(reader: Reader, place: str, value: Any) -> Any:
    """A close frame's reason."""
    found = text("a text", may_be_empty=True)(reader, place, value)
    if found is not WRONG and len(found.encode()) > _MAX_REASON_BYTES:
        return reader.fault(place, f"must have at most {_MAX_REASON_BYTES} bytes, which is what a close frame holds")
    return found


def frame(reader: Reader, place: str, value: Any) -> Any:
    """A frame to send: an object, or a text sent as it stands. It may be as wrong as a test needs it."""
    if isinstance(value, str):
        return _encodable(reader, place, value)
    if isinstance(value, dict):
        return plain(reader, place, value)
    return reader.fault(place, f"must be a frame, as an object or as a text, not {described(value)}")


def payload(reader: Reader, place: str, value: Any) -> Any:
    """Path → wanted value; paths are relative to the payload."""
    if not isinstance(value, dict):
        return reader.fault(place, f"must be an object of path: value, not {described(value)}")
    found: dict[str, Any] = {}
    for path, wanted in value.items():
        where = within(place, called(path))
        if not isinstance(path, str) or len(path) > MAX_TEXT or not _PATH.match(path):
            reader.fault(where, "is no path; paths look like `to`, `details.reason` or `message_ids[0]`")
        elif steps(path)[0] == "payload":
            short = path.removeprefix("payload").removeprefix(".")
            reader.fault(where, "paths are relative to the payload" + (f": write `{short}`" if short else ""))
        elif _encodable(reader, where, path) is not WRONG:
            found[path] = plain(reader, where, wanted)
    return found


def steps(path: str) -> tuple[str | int, ...]:
    """The steps of a path: names of members and indices of items."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(path))


def plain(reader: Reader, place: str, value: Any, depth: int = 0) -> Any:
    """A copy of a value that JSON can hold; anything else is a fault."""
    if depth > MAX_DEPTH:
        return reader.fault(place, f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        copy: dict[str, Any] = {}
        for name, item in value.items():
            if isinstance(name, str) and _encodable(reader, within(place, name[:100]), name) is not WRONG:
                copy[name] = plain(reader, within(place, name[:100]), item, depth + 1)
            elif not isinstance(name, str):
                reader.fault(place, f"has the key {described(name)}; a JSON object's keys are texts")
        return copy
    if isinstance(value, list | tuple):
        return [plain(reader, f"{place}[{index}]", item, depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _encodable(reader, place, value)
    if value is None or isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**64):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    return reader.fault(place, f"must be a value that JSON can hold, not {described(value)}")


ms: Final = whole(0, MAX_MS, " of milliseconds")
count: Final = whole(1, MAX_COUNT)

ACTION_READERS: Final[dict[str, Read]] = {
    "ms": ms,
    "jitter_ms": ms,
    "kind": one_of(CORRUPTIONS, "kind of corruption"),
    "frame": frame,
    "code": close_code,
    "reason": reason,
    "bytes_per_s": whole(1, MAX_COUNT, " of bytes a second"),
    "status": status,
    "error_code": one_of(ERROR_CODES, "error code"),
    "retry_after": whole(0, MAX_MS // 1000, " of seconds"),
}
"""Parameter of an action → how it is read; a name means the same in every action."""

direction: Final = one_of(DIRECTIONS, "direction")
