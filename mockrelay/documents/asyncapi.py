"""AsyncAPI 3: the WebSocket with its frames, generated from the tables ``CLIENT_FRAMES`` and ``RELAY_FRAMES``.

The document describes the relay: what clients send is an operation ``receive`` of it, what it sends one of ``send``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec

from mockrelay.documents.examples import CLIENT_EXAMPLES, RELAY_EXAMPLES, binary, envelope
from mockrelay.documents.schemas import REF_TEMPLATE, Schema, prose, public_name, schemas_of
from zentalk_sim import __version__
from zentalk_sim.protocol.close_policy import close_action
from zentalk_sim.protocol.codec import BINARY_HEADER_BYTES
from zentalk_sim.protocol.config import FrameConfig, UpgradeConfig
from zentalk_sim.protocol.errors import HTTP_STATUS, CloseCode
from zentalk_sim.protocol.frames import BINARY_CODES, CLIENT_FRAMES, RELAY_FRAMES, UUID_PATTERN, Payload
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL

Side = Literal["client", "relay"]
CHANNEL: Final = "session"
REPLIES: Final[dict[str, tuple[str, ...]]] = {
    "AUTH_RESPONSE": ("AUTH_SUCCESS", "AUTH_FAILED"),
    "MESSAGE_SEND": ("MESSAGE_ACK", "ERROR"),
    "TOKEN_REFRESH": ("TOKEN_REFRESHED", "ERROR"),
}
"""Frames of a client that the relay answers by a frame of their own."""
WITHOUT_SEQ: Final = ("AUTH_CHALLENGE", "AUTH_FAILED")
"""R-1.3: the relay numbers its frames from AUTH_SUCCESS on."""
CLOSES: Final[dict[int, str]] = {
    1000: "The client closed in order; or its device was removed, or connected anew (reason `replaced`).",
    1001: "The relay stops or restarts.",
    1002: "No AUTH_RESPONSE within 5 s (reason `auth_timeout`); or a binary frame whose length is wrong.",
    1003: "A binary frame of a type that does not travel as binary.",
    1006: "The connection was lost, or dropped by the relay; no close frame is ever sent with it.",
    1007: "A text frame was not UTF-8.",
    1008: "Ten malformed frames in a row; or a `message_mac` that is wrong, or missing where it is required.",
    1009: "A frame above the size limit.",
    1011: "The relay failed on a frame.",
    4000: "The token is not valid, or authentication failed.",
    4001: "The token has expired, its grace included.",
    4002: "Too many connections, attempts to connect, or refused frames.",
    4003: "The account is suspended.",
    4004: "Too many devices of this user, connected or registered.",
}
_ACTIONS: Final = {
    "stop": "stops",
    "backoff": "reconnects after a growing delay",
    "token": "gets a new token, then connects",
    "cooldown": "waits for the cooldown, then reconnects",
}
_DESCRIPTION: Final = """\
The Zentalk WebSocket API as this relay speaks it. A connection is one WebSocket at `{path}` with the sub-protocol
`{subprotocol}`; its token and device are in the query. The relay sends AUTH_CHALLENGE first; until AUTH_SUCCESS a
client may send AUTH_RESPONSE alone.

