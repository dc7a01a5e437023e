"""The log of ``mockrelay serve``, on stderr: a line an event, for people (``text``) or for programs (``json``).

The law of this file: a line names what happened and to whom, never what was in it: no frame, token or key is logged.
Text that a peer chose is quoted, so that it can neither end a line nor move a terminal's cursor. The lines follow the
journal: what it does not hold is not logged, the relay's own start, stop and faults excepted.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mockrelay.journal import Entry
    from mockrelay.space import Space

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

log: Final = logging.getLogger("mockrelay")

_MESSAGES: Final = {
    "upgrade": "refused an upgrade",
    "connected": "connected",
    "closed": "closed",
    "lost": "lost",
    "drop": "dropped what it kept",
    "push": "pushed",
    "push_cleared": "cleared a push",
    "control": "was told by the control API",
    "rule": "a rule fired",
    "rest": "was asked by REST",
    "frame_in": "frame in",
    "frame_out": "frame out",
}
_TOLD_AT_DEBUG: Final = ("rest", "frame_in", "frame_out", "rtt", "push_cleared")
_FACTS: Final = (
    "status",
    "direction",
    "close_code",
    "reason",
    "cause",
    "what",
    "count",
    "pending",
    "action",
    "method",
    "path",
    "rtt_ms",
)
"""The members of an entry that a line may show. A push token is none of them."""


def set_up(level: str, form: str, stream: IO[str] | None = None) -> None:
    """Log to stderr at ``level`` and above, in ``text`` or ``json``."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())


def say(level: int, message: str, **facts: Any) -> None:
    """Log a message with its facts; those that are None are left out."""
    if log.isEnabledFor(level):
        log.log(level, message, extra={"facts": {name: fact for name, fact in facts.items() if fact is not None}})


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """``2026-11-23T04:10:00.123Z INFO mockrelay: connected user=alice connection=3``."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        said = "".join(f" {name}={_quoted(fact)}" for name, fact in facts.items())
        message = record.getMessage()
        if not facts:
            # What other libraries say may hold anything.
            message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
        line = f"{_instant(record)} {record.levelname} {record.name}: {message}{said}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


def _quoted(fact: Any) -> str:
    text = fact if isinstance(fact, str) else json.dumps(fact)
    plain = text.isprintable() and text.isascii() and text and not any(char in ' "=' for char in text)
    return text if plain or not isinstance(fact, str) else json.dumps(text)


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", …}``: one line, ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def follow(space: Space) -> None:
    """Log what a space's journal is told of, as far as the level lets through."""
    if not log.isEnabledFor(logging.INFO):
        return
    is_debug = log.isEnabledFor(logging.DEBUG)
    names = space.people.names

    def take(entry: Entry) -> None:
        if entry.event in _TOLD_AT_DEBUG and not is_debug:
            if entry.firing is None:
                return
        elif entry.event == "upgrade" and (entry.facts or {}).get("status", 101) == 101 and entry.firing is None:
            return  # An upgrade that went well is told of as ``connected``.
        _tell(entry, space.id, names.get)

    space.journal.listeners.append(take)


def _tell(entry: Entry, space_id: str, name_of: Callable[[str], str | None]) -> None:
    facts, party = entry.facts or {}, entry.party
    user = facts.get("user") or party.user
    shown = {name: facts[name] for name in _FACTS if name in facts}
    # A path may hold a session's token in its query.
    if "path" in shown:
        shown["path"] = str(shown["path"]).partition("?")[0]
    say(
        logging.DEBUG if entry.event in _TOLD_AT_DEBUG and entry.firing is None else logging.INFO,
        _MESSAGES.get(entry.event, entry.event),
        event=entry.event,
        space=space_id or None,
        connection=party.connection,
        user=None if user is None else name_of(user) or user,
        device=facts.get("device") or party.device,
        type=entry.type(),
        **shown,
        rule=None if entry.firing is None else entry.firing.get("comment") or entry.firing["id"],
        do=None if entry.firing is None else entry.firing["do"],
    )
