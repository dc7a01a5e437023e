"""What each path is asked and what it answers, by method and path: what the handlers do not say in a typed form.

Every error has the body ``Failure``. Not named here, since they hold everywhere: what a fault rule answers under
``/api``; 401, 403 and 421 of the control API's guard; 413 for bodies above the bound.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mockrelay.documents import answers as a
from mockrelay.http import (
    bot_routes,
    clock_routes,
    connection_routes,
    relay_routes,
    space_routes,
    user_routes,
)
from mockrelay.journal_entries import JOURNAL_EVENTS
from zentalk_sim.faults import Rule
from zentalk_sim.faults.vocabulary import FRAME_TYPES
from zentalk_sim.protocol import rest_account, rest_messages
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.frames import MessageAck
from zentalk_sim.protocol.records import Settings

Schema = dict[str, Any]


class Media(NamedTuple):
    """A body that is no JSON, or an open one."""

    kind: str
    schema: Schema
    description: str = ""


class ByAction(NamedTuple):
    """A body whose ``action`` says which type it is."""

    types: dict[str, Any]


class Query(NamedTuple):
    """A query parameter."""

    name: str
    schema: Schema
    description: str


class Facts(NamedTuple):
    """Of one operation."""

    answers: dict[int, Any]
    """Status → type of the body, Media, or None for an empty one."""
    errors: tuple[int, ...] = ()
    body: Any = None
    """The type that the body is read as, ByAction, or a list of Media."""
    needs_body: bool = True
    query: tuple[Query, ...] = ()
    summary: str | None = None
    """Where the handler has no docstring."""
    headers: dict[str, str] = {}  # noqa: RUF012
    """Of the first answer: name → what it says."""


def _whole(low: int, default: int | None = None, high: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "minimum": low}
    if high is not None:
        schema["maximum"] = high
    return schema if default is None else {**schema, "default": default}


_BINARY: Final = Media("application/octet-stream", {})
_MULTIPART: Final = Media(
    "multipart/form-data",
    {"type": "object", "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}}},
)
_EVENT_STREAM: Final = Media("text/event-stream", {"type": "string"}, "Server-sent events `entry` and `dropped`.")
_AFTER: Final = Query("after", _whole(0), "Only entries above this number.")
_ENTRIES: Final = list[a.JournalEntry]

PUBLIC: Final[dict[tuple[str, str], Facts]] = {
    ("GET", "/health"): Facts({200: a.Status}, summary="Whether the process answers."),
    ("GET", "/ready"): Facts({200: a.Status, 503: a.Status}, summary="Whether the relay takes connections."),
    ("GET", "/metrics"): Facts(
        {200: Media("text/plain", {"type": "string"}, "Prometheus text format 0.0.4.")}, summary="Counts and gauges."
    ),
    ("GET", "/.well-known/jwks.json"): Facts({200: a.JwkSet}, summary="The key that signs tokens, as a JWK Set."),
    ("GET", "/openapi.json"): Facts({200: Media("application/json", {"type": "object"})}),
    ("GET", "/asyncapi.json"): Facts({200: Media("application/json", {"type": "object"})}),
    ("POST", "/api/token"): Facts({200: a.IssuedToken}, (400, 401, 403, 413, 503), rest_account._TokenRequest),
}
"""Without a token."""

APP: Final[dict[tuple[str, str], Facts]] = {
    ("GET", "/api/messages"): Facts(
        {200: a.MessagePage},
        (400,),
        query=(
            Query("limit", _whole(1, 100, rest_messages._MAX_PAGE), "So many at most."),
            Query("offset", _whole(0, 0), "So many are passed over."),
        ),
    ),
    ("POST", "/api/messages"): Facts({200: MessageAck}, (400, 404, 409, 413, 429), rest_messages._Post),
    ("POST", "/api/messages/ack"): Facts({200: a.Acknowledged}, (400, 413), rest_messages._Acknowledge),
    ("POST", "/api/keys"): Facts({200: a.KeysLeft}, (400, 413), rest_account._PublishKeys),
    ("GET", "/api/keys/{address}"): Facts({200: a.KeyBundle}, (404,)),
    ("POST", "/api/devices"): Facts(
        {201: a.RegisteredDevice, 200: a.RegisteredDevice}, (400, 413), rest_account._RegisterDevice
    ),
    ("GET", "/api/devices"): Facts({200: list[a.RegisteredDevice]}),
    ("DELETE", "/api/devices/{device_id}"): Facts({204: None}, (404,)),
    ("PUT", "/api/settings"): Facts({200: Settings}, (400, 413), rest_account._Settings),
    ("GET", "/api/settings"): Facts({200: Settings}),
    ("POST", "/api/v1/upload-media"): Facts({201: a.KeptMedia}, (400, 413), [_BINARY, _MULTIPART]),
    ("GET", "/api/v1/media/{id}"): Facts({200: _BINARY}, (404,), headers={"Content-Disposition": "attachment"}),
}
"""With a token of the app's; 401, 403 and 503 besides."""

