"""Group commit: one commit a turn, effects after it and in order, restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mockrelay.clock import MovableClock
from mockrelay.store import SqliteStore
from tests.mockrelay.commit_support import durable_bench, kinds
from tests.mockrelay.store_support import as_killed
from tests.trace.recorded import Bench
from zentalk_sim.protocol.control import Suspend
from zentalk_sim.protocol.effects import Respond
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.trace.replay import replay_file


@pytest.mark.requirement("R-6.2")
def test_an_ack_must_not_be_sent_before_the_commit_that_holds_the_message(tmp_path: Path) -> None:
    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        bob = bench.person("bob")
        alice = bench.connect("alice")
        message_id = bench.message(alice, bob)
        assert "MESSAGE_ACK" not in kinds(alice), "the turn is not over"
        assert message_id in store.messages
        await asyncio.sleep(0)
        assert kinds(alice)[-1] == "MESSAGE_ACK"
        killed = SqliteStore(str(as_killed(store, tmp_path / "killed")))
        assert message_id in killed.messages
        assert killed.mailbox(bob, bench.people["bob"][1])
        killed.close()
        bench.driver.stop()

    asyncio.run(body())


def test_the_inputs_of_one_turn_must_share_a_commit(tmp_path: Path) -> None:
    async def body() -> None:
        bench, _ = durable_bench(tmp_path)
        bench.person("alice")
        bob = bench.person("bob")
        alice = bench.connect("alice")
        before = bench.driver.queue.commits
        for _ in range(8):
            bench.message(alice, bob)
        await asyncio.sleep(0)
        assert kinds(alice).count("MESSAGE_ACK") == 8
        assert bench.driver.queue.commits == before + 1
        bench.driver.stop()

    asyncio.run(body())


def test_a_store_in_memory_must_tell_at_once() -> None:
    async def body() -> None:
        bench = Bench(store=MemoryStore())
        bench.person("alice")
        alice = bench.connect("alice")
        bench.message(alice, bench.person("bob"))
        assert kinds(alice)[-1] == "MESSAGE_ACK"
        assert bench.driver.queue.commits == 0
        bench.driver.stop()

    asyncio.run(body())


@pytest.mark.parametrize("durable", [False, True])
def test_no_effect_must_overtake_another(tmp_path: Path, durable: bool) -> None:
    """An input that comes up while effects are applied (a bot's answer, say) has its own effects after them."""

    async def body() -> None:
        bench = durable_bench(tmp_path)[0] if durable else Bench()
        bench.person("alice")
        bob = bench.person("bob")
        alice, line = bench.connect("alice"), bench.connect("bob")
        said: list[tuple[int, str]] = []
        answers: list[Respond] = []

        def answering(now: int, output: Any) -> None:
            payload = getattr(output, "payload", None)
            if payload is None:
                return
            kind = json.loads(payload)["type"]
            said.append((output.conn, kind))
            if kind == "MESSAGE_ACK":
                # Amid the batch whose MESSAGE_NEW is still to come.
                bench.send(alice, "PRESENCE_SET", {"status": "away"})
                bench.send(alice, "SUBSCRIBE", {"topics": [f"keys:{bob}", f"presence:{bench.people['alice'][3]}"]})
                answers.append(
                    bench.driver.request(Request("GET", "/api/settings", {}, bench.people["bob"][2], None, "127.0.0.1"))
                )

        bench.driver.observers.append(answering)
        bench.message(alice, bob)
        bench.driver.queue.flush()
        assert said == [(alice.conn, "MESSAGE_ACK"), (line.conn, "MESSAGE_NEW"), (alice.conn, "PRESENCE_UPDATE")]
        assert [answer.status for answer in answers] == [200]
        bench.driver.stop()

    asyncio.run(body())


def test_a_request_and_a_command_must_be_answered_after_their_commit(tmp_path: Path) -> None:
    async def body() -> None:
        bench, store = durable_bench(tmp_path)
        bench.person("alice")
        assert bench.rest("alice", "PUT", "/api/settings", b'{"share_presence":false}') == 200
        bench.driver.control(Suspend(bench.people["alice"][3]))
        killed = SqliteStore(str(as_killed(store, tmp_path / "killed")))
        user = killed.users[bench.people["alice"][3]]
        assert (user.settings.share_presence, user.suspended) == (False, True)
        killed.close()
        bench.driver.stop()

    asyncio.run(body())


# --- restart -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R-12.1")
@pytest.mark.parametrize("durable", [False, True])
def test_a_restart_must_close_with_1001_and_keep_what_is_stored(tmp_path: Path, durable: bool) -> None:
    async def body() -> None:
        bench = durable_bench(tmp_path)[0] if durable else Bench()
        path = tmp_path / "r.jsonl"
        bench.person("alice")
        bob = bench.person("bob")
        alice = bench.connect("alice")
        bench.message(alice, bob)
        bench.driver.record(str(path), 1)
        before = bench.clock.now_us()
        bench.driver.restart()
        assert alice.ended == 1001
        assert bench.clock.now_us() == before
        assert bench.driver.relay.store.counters.boot == 1
        bench.send(alice, "PRESENCE_SET", {"status": "away"})
        line = bench.connect("bob")
        bench.driver.queue.flush()
        assert "SYNC_REQUIRED" in kinds(line)
        assert kinds(bench.connect("alice"))[1] == "AUTH_SUCCESS", "tokens stay good"
        bench.driver.restart()
        assert line.ended == 1001
        bench.connect("bob")
        bench.driver.stop()
        result = replay_file(path)
        assert result.first_difference is None
        assert path.read_bytes().count(b'{"e":"restart"') == 2

    asyncio.run(body())


def test_no_challenge_may_come_again_after_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        bench, _ = durable_bench(tmp_path)
        bench.person("alice")
        challenges = set()
        for _ in range(3):
            challenges.add(bench.connect("alice").frames[0]["payload"]["challenge"])
            bench.driver.restart()
        assert len(challenges) == 3
        bench.driver.stop()

    asyncio.run(body())


def test_a_stopped_driver_must_have_closed_its_store(tmp_path: Path) -> None:
    async def body() -> None:
        bench, store = durable_bench(tmp_path, clock=MovableClock(scale=0))
        bench.person("alice")
        line = bench.connect("alice")
        bench.message(line, bench.people["alice"][3])
        bench.driver.stop()
        bench.driver.stop()
        assert kinds(line)[-1] == "MESSAGE_ACK", "what waited was committed and told"
        bench.driver.disconnect(line.conn, "lost")
        again = SqliteStore(store.path)
        assert len(again.messages) == 1
        again.close()

    asyncio.run(body())
