"""A durable store behind the control API: restarts of the core, of the process, and a reset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import run, serving, user_of


@pytest.mark.requirement("R-12.1")
def test_a_durable_store_must_keep_users_and_messages_over_two_processes_worth_of_relay(tmp_path: Path) -> None:
    spec = f"sqlite:{tmp_path / 'relay.db'}"

    async def first() -> Any:
        async with serving("alice", "bob", seed=None, store=spec) as relay, controlling(relay) as admin:
            asked = {"from": "alice", "to": "bob", "payload": {"ciphertext": "aGk="}}
            await admin.post("/messages", asked)
            assert (await admin.post("/restart"))["boot"] == 1
            assert (await admin.get("/stats"))["messages"] == 1
            return user_of(relay, "bob")

    async def second(bob: Any) -> None:
        async with serving("alice", "bob", seed=None, store=spec) as relay, controlling(relay) as admin:
            assert user_of(relay, "bob").address == bob.address, "named users follow from the key that is kept"
            found = await admin.client.get(
                f"{relay.http_url}/api/messages", headers={"Authorization": f"Bearer {bob.token}"}
            )
            assert found.json()["total"] == 1, "a token of the run before is good still"
            await admin.post("/reset")
            assert (await admin.get("/stats"))["messages"] == 0
            assert user_of(relay, "bob").address in [user["address"] for user in await admin.get("/users")]

    run(second(run(first())))
