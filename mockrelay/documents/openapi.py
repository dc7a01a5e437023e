"""OpenAPI 3.1: every path of the relay's HTTP side, generated from its route tables and from ``facts``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple, cast

from mockrelay.documents.answers import Failure
from mockrelay.documents.facts import APP, CONTROL, PUBLIC, ByAction, Facts, Media
from mockrelay.documents.schemas import Schema, prose, public_name, schemas_of
from zentalk_sim import __version__
from zentalk_sim.faults.vocabulary import ACTIONS_AT, EVENTS, FRAME_TYPES
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.rest import ROUTES
from zentalk_sim.protocol.rest_account import issue_token

Who = Literal["anybody", "app", "admin"]
_ALWAYS: Final[dict[Who, tuple[int, ...]]] = {"anybody": (), "app": (401, 403, 503), "admin": (401, 403, 421)}
_SECURITY: Final[dict[Who, list[dict[str, list[str]]]]] = {
    "anybody": [],
    "app": [{"app": []}],
    "admin": [{"admin": []}],
}
_FACTS: Final[tuple[tuple[Who, Mapping[tuple[str, str], Facts]], ...]] = (
    ("anybody", PUBLIC),
    ("app", APP),
    ("admin", CONTROL),
)
_DESCRIPTION: Final = """\
The REST interface of a Zentalk app (`/api`) and the control API of the mock relay (`/admin`). All of it stands again
under `/spaces/{space}` for each isolated relay. Bytes are base64, times Unix time in ms unless a name ends otherwise.
Every error is `{error_code, message, details}`. A call under `/api` may also get whatever a fault rule answers."""


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    who: Who
    summary: str
    facts: Facts


def document(http_url: str = "http://127.0.0.1:8766", *, is_space: bool = False) -> dict[str, Any]:
    """The document for a relay, or a space, that is reached at ``http_url``."""
    servers: list[dict[str, Any]] = [{"url": http_url, "description": "This relay."}]
    if not is_space:
        variable = {"default": "id", "description": "As `POST /admin/spaces` answered."}
        url = f"{http_url}/spaces/{{space}}"
        servers.append({"url": url, "description": "A space of it.", "variables": {"space": variable}})
    found = _body()
    return {"openapi": found["openapi"], "info": found["info"], "servers": servers, **found}


def operations() -> Iterator[Operation]:
    """Every operation of the route tables. Raises KeyError for one that ``facts`` does not know."""
    known = {key: (who, facts) for who, table in _FACTS for key, facts in table.items()}
    for method, path, text in _routes():
        who, facts = known[method, path]
        summary = facts.summary or text
        if not summary:
            raise KeyError(f"{method} {path}: its handler has no docstring")
        yield Operation(method, path, who, prose(summary), facts)


def _routes() -> Iterator[tuple[str, str, str]]:
    """Method, path and the handler's docstring; ``/api`` is answered by the core's table."""
    from mockrelay.http.app import control_routes, open_routes

    for route in [*open_routes(cast(Any, None), lambda space: True), *control_routes(cast(Any, None), lambda: None)]:
        if not route.path.startswith("/api/{"):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route.path, route.endpoint.__doc__ or ""
    yield "POST", "/api/token", issue_token.__doc__ or ""
    for method, pattern, handler, _ in ROUTES:
        yield method, template(pattern.pattern), handler.__doc__ or ""


def template(pattern: str) -> str:
    """A regular expression of the core's routes as a path template."""
    return re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern)


@cache
def _body() -> dict[str, Any]:
    every = list(operations())
    types: list[Any] = [Failure]
    for operation in every:
        types += _types(operation.facts)
    schemas, components = schemas_of(types)
    places = iter(schemas)
    failure = next(places)
    paths: dict[str, dict[str, Any]] = {}
    for operation in sorted(every, key=lambda one: (_order(one), one.path)):
        paths.setdefault(operation.path, {})
    by_type = dict(zip(map(repr, types), [failure, *places], strict=True))
    for operation in every:
        paths[operation.path][operation.method.lower()] = _described(operation, by_type)
    _name_words(components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Zentalk relay: REST and control",
            "version": __version__,
            "summary": "A mock relay for the Zentalk WebSocket API.",
            "description": prose(_DESCRIPTION),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": _TAGS[name]} for name in _TAGS],
        "security": [],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "app": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A connection token or a session token.",
                },
                "admin": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The admin token, which `mockrelay serve` prints or MOCKRELAY_ADMIN_TOKEN sets.",
                },
            },
        },
    }


