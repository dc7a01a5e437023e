"""The part of the JSON Schema that describes fault rules, made from the tables that rules are read by."""

from __future__ import annotations

import inspect
from typing import Any, Final

from msgspec.structs import fields

from zentalk_sim.faults.verdicts import ACTIONS, Action
from zentalk_sim.faults.vocabulary import ACTIONS_AT, CORRUPTIONS, ERROR_CODES, FRAME_TYPES, events_of_action

_COUNT: Final = {"type": "integer", "minimum": 1}
_MS: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string", "minLength": 1}
_EVENTS: Final = {
    "upgrade": "the request is read, not yet answered",
    "connected": "it was answered with 101",
    "frame_in": "from the client, before any check",
    "frame_out": "from the relay, as it leaves",
    "rest": "a request under /api, before any check",
}

_MATCH: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "event": (
        {"enum": list(_EVENTS)},
        f"{'; '.join(f'{name}: {text}' for name, text in _EVENTS.items())}. "
        "Not said: every event at which the action can be done.",
    ),
    "type": ({"enum": list(FRAME_TYPES)}, "The frame has this type."),
    "user": (_TEXT, "It is this user's: user-0 is the first of the population. Or an address, in quotes."),
    "device": (_TEXT, "It is this device's: device-0 is the first of the population. Or its id."),
    "connection": (
        {"anyOf": [{"type": "integer"}, _TEXT]},
        "It is this connection's, by its number in a full trace.",
    ),
    "nth": (_COUNT, "Only the nth, counted from 1, of what matches the rest."),
    "every": (_COUNT, "Only each of this many, counted from 1, of what matches the rest."),
    "probability": ({"type": "number", "minimum": 0, "maximum": 1}, "Chance says so."),
    "payload": ({"type": "object"}, "Path, relative to the payload, → the value there."),
    "after_ms": (_MS, "The connection opened at least so long ago. At connected: that long after it, once."),
    "method": ({"enum": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]}, "Of a REST call."),
    "path": (_TEXT, "Of a REST call, without its query; a final * stands for any ending."),
}

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "ms": {**_MS, "description": "Milliseconds of simulated time."},
    "jitter_ms": {**_MS, "description": "A uniform addition from 0 to this."},
    "kind": {"enum": list(CORRUPTIONS), "description": "How the frame is spoilt."},
    "frame": {"type": ["object", "string"], "description": "The frame as it is sent, right or wrong."},
    "code": {"type": "integer", "minimum": 1000, "maximum": 4999, "description": "The close code."},
    "reason": {"type": "string", "description": "At most 123 bytes."},
    "status": {"type": "integer", "minimum": 300, "maximum": 599, "description": "The HTTP status."},
    "bytes_per_s": {**_COUNT, "description": "In each direction."},
    "error_code": {"enum": list(ERROR_CODES), "description": "The error's code."},
    "retry_after": {"type": "integer", "minimum": 0, "description": "Whole seconds."},
}


def event_rule() -> dict[str, Any]:
    """A rule as a schema."""
    match = {name: {**schema, "description": text} for name, (schema, text) in _MATCH.items()}
    return {
        "type": "object",
        "description": "A fault rule: what happens where all of `match` holds. The first rule that matches fires.",
        "additionalProperties": False,
        "required": ["match", "action"],
        "properties": {
            "match": {
                "type": "object",
                "description": "Everything that is said must hold; {} matches everything.",
                "additionalProperties": False,
                "properties": match,
            },
            "action": {
                "description": f"What is done; at {'; at '.join(f'{at}: {_list(can)}' for at, can in _at())}.",
                "anyOf": [_action(do, kind) for do, kind in ACTIONS.items()],
            },
            "times": {**_COUNT, "description": "How often it fires at most."},
            "comment": {"type": "string", "description": "Stands for the rule in traces and reports."},
        },
    }


def _at() -> list[tuple[str, tuple[str, ...]]]:
    return list(ACTIONS_AT.items())


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _action(do: str, kind: type[Action]) -> dict[str, Any]:
    about = (inspect.getdoc(kind) or "").split("\n")[0].replace("``", "`")
    properties: dict[str, Any] = {"do": {"const": do, "description": f"{about} At {_list(events_of_action(do))}."}}
    required = ["do"]
    for field in fields(kind):
        properties[field.name] = _PARAMETERS[field.name]
        if field.required:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
