"""The durable store behind real sockets: restart, stop and start, a disk that fails."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from mockrelay.store import SqliteStore
from tests.mockrelay.live_support import connected, message, run, serving
from zentalk_sim.live.http import request
from zentalk_sim.trace.replay import replay_file


@pytest.mark.requirement("R-12.1")
def test_a_restart_must_close_with_1001_and_lose_no_copy(tmp_path: Path) -> None:
    record = tmp_path / "r.jsonl.gz"

    async def body() -> None:
        options = {"store": f"sqlite:{tmp_path / 'relay.db'}", "record": str(record)}
        async with serving("alice", "bob", **options) as relay:
            async with connected(relay, "alice") as alice:
                message_id = await alice.message(relay.users[1])
                await alice.until("MESSAGE_ACK")
                status, _ = await request(f"{relay.http_url}/admin/restart", "POST", bearer=relay.admin_token)
                assert status in (200, 202, 204)
                with pytest.raises(ConnectionClosed):
                    await alice.until("nothing of the kind")
                assert alice.ws.close_code == 1001
            async with connected(relay, "alice"), connected(relay, "bob") as bob:
                assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1
                await bob.send("MESSAGE_RECEIVED", {"message_id": message_id})

    run(body())
    result = replay_file(record)
    assert result.first_difference is None
    assert result.outputs > 10


@pytest.mark.requirement("R-12.1")
def test_a_relay_started_again_without_a_seed_must_know_its_users_and_their_tokens(tmp_path: Path) -> None:
    async def body() -> None:
        store = f"sqlite:{tmp_path / 'relay.db'}"
        async with serving("alice", "bob", seed=None, store=store) as first:
            async with connected(first, "alice") as alice:
                await alice.message(first.users[1])
                await alice.until("MESSAGE_ACK")
            jwks = await request(f"{first.http_url}/.well-known/jwks.json", "GET")
        assert not (tmp_path / "relay.db-wal").exists(), "an orderly stop leaves one file"
        async with serving("alice", "bob", seed=None, store=store) as again:
            assert [user.identity_secret for user in again.users] == [user.identity_secret for user in first.users]
            assert [user.device_id for user in again.users] == [user.device_id for user in first.users]
            assert await request(f"{again.http_url}/.well-known/jwks.json", "GET") == jwks
            async with connected(again, "bob") as bob:
                assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1
            status, data = await request(f"{again.http_url}/api/messages", "GET", bearer=first.users[1].token)
            assert status == 200
            assert json.loads(data)["total"] == 1

    run(body())


@pytest.mark.requirement("R-12.2")
def test_a_disk_that_fails_must_cost_connections_and_no_acknowledged_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with serving("alice", "bob", store=f"sqlite:{tmp_path / 'relay.db'}") as relay:
            async with connected(relay, "alice") as alice:
                bob = relay.users[1]
                await alice.message(bob)
                await alice.until("MESSAGE_ACK")
                store = relay.driver.relay.store
                assert isinstance(store, SqliteStore)
                store._database.execute("PRAGMA query_only = ON")
                lost = await alice.send("MESSAGE_SEND", payload := message(bob))
                with pytest.raises(ConnectionClosed):
                    await alice.until("MESSAGE_ACK")
                assert alice.ws.close_code == 1006
            while relay.driver.away is not None:
                await asyncio.sleep(0.01)
            async with connected(relay, "alice") as alice:
                await alice.send("MESSAGE_SEND", payload, id=lost)
                assert (await alice.until("MESSAGE_ACK"))["payload"]["status"] == "queued", "it was not stored before"
            async with connected(relay, "bob") as peer:
                assert (await peer.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 2
            assert relay.driver.counters["store.failures"] == 1

    with caplog.at_level(logging.CRITICAL, "mockrelay"):
        run(body())
