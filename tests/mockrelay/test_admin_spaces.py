"""Spaces: isolated relays in one process, made, used under their own paths, collected and deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from mockrelay.bounds import Bounds
from tests.live.jump_loop import jump
from tests.mockrelay.admin_support import connected_to, controlling, person
from tests.mockrelay.live_support import PATIENCE_S, connected, message, run, serving


def test_a_space_must_have_its_own_urls_users_and_wire() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            space = await admin.post("/spaces", {"users": ["alice", {"name": "bob", "devices": [{}]}]}, 201)
            assert space["ws_url"] == relay.ws_url.replace("/ws/v1", f"/spaces/{space['id']}/ws/v1")
            assert space["http_url"] == f"{relay.http_url}/spaces/{space['id']}"
            alice, bob = space["users"]
            async with connected_to(space["ws_url"], alice) as a, connected_to(space["ws_url"], bob) as b:
                sent = await a.message(b.user)
                assert (await b.until("MESSAGE_NEW"))["id"] == sent
                assert await admin.get("/connections") == []
                assert len(await admin.within(space).get("/connections")) == 2

    run(body())


def test_two_spaces_must_share_neither_key_nor_user_nor_clock_nor_config_nor_journal() -> None:
    async def body() -> None:
        async with serving(seed=None) as relay, controlling(relay) as admin:
            one = await admin.post("/spaces", {"users": ["alice"], "clock": "frozen"})
            two = await admin.post("/spaces", {"users": ["bob"]})
            key_of_one, key_of_two = [
                (await admin.client.get(f"{space['http_url']}/.well-known/jwks.json")).json() for space in (one, two)
            ]
            assert key_of_one != key_of_two
            token = {"Authorization": f"Bearer {one['users'][0]['token']}"}
            foreign = await admin.client.get(f"{two['http_url']}/api/settings", headers=token)
            assert foreign.status_code == 401
            own = await admin.client.get(f"{one['http_url']}/api/settings", headers=token)
            assert own.status_code == 200
            first, second = admin.within(one), admin.within(two)
            assert (await first.get("/clock"))["mode"] == "frozen"
            assert (await second.get("/clock"))["mode"] == "real"
            await first.patch("/config", {"limits": {"send_message": "off"}})
            assert (await second.get("/config"))["limits"]["send_message"]["limit"] == 60
            assert [user["name"] for user in await second.get("/users")] == ["bob"]
            assert [entry["event"] for entry in await second.get("/journal") if entry["event"] == "rest"] == ["rest"]

    run(body())


def test_the_same_seed_must_give_the_same_users_in_every_space() -> None:
    async def body() -> None:
        async with serving(seed=None) as relay, controlling(relay) as admin:
            one, two = [await admin.post("/spaces", {"seed": 5, "users": ["alice"]}) for _ in range(2)]
            assert one["users"][0]["address"] == two["users"][0]["address"]
            other = await admin.post("/spaces", {"seed": 6, "users": ["alice"]})
            assert other["users"][0]["address"] != one["users"][0]["address"]

    run(body())


def test_a_deleted_space_must_close_with_1001_return_its_journal_and_be_gone() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            space = await admin.post("/spaces", {"users": ["alice"]})
            async with connected_to(space["ws_url"], space["users"][0]) as alice:
                journal = await admin.delete(f"/spaces/{space['id']}")
                await alice.ws.wait_closed()
                assert alice.ws.close_code == 1001
            types = [entry.get("type") for entry in journal]
            assert types.index("AUTH_CHALLENGE") < types.index("AUTH_RESPONSE") < types.index("AUTH_SUCCESS")
            gone = await admin.client.get(f"{space['http_url']}/health")
            assert (gone.status_code, gone.json()["error_code"]) == (404, "NOT_FOUND")
            await admin.delete(f"/spaces/{space['id']}", None, 404)
            upgrade = space["ws_url"].replace("ws://", "http://")
            refused = await admin.client.get(upgrade, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
            assert (refused.status_code, refused.json()["error_code"]) == (404, "NOT_FOUND")

    run(body())


def test_shutdown_within_a_space_must_end_the_space_alone() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            space = await admin.post("/spaces")
            await admin.within(space).post("/shutdown", None, 202)
            assert await admin.get("/spaces") == []
            assert not relay.shutdown_asked.is_set()

    run(body())


def test_a_space_must_be_collected_after_its_idle_time_and_not_while_it_is_used() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            idle = await admin.post("/spaces", {"ttl_s": 0.2})
            used = await admin.post("/spaces", {"ttl_s": 0.2, "users": ["alice"]})
            kept = await admin.post("/spaces")
            async with connected_to(used["ws_url"], used["users"][0]):
                while relay.spaces.get(idle["id"]) is not None:
                    await asyncio.sleep(0.02)
                assert {space["id"] for space in await admin.get("/spaces")} == {used["id"], kept["id"]}
            while relay.spaces.get(used["id"]) is not None:
                await asyncio.sleep(0.02)
            assert relay.spaces.collected == 2
            assert [space["id"] for space in await admin.get("/spaces")] == [kept["id"]]

    jump(body())


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"sead": 1}, "sead", "did you mean `seed`"),
        ({"clock": "stopped"}, "clock", "stopped"),
        ({"ttl_s": 0}, "ttl_s", "> 0"),
        ({"config": {"limits": {"send_mesage": "off"}}}, "config.limits.send_mesage", "send_message"),
        ({"config": {"integrity": "maybe"}}, "config.integrity", "maybe"),
        ({"users": [{"nam": "alice"}]}, "users.0.nam", "name"),
        ({"users": ["alice", "alice"]}, "users.1.name", "already"),
        ({"users": [7]}, "users.0", "name"),
    ],
)
def test_a_bad_space_must_be_refused_and_not_stay(asked: Any, field: str, said: str) -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            answer = await admin.client.post(f"{relay.http_url}/admin/spaces", json=asked)
            assert answer.status_code in (400, 409)
            assert answer.json()["details"]["field"] == field
            assert said in answer.json()["message"]
            assert await admin.get("/spaces") == []

    run(body())


def test_spaces_must_be_bounded_in_number_and_stand_side_by_side() -> None:
    async def body() -> None:
        async with serving(bounds=Bounds(spaces=2)) as relay, controlling(relay) as admin:
            space = await admin.post("/spaces")
            await admin.post("/spaces")
            refused = await admin.post("/spaces", None, 503)
            assert refused["error_code"] == "SERVICE_UNAVAILABLE"
            assert relay.driver.counters["spaces.refused"] == 1
            await admin.within(space).post("/spaces", None, 404)
            await admin.delete(f"/spaces/{space['id']}")
            await admin.post("/spaces", None, 201)

    run(body())


def test_many_spaces_must_be_served_at_once() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            spaces = [await admin.post("/spaces", {"users": ["alice", "bob"], "clock": "frozen"}) for _ in range(50)]

            async def converse(space: dict[str, Any]) -> None:
                alice, bob = space["users"]
                headers = {"Authorization": f"Bearer {alice['token']}"}
                url = f"{space['http_url']}/api/messages"
                asked = {"id": "0ad5bd67-171e-4c68-9866-76b209781ee0", **message(person(bob))}
                answer = await admin.client.post(url, json=asked, headers=headers)
                assert answer.json()["status"] == "queued", "the same id is new in every space"

            await asyncio.gather(*(converse(space) for space in spaces))
            await asyncio.gather(*(admin.within(s).post("/clock", {"action": "advance", "ms": 1}) for s in spaces))
            for space in spaces:
                await admin.delete(f"/spaces/{space['id']}")

    run(body())


def test_stopping_the_relay_must_close_the_connections_of_its_spaces() -> None:
    async def body() -> None:
        relay = serving("alice")
        async with controlling_later() as client:
            await relay.start()
            client.headers["Authorization"] = f"Bearer {relay.admin_token}"
            made = await client.post(f"{relay.http_url}/admin/spaces", json={"users": ["bob"]})
            space = made.json()
            async with connected(relay, "alice") as alice, connected_to(space["ws_url"], space["users"][0]) as bob:
                stopping = asyncio.ensure_future(relay.stop())
                await alice.ws.wait_closed()
                await bob.ws.wait_closed()
                assert (alice.ws.close_code, bob.ws.close_code) == (1001, 1001)
                await stopping

    run(body())


def controlling_later() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S)
