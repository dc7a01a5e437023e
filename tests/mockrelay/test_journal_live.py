"""The journal of a relay that serves, through its routes: what is in it, waiting, verifying."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

import httpx
import pytest

from mockrelay.journal import MAX_WAIT_MS
from tests.mockrelay.fault_support import admin, rule, space_of, written
from tests.mockrelay.live_support import connected, masked, message, raw_upgraded, run, serving, trusting, user_of

VERIFY, WAIT = "/admin/journal/verify", "/admin/journal/wait"


async def ask(http: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await http.post(path, json=body)
    return answer.status_code, answer.json()


def test_a_session_must_be_in_the_journal_from_its_upgrade_to_its_close() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http:
            async with connected(relay, "bob") as bob:
                async with connected(relay, "alice") as alice:
                    await alice.message(bob.user)
                    await bob.until("MESSAGE_NEW")
                    await alice.until("MESSAGE_ACK")
                await written(relay, event="closed")
            entries = (await http.get("/admin/journal")).json()
            of_alice = [entry for entry in entries if entry.get("user") == alice.user.address]
            assert [(entry["event"], entry.get("type")) for entry in of_alice] == [
                ("upgrade", None),
                ("connected", None),
                ("frame_out", "AUTH_CHALLENGE"),
                ("frame_in", "AUTH_RESPONSE"),
                ("frame_out", "AUTH_SUCCESS"),
                ("frame_in", "MESSAGE_SEND"),
                ("frame_out", "MESSAGE_ACK"),
                ("closed", None),
            ]
            assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
            assert of_alice[-1]["close_code"] == 1000
            assert of_alice[-1]["direction"] == "in"
            assert {entry["connection"] for entry in of_alice} == {2}
            assert {entry["device"] for entry in of_alice} == {alice.user.device_id}
            assert of_alice[5]["frame"] == {**of_alice[5]["frame"], "type": "MESSAGE_SEND"}

    run(body())


@pytest.mark.parametrize(("is_reset", "cause"), [(False, "lost"), (True, "reset")], ids=["FIN", "RST"])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_a_loss_must_be_an_entry_with_1006_and_tell_a_reset_from_an_end(tls: bool, is_reset: bool, cause: str) -> None:
    async def body() -> None:
        async with serving("alice", tls=tls) as relay:
            async with connected(relay, "alice", ssl=trusting(relay) if tls else None) as alice:
                if is_reset:
                    sock = alice.ws.transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                alice.ws.transport.abort()
                (lost,) = await written(relay, event="lost")
            assert (lost["close_code"], lost["cause"]) == (1006, cause)
            assert relay.driver.counters[f"connections.lost.{cause}"] == 1
            assert not [entry for entry in space_of(relay).journal.entries() if entry.event == "closed"]

    run(body())


def test_what_is_no_frame_must_be_shown_as_it_came() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as peer:
            peer.writer.write(masked(1, b"\xff"))
            (entry,) = await written(relay, event="frame_in")
            assert entry["base64"] == "/w=="
            opcode, payload = await peer.frame()
            assert (opcode, payload[:2]) == (8, b"\x03\xef")

    run(body())


def test_the_journal_must_be_listed_by_number_type_and_connection() -> None:
    async def body() -> None:
        relay = serving("alice", "bob")
        async with relay, admin(relay) as http, connected(relay, "alice"), connected(relay, "bob"):
            everything = (await http.get("/admin/journal")).json()

            async def listed(**query: Any) -> list[int]:
                return [entry["n"] for entry in (await http.get("/admin/journal", params=query)).json()]

            assert await listed(after=3) == [entry["n"] for entry in everything[3:]]
            assert await listed(connection=2) == [e["n"] for e in everything if e.get("connection") == 2]
            success = [e["n"] for e in everything if e.get("type") == "AUTH_SUCCESS"]
            assert await listed(type="AUTH_SUCCESS") == success
            assert await listed(type="AUTH_SUCCESS", connection=1) == success[:1]
            assert await listed(type="PONG") == []
            opened = [e["n"] for e in everything if e["event"] == "connected" and e["connection"] == 2]
            assert await listed(event="connected", connection=2) == opened
            assert await listed(after=10**9) == []
            all_of_them = [entry["n"] for entry in everything]
            assert await listed(after="", type="", connection="") == all_of_them, (
                "a name without a value narrows nothing"
            )

    run(body())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("after=x", "after must be a whole number"),
        ("after=-1", "after must be a whole number"),
        ("type=MESAGE_NEW", "did you mean `MESSAGE_NEW`?"),
        ("connection=one", "connection must be a whole number"),
        ("typ=PING", "did you mean `type`?"),
        ("event=closd", "did you mean `closed`?"),
    ],
)
def test_a_listing_asked_wrongly_must_be_refused_with_the_remedy(query: str, said: str) -> None:
    async def body() -> None:
        async with serving() as relay, admin(relay) as http:
            answer = await http.get(f"/admin/journal?{query}")
            assert answer.status_code == 400
            assert said in answer.json()["message"]

    run(body())


def test_wait_must_answer_when_it_happens() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice") as alice:
            match = {"event": "frame_in", "type": "MESSAGE_SEND", "user": "alice"}
            waiting = asyncio.ensure_future(ask(http, WAIT, match=match, count=2, timeout_ms=5000))
            await alice.message(user_of(relay, "bob"))
            await alice.until("MESSAGE_ACK")
            assert not waiting.done()
            sent = await alice.message(user_of(relay, "bob"))
            status, said = await waiting
            assert (status, said["held"], said["found"]) == (200, True, 2)
            assert said["entries"][1]["frame"]["id"] == sent

    run(body())


def test_wait_must_answer_408_with_the_nearest_when_time_runs_out() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice"):
            status, said = await ask(http, WAIT, match={"type": "AUTH_SUCCESS", "user": "bob"}, count=1, timeout_ms=1)
            assert (status, said["held"], said["found"]) == (408, False, 0)
            assert said["nearest"][0]["differences"] == [{"path": "user", "wanted": "bob", "got": "alice"}]
            assert said["error_code"] == "NOT_HELD"

    run(body())


def test_a_wait_that_the_relays_end_cuts_short_must_say_so() -> None:
    """Its time is not over: nobody shall look for a test that is too slow."""

    async def body() -> None:
        async with serving("alice") as relay, admin(relay) as http:
            waiting = asyncio.ensure_future(ask(http, WAIT, match={"type": "MESSAGE_SEND"}, timeout_ms=60_000))
            journal = space_of(relay).journal
            while not journal.is_awaited:
                await asyncio.sleep(0)
            await relay.stop()
            status, said = await waiting
            assert (status, said["held"], said["found"]) == (503, False, 0)
            assert said["message"].startswith("the relay is stopping")
            assert "60000 ms" not in said["message"]

    run(body())


def test_verify_must_hold_for_the_exact_count_alone() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice") as alice:
            bob = user_of(relay, "bob")
            await alice.message(bob)
            await alice.until("MESSAGE_ACK")
            match = {"event": "frame_in", "type": "MESSAGE_SEND", "payload": {"to": bob.address}}
            assert await ask(http, VERIFY, match=match, count=1) == (
                200,
                {"held": True, "found": 1, "entries": [(await written(relay, **match))[0]]},
            )
            status, said = await ask(http, VERIFY, match=match, count=2)
            assert (status, said["held"], said["found"]) == (409, False, 1)
            status, said = await ask(http, VERIFY, match={**match, "payload": {"to": alice.user.address}}, count=1)
            assert status == 409
            assert said["nearest"][0]["entry"]["type"] == "MESSAGE_SEND"
            assert said["nearest"][0]["differences"] == [
                {"path": "payload.to", "wanted": alice.user.address, "got": bob.address}
            ]
            assert (await ask(http, VERIFY, match={**match, "user": "bob"}, count=0))[0] == 200

    run(body())


def test_order_must_be_verified() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http:
            async with connected(relay, "bob") as bob, connected(relay, "alice") as alice:
                await alice.message(bob.user)
                await bob.until("MESSAGE_NEW")
                await alice.until("MESSAGE_ACK")
            order = [{"type": "AUTH_SUCCESS", "user": "alice"}, {"type": "MESSAGE_SEND"}, {"type": "MESSAGE_NEW"}]
            status, said = await ask(http, VERIFY, order=order)
            assert (status, said["found"]) == (200, 3)
            status, said = await ask(http, VERIFY, order=order[::-1])
            assert (status, said["found"]) == (409, 1)
            assert "order[1]" in said["message"]

    run(body())


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        (VERIFY, {"match": {"typ": "PING"}, "count": 1}, "did you mean `type`?"),
        (VERIFY, {"match": {"type": "PINK"}, "count": 1}, "did you mean `PING`?"),
        (VERIFY, {"match": {"event": "frame_inn"}, "count": 1}, "did you mean `frame_in`?"),
        (VERIFY, {"match": {}}, "count is missing"),
        (VERIFY, {"match": {}, "count": -1}, "count must be a whole number of at least 0"),
        (VERIFY, {"match": {}, "count": True}, "count must be a whole number"),
        (VERIFY, {"order": []}, "order must be a list"),
        (VERIFY, {"order": [{}, {"typ": 1}]}, "order[1].typ"),
        (VERIFY, {"order": [{}], "count": 1}, "or `order`"),
        (WAIT, {"match": {}, "count": 0}, "count must be a whole number of at least 1"),
        (WAIT, {"match": {}, "count": 1, "timeout_ms": MAX_WAIT_MS + 1}, "from 0 to 60000"),
        (WAIT, {"match": {}, "count": 1, "timeout": 5}, "did you mean `timeout_ms`?"),
        (WAIT, {"match": {"probability": 0.5}, "count": 1}, "probability"),
        (WAIT, [], "must be a JSON object"),
    ],
)
def test_what_is_asked_wrongly_must_be_refused_with_place_and_remedy(path: str, asked: Any, said: str) -> None:
    async def body() -> None:
        async with serving() as relay, admin(relay) as http:
            answer = await http.post(path, json=asked)
            assert answer.status_code == 400
            assert answer.json()["error_code"] == "INVALID_MESSAGE"
            assert said in answer.json()["message"]

    run(body())


def test_a_large_journal_must_be_listed_and_searched_while_others_are_served() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice") as alice:
            journal = space_of(relay).journal
            text = json.dumps({"type": "MESSAGE_SEND", "payload": message(user_of(relay, "bob"))}).encode()
            for _ in range(6_000):
                journal.write("frame_in", data=text)
            match = {"type": "MESSAGE_SEND", "payload": {"message_type": "image"}}
            verifying = asyncio.ensure_future(ask(http, VERIFY, match=match, count=1))
            listing = asyncio.ensure_future(http.get("/admin/journal?type=MESSAGE_SEND"))
            await alice.message(user_of(relay, "bob"))
            await alice.until("MESSAGE_ACK")
            assert not listing.done(), "the ACK must not wait for the listing"
            assert (await verifying)[0] == 409
            assert len((await listing).json()) >= 6_000

    run(body())


def test_a_journal_that_has_lost_entries_must_say_so() -> None:
    async def body() -> None:
        async with serving("alice") as relay, admin(relay) as http, connected(relay, "alice"):
            space_of(relay).journal._max_entries = 2
            space_of(relay).journal.write("rtt")
            status, said = await ask(http, VERIFY, match={"event": "rtt"}, count=1)
            assert (status, said["journal_truncated"], said["error_code"]) == (409, True, "JOURNAL_TRUNCATED")
            status, said = await ask(http, WAIT, match={"type": "PONG"}, count=1, timeout_ms=1)
            assert (status, said["journal_truncated"]) == (408, True)
            answer = await http.get("/admin/journal")
            assert answer.headers["journal-truncated"] == str(space_of(relay).journal.gone)
            assert relay.driver.counters["journal.dropped"] == space_of(relay).journal.gone

    run(body())


def test_a_rules_name_must_find_its_firings() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, admin(relay) as http, connected(relay, "alice") as alice:
            rule(relay, {"event": "frame_in", "type": "MESSAGE_SEND"}, "drop", times=1)
            await alice.message(user_of(relay, "bob"))
            await alice.message(user_of(relay, "bob"))
            await alice.until("MESSAGE_ACK")
            for name in ("rule-1", "test drop"):
                assert (await ask(http, VERIFY, match={"rule": name}, count=1))[0] == 200

    run(body())
