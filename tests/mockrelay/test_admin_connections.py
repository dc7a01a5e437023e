"""``/admin/connections`` and ``/admin/messages``."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import connected, frozen, run, serving


def test_connections_must_be_listed_with_user_device_state_and_queue() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, controlling(relay) as admin:
            assert await admin.get("/connections") == []
            async with connected(relay, "alice", authenticate=False) as peer:
                (waiting,) = await admin.get("/connections")
                assert waiting["state"] == "challenged"
                await peer.authenticate()
                (ready,) = await admin.get("/connections")
                assert {"id", "user", "device", "state", "rtt_ms", "queued"} <= set(ready)
                assert (ready["user"], ready["name"]) == (peer.user.address, "alice")
                assert (ready["device"], ready["state"]) == (peer.user.device_id, "ready")
                assert (ready["rtt_ms"], ready["queued"]) == (None, 0)

    run(body())


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"how": "close", "code": 4002, "reason": "busy"}, 4002),
        ({"how": "close"}, 1000),
        (None, 1000),
        ({"how": "abort"}, 1006),
    ],
)
def test_a_connection_must_be_ended_as_asked(asked: Any, code: int) -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice") as peer:
            (conn,) = await admin.get("/connections")
            await admin.delete(f"/connections/{conn['id']}", asked)
            await peer.ws.wait_closed()
            assert (peer.ws.close_code or 1006) == code
            if asked and "reason" in asked:
                assert peer.ws.close_reason == asked["reason"]

    run(body())


def test_a_blackholed_connection_must_fall_silent_without_an_end() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice") as peer:
            (conn,) = await admin.get("/connections")
            await admin.delete(f"/connections/{conn['id']}", {"how": "blackhole"})
            waiter = await peer.ws.ping()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiter, 0.2)
            assert (await admin.get("/connections"))[0]["id"] == conn["id"], "the relay must not know"
            peer.ws.transport.abort()

    run(body())


def test_bad_ways_to_end_a_connection_must_be_refused() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice"):
            (conn,) = await admin.get("/connections")
            path = f"/connections/{conn['id']}"
            for asked, field in (
                ({"how": "shut"}, "how"),
                ({"code": 1006}, "code"),
                ({"code": 999}, "code"),
                ({"reason": "x" * 124}, "reason"),
                ({"resaon": "x"}, "resaon"),
            ):
                assert (await admin.delete(path, asked, 400))["details"]["field"] == field
            await admin.delete("/connections/99", None, 404)
            await admin.delete("/connections/x", None, 400)
            assert len(await admin.get("/connections")) == 1

    run(body())


def test_frames_texts_and_bytes_must_reach_the_client() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice") as peer:
            (conn,) = await admin.get("/connections")
            path = f"/connections/{conn['id']}/send"
            payload = {"seconds_remaining": 60, "action": "refresh_recommended"}
            await admin.post(path, {"frame": {"type": "TOKEN_EXPIRING", "payload": payload}})
            frame = await peer.until("TOKEN_EXPIRING")
            assert frame["payload"] == payload
            assert frame["seq"] == 2, "the core completes it: AUTH_SUCCESS took 1"
            await admin.post(path, {"frame": {"type": "NEWS", "id": "mine", "payload": {}}})
            assert (await peer.until("NEWS"))["id"] == "mine"
            await admin.post(path, {"text": "{not json"})
            assert await peer.ws.recv() == "{not json"
            await admin.post(path, {"base64": b64encode(b"\x00\xff").decode()})
            assert await peer.ws.recv() == b"\x00\xff"
            for asked in ({}, {"text": "a", "base64": "AA=="}, {"frame": {"type": 7}}, {"frame": []}):
                await admin.post(path, asked, 400)

    run(body())


def test_a_message_must_be_sent_as_if_its_sender_had_sent_it() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin, connected(relay, "bob") as bob:
            asked = {"from": "alice", "to": "bob", "payload": {"ciphertext": b64encode(b"hi").decode()}}
            ack = await admin.post("/messages", asked)
            assert ack["status"] == "queued"
            new = await bob.until("MESSAGE_NEW")
            assert new["id"] == ack["message_id"]
            assert new["payload"]["from"] == relay.users[0].address
            refused = await admin.post("/messages", {**asked, "payload": {}}, 400)
            assert refused["details"]["field"] == "ciphertext"
            await admin.post("/messages", {**asked, "to": "carol"}, 404)

    run(body())


def test_the_guard_must_stand_before_every_control_path() -> None:
    """No route of /admin may answer without the token, whatever its method."""

    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            routes = [
                ("GET", "/users"),
                ("POST", "/users"),
                ("GET", "/connections"),
                ("GET", "/config"),
                ("PATCH", "/config"),
                ("POST", "/clock"),
                ("GET", "/journal"),
                ("GET", "/rules"),
                ("POST", "/spaces"),
                ("GET", "/stats"),
                ("GET", "/events"),
                ("POST", "/restart"),
                ("POST", "/reset"),
                ("POST", "/shutdown"),
            ]
            space = await admin.post("/spaces")
            wrong, page = {"Authorization": "Bearer x"}, {"Origin": "http://localhost:5173"}
            for base in (relay.http_url, space["http_url"]):
                for method, path in routes:
                    bare = await admin.client.request(method, f"{base}/admin{path}", headers=wrong)
                    assert bare.status_code == 401, (method, path)
                    foreign = await admin.client.request(method, f"{base}/admin{path}", headers=page)
                    assert foreign.status_code == 403, (method, path)
            assert [user["name"] for user in await admin.get("/users")] == ["alice"]
            assert not relay.shutdown_asked.is_set()

    run(body())
