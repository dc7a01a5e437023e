"""The tables and diagrams of docs/protocol.md, drawn from the tables of the code."""

from __future__ import annotations

import importlib
import re
import types
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from catalogue import RULINGS
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType
from protocol_rulings import RULING_CODE
from protocol_words import (
    CLOSE_ACTIONS,
    CLOSE_WHEN,
    ERRORS,
    EVENTS,
    FIELDS,
    FRAME_NOTES,
    LIMITS,
    REASONS,
    RELAY_EDGES,
    RELAY_NOTES,
)

from zentalk_sim.protocol import frames, rest
from zentalk_sim.protocol.client_state import TRANSITIONS, ClientState
from zentalk_sim.protocol.close_policy import CLOSE_POLICY, close_action
from zentalk_sim.protocol.config import Ceiling, ClientConfig, Limit, Limits, RelayConfig
from zentalk_sim.protocol.connection import ConnectionState
from zentalk_sim.protocol.errors import HTTP_STATUS, CloseCode
from zentalk_sim.protocol.frames import BINARY_CODES, CLIENT_FRAMES, RELAY_FRAMES, Payload
from zentalk_sim.protocol.pipeline import HANDLERS

NAMED_TYPES: tuple[tuple[Any, str], ...] = (
    (frames.Uuid, "UUID"),
    (frames.Address, "address"),
    (frames.Int63, "integer 0 … 2⁶³−1"),
    (frames.MessageType, " \\| ".join(f"`{name}`" for name in get_args(frames.MessageType))),
    (frames.SettableStatus, " \\| ".join(f"`{name}`" for name in get_args(frames.SettableStatus))),
    (frames.X3dhHeader, "object"),
    (int, "integer"),
    (float, "number"),
    (bool, "boolean"),
    (str, "string"),
    (bytes, "base64"),
    (dict[str, Any], "object"),
    (tuple[str, ...], "array of strings"),
)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


# --- frames ------------------------------------------------------------------------------------------


def wire_type(annotation: Any) -> str:
    """An annotation as a client developer names it."""
    for known, name in NAMED_TYPES:
        if annotation == known:
            return name
    if get_origin(annotation) is Annotated:
        meta = next(part for part in get_args(annotation) if isinstance(part, Meta))
        if meta.min_length is not None and meta.min_length == meta.max_length:
            return f"base64, {meta.min_length} bytes"
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not UnsetType]
        names = [("null" if part is type(None) else wire_type(part)) for part in parts]
        return "number" if set(names) == {"integer", "number"} else " or ".join(names)
    raise AssertionError(f"no name for the type {annotation}")


def fields_of(payload: type[Struct]) -> str:
    """The fields of a payload: name on the wire, type, required or not, meaning."""
    hints = get_type_hints(payload, include_extras=True)
    rows = []
    for info in msgspec.structs.fields(payload):
        required = info.default is NODEFAULT or info.default is not UNSET
        meaning = FIELDS[f"{payload.__name__}.{info.name}"]
        rows.append((f"`{info.encode_name}`", wire_type(hints[info.name]), "yes" if required else "no", meaning))
    return table(("payload field", "type", "always", "meaning"), rows)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def frame_anchor(direction: str, kind: str) -> str:
    """A link to a frame's section; the type alone is ambiguous for those that travel both ways."""
    return f"[`{kind}`](#{slug(f'{kind} {WAYS[direction]}')})"


WAYS = {"client": "to the relay", "relay": "to the client"}


def client_frames() -> str:
    """What a client may send, with what it needs and what answers it."""
    needs = {kind: capability for kind, (capability, _) in HANDLERS.items()} | {"MESSAGE_SEND": "send_message"}
    rows = []
    for kind, payload in CLIENT_FRAMES.items():
        names = ", ".join(f"`{info.encode_name}`" for info in msgspec.structs.fields(payload))
        capability = needs.get(kind)
        need = f"`{capability}`" if capability else "–"
        rows.append((frame_anchor("client", kind), names, need, FRAME_NOTES[kind]))
    return table(("type", "payload", "capability", "answer"), rows)


def relay_frames() -> str:
    """What a relay may send."""
    rows = []
    for kind, payload in RELAY_FRAMES.items():
        names = ", ".join(f"`{info.encode_name}`" for info in msgspec.structs.fields(payload))
        rows.append((frame_anchor("relay", kind), names, RELAY_NOTES[kind]))
    return table(("type", "payload", "when"), rows)


def payload_type(direction: str, kind: str) -> type[Payload]:
    """The payload of a frame in a direction."""
    return (CLIENT_FRAMES if direction == "client" else RELAY_FRAMES)[kind]


def binary_codes() -> str:
    """Type codes of binary frames."""
    way = {code: "client to relay" if code < 0x80 else "relay to client" for code in BINARY_CODES}
    return table(
        ("type code", "frame", "direction"), [(f"`0x{c:02x}`", f"`{n}`", way[c]) for c, n in BINARY_CODES.items()]
    )


# --- states, closes, errors --------------------------------------------------------------------------


def mermaid(lines: list[str]) -> str:
    """A fenced state diagram."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def client_states() -> str:
    """The client's states and every edge between them."""
    assert isinstance(ClientState.FAILED, StrEnum)
    lines = [f"[*] --> {ClientState.DISCONNECTED}"]
    for state, edges in TRANSITIONS.items():
        lines += [f"{state} --> {target}: {EVENTS[event]}" for event, target in edges.items()]
    return mermaid(lines)


