"""Fault rules at ``upgrade`` and ``connected``: every action, over real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus

from mockrelay.server import MockRelay
from mockrelay.websocket import Connection
from tests.mockrelay.fault_support import admin, advance, rule, silent_until_the_end, space_of, written
from tests.mockrelay.live_support import (
    connected,
    frozen,
    masked,
    raw,
    raw_upgraded,
    run,
    serving,
    target_of,
    upgrade_bytes,
    user_of,
)
from tests.mockrelay.test_live_outbox import Wire

UPGRADE = {"event": "upgrade"}
OPENED = {"event": "connected"}


async def status_of(relay: MockRelay, name: str = "alice") -> int:
    """What an upgrade of this user is answered with."""
    try:
        async with connected(relay, name, authenticate=False):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


# --- the upgrade -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 403, 429, 500, 503, 504])
def test_refuse_must_answer_with_the_status_n_times_and_then_recover(status: int) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay:
            rule(relay, {**UPGRADE, "user": "alice"}, "refuse", times=2, status=status)
            assert await status_of(relay, "bob") == 101
            assert [await status_of(relay) for _ in range(3)] == [status, status, 101]
            entries = await written(relay, 4, event="upgrade")
            assert [entry["status"] for entry in entries] == [101, status, status, 101]
            assert [entry.get("rule", {}).get("comment") for entry in entries[1:3]] == ["test refuse"] * 2
            assert entries[1]["user"] == user_of(relay, "alice").address
            assert entries[1]["device"] == user_of(relay, "alice").device_id

    run(body())


def test_an_error_must_answer_with_its_status_and_retry_after() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, UPGRADE, "error", error_code="SERVICE_UNAVAILABLE", retry_after=9)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                status, headers, said = await peer.refused()
            assert (status, headers["retry-after"]) == (503, "9")
            assert said["error_code"] == "SERVICE_UNAVAILABLE"
            assert said["details"] == {"retry_after": 9}
            assert said["message"] == "test error"

    run(body())


def test_stall_must_leave_the_upgrade_unanswered_until_the_relay_ends() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, UPGRADE, "stall", times=1)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                await written(relay, event="upgrade")
                assert await status_of(relay) == 101, "others are served"
                assert not relay.driver.relay.connections
                await silent_until_the_end(relay, peer)

    run(body())


def test_delay_must_answer_later_by_the_spaces_clock_with_what_came_early_kept() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay:
            rule(relay, UPGRADE, "delay", ms=60_000)
            early = masked(9, b"early") + masked(9, b"earlier")
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice")) + early[:7]) as peer:
                await written(relay, event="upgrade")
                peer.writer.write(early[7:])
                await advance(relay, 59_999)
                assert not relay.driver.relay.connections
                await advance(relay, 1)
                assert (await peer.head())[0] == 101
                assert json.loads((await peer.frame())[1])["type"] == "AUTH_CHALLENGE"
                assert await peer.frame() == (10, b"early")
                assert await peer.frame() == (10, b"earlier")

    run(body())


def test_a_client_that_leaves_during_the_delay_must_not_be_heard_of_by_the_core() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay:
            rule(relay, UPGRADE, "delay", ms=1000)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))):
                await written(relay, event="upgrade")
            while relay._connections:
                await asyncio.sleep(0)
            await advance(relay, 1000)
            assert not relay.driver.relay.connections
            assert "connections.lost.lost" not in relay.driver.counters

    run(body())


def test_abort_at_the_upgrade_must_reset() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, UPGRADE, "abort", times=1)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                with pytest.raises(ConnectionResetError):
                    await peer.reader.read(1)
            assert await status_of(relay) == 101

    run(body())


def test_a_blackhole_at_the_upgrade_must_be_silent() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, UPGRADE, "blackhole")
            url = relay.url_of(user_of(relay, "alice"))
            opening = asyncio.ensure_future(
                connect(url, proxy=None, subprotocols=["zentalk.v1"], open_timeout=None).__aenter__()  # type: ignore[list-item]
            )
            await written(relay, event="upgrade")
            done, _ = await asyncio.wait([opening], timeout=0.05)
            assert not done
            await relay.stop()
            with pytest.raises((ConnectionResetError, InvalidMessage)):
                await opening

    run(body())


def test_an_upgrade_the_core_refuses_must_be_in_the_journal() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            async with raw(relay, upgrade_bytes(relay, "/ws/v1?device_id=x")) as peer:
                assert (await peer.refused())[0] == 401
            assert (await written(relay, event="upgrade"))[0]["status"] == 401

    run(body())


# --- the opening -------------------------------------------------------------------------------------


def test_close_at_the_opening_must_come_before_anything_else() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, OPENED, "close", code=1013, reason="busy", times=1)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                assert (await peer.head())[0] == 101
                assert await peer.frame() == (8, b"\x03\xf5busy")
                peer.writer.write(masked(8, b"\x03\xf5"))
                assert await peer.reader.read() == b""
            assert (await written(relay, event="connected"))[0]["rule"]["comment"] == "test close"
            async with connected(relay, "alice"):
                pass

    run(body())


def test_abort_at_the_opening_must_reset() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, OPENED, "abort")
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                ended = await asyncio.gather(peer.reader.read(), return_exceptions=True)
                assert isinstance(ended[0], ConnectionResetError)

    run(body())


def test_inject_at_the_opening_must_come_first() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, OPENED, "inject", frame={"type": "PROBE"})
            async with connected(relay, "alice", authenticate=False) as alice:
                assert [(await alice.next())["type"] for _ in range(2)] == ["PROBE", "AUTH_CHALLENGE"]

    run(body())


def test_a_blackhole_at_the_opening_must_swallow_the_challenge() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            rule(relay, OPENED, "blackhole")
            async with connected(relay, "alice", authenticate=False) as alice:
                await written(relay, event="connected")
                assert len(relay.driver.relay.connections) == 1
                listening = asyncio.ensure_future(alice.next())
                done, _ = await asyncio.wait([listening], timeout=0.05)
                assert not done
                alice.ws.transport.abort()
                with pytest.raises(ConnectionClosedError):
                    await listening

    run(body())


def test_throttle_at_the_opening_must_slow_the_challenge() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay:
            rule(relay, OPENED, "throttle", bytes_per_s=100)
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                assert (await peer.head())[0] == 101
                (gate,) = space_of(relay).faults.gates.values()
                _, size = gate.waiting_out()
                await advance(relay, size * 10 - 1)
                assert gate.waiting_out()[0] == 1
                await advance(relay, 1)
                assert len((await peer.frame())[1]) + 4 == size, "a header of four bytes passes too"

    run(body())


def test_slow_close_must_delay_the_end_of_a_close_that_the_relay_begins() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay:
            rule(relay, OPENED, "slow_close", ms=3000)
            async with raw_upgraded(relay) as peer:
                peer.writer.write(masked(1, b"{}"))
                while (await peer.frame())[0] != 8:
                    pass
                peer.writer.write(masked(8, b"\x0f\xa0"))
                while relay.driver.relay.connections:
                    await asyncio.sleep(0)
                reading = asyncio.ensure_future(peer.reader.read())
                await advance(relay, 2999)
                assert not reading.done()
                await advance(relay, 1)
                assert await reading == b""

    run(body())


def test_after_ms_must_count_from_the_opening_also_for_a_rule_added_later() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, connected(relay, "alice") as alice:
            await advance(relay, 400)
            rule(relay, {**OPENED, "after_ms": 1000}, "inject", frame={"type": "PROBE"})
            rule(relay, {**OPENED, "after_ms": 2000}, "close", code=4555)
            await advance(relay, 599)
            assert not [e for e in space_of(relay).journal.entries() if e.event == "rule"]
            await advance(relay, 1)
            assert (await alice.next())["type"] == "PROBE"
            await advance(relay, 1000)
            await alice.ws.wait_closed()
            assert alice.ws.close_code == 4555
            fired = await written(relay, 2, event="rule")
            assert fired[1]["t_ms"] - fired[0]["t_ms"] == 1000

    run(body())


def test_after_ms_must_hold_for_frames() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, connected(relay, "alice") as alice:
            rule(relay, {"event": "frame_in", "type": "MESSAGE_SEND", "after_ms": 10_000}, "drop")
            first = await alice.message(alice.user)
            assert (await alice.until("MESSAGE_ACK"))["payload"]["message_id"] == first
            await advance(relay, 10_000)
            await alice.message(alice.user)
            entries = await written(relay, 2, event="frame_in", type="MESSAGE_SEND")
            assert ["rule" in entry for entry in entries] == [False, True]

    run(body())


# --- the control API ---------------------------------------------------------------------------------


def test_rules_must_be_appended_listed_and_taken_out() -> None:
    async def body() -> None:
        async with serving("alice") as relay, admin(relay) as http:
            refuse = {"match": UPGRADE, "action": {"do": "refuse", "status": 503}, "times": 1, "comment": "one"}
            made = await http.post("/admin/rules", json=refuse)
            assert made.status_code == 201
            assert made.json() == {"id": "rule-1", **refuse, "matched": 0, "fired": 0}
            more = await http.post("/admin/rules", json=[refuse, refuse])
            assert [one["id"] for one in more.json()] == ["rule-2", "rule-3"]
            assert await status_of(relay) == 503
            listed = (await http.get("/admin/rules")).json()
            assert [(one["id"], one["fired"]) for one in listed] == [("rule-1", 1), ("rule-2", 0), ("rule-3", 0)]
            assert (await http.delete("/admin/rules/rule-2")).status_code == 200
            missing = await http.delete("/admin/rules/rule-2")
            assert missing.status_code == 404
            assert "rule-1, rule-3" in missing.json()["message"]
            assert (await http.delete("/admin/rules")).json() == {"removed": 2}
            assert (await http.get("/admin/rules")).json() == []
            assert await status_of(relay) == 101

    run(body())


def test_a_mistyped_rule_must_be_refused_with_the_nearest_names_and_all_faults() -> None:
    async def body() -> None:
        async with serving() as relay, admin(relay) as http:
            wrong = {"match": {"evnt": "upgrade", "type": "MESAGE_SEND"}, "action": {"do": "dealy"}}
            refused = await http.post("/admin/rules", json=[wrong])
            assert refused.status_code == 400
            said = refused.json()
            assert said["error_code"] == "INVALID_MESSAGE"
            for name in ("event", "MESSAGE_SEND", "delay"):
                assert f"`{name}`" in said["message"]
            assert [fault["place"] for fault in said["details"]["faults"]] == [
                "rules[0].match.evnt",
                "rules[0].match.type",
                "rules[0].action.do",
            ]
            assert (await http.get("/admin/rules")).json() == []

    run(body())


def test_an_upgrade_whose_client_has_left_must_be_ended_in_the_core() -> None:
    """With a durable store the answer waits for the commit, and the client may be gone by then."""

    async def body() -> None:
        async with serving("alice") as relay:
            space = space_of(relay)
            connection = Connection(lambda path: (space, path), lambda _: None, lambda _: None)
            wire = Wire()
            wire.protocol = connection
            connect, asked = space.driver.connect, []
            vars(space.driver)["connect"] = lambda *arguments: asked.append(arguments)
            connection.connection_made(wire)
            connection.data_received(upgrade_bytes(relay, target_of(relay, "alice")))
            connection.connection_lost(None)
            connect(*asked[0])
            assert len(space.driver.relay.connections) == 1
            await asyncio.sleep(0)
            assert not space.driver.relay.connections
            assert not space.faults.gates
            assert not wire.written

    run(body())


@pytest.mark.parametrize("do", [{"do": "stall"}, {"do": "delay", "ms": 100_000}, {"do": "blackhole"}])
def test_the_end_of_a_space_must_end_what_its_rules_hold(do: dict[str, object]) -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            space = space_of(relay)
            space.faults.add_rule({"match": UPGRADE, "action": do})
            async with raw(relay, upgrade_bytes(relay, target_of(relay, "alice"))) as peer:
                await written(relay, event="upgrade")
                assert len(space.faults.held) == 1
                space.faults.stop()
                ended = await asyncio.gather(peer.reader.read(), return_exceptions=True)
                assert isinstance(ended[0], ConnectionResetError)
                assert not space.faults.held

    run(body())
