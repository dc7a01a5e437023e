"""Fault rules at ``rest``: every action, over real sockets."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from mockrelay.server import MockRelay
from tests.mockrelay.fault_support import advance, rule, space_of, written
from tests.mockrelay.live_support import PATIENCE_S, frozen, message, now_ms, run, serving, user_of

REST = {"event": "rest"}


@asynccontextmanager
async def app(relay: MockRelay, name: str = "alice") -> AsyncIterator[httpx.AsyncClient]:
    """A user's client of the REST interface."""
    headers = {"Authorization": f"Bearer {user_of(relay, name).token}"}
    async with httpx.AsyncClient(
        base_url=relay.http_url, headers=headers, trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield client


@pytest.mark.parametrize("status", [302, 403, 429, 500, 503])
def test_refuse_must_answer_with_the_status_n_times_and_then_recover(status: int) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, app(relay) as alice, app(relay, "bob") as bob:
            match = {**REST, "method": "GET", "path": "/api/messages", "user": "alice"}
            rule(relay, match, "refuse", times=2, status=status)
            assert (await bob.get("/api/messages")).status_code == 200
            assert (await alice.get("/api/devices")).status_code == 200
            answers = [await alice.get("/api/messages") for _ in range(3)]
            assert [one.status_code for one in answers] == [status, status, 200]
            assert answers[0].json()["message"] == "test refuse"
            entries = await written(relay, 3, event="rest", path="/api/messages", user="alice")
            assert [entry["status"] for entry in entries] == [status, status, 200]
            assert ["rule" in entry for entry in entries] == [True, True, False]
            assert entries[0]["user"] == user_of(relay, "alice").address
            assert entries[0]["method"] == "GET"

    run(body())


def test_an_error_must_answer_with_retry_after_and_without_the_core() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, app(relay) as alice:
            rule(
                relay, {**REST, "payload": {"message_type": "text"}}, "error", error_code="RATE_LIMITED", retry_after=3
            )
            ident = "0ad5bd67-171e-4c68-9866-76b209781ee0"
            answer = await alice.post("/api/messages", json={"id": ident, **message(user_of(relay, "bob"))})
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
            said = answer.json()
            assert (said["error_code"], said["details"]) == ("RATE_LIMITED", {"retry_after": 3})
            assert relay.driver.relay.store.messages.get(ident) is None
            assert (await alice.get("/api/messages")).status_code == 200, "the payload does not match"

    run(body())


def test_delay_must_answer_later_by_the_spaces_clock() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, app(relay) as alice:
            rule(relay, REST, "delay", ms=30_000, times=1)
            asking = asyncio.ensure_future(alice.get("/api/devices"))
            await written(relay, event="rest")
            await advance(relay, 29_999)
            assert not asking.done()
            await advance(relay, 1)
            assert (await asking).status_code == 200

    run(body())


@pytest.mark.parametrize("action", [{"do": "stall"}, {"do": "delay", "ms": 1_000_000}])
def test_what_a_rule_keeps_waiting_must_not_keep_the_relay_from_stopping(action: dict[str, object]) -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, app(relay) as alice:
            space_of(relay).faults.add_rule({"match": REST, "action": action, "times": 1})
            asking = asyncio.ensure_future(alice.get("/api/devices"))
            await written(relay, event="rest")
            assert (await alice.get("/api/devices")).status_code == 200, "others are served"
            assert not asking.done()
            begun = asyncio.get_running_loop().time()
            await relay.stop()
            assert asyncio.get_running_loop().time() - begun < 2
            assert (await asking).status_code == 503

    run(body())


def test_a_stalled_client_that_leaves_must_be_let_go() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, REST, "stall", times=1)
            async with app(relay) as alice:
                asking = asyncio.ensure_future(alice.get("/api/devices"))
                await written(relay, event="rest")
                asking.cancel()
            async with app(relay) as alice:
                assert (await alice.get("/api/devices")).status_code == 200

    run(body())


def test_abort_must_reset_the_connection() -> None:
    async def body() -> None:
        async with serving("alice") as relay, app(relay) as alice:
            rule(relay, REST, "abort", times=1)
            with pytest.raises(httpx.ReadError):
                await alice.get("/api/devices")
            assert (await alice.get("/api/devices")).status_code == 200

    run(body())


@pytest.mark.requirement("R-3.3")
def test_who_asks_for_a_token_must_be_known_by_the_key() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, app(relay) as client:
            rule(relay, {**REST, "path": "/api/token", "user": "bob"}, "refuse", status=503)
            asked = {
                name: {
                    "identity_key": b64encode(user_of(relay, name).identity_key).decode(),
                    "device_id": user_of(relay, name).device_id,
                    "timestamp": now_ms(),
                    "signature": b64encode(bytes(64)).decode(),
                }
                for name in ("alice", "bob")
            }
            answers = [await client.post("/api/token", json=asked[name]) for name in ("alice", "bob")]
            assert [answer.status_code for answer in answers] == [401, 503], "alice's signature is wrong"
            for nonsense in (b"", b"[]", b'{"identity_key": 1}', b"\xff"):
                assert (await client.post("/api/token", content=nonsense)).status_code == 400

    run(body())


def test_pass_must_let_the_call_through() -> None:
    async def body() -> None:
        async with serving("alice") as relay, app(relay) as alice:
            rule(relay, {**REST, "path": "/api/dev*"}, "pass")
            rule(relay, REST, "refuse", status=500)
            assert (await alice.get("/api/devices")).status_code == 200
            assert (await alice.get("/api/messages")).status_code == 500

    run(body())