def relay_states() -> str:
    """The relay's states of a connection."""
    known = {*get_args(ConnectionState), "[*]"}
    drawn = {name for edge in RELAY_EDGES for name in edge[:2]}
    assert drawn == known, f"the relay's states are {sorted(known)}, drawn are {sorted(drawn)}"
    return mermaid([f"{one} --> {other}: {why}" for one, other, why in RELAY_EDGES])


def close_codes() -> str:
    """Close codes: when, what the client does, what it tells the application."""
    rows = []
    for code in CloseCode:
        name = code.name.replace("_", " ").lower()
        told = CLOSE_POLICY[code][1] if code in CLOSE_POLICY else "the code alone"
        rows.append((str(int(code)), name, CLOSE_WHEN[int(code)], CLOSE_ACTIONS[close_action(int(code))], told))
    for words, other in (("other, below 4000", 3999), ("other, from 4000", 4999)):
        rows.append((words, "–", "not sent by this relay", CLOSE_ACTIONS[close_action(other)], "the code alone"))
    return table(("code", "name", "when; `reason`", "what a client does", "the application is told"), rows)


def error_codes() -> str:
    """Error codes: HTTP equivalent, when, what a client does."""
    return table(
        ("`error_code`", "HTTP", "when", "client"),
        [(f"`{code}`", str(status), *ERRORS[code]) for code, status in HTTP_STATUS.items()],
    )


def reasons() -> str:
    """``details.reason`` of INVALID_MESSAGE and FORBIDDEN."""
    return table(("`details.reason`", "when"), [(f"`{name}`", text) for name, text in REASONS.items()])


# --- limits, settings, REST --------------------------------------------------------------------------


def limits() -> str:
    """The limits as specified."""
    rows = []
    for name in Limits.__struct_fields__:
        limit = getattr(Limits(), name)
        scope, refusal = LIMITS[name]
        if isinstance(limit, Ceiling):
            rows.append((f"`{name}`", str(limit.limit), "at once", "–", scope, refusal))
        else:
            assert isinstance(limit, Limit)
            burst = str(limit.burst if limit.burst is not None else limit.limit)
            rows.append((f"`{name}`", str(limit.limit), f"{limit.window_s} s", burst, scope, refusal))
    return table(("limit", "N", "window W", "burst B", "counted for", "refusal"), rows)


def settings() -> str:
    """Every number with its name as a setting, limits and tuples aside."""
    rows = []
    for owner, config in (("relay", RelayConfig()), ("client", ClientConfig())):
        for section in config.__struct_fields__:
            value = getattr(config, section)
            if isinstance(value, Limits):
                continue
            if not isinstance(value, Struct):
                text = str(value).lower() if isinstance(value, bool) else str(value)
                rows.append((owner, f"`{section}`", f"`{text}`"))
                continue
            for name in value.__struct_fields__:
                shown = getattr(value, name)
                text = ", ".join(map(str, shown)) if isinstance(shown, tuple) else str(shown)
                text = text.lower() if isinstance(shown, bool) else text
                rows.append((owner, f"`{section}.{name}`", f"`{text}`"))
    return table(("core", "setting", "default"), rows)


def routes() -> str:
    """Every REST path."""
    rows = [("`POST`", "`/api/token`", "none needed", "–", "a connection token for whoever proves an identity key")]
    for method, pattern, handler, capability in rest.ROUTES:
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern.pattern)
        doc = (handler.__doc__ or "").partition("\n")[0].strip().rstrip(".")
        doc = re.sub(r"\s*\(R-[^)]*\)", "", doc)
        need = f"`{capability}`" if capability else "–"
        rows.append((f"`{method}`", f"`{path}`", "yes", need, doc if doc[1].isupper() else doc[0].lower() + doc[1:]))
    return table(("method", "path", "bearer", "capability", "what it does"), rows)


# --- rulings -----------------------------------------------------------------------------------------


def resolve(name: str) -> tuple[str, str]:
    """(file, the name within it) of ``module.name`` or ``module``. Raises AssertionError if there is none."""
    full = name if name.startswith("mockrelay") else f"zentalk_sim.protocol.{name}"
    parts = full.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        found: Any = module
        for part in parts[cut:]:
            assert hasattr(found, part), f"{name}: {module.__name__} has no {'.'.join(parts[cut:])}"
            found = getattr(found, part)
        return "/".join(parts[:cut]) + ".py", ".".join(parts[cut:])
    raise AssertionError(f"{name}: no such module")


def rulings() -> str:
    """Ruling → what it decides → where in the code."""
    rows = []
    for number, title in RULINGS.items():
        places: dict[str, list[str]] = {}
        for name in RULING_CODE[number].split():
            file, inner = resolve(name)
            places.setdefault(file, []).append(inner)
        cells = []
        for file, names in places.items():
            short = file.removeprefix("zentalk_sim/protocol/")
            inner = ", ".join(f"`{n}`" for n in names if n)
            cells.append(f"[{short}](../{file})" + (f" {inner}" if inner else ""))
        rows.append((number, title, "; ".join(cells)))
    return table(("ruling", "what it decides", "code"), rows)
