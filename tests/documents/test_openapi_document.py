"""/openapi.json describes the relay that serves it: every path, status and body, and nothing that is not there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from http import HTTPStatus
from typing import Any, cast

import msgspec
import pytest
from starlette.applications import Starlette

from mockrelay.documents import openapi, schemas
from mockrelay.documents.facts import ByAction, Media
from mockrelay.documents.openapi import document, operations, template
from mockrelay.http.app import application
from tests.documents.material import Call, session
from tests.mockrelay.live_support import run, serving
from zentalk_sim.protocol import rest

Json = dict[str, Any]
DOCUMENTED = ("/admin", "/health", "/ready", "/metrics", "/.well-known", "/openapi.json", "/asyncapi.json", "/api")
KNOWN = {(one.method, one.path): one for one in operations()}


def routes_of_the_application() -> set[tuple[str, str]]:
    """Method and path of everything that the relay answers, the inspector's pages aside."""

    async def body() -> Starlette:
        async with serving() as relay:
            served = application(relay.spaces, "token", lambda space: True, lambda: None)
            return cast(Starlette, cast(Any, served)._app)

    inner = run(body())
    found = {(method, cast(Any, route).path) for route in inner.routes for method in cast(Any, route).methods}
    found = {(method, path) for method, path in found if path.startswith(DOCUMENTED)}
    behind = {(method, path) for method, path in found if path == "/api/{path:path}"}
    assert len(behind) == len({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
    core = {(method, template(pattern.pattern)) for method, pattern, _, _ in rest.ROUTES} | {("POST", "/api/token")}
    return {(method, path) for method, path in (found - behind) | core if method != "HEAD"}


def test_every_route_must_be_in_the_document_and_every_operation_a_route() -> None:
    assert set(KNOWN) == routes_of_the_application()
    described = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    assert described == set(KNOWN)


def test_no_fact_may_be_about_a_path_that_is_gone() -> None:
    facts = {key for _, table in openapi._FACTS for key in table}
    assert facts == set(KNOWN)
    _, components = schemas.schemas_of([kind for one in KNOWN.values() for kind in openapi._types(one.facts)])
    assert {schemas.public_name(name) for name in schemas.NAMES} <= set(components), "and no name about a type"


def test_path_parameters_must_be_those_of_the_template() -> None:
    for path, item in document()["paths"].items():
        for operation in item.values():
            named = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert named == re.findall(r"{(\w+)}", path)


def test_every_operation_must_say_what_it_does_and_who_may() -> None:
    found = [operation for item in document()["paths"].values() for operation in item.values()]
    assert all(one["summary"] and "``" not in one["summary"] and "\n" not in one["summary"] for one in found)
    assert [name for name, times in Counter(one["operationId"] for one in found).items() if times > 1] == []
    for one in KNOWN.values():
        asked = document()["paths"][one.path][one.method.lower()]["security"]
        if one.path.startswith("/admin"):
            assert asked == [{"admin": []}]
        else:
            assert asked == ([{"app": []}] if one.path.startswith("/api/") and one.path != "/api/token" else [])


def test_every_reference_must_lead_somewhere_and_every_component_be_used() -> None:
    found = document()
    text = msgspec.json.encode(found).decode()
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert used == set(found["components"]["schemas"])
    assert "\\\\Z" not in text, "which is no regular expression outside Python"


# --- against a running relay -------------------------------------------------------------------------


def test_the_session_must_have_used_every_operation() -> None:
    used = {(call.method, call.path) for call in session().calls if call.status < 300}
    assert used == set(KNOWN)


def test_every_status_of_an_answer_must_be_in_the_document() -> None:
    for call in session().calls:
        responses = document()["paths"][call.path][call.method.lower()]["responses"]
        assert str(call.status) in responses or "default" in responses, call[:4]
        if call.status < 500 and not (call.status == HTTPStatus.IM_A_TEAPOT and call.path.startswith("/api")):
            assert str(call.status) in responses, call[:4]


def test_every_answer_must_be_of_the_type_that_the_document_has() -> None:
    for call in session().calls:
        kind = KNOWN[call.method, call.path].facts.answers.get(call.status)
        if kind is None and call.status >= 400:
            assert set(call.answer) == {"error_code", "message", "details"}, call[:4]
        elif kind is None:
            assert call.kind == "", call[:4]
        elif openapi._is_media(kind):
            offered = [kind.kind] if isinstance(kind, Media) else [media.kind for media in kind]
            assert call.kind in offered, call[:4]
        else:
            assert call.kind == "application/json"
            read = msgspec.convert(call.answer, kind)
            lost = unsaid(call.answer, msgspec.to_builtins(read))
            assert lost == [], f"{call[:4]}: not in the document"


def unsaid(said: Any, known: Any, place: str = "") -> list[str]:
    """Names that an answer has and its type has not. Journal entries are open."""
    if isinstance(said, list) and isinstance(known, list):
        pairs = zip(said, known, strict=True)
        return [name for index, (one, other) in enumerate(pairs) for name in unsaid(one, other, f"{place}[{index}]")]
    if not (isinstance(said, dict) and isinstance(known, dict)) or {"n", "t_ms", "event"} <= set(said):
        return []
    lost = [f"{place}.{name}" for name in said if name not in known]
    return lost + [found for name in said if name in known for found in unsaid(said[name], known[name], name)]


def test_every_body_that_was_taken_must_be_of_the_type_that_the_document_has() -> None:
    def kind_of(call: Call) -> Any:
        body = KNOWN[call.method, call.path].facts.body
        return body.types[call.asked["action"]] if isinstance(body, ByAction) else body

    checked = [call for call in session().calls if call.status < 300 and call.asked is not None]
    for call in checked:
        if call.path != "/admin/config":  # it merges: what it names need not be whole
            msgspec.convert(call.asked, kind_of(call))
    assert len(checked) > 30


def test_a_space_must_describe_itself_under_its_own_addresses() -> None:
    found = session().openapi["servers"]
    assert [server["url"] for server in found][1] == found[0]["url"] + "/spaces/{space}"
    within = session().space_openapi
    assert len(within["servers"]) == 1
    assert within["servers"][0]["url"].startswith(found[0]["url"] + "/spaces/")
    assert within["paths"] == session().openapi["paths"]


def test_the_documents_must_not_be_loaded_before_they_are_asked_for() -> None:
    code = "import sys, mockrelay.server, mockrelay.cli; print([m for m in sys.modules if '.documents.' in m + '.'])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out == "[]\n"


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_bodies_must_stand_where_methods_have_them(method: str) -> None:
    for item in document()["paths"].values():
        if method in item:
            assert ("requestBody" in item[method]) <= (method != "get")
