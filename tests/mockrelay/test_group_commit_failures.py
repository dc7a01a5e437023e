"""Group commit where the process dies or the disk fails: crash points, fail-stop."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mockrelay import driver as driver_module
from mockrelay.group_commit import AFTER_COMMIT, AMID_EFFECTS, BEFORE_COMMIT, CRASH_POINTS
from mockrelay.store import SqliteStore
from mockrelay.store.errors import StoreError
from tests.mockrelay.commit_support import durable_bench, kinds
from tests.mockrelay.store_support import as_killed, durable_part
from tests.trace.recorded import Bench, Line
from zentalk_sim.protocol.control import Suspend
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.trace.replay import replay_file


class Died(BaseException):
    """The process ends here."""


# --- crash points ------------------------------------------------------------------------------------


@pytest.mark.requirement("R-12.1")
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_relay_that_dies_must_hold_what_it_acknowledged(tmp_path: Path, point: str) -> None:
    """Whatever the instant: acknowledged is stored; before the commit, neither."""

    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        bob = bench.person("bob")
        alice, line = bench.connect("alice"), bench.connect("bob")
        places: list[Path] = []

        def die(name: str) -> None:
            # Amid the effects: when the first of the two peers has been told.
            if name == point and (point != AMID_EFFECTS or "MESSAGE_ACK" in kinds(alice)):
                places.append(as_killed(store, tmp_path / "killed"))
                raise Died

        message_id = bench.message(alice, bob)
        bench.driver.queue.on_crash_point = die
        with pytest.raises(Died):
            bench.driver.queue.flush()
        was_acknowledged = "MESSAGE_ACK" in kinds(alice)
        assert "MESSAGE_NEW" not in kinds(line)
        assert was_acknowledged is (point == AMID_EFFECTS)

        again = SqliteStore(str(places[0]))
        assert (message_id in again.messages) is (point != BEFORE_COMMIT)
        relay = Bench(store=again, clock=bench.clock)
        relay.people, relay.streams = bench.people, bench.streams
        alice = relay.connect("alice")
        # The client sends again under the same id, since it has no ACK, or does not know whether it has.
        retry = {**json.loads(bench.last_text), "timestamp": relay.now_ms()}
        relay.driver.receive_text(alice.conn, json.dumps(retry).encode())
        relay.driver.queue.flush()
        ack = next(frame for frame in alice.frames if frame["type"] == "MESSAGE_ACK")
        assert ack["payload"]["status"] == ("queued" if point == BEFORE_COMMIT else "duplicate")
        line = relay.connect("bob")
        relay.driver.queue.flush()
        sync = next(frame for frame in line.frames if frame["type"] == "SYNC_REQUIRED")
        assert sync["payload"]["pending_count"] == 1, "one copy, however often it was sent"
        relay.driver.stop()
        store.close()

    asyncio.run(body())


def test_crash_points_must_be_passed_in_order(tmp_path: Path) -> None:
    async def body() -> None:
        bench, _ = durable_bench(tmp_path)
        bench.person("alice")
        bob = bench.person("bob")
        alice = bench.connect("alice")
        passed: list[str] = []
        bench.driver.queue.on_crash_point = passed.append
        bench.message(alice, bob)
        bench.driver.queue.flush()
        assert passed[:3] == [BEFORE_COMMIT, AFTER_COMMIT, AMID_EFFECTS]
        assert set(passed[2:]) == {AMID_EFFECTS}
        bench.driver.queue.on_crash_point = None
        bench.driver.stop()

    asyncio.run(body())


@pytest.mark.requirement("R-3.4")
def test_a_killed_relay_must_begin_by_ending_the_connections_it_had(tmp_path: Path) -> None:
    """The session is lost as of the start, and good for a resumption with its counters; presence is offline."""

    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        alice = bench.connect("alice")
        bench.send(alice, "SUBSCRIBE", {"topics": [f"keys:{bench.people['alice'][3]}"]})
        bench.driver.queue.flush()
        success = next(frame for frame in alice.frames if frame["type"] == "AUTH_SUCCESS")
        bench.message(alice, bench.people["alice"][3])
        bench.driver.queue.flush()
        last_seq = alice.frames[-1]["seq"]
        bench.clock.advance(60_000_000)
        again = SqliteStore(str(as_killed(store, tmp_path / "killed")))
        assert again.presence
        relay = Bench(store=again, clock=bench.clock)
        assert not again.presence
        session = next(iter(again.sessions.values()))
        assert (session.conn, session.lost_us) == (None, bench.clock.now_us())
        relay.people, relay.streams = bench.people, bench.streams
        line = relay.connect("alice", resume_token=success["payload"]["resume_token"])
        resumed = next(frame for frame in line.frames if frame["type"] == "AUTH_SUCCESS")
        assert resumed["payload"]["resumed"] is True
        assert resumed["payload"]["session_id"] == success["payload"]["session_id"]
        assert resumed["seq"] == last_seq + 1
        assert list(again.subscribers) == [f"keys:{bench.people['alice'][3]}"]
        relay.driver.stop()
        bench.driver.stop()

    asyncio.run(body())


# --- fail-stop ---------------------------------------------------------------------------------------


def failing(store: SqliteStore) -> None:
    """Have the disk refuse the next commit."""
    store._database.execute("PRAGMA query_only = ON")


@pytest.mark.requirement("R-12.2")
def test_a_failed_commit_must_drop_everybody_and_load_the_store_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        path = tmp_path / "r.jsonl"
        bench.driver.record(str(path), 1)
        bench.person("alice")
        bob = bench.person("bob")
        alice, line = bench.connect("alice"), bench.connect("bob")
        before = durable_part(store)
        failing(store)
        message_id = bench.message(alice, bob)
        bench.driver.queue.flush()
        assert (alice.ended, line.ended) == ("store_failed", "store_failed")
        assert "MESSAGE_ACK" not in kinds(alice)
        assert "MESSAGE_NEW" not in kinds(line)
        assert bench.driver.away is not None
        refused = Line()
        bench.driver.connect(refused, bench.upgrade("alice"))
        assert refused.ended == 503
        assert bench.rest("alice", "GET", "/api/settings") == 503
        with pytest.raises(ProtocolError, match="store is away"):
            bench.driver.control(Suspend(bob))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.driver.away is None
        found = bench.driver.relay.store
        assert message_id not in found.messages
        assert set(durable_part(found)["users"]) == set(before["users"])
        alice = bench.connect("alice")
        bench.message(alice, bob)
        bench.driver.queue.flush()
        assert kinds(alice)[-1] == "MESSAGE_ACK"
        bench.driver.stop()
        assert replay_file(path).first_difference is None

    with caplog.at_level(logging.ERROR, "mockrelay"):
        asyncio.run(body())
    assert "a commit failed; every connection is dropped" in caplog.text
    assert "attempt to write a readonly database" in caplog.text


def test_a_request_whose_commit_fails_must_get_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        failing(store)
        assert bench.rest("alice", "PUT", "/api/settings", b'{"share_presence":false}') == 503
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        failing(bench.driver.relay.store)  # type: ignore[arg-type]
        with pytest.raises(ProtocolError, match="store is away"):
            bench.driver.control(Suspend(bench.people["alice"][3]))
        bench.driver.stop()

    with caplog.at_level(logging.CRITICAL, "mockrelay"):
        asyncio.run(body())


def test_a_store_that_cannot_be_opened_again_must_be_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        monkeypatch.setattr(driver_module, "RETRY_STORE_S", 0.001)
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        alice = bench.connect("alice")
        tries: list[int] = []
        whole = SqliteStore.restarted

        def away(self: SqliteStore, dedup: Any = None) -> MemoryStore:
            tries.append(1)
            if len(tries) < 3:
                raise StoreError("the disk is away")
            return whole(self, dedup)

        monkeypatch.setattr(SqliteStore, "restarted", away)
        failing(store)
        bench.message(alice, bench.people["alice"][3])
        while len(tries) < 3:
            await asyncio.sleep(0.001)
        assert bench.driver.away is None
        assert kinds(bench.connect("alice"))[1] == "AUTH_SUCCESS"
        bench.driver.stop()

    with caplog.at_level(logging.ERROR, "mockrelay"):
        asyncio.run(body())
    assert caplog.text.count("cannot be opened again") == 2
