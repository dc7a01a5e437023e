"""A shaped link between a live device and a relay: latency, order, partitions, resets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mockrelay.server import MockRelay
from tests.live.jump_loop import jump
from tests.mockrelay.live_support import serving, user_of
from zentalk_sim.live.clock import RealTime
from zentalk_sim.live.device import Device
from zentalk_sim.live.shaping import UNSHAPED, DeviceLink
from zentalk_sim.network.latency import Constant, Uniform
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Acked, Deliver, Identity
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig
from zentalk_sim.protocol.streams import Streams


@asynccontextmanager
async def linked(
    relay: MockRelay, name: str, profile: LinkProfile
) -> AsyncIterator[tuple[Device, DeviceLink, RealTime]]:
    user = user_of(relay, name)
    time = RealTime(asyncio.get_running_loop())
    link = DeviceLink(time, relay.ws_url, relay.http_url, profile, lambda: Streams(name).fresh("link"))
    identity = Identity(user.address, user.identity_secret, user.device_id, user.token)
    config = ClientConfig(backoff=BackoffConfig(base_ms=10, cap_ms=50))
    client = Client(config, identity, streams=Streams(name), name=name)
    async with Device(client, "", "", clock=time.real_us, transport=link) as device:
        device.connect()
        await device.wait_for_state(ClientState.CONNECTED)
        try:
            yield device, link, time
        finally:
            await device.stop()
            await link.stop()


def test_messages_must_keep_their_order_whatever_their_latency() -> None:
    profile = LinkProfile(latency=Uniform(1.0, 30.0), tls_round_trips=0)

    async def body() -> None:
        async with (
            serving("alice", "bob") as relay,
            linked(relay, "alice", profile) as (alice, _, time),
            linked(relay, "bob", UNSHAPED) as (bob, _, _),
        ):
            shown: list[str] = []
            bob._on_effect = lambda effect: shown.append(effect.message_id) if isinstance(effect, Deliver) else None
            began_us = time.real_us()
            last = asyncio.create_task(bob.wait_for(Deliver, lambda _: len(shown) == 9))
            await asyncio.sleep(0)
            sent = [alice.send(user_of(relay, "bob").address, b"x") for _ in range(10)]
            await last
            assert shown == sent
            assert time.real_us() - began_us >= 1_000

    jump(body())


def test_a_cut_path_must_carry_nothing_and_deliver_all_once_healed() -> None:
    profile = LinkProfile(latency=Constant(10.0), tls_round_trips=0)

    async def body() -> None:
        async with serving("alice") as relay, linked(relay, "alice", profile) as (alice, link, time):
            path = link.cut("both")
            acked = asyncio.create_task(alice.wait_for(Acked))
            await asyncio.sleep(0)
            message_id = alice.send(user_of(relay, "alice").address, b"x")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(acked), 0.15)
            assert relay.driver.counters.get("copies.stored", 0) == 0
            healed_us = time.real_us()
            link.heal("both", path)
            assert (await acked).message_id == message_id
            assert time.real_us() - healed_us >= 19_000
            assert alice.state is ClientState.CONNECTED

    jump(body())


def test_a_reset_must_be_seen_at_both_ends_and_a_refusing_host_not_let_in() -> None:
    async def body() -> None:
        async with serving("alice") as relay, linked(relay, "alice", UNSHAPED) as (alice, link, _):
            failed = asyncio.create_task(alice.wait_for_state(ClientState.FAILED))
            await asyncio.sleep(0)
            link.refuses = True
            link.reset_all()
            await failed
            again = asyncio.create_task(alice.wait_for_state(ClientState.CONNECTED))
            await asyncio.sleep(0.2)
            assert alice.state is not ClientState.CONNECTED
            assert not relay.driver.relay.connections
            link.refuses = False
            await again

    jump(body())