CONTROL: Final[dict[tuple[str, str], Facts]] = {
    ("GET", "/admin/users"): Facts({200: list[a.ShownUser]}),
    ("POST", "/admin/users"): Facts({201: a.MadeUser}, (400, 409, 413), user_routes.NewUser, needs_body=False),
    ("GET", "/admin/users/{address}"): Facts({200: a.ShownUser}, (404,)),
    ("PATCH", "/admin/users/{address}"): Facts({200: a.ShownUser}, (400, 404, 413), user_routes._Change),
    ("POST", "/admin/users/{address}/rotate-key"): Facts(
        {200: a.NewKey}, (400, 404, 413), user_routes._Rotate, needs_body=False
    ),
    ("POST", "/admin/users/{address}/contacts"): Facts({200: a.Contacts}, (400, 404, 413), user_routes._Contact),
    ("POST", "/admin/users/{address}/token"): Facts({200: a.IssuedToken}, (400, 404, 413), user_routes._Token),
    ("GET", "/admin/connections"): Facts({200: list[a.ShownConnection]}),
    ("DELETE", "/admin/connections/{id}"): Facts(
        {200: a.EndedConnection}, (400, 404, 413), connection_routes._End, needs_body=False
    ),
    ("POST", "/admin/connections/{id}/send"): Facts({200: a.SentTo}, (400, 404, 413), connection_routes._Send),
    ("POST", "/admin/messages"): Facts({200: MessageAck}, (400, 404, 409, 413, 429, 503), connection_routes._Message),
    ("GET", "/admin/clock"): Facts({200: a.ShownClock}),
    ("POST", "/admin/clock"): Facts({200: a.ShownClock}, (400, 413), ByAction(clock_routes._ACTIONS)),
    ("GET", "/admin/journal"): Facts(
        {200: _ENTRIES},
        (400,),
        query=(
            _AFTER,
            Query("type", {"enum": list(FRAME_TYPES)}, "Only frames of this type."),
            Query("connection", _whole(0), "Only entries of this connection."),
            Query("event", {"enum": list(JOURNAL_EVENTS)}, "Only entries of this event."),
        ),
        headers={
            "Journal-Last": "The number of the newest entry.",
            "Journal-Truncated": "How many entries have left the journal, where some of those asked for have.",
        },
    ),
    ("POST", "/admin/journal/wait"): Facts({200: a.Held, 408: a.NotHeld, 503: a.NotHeld}, (400, 413), a.WaitFor),
    ("POST", "/admin/journal/verify"): Facts({200: a.Held, 409: a.NotHeld}, (400, 413), a.Verify),
    ("GET", "/admin/rules"): Facts({200: list[a.ShownRule]}),
    ("POST", "/admin/rules"): Facts({201: a.ShownRule | list[a.ShownRule]}, (400, 413), Rule | list[Rule]),
    ("DELETE", "/admin/rules"): Facts({200: a.Removed}),
    ("DELETE", "/admin/rules/{id}"): Facts({200: a.Removed}, (404,)),
    ("GET", "/admin/bots"): Facts({200: list[a.ShownBot]}),
    ("POST", "/admin/bots"): Facts({201: a.ShownBot}, (400, 404, 413), bot_routes.NewBot),
    ("DELETE", "/admin/bots/{id}"): Facts({200: a.ShownBot}, (404,)),
    ("GET", "/admin/config"): Facts({200: RelayConfig}),
    ("PATCH", "/admin/config"): Facts({200: RelayConfig}, (400, 413), RelayConfig),
    ("GET", "/admin/recordings"): Facts({200: list[a.ShownRecording]}),
    ("POST", "/admin/recordings"): Facts(
        {201: a.ShownRecording, 200: a.ShownRecording}, (400, 409, 413, 503), relay_routes._Record
    ),
    ("GET", "/admin/recordings/{id}"): Facts(
        {200: [Media("application/x-ndjson", {"type": "string"}), Media("application/json", {"type": "object"})]},
        (400, 404, 409),
        query=(Query("format", {"enum": ["jsonl", "har"], "default": "jsonl"}, "As it is, or as HAR 1.2."),),
    ),
    ("GET", "/admin/stats"): Facts({200: a.Stats}),
    ("GET", "/admin/pushes"): Facts({200: list[a.Push]}),
    ("POST", "/admin/restart"): Facts({200: a.Restarted}),
    ("POST", "/admin/reset"): Facts({200: a.AfterReset}),
    ("GET", "/admin/events"): Facts({200: _EVENT_STREAM}, (400, 503), query=(_AFTER,)),
    ("GET", "/admin/spaces"): Facts({200: list[a.ShownSpace]}, (404,)),
    ("POST", "/admin/spaces"): Facts(
        {201: a.ShownSpace}, (400, 404, 409, 413, 503), space_routes._NewSpace, needs_body=False
    ),
    ("GET", "/admin/spaces/{id}"): Facts({200: a.ShownSpace}, (404,)),
    ("DELETE", "/admin/spaces/{id}"): Facts({200: _ENTRIES}, (404,)),
    ("GET", "/admin/inspector"): Facts({200: a.About}),
    ("POST", "/admin/shutdown"): Facts({202: a.Status}),
}
"""With the admin token; 401, 403 and 421 besides."""
