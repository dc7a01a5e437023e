"""REST, CORS, health and control over HTTP."""

from __future__ import annotations

import json
import struct
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from nacl.signing import SigningKey

from mockrelay.server import MockRelay
from tests.mockrelay.live_support import PATIENCE_S, connected, message, now_ms, run, serving, user_of

ORIGIN = "http://localhost:5173"


@asynccontextmanager
async def asking(relay: MockRelay, name: str | None = "alice", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    if name is not None:
        headers["Authorization"] = f"Bearer {user_of(relay, name).token}"
    async with httpx.AsyncClient(
        base_url=relay.http_url, headers=headers, trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield client


@pytest.mark.requirement("R-6.6")
def test_a_queued_message_must_be_fetched_and_acknowledged_over_rest() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, asking(relay) as alice, asking(relay, "bob") as bob:
            message_id = str(uuid.uuid4())
            sent = await alice.post("/api/messages", json={"id": message_id, **message(user_of(relay, "bob"))})
            assert (sent.status_code, sent.json()["status"]) == (200, "queued")
            page = (await bob.get("/api/messages", params={"limit": 10, "offset": 0})).json()
            assert [entry["id"] for entry in page["messages"]] == [message_id]
            assert page["total"] == 1
            acked = await bob.post("/api/messages/ack", json={"message_ids": [message_id]})
            assert acked.json() == {"acked": 1}

    run(body())


@pytest.mark.requirement("R-3.3")
def test_a_token_asked_for_by_signature_must_open_a_connection() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay, None) as client:
            user = user_of(relay, "alice")
            stamp = now_ms()
            signed = b"zentalk.v1 token" + uuid.UUID(user.device_id).bytes + struct.pack(">Q", stamp)
            asked = {
                "identity_key": b64encode(user.identity_key).decode(),
                "device_id": user.device_id,
                "timestamp": stamp,
                "signature": b64encode(SigningKey(user.identity_secret).sign(signed).signature).decode(),
            }
            answer = (await client.post("/api/token", json=asked)).json()
            relay.users[0] = type(user)(
                user.name, user.address, user.identity_key, user.identity_secret, user.device_id, answer["token"]
            )
            async with connected(relay, "alice"):
                assert relay.driver.counters["connections.authenticated"] == 1

    run(body())


def test_errors_must_be_json_with_code_message_and_details() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice, asking(relay, None) as nobody:
            for answer, status, error_code in (
                (await nobody.get("/api/messages"), 401, "UNAUTHORIZED"),
                (await alice.get("/api/messages?limit=0"), 400, "INVALID_MESSAGE"),
                (await alice.get("/api/nothing"), 404, "NOT_FOUND"),
                (await alice.get("/nothing"), 404, "NOT_FOUND"),
                (await alice.patch("/api/messages"), 405, "INVALID_MESSAGE"),
                (await alice.post("/health"), 405, "INVALID_MESSAGE"),
                (await alice.post("/api/messages", content=b" " * ((1 << 20) + 1)), 413, "TOO_LARGE"),
                (await alice.post("/api/messages", content=b"\xff\xfe"), 400, "INVALID_MESSAGE"),
            ):
                assert answer.status_code == status, answer.text
                assert set(answer.json()) == {"error_code", "message", "details"}
                assert answer.json()["error_code"] == error_code

    run(body())


def test_health_and_keys_must_be_open_to_all() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay, None) as client:
            assert (await client.get("/health")).json() == {"status": "ok"}
            assert (await client.get("/ready")).json() == {"status": "ready"}
            keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
            assert [(key["kty"], key["crv"]) for key in keys] == [("OKP", "Ed25519")]
            assert "d" not in keys[0], "the private half must stay at home"

    run(body())


@pytest.mark.requirement("R-3.5")
def test_cors_must_stand_on_api_for_admitted_origins_alone() -> None:
    async def body() -> None:
        allow = "access-control-allow-origin"
        async with serving("alice") as relay, asking(relay, Origin=ORIGIN) as page:
            assert (await page.get("/api/settings")).headers[allow] == ORIGIN
            assert allow not in (await page.get("/health")).headers
            assert allow not in (await page.post("/admin/shutdown")).headers
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
            preflight = await page.options("/api/messages", headers=asked)
            assert preflight.status_code == 204
            assert preflight.headers[allow] == ORIGIN
            assert "Authorization" in preflight.headers["access-control-allow-headers"]
            evil = {"Origin": "https://evil.example"}
            assert allow not in (await page.get("/api/settings", headers=evil)).headers
            refused = await page.options("/api/messages", headers={**asked, **evil})
            assert refused.status_code == 403
            assert allow not in refused.headers

    run(body())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic {token}"}, 401),
        ({"Authorization": "Bearer {token}", "Origin": "http://localhost:5173"}, 403),
        ({"Authorization": "Bearer {token}", "Origin": "null"}, 403),
        ({"Authorization": "Bearer {token}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer {token}", "Host": "rebound.example"}, 421),
    ],
)
def test_control_must_refuse_who_has_no_token_and_any_foreign_page(headers: dict[str, str], status: int) -> None:
    async def body() -> None:
        async with serving() as relay, asking(relay, None) as client:
            sent = {name: value.replace("{token}", relay.admin_token) for name, value in headers.items()}
            answer = await client.post("/admin/shutdown", headers=sent)
            assert answer.status_code == status
            assert not relay.shutdown_asked.is_set()

    run(body())


def test_shutdown_must_be_asked_for_with_the_admin_token() -> None:
    async def body() -> None:
        async with serving(admin_token="let-me") as relay, asking(relay, None, Authorization="Bearer let-me") as client:
            assert (await client.post("/admin/shutdown")).status_code == 202
            await relay.shutdown_asked.wait()

    run(body())


def test_bytes_in_an_answer_must_be_base64() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice:
            user = user_of(relay, "alice")
            signed = bytes(range(32))
            bundle = {
                "identityKey": b64encode(user.identity_key).decode(),
                "signedPreKey": {"id": 1, "key": b64encode(signed).decode()},
                "signature": b64encode(SigningKey(user.identity_secret).sign(signed).signature).decode(),
                "oneTimePreKeys": [],
            }
            assert (await alice.post("/api/keys", json=bundle)).status_code == 200
            found = (await alice.get(f"/api/keys/{user.address}")).json()
            assert json.dumps(found["signedPreKey"]) == json.dumps(bundle["signedPreKey"])
            assert found["oneTimePreKey"] is None

    run(body())
