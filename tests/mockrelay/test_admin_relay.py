"""``/admin`` for the relay as a whole: settings, counters, pushes, recordings, events, restart, reset, metrics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mockrelay.bounds import Bounds
from mockrelay.http.relay_routes import merged_config
from tests.mockrelay.admin_support import Admin, connected_to, controlling
from tests.mockrelay.live_support import connected, message, run, serving, user_of
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.trace.replay import replay_file


def test_settings_must_merge_and_hold_from_the_next_input() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin:
            changed = await admin.patch("/config", {"limits": {"send_message": {"limit": 1, "burst": 1}}})
            assert changed["limits"]["send_message"] == {"limit": 1, "window_s": 60, "burst": 1}
            assert changed["limits"]["typing"]["limit"] == 1
            assert await admin.get("/config") == changed
            async with connected(relay, "alice") as alice:
                await alice.message(user_of(relay, "bob"))
                await alice.message(user_of(relay, "bob"))
                assert (await alice.until("ERROR"))["payload"]["error_code"] == "RATE_LIMITED"
                await admin.patch("/config", {"limits": {"send_message": "off"}, "integrity": "verify"})
                await alice.message(user_of(relay, "bob"))
                assert (await alice.until("MESSAGE_ACK"))["payload"]["status"] == "queued"

    run(body())


@pytest.mark.requirement("R-10.4")
@pytest.mark.parametrize(
    ("limit", "written", "expected"),
    [
        ("typing", {"limit": 2}, {"limit": 2, "window_s": 3, "burst": 1}),
        ("token_refresh", {"limit": 4}, {"limit": 4, "window_s": 3600, "burst": None}),
        ("presence", {"window_s": 30}, {"limit": 1, "window_s": 30, "burst": 1}),
        ("read_receipt", {"limit": 50}, {"limit": 50, "window_s": 60, "burst": 20}),
        ("send_message", {"burst": 2}, {"limit": 60, "window_s": 60, "burst": 2}),
        ("connections_per_user", {}, {"limit": 5}),
    ],
)
def test_a_limit_that_was_off_must_come_back_as_specified_where_it_is_not_told(
    limit: str, written: dict[str, int], expected: dict[str, int | None]
) -> None:
    off = merged_config(RelayConfig(), {"limits": {limit: "off"}})
    found = merged_config(off, {"limits": {limit: written}})
    assert msgspec.to_builtins(getattr(found.limits, limit)) == expected
    assert merged_config(found, {"limits": {limit: "off"}}) == off


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"limits": {"send_messages": "off"}}, "limits.send_messages", "did you mean `send_message`"),
        ({"limit": {}}, "limit", "limits"),
        ({"limits": {"typing": {"limitt": 2}}}, "limits.typing.limitt", "limit"),
        ({"integrity": "none"}, "integrity", "none"),
        ({"heartbeat": {"interval_ms": -1}}, "heartbeat.interval_ms", ">= 1"),
        ({"limits": {"typing": "of"}}, "limits.typing", "of"),
        ([], None, "object"),
        ({"dedup": {"bloom_capacity": 10**12}}, "dedup.bloom_capacity", "at most"),
    ],
)
def test_a_mistyped_setting_must_be_refused_with_the_nearest_and_change_nothing(
    changes: Any, field: str | None, said: str
) -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            before = await admin.get("/config")
            refused = await admin.patch("/config", changes, 400)
            assert refused["details"].get("field") == field
            assert said in refused["message"]
            assert await admin.get("/config") == before

    run(body())


def test_no_setting_must_lock_the_operator_out() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            await admin.patch("/config", {"upgrade": {"profile": "spec"}})
            assert (await admin.get("/config"))["upgrade"]["profile"] == "spec"

    run(body())


def test_a_body_that_is_no_json_must_be_refused() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            for content in (b"{", b"\xff", b"[" * 100_000, b'"' + b"x" * (1 << 20) + b'"'):
                answer = await admin.client.post(f"{relay.http_url}/admin/users", content=content)
                assert answer.status_code == (413 if len(content) > 1 << 20 else 400), answer.text
                assert set(answer.json()) == {"error_code", "message", "details"}
            assert (await admin.client.put(f"{relay.http_url}/admin/users")).status_code == 405
            assert (await admin.client.get(f"{relay.http_url}/admin/nothing")).status_code == 404

    run(body())


@pytest.mark.requirement("R-6.7")
def test_pushes_and_counters_must_be_told() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin:
            bob = await admin.post("/users", {"name": "bob", "devices": [{"push_token": "apns-1"}]})
            async with connected(relay, "alice") as alice:
                await alice.send("MESSAGE_SEND", {**message(user_of(relay, "alice")), "to": bob["address"]})
                await alice.until("MESSAGE_ACK")
            (push,) = await admin.get("/pushes")
            assert (push["event"], push["user"], push["device"]) == ("push", bob["address"], bob["device_id"])
            assert (push["push_token"], push["pending"]) == ("apns-1", 1)
            stats = await admin.get("/stats")
            assert (stats["users"], stats["messages"], stats["copies_pending"]) == (2, 1, 1)
            assert stats["counters"]["push.sent"] == 1

    run(body())


def test_metrics_must_be_prometheus_text() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice"):
            answer = await admin.client.get(f"{relay.http_url}/metrics", headers={"Authorization": ""})
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            lines = answer.text.splitlines()
            assert "mockrelay_connections 1" in lines
            assert 'mockrelay_events_total{name="connections.authenticated"} 1' in lines
            named = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
            assert len(named) == len(set(named)), "a metric is declared once"
            assert user_of(relay, "alice").address not in answer.text

    run(body())


def test_a_recording_must_be_started_stopped_read_and_replay(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin:
            await admin.post("/recordings", {"action": "stop"}, 409)
            started = await admin.post("/recordings", {"action": "start"}, 201)
            await admin.post("/recordings", {"action": "start"}, 409)
            async with connected(relay, "alice") as alice:
                await alice.message(user_of(relay, "bob"))
                await alice.until("MESSAGE_ACK")
            await admin.patch("/config", {"limits": {"typing": "off"}})
            stopped = await admin.post("/recordings", {"action": "stop"})
            assert (stopped["id"], stopped["state"]) == (started["id"], "done")
            found = await admin.client.get(f"{relay.http_url}/admin/recordings/{started['id']}")
            assert found.headers["content-type"].startswith("application/x-ndjson")
            (tmp_path / "r.jsonl").write_bytes(found.content)
            assert [r["id"] for r in await admin.get("/recordings")] == [started["id"]]
            await admin.get("/recordings/rec_9", 404)
            har = await admin.get(f"/recordings/{started['id']}?format=har")
            assert har["log"]["entries"][0]["request"]["url"].startswith(f"{relay.ws_url}?")
            assert har["log"]["version"] == "1.2"
            assert user_of(relay, "alice").token not in json.dumps(har), "secrets are taken out"
            assert "jsonl or har" in (await admin.get(f"/recordings/{started['id']}?format=pcap", 400))["message"]

    run(body())
    result = replay_file(tmp_path / "r.jsonl")
    assert result.first_difference is None
    assert result.outputs > 3


def test_a_recording_must_replay_across_every_tool_of_the_control_api(tmp_path: Path) -> None:
    """Users, settings, messages, a moved clock, a restart, a reset: what changes the core is recorded."""
    path = tmp_path / "tools.jsonl"

    async def body() -> None:
        async with serving("alice", "bob", record=str(path)) as relay, controlling(relay) as admin:
            await admin.post("/recordings", {"action": "start"}, 409)
            async with connected(relay, "alice") as alice:
                await alice.message(user_of(relay, "bob"))
                await admin.post("/clock", {"action": "advance", "ms": 3_600_000})
                await admin.patch("/config", {"limits": {"send_message": "off"}})
                await admin.post("/users/alice/rotate-key", {})
                await admin.post("/connections/1/send", {"frame": {"type": "PING", "payload": {"timestamp": 1}}})
                await admin.post("/restart")
            await admin.post("/users", {"name": "carol"})
            await admin.post("/messages", {"from": "carol", "to": "bob", "payload": {"ciphertext": "aGk="}})
            await admin.post("/reset")
            async with connected(relay, "bob"):
                await admin.delete("/connections/2", {"how": "abort"})

    run(body())
    result = replay_file(path)
    assert result.first_difference is None
    assert result.events > 30


@pytest.mark.requirement("R-12.1")
def test_a_restart_must_close_with_1001_and_keep_what_was_accepted() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin:
            async with connected(relay, "alice") as alice:
                sent = await alice.message(user_of(relay, "bob"))
                await alice.until("MESSAGE_ACK")
                assert (await admin.post("/restart"))["boot"] == 1
                await alice.ws.wait_closed()
                assert alice.ws.close_code == 1001
            assert await admin.get("/connections") == []
            async with connected(relay, "bob") as bob:
                assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1
            headers = {"Authorization": f"Bearer {user_of(relay, 'bob').token}"}
            page = (await admin.client.get(f"{relay.http_url}/api/messages", headers=headers)).json()
            assert [entry["id"] for entry in page["messages"]] == [sent]

    run(body())


def test_a_reset_must_leave_the_users_of_the_start_and_nothing_else() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin:
            await admin.post("/users", {"name": "carol"})
            await admin.patch("/config", {"integrity": "require"})
            await admin.post("/rules", {"match": {"event": "frame_in"}, "action": {"do": "drop"}})
            await admin.post("/clock", {"action": "advance", "ms": 1000})
            asked = {"from": "alice", "to": "bob", "payload": {"ciphertext": "aGk="}}
            await admin.post("/messages", asked)
            moved_ms = (await admin.get("/clock"))["now_ms"]
            left = await admin.post("/reset")
            assert [user["name"] for user in left["users"]] == ["alice", "bob"]
            assert (await admin.get("/config"))["integrity"] == "verify"
            assert await admin.get("/rules") == []
            assert await admin.get("/journal") == []
            assert (await admin.get("/stats"))["messages"] == 0
            assert (await admin.get("/clock"))["now_ms"] >= moved_ms
            async with connected(relay, "alice"):
                assert len(await admin.get("/connections")) == 1, "tokens of the start stay good"

    run(body())


async def _events(admin: Admin, relay_url: str, count: int, query: str = "") -> list[tuple[str, Any]]:
    """The first events of a stream."""
    found: list[tuple[str, Any]] = []
    kind = ""
    async with admin.client.stream("GET", f"{relay_url}/admin/events{query}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                found.append((kind, json.loads(line[6:])))
                if len(found) == count:
                    break
    return found


def test_events_must_stream_the_journal_as_it_is_written() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            space = await admin.post("/spaces", {"users": ["alice"]})
            reading = asyncio.ensure_future(_events(admin, space["http_url"], 3))
            journal = relay.spaces.get(space["id"]).journal  # type: ignore[union-attr]
            while not journal.listeners:
                await asyncio.sleep(0)
            async with connected_to(space["ws_url"], space["users"][0]):
                seen = await reading
            assert [kind for kind, _ in seen] == ["entry"] * 3
            kept = await admin.within(space).get("/journal")
            first = seen[0][1]["n"]
            assert [entry for _, entry in seen] == [entry for entry in kept if first <= entry["n"] < first + 3]
            again = await _events(admin, space["http_url"], 1, "?after=1")
            assert again[0][1]["n"] == 2
            await asyncio.sleep(0)
            while journal.listeners:
                await asyncio.sleep(0)

    run(body())


def test_a_listener_that_does_not_read_must_lose_the_oldest_and_be_told() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            from mockrelay.http.events import _Listener

            journal = relay.default.journal
            listener = _Listener(journal, Bounds().event_queue)
            for number in range(Bounds().event_queue + 5):
                journal.control("test", number=number)
            chunk = await listener.next(relay.default.faults.closed)
            listener.end()
            assert chunk is not None
            assert chunk.startswith(b'event: dropped\ndata: {"count":5}\n\n')
            assert journal.listeners == []
            assert await admin.get("/stats")

    run(body())


def test_a_stream_of_events_must_end_with_its_space() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            space = await admin.post("/spaces")
            reading = asyncio.ensure_future(_events(admin, space["http_url"], 100))
            while not relay.spaces.get(space["id"]).journal.listeners:  # type: ignore[union-attr]
                await asyncio.sleep(0)
            await admin.delete(f"/spaces/{space['id']}")
            await reading

    run(body())