Every text frame is one JSON object `{{type, id, timestamp, payload}}`. Bytes are base64 (RFC 4648 §4), times are Unix
time in ms. Unknown fields are ignored, and may come. A payload above {text_bytes} bytes goes as a binary frame; no
frame may exceed {max_bytes} bytes."""


def document(ws_url: str = "ws://127.0.0.1:8765/ws/v1") -> dict[str, Any]:
    """The document for a relay, or a space, that is reached at ``ws_url``."""
    scheme, _, rest = ws_url.partition("://")
    host, slash, path = rest.partition("/")
    found = dict(_body())
    server = {
        "host": host,
        "protocol": scheme,
        "protocolVersion": "13",
        "description": "This relay.",
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }
    prefix = (slash + path).removesuffix(PATH)
    if prefix:
        server["pathname"] = prefix
    return {**found, "servers": {"relay": server}}


@cache
def _body() -> dict[str, Any]:
    frames, upgrade = FrameConfig(), UpgradeConfig()
    schemas = _schemas()
    messages = {**_messages("client", CLIENT_FRAMES), **_messages("relay", RELAY_FRAMES), **_binary_messages()}
    description = _DESCRIPTION.format(
        path=PATH, subprotocol=SUBPROTOCOL, text_bytes=frames.max_text_payload_bytes, max_bytes=frames.max_bytes
    )
    channel = {
        "address": PATH,
        "title": "A device's connection",
        "description": f"{_close_table()}\n\n{_error_table()}",
        "servers": [{"$ref": "#/servers/relay"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": _binding(upgrade)},
        "x-close-codes": [
            {"code": int(code), "name": code.name, "cause": CLOSES[code], "client": close_action(code)}
            for code in CloseCode
        ],
        "x-error-codes": [{"code": code, "http_status": status} for code, status in HTTP_STATUS.items()],
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:zentalk:relay",
        "info": {
            "title": "Zentalk relay",
            "version": __version__,
            "description": prose(description),
            "license": {"name": "MIT", "url": "https://spdx.org/licenses/MIT.html"},
            "contact": {"name": "zentalk-sim"},
            "tags": [{"name": "messages"}, {"name": "session"}, {"name": "presence"}],
        },
        "defaultContentType": "application/json",
        "channels": {CHANNEL: channel},
        "operations": _operations(messages),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "token",
                    "description": "A JWT: a connection token of `POST /api/token`, or the newest session token.",
                }
            },
        },
    }


def _close_table() -> str:
    rows = [f"| {int(code)} | {CLOSES[code]} | {_ACTIONS[close_action(code)]} |" for code in CloseCode]
    return "Close codes:\n\n| code | why | the client |\n|---|---|---|\n" + "\n".join(rows)


def _error_table() -> str:
    rows = [f"| {code} | {status} |" for code, status in HTTP_STATUS.items()]
    return "Error codes of ERROR frames, and over REST:\n\n| error_code | HTTP status |\n|---|---|\n" + "\n".join(rows)


def _binding(upgrade: UpgradeConfig) -> dict[str, Any]:
    query = {
        "token": {"type": "string", "description": "A connection token or a session token."},
        "device_id": {"type": "string", "pattern": UUID_PATTERN.replace("\\Z", "$")},
        "protocol_version": {"const": "1", "default": "1"},
        "resume_token": {"type": "string", "description": "Of AUTH_SUCCESS, to go on with a session (R-3.4)."},
    }
    headers = {
        "Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL},
        "Origin": {"type": "string", "description": f"Of browsers; {', '.join(upgrade.origins)}, or what is admitted."},
    }
    return {
        "method": "GET",
        "query": {"type": "object", "properties": query, "required": ["token", "device_id"]},
        "headers": {"type": "object", "properties": headers, "required": ["Sec-WebSocket-Protocol"]},
        "bindingVersion": "0.1.0",
    }


def message_name(side: Side, kind: str, *, is_binary: bool = False) -> str:
    """How a frame is called in the document: some types travel both ways with different payloads."""
    return f"{side}_{kind}" + ("_binary" if is_binary else "")


def _schemas() -> dict[str, Schema]:
    kinds = dict.fromkeys((*CLIENT_FRAMES.values(), *RELAY_FRAMES.values()))
    _, named = schemas_of(kinds)
    known: tuple[tuple[Side, Mapping[str, type[Payload]]], ...] = (("client", CLIENT_FRAMES), ("relay", RELAY_FRAMES))
    for side, table in known:
        for kind, payload in table.items():
            named[message_name(side, kind)] = _envelope(side, kind, payload)
    return named


def _envelope(side: Side, kind: str, payload: type[Payload]) -> Schema:
    """R-1.1 to R-1.3."""
    uuid = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN.replace("\\Z", "$")}
    properties: dict[str, Schema] = {
        "type": {"const": kind},
        "id": {**uuid, "description": "A fresh UUID; of MESSAGE_NEW, that of the MESSAGE_SEND."},
        "timestamp": {"type": "integer", "description": "Unix time in ms."},
        "payload": {"$ref": REF_TEMPLATE.format(name=public_name(payload.__name__))},
    }
    if side == "client" or kind not in WITHOUT_SEQ:
        text = "Counts the sender's text frames of the session from 1."
        properties["seq"] = {"type": "integer", "minimum": 1, "description": text}
    if side == "client":
        text = "HMAC-SHA-256 of the frame."
        properties["message_mac"] = {**_base64(32), "description": text}
    return {"type": "object", "properties": properties, "required": ["type", "id", "timestamp", "payload"]}


def _base64(count: int) -> Schema:
    characters = (count + 2) // 3 * 4
    return {"type": "string", "contentEncoding": "base64", "minLength": characters, "maxLength": characters}


def _summary(payload: type[Payload]) -> str:
    return prose(payload.__doc__ or "")


def _messages(side: Side, table: Mapping[str, type[Payload]]) -> dict[str, dict[str, Any]]:
    examples: Mapping[str, Payload] = CLIENT_EXAMPLES if side == "client" else RELAY_EXAMPLES
    found: dict[str, dict[str, Any]] = {}
    for number, (kind, payload) in enumerate(table.items(), start=1):
        seq = None if side == "client" or kind in WITHOUT_SEQ else number
        name = message_name(side, kind)
        found[name] = {
            "name": kind,
            "title": f"{kind} from the {side}",
            "summary": _summary(payload),
            "contentType": "application/json",
            "payload": {"$ref": REF_TEMPLATE.format(name=name)},
            "examples": [{"name": name, "payload": envelope(kind, examples[kind], seq)}],
        }
    return found


def _binary_messages() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for code, kind in BINARY_CODES.items():
        side: Side = "client" if kind in CLIENT_FRAMES else "relay"
        table, examples = (CLIENT_FRAMES, CLIENT_EXAMPLES) if side == "client" else (RELAY_FRAMES, RELAY_EXAMPLES)
        payload = public_name(table[kind].__name__)
        shown = binary(kind, examples[kind])
        layout = [
            {"field": "type", "offset": 0, "bytes": 1, "value": code},
            {"field": "id", "offset": 1, "bytes": 16, "value": "the UUID"},
            {"field": "timestamp", "offset": 17, "bytes": 8, "value": "Unix time in ms, big-endian"},
            {"field": "length", "offset": 25, "bytes": 4, "value": "bytes of the payload, big-endian"},
            {"field": "payload", "offset": BINARY_HEADER_BYTES, "value": f"UTF-8 JSON, {payload}"},
        ]
        rows = [
            f"| {row['offset']} | {row.get('bytes', 'length')} | {row['field']} | {row['value']} |" for row in layout
        ]
        text = (
            f"{kind} as a binary frame (R-2): the envelope in {BINARY_HEADER_BYTES} bytes, then the payload. It "
            "carries neither `seq` nor `message_mac`.\n\n| offset | bytes | field | value |\n|---|---|---|---|\n"
            + "\n".join(rows)
        )
        found[message_name(side, kind, is_binary=True)] = {
            "name": f"{kind} (binary)",
            "title": f"{kind} from the {side}, as a binary frame",
            "summary": f"For payloads above the limit of text frames; type code 0x{code:02x}.",
            "description": text,
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary", "minLength": BINARY_HEADER_BYTES},
            "x-layout": layout,
            "x-payload": {"$ref": REF_TEMPLATE.format(name=payload)},
            "x-example-hex": shown.hex(),
        }
    return found


def _operations(messages: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    reference = f"#/channels/{CHANNEL}"
    found: dict[str, dict[str, Any]] = {}
    for name, message in messages.items():
        side = name.partition("_")[0]
        operation: dict[str, Any] = {
            "action": "receive" if side == "client" else "send",
            "channel": {"$ref": reference},
            "title": f"The {side} sends {message['name']}",
            "summary": message["summary"],
            "messages": [{"$ref": f"{reference}/messages/{name}"}],
        }
        replies = REPLIES.get(message["name"].partition(" ")[0]) if side == "client" else None
        if name == message_name("relay", "PING"):
            replies = ("PONG",)
        if replies is not None:
            other: Side = "relay" if side == "client" else "client"
            refs = [{"$ref": f"{reference}/messages/{message_name(other, kind)}"} for kind in replies]
            operation["reply"] = {"channel": {"$ref": reference}, "messages": refs}
        found[f"{side}Sends_{name.partition('_')[2]}"] = operation
    return found


def text_of(found: dict[str, Any]) -> bytes:
    """A document as JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