_TAGS: Final = {
    "relay": "The process, its keys and its documents.",
    "messages": "The app's messages.",
    "account": "The app's devices, keys, settings and tokens.",
    "media": "What apps upload.",
    "control": "Users, connections, clock, rules, journal, bots, recordings, spaces.",
}


def _tag(operation: Operation) -> str:
    if operation.path.startswith("/admin"):
        return "control"
    if operation.path.startswith("/api/messages"):
        return "messages"
    if operation.path.startswith("/api/v1"):
        return "media"
    return "account" if operation.path.startswith("/api") else "relay"


def _order(operation: Operation) -> int:
    return list(_TAGS).index(_tag(operation))


def _types(facts: Facts) -> list[Any]:
    """The types that need a schema."""
    found = [kind for kind in facts.answers.values() if kind is not None and not _is_media(kind)]
    if isinstance(facts.body, ByAction):
        found += facts.body.types.values()
    elif facts.body is not None and not _is_media(facts.body):
        found.append(facts.body)
    return found


def _is_media(kind: Any) -> bool:
    return isinstance(kind, Media) or (isinstance(kind, list) and isinstance(kind[0], Media))


def _described(operation: Operation, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    method, path, facts = operation.method, operation.path, operation.facts
    summary, _, more = operation.summary.partition("\n\n")
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{''.join(part.title() for part in re.findall('[a-z0-9]+', path))}",
        "tags": [_tag(operation)],
        "summary": summary,
    }
    if more:
        found["description"] = more
    found["security"] = _SECURITY[operation.who]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": _PATH_WORDS[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [
        {"name": one.name, "in": "query", "schema": one.schema, "description": one.description} for one in facts.query
    ]
    if parameters:
        found["parameters"] = parameters
    if facts.body is not None:
        required = facts.needs_body
        found["requestBody"] = {"required": required, "content": _content(facts.body, schemas)}
    found["responses"] = _responses(operation, schemas)
    return found


_PATH_WORDS: Final = {
    "id": "As it was answered when the thing was made, or listed.",
    "address": "An address; under `/admin` a name as well.",
    "device_id": "A UUID.",
}


def _responses(operation: Operation, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    facts = operation.facts
    responses: dict[str, Any] = {}
    for status, kind in facts.answers.items():
        response: dict[str, Any] = {"description": _phrase(status, kind)}
        if facts.headers and status == next(iter(facts.answers)):
            response["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in facts.headers.items()
            }
        if kind is not None:
            response["content"] = _content(kind, schemas)
        responses[str(status)] = response
    failure = {"application/json": {"schema": schemas[repr(Failure)]}}
    for status in sorted({*facts.errors, *_ALWAYS[operation.who]} - set(facts.answers)):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": failure}
    if operation.path.startswith("/api/"):
        responses["default"] = {"description": "What a fault rule answers.", "content": failure}
    return responses


def _phrase(status: int, kind: Any) -> str:
    said = kind.description if isinstance(kind, Media) else ""
    return said or HTTPStatus(status).phrase


def _content(kind: Any, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    if isinstance(kind, Media):
        return {kind.kind: {"schema": kind.schema}}
    if isinstance(kind, list):
        return {media.kind: {"schema": media.schema} for media in kind}
    if isinstance(kind, ByAction):
        variants = [
            {
                "type": "object",
                "allOf": [schemas[repr(one)]],
                "properties": {"action": {"const": action}},
                "required": ["action"],
            }
            for action, one in kind.types.items()
        ]
        return {"application/json": {"schema": {"oneOf": variants}}}
    return {"application/json": {"schema": schemas[repr(kind)]}}


def _name_words(components: dict[str, Schema]) -> None:
    """The words of the rule language, which its types hold as mere texts; and what a rule's sender may not say."""
    match = components["Match"]["properties"]
    match["type"] = {"anyOf": [{"enum": list(FRAME_TYPES)}, {"type": "null"}], "default": None}
    match["event"] = {**match["event"], "description": f"In rules one of {', '.join(EVENTS)}; journals have more."}
    rule = components["Rule"]
    rule["properties"].pop("id")
    reach = [f"`{event}`: {', '.join(actions)}" for event, actions in ACTIONS_AT.items()]
    rule["description"] = "A fault rule. What can be done at each event: " + "; ".join(reach) + "."
    components[public_name(RelayConfig.__name__)]["description"] = "The relay's settings; a change merges."
