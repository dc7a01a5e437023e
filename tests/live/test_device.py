"""The client core over real sockets, against the mock relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mockrelay.server import MockRelay
from tests.mockrelay.live_support import config, connected, run, serving, user_of
from zentalk_sim.live.device import Device
from zentalk_sim.live.http import HttpError, request
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Acked, ClientEffect, Deliver, Identity, Receipt
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.control import CloseConn, IssueToken, Suspend
from zentalk_sim.protocol.streams import Streams


@asynccontextmanager
async def device(relay: MockRelay, name: str, *, token: str | None = None, **options: Any) -> AsyncIterator[Device]:
    """A device of a user, not yet connected."""
    user = user_of(relay, name)
    identity = Identity(user.address, user.identity_secret, user.device_id, token or user.token)
    quick = ClientConfig(backoff=_QUICK)
    client = Client(quick, identity, streams=Streams(name), name=name)
    async with Device(client, relay.ws_url, relay.http_url, **options) as made:
        yield made


_QUICK = type(ClientConfig().backoff)(base_ms=10, cap_ms=50)


async def connect(one: Device) -> None:
    one.connect()
    await one.wait_for_state(ClientState.CONNECTED)


@pytest.mark.requirement("R-6.2", "R-6.3", "R-11.4")
def test_alice_and_bob_must_talk_as_their_client_cores_say() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, device(relay, "alice") as alice, device(relay, "bob") as bob:
            await connect(alice)
            await connect(bob)
            delivered = asyncio.create_task(bob.wait_for(Deliver))
            receipts = asyncio.create_task(alice.wait_for(Receipt, lambda receipt: receipt.kind == "read"))
            await asyncio.sleep(0)
            message_id = alice.send(user_of(relay, "bob").address, b"hello", conversation_id=_conversation(relay))
            shown = await delivered
            assert (shown.message_id, shown.payload.ciphertext, shown.via) == (message_id, b"hello", "push")
            bob.mark_read(message_id)
            assert (await receipts).message_id == message_id

    run(body())


def _conversation(relay: MockRelay) -> str:
    from zentalk_sim.protocol.identity import conversation_id

    return conversation_id(user_of(relay, "alice").address, user_of(relay, "bob").address)


@pytest.mark.requirement("R-6.6", "R-2.2")
def test_what_waited_must_be_fetched_over_rest_large_messages_too() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, device(relay, "alice") as alice, device(relay, "bob") as bob:
            await connect(alice)
            for text in (b"small", b"x" * 50_000):
                acked = asyncio.create_task(alice.wait_for(Acked))
                await asyncio.sleep(0)
                alice.send(user_of(relay, "bob").address, text)
                await acked
            got: list[Deliver] = []
            bob._on_effect = lambda effect: got.append(effect) if isinstance(effect, Deliver) else None
            second = asyncio.create_task(bob.wait_for(Deliver, lambda shown: len(shown.payload.ciphertext) > 5))
            bob.connect()
            await second
            assert [(shown.via, len(shown.payload.ciphertext)) for shown in got] == [("fetch", 5), ("fetch", 50_000)]

    run(body())


@pytest.mark.requirement("R-11.2", "R-11.3", "R-3.4")
@pytest.mark.parametrize("how", ["cut", "abort", "1011"])
def test_a_lost_connection_must_come_back_and_resume(how: str) -> None:
    async def body() -> None:
        async with serving("alice") as relay, device(relay, "alice") as alice:
            await connect(alice)
            session = alice.client.session.session_id
            again = asyncio.create_task(_connected_again(alice))
            await asyncio.sleep(0)
            conn = next(iter(relay.driver.relay.connections))
            if how == "cut":
                alice.lose_connection()
            else:
                relay.driver.control(CloseConn(conn, None if how == "abort" else 1011))
            await again
            assert alice.client.session.session_id == session

    run(body())


async def _connected_again(one: Device) -> None:
    from zentalk_sim.protocol.client_effects import StateChanged

    await one.wait_for(StateChanged, lambda change: change.new is ClientState.CONNECTED)


@pytest.mark.requirement("R-11.3", "R-3.3")
def test_an_expired_token_must_be_replaced_over_rest() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            user = user_of(relay, "alice")
            stale = relay.driver.control(IssueToken(user.address, user.device_id, lifetime_s=-100_000))[0]
            async with device(relay, "alice", token=stale) as alice:
                again = asyncio.create_task(_connected_again(alice))
                await asyncio.sleep(0)
                alice.connect()
                await again

    run(body())


@pytest.mark.requirement("R-11.3")
def test_a_suspended_account_must_stop_trying() -> None:
    async def body() -> None:
        async with serving("alice") as relay, device(relay, "alice") as alice:
            await connect(alice)
            stopped = asyncio.create_task(alice.wait_for_state(ClientState.DISCONNECTED))
            await asyncio.sleep(0)
            relay.driver.control(Suspend(user_of(relay, "alice").address))
            await stopped
            assert alice.client.next_timeout() is None

    run(body())


@pytest.mark.requirement("R-11.1")
def test_an_orderly_close_must_be_seen_by_the_relay_as_one() -> None:
    async def body() -> None:
        async with serving("alice") as relay, device(relay, "alice") as alice:
            await connect(alice)
            alice.close()
            await alice.wait_for_state(ClientState.DISCONNECTED)
            async with connected(relay, "alice"):
                assert relay.driver.counters["connections.lost.closed"] == 1

    run(body())


@pytest.mark.requirement("R-11.2")
def test_a_relay_that_is_not_there_must_be_tried_again() -> None:
    async def body() -> None:
        async with serving("alice") as relay, device(relay, "alice") as alice:
            alice._transport.ws_url = "ws://127.0.0.1:1/ws/v1"
            tried = asyncio.create_task(alice.wait_for_state(ClientState.FAILED))
            await asyncio.sleep(0)
            alice.connect()
            await tried
            alice._transport.ws_url = relay.ws_url
            await alice.wait_for_state(ClientState.CONNECTED)

    run(body())


def test_what_a_callback_does_must_follow_the_effects_it_was_called_amid() -> None:
    async def body() -> None:
        order: list[str] = []

        async with serving("alice", "bob") as relay, device(relay, "alice") as alice:
            bob = user_of(relay, "bob").address

            def told(effect: ClientEffect) -> None:
                order.append(type(effect).__name__)
                if isinstance(effect, Acked) and order.count("Acked") == 1:
                    alice.send(bob, b"again")
                    order.append("end of callback")

            alice._on_effect = told
            await connect(alice)
            second = asyncio.create_task(alice.wait_for(Acked, lambda _: order.count("Acked") == 1))
            await asyncio.sleep(0)
            alice.send(bob, b"once")
            await second
        assert order.index("end of callback") > order.index("Acked")
        assert order.count("Acked") == 2

    run(body())


def test_a_request_without_an_answer_must_be_an_error_that_says_so() -> None:
    async def body() -> None:
        with pytest.raises(HttpError, match="GET /api/messages"):
            await request("http://127.0.0.1:1/api/messages", "GET")

    run(body())
    assert config().upgrade.profile == "dev"
