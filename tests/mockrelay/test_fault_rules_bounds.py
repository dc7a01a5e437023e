"""What rules hold back is bounded, and rules of one space touch no other."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.mockrelay.fault_support import admin, advance, rule, space_of, waiting, written
from tests.mockrelay.live_support import connected, frozen, run, serving, user_of

LIMITS_OFF = {"send_message": "off"}
SENT = {"event": "frame_in", "type": "MESSAGE_SEND"}


@pytest.mark.requirement("R-12.4")
def test_frames_held_back_on_their_way_out_must_count_towards_the_outbox() -> None:
    async def body() -> None:
        settings = {"limits": LIMITS_OFF, "outbox": {"max_frames": 10}}
        relay = serving("alice", "bob", clock=frozen(), settings=settings)
        async with relay, connected(relay, "alice") as alice, connected(relay, "bob") as bob:
            rule(relay, {"event": "frame_out", "user": "bob"}, "delay", ms=60_000)
            for _ in range(10):
                await alice.message(bob.user)
                await alice.until("MESSAGE_ACK")
            assert waiting(relay, bob, "out") == 10
            await alice.message(bob.user)
            with pytest.raises(ConnectionClosedError):
                await bob.next()
            assert bob.ws.close_code == 1006
            assert (await written(relay, event="lost"))[0]["cause"] == "slow_consumer"
            assert relay.driver.counters["slow_consumer"] == 1

    run(body())


@pytest.mark.requirement("R-12.4")
def test_reading_must_pause_while_much_is_held_back_on_its_way_in_and_lose_nothing() -> None:
    async def body() -> None:
        settings = {"limits": LIMITS_OFF, "outbox": {"max_frames": 20}}
        relay = serving("alice", "bob", clock=frozen(), settings=settings)
        async with relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "delay", ms=1000, times=1)
            sent = [await alice.message(user_of(relay, "bob")) for _ in range(60)]
            await written(relay, 11, **SENT)
            assert waiting(relay, alice, "in") == 11, "more than half of 20 waits: no more is read"
            await advance(relay, 1000)
            acks = [(await alice.until("MESSAGE_ACK"))["payload"]["message_id"] for _ in sent]
            assert acks == sent

    run(body())


def test_a_loss_must_reach_the_core_behind_what_came_before_it() -> None:
    async def body() -> None:
        relay = serving("alice", "bob", clock=frozen())
        async with relay:
            async with connected(relay, "alice") as alice:
                rule(relay, SENT, "delay", ms=1000)
                sent = await alice.message(user_of(relay, "bob"))
                await written(relay, **SENT)
                alice.ws.transport.abort()
                await written(relay, event="lost")
            assert len(relay.driver.relay.connections) == 1, "for the core, both are on their way"
            await advance(relay, 1000)
            assert relay.driver.relay.store.messages.get(sent) is not None
            assert not relay.driver.relay.connections

    run(body())


def test_rules_of_one_space_must_touch_no_other() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice") as alice:
            made = (await http.post("/admin/spaces", json={"users": ["alice"], "seed": 1})).json()
            base = made["http_url"] + "/admin"
            there = {"match": SENT, "action": {"do": "replace", "frame": {"type": "PROBE"}}, "comment": "there"}
            assert (await http.post(base + "/rules", json=there)).status_code == 201
            user = made["users"][0]
            device = user["devices"][0]
            url = f"{made['ws_url']}?token={device['token']}&device_id={device['device_id']}&protocol_version=1"
            async with connect(url, subprotocols=["zentalk.v1"], proxy=None) as other:  # type: ignore[list-item]
                assert "AUTH_CHALLENGE" in str(await other.recv())
                sent = await alice.message(user_of(relay, "bob"))
                assert (await alice.until("MESSAGE_ACK"))["payload"]["message_id"] == sent
                entries = (await http.get(base + "/journal")).json()
                assert [entry["event"] for entry in entries if "connection" in entry][:3] == [
                    "upgrade",
                    "connected",
                    "frame_out",
                ]
                assert {entry.get("user") for entry in entries if "connection" in entry} == {user["address"]}
            assert (await http.get("/admin/rules")).json() == []
            journal = (await http.delete(f"/admin/spaces/{made['id']}")).json()
            assert [entry["n"] for entry in journal] == list(range(1, len(journal) + 1))
            gone = await asyncio.gather(connect(url, proxy=None).__aenter__(), return_exceptions=True)
            assert "404" in str(gone[0])
            assert len(space_of(relay).faults.rules) == 0

    run(body())
