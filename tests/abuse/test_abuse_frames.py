"""Peers that flood: frames, pings, fragments, oversized and compressed messages, and peers that read nothing."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from mockrelay.websocket import Connection
from tests.abuse.abuse_support import bystanders, ended, must_be_served, relay_with, until, user_of, wires
from tests.mockrelay.live_support import connected, frozen, masked, message, raw_upgraded, run, target_of, upgrade_bytes

MIB = 1 << 20


def connection_of(relay: Any, name: str) -> Connection:
    """The relay's side of a user's connection."""
    address = user_of(relay, name).address
    (conn,) = (conn.id for conn in relay.driver.relay.connections.values() if conn.user == address)
    sink = relay.driver.sink_of(conn)
    assert isinstance(sink, Connection)
    return sink


@pytest.mark.requirement("R-1.5")
def test_a_flood_of_malformed_frames_must_end_at_the_tenth() -> None:
    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            async with connected(relay, "mallory") as mallory:
                mallory.ws.transport.write(masked(1, b'{"type":1}') * 5_000)
                await mallory.ws.wait_closed()
                assert mallory.ws.close_code == 1008
                assert relay.driver.counters["errors.INVALID_MESSAGE"] == 10
            await must_be_served(alice, bob)

    run(body())


@pytest.mark.requirement("R-12.4")
def test_pings_whose_answers_are_not_read_must_not_pile_up() -> None:
    """The relay stops reading from mallory before mallory's outbox is full, and keeps the connection."""

    async def body() -> None:
        outbox = {"max_bytes": 40_000, "max_frames": 100}
        settings = {"outbox": outbox, "limits": {"send_message": "off"}}
        async with (
            relay_with(settings=settings) as relay,
            bystanders(relay) as (alice, bob),
            connected(relay, "mallory") as mallory,
        ):
            mallory.ws.transport.pause_reading()
            flooded = connection_of(relay, "mallory")
            ping = masked(9, b"x" * 125) * 500
            while flooded._reading:
                mallory.ws.transport.write(ping)
                await asyncio.sleep(0)
            for _ in range(100):
                mallory.ws.transport.write(ping)
            await must_be_served(alice, bob)
            frames, size = flooded.queued()
            assert frames <= outbox["max_frames"]
            assert size <= outbox["max_bytes"]
            assert "slow_consumer" not in relay.driver.counters
            mallory.ws.transport.abort()

    run(body())


def test_a_message_of_endless_fragments_must_end_with_1009_at_its_bound() -> None:
    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            async with raw_upgraded(relay, "mallory") as mallory:
                mallory.writer.write(masked(1, b"{", fin=False))
                for _ in range(17):
                    mallory.writer.write(masked(0, b" " * 65_536, fin=False))
                code, _ = await mallory.until_close()
                assert code == 1009
            await must_be_served(alice, bob)

    run(body())


def test_tiny_fragments_must_cost_no_more_than_their_bytes() -> None:
    async def body() -> None:
        async with (
            relay_with() as relay,
            bystanders(relay) as (alice, bob),
            raw_upgraded(relay, "mallory") as mallory,
        ):
            flooded = connection_of(relay, "mallory")
            mallory.writer.write(masked(1, b"{", fin=False) + masked(0, b" ", fin=False) * 10_000)
            await until(lambda: flooded._message is not None and len(flooded._message) == 10_001)
            assert flooded._inbox is None, "fragments are put together as they come"
            await must_be_served(alice, bob)

    run(body())


@pytest.mark.requirement("R-1.6")
@pytest.mark.parametrize("size", [MIB + 1, 1 << 40])
def test_a_frame_that_announces_too_much_must_be_refused_by_its_header(size: int) -> None:
    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            async with raw_upgraded(relay, "mallory") as mallory:
                mallory.writer.write(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4))
                code, _ = await mallory.until_close()
                assert code == 1009
            await must_be_served(alice, bob)

    run(body())


def test_no_extension_must_be_negotiated_and_a_compressed_frame_be_a_protocol_error() -> None:
    """So that there is nothing to inflate: a bomb of a thousand to one ends its connection as it is."""

    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            offered = "permessage-deflate; client_max_window_bits"
            request = upgrade_bytes(relay, target_of(relay, "mallory"), sec_websocket_extensions=offered)
            with wires() as attack:
                reader, writer = await attack.dial(relay.ws_url, request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 101 ")
                assert b"extensions" not in head.lower()
                squeezer = zlib.compressobj(wbits=-15)
                bomb = squeezer.compress(b" " * MIB) + squeezer.flush(zlib.Z_SYNC_FLUSH)
                first = masked(1, bomb)
                writer.write(bytes((first[0] | 0x40,)) + first[1:])
                assert (await ended(reader)).endswith((1002).to_bytes(2, "big") + b"reserved bits must be 0")
            await must_be_served(alice, bob)

    run(body())


@pytest.mark.requirement("R-12.4")
def test_a_peer_that_reads_nothing_must_be_dropped_and_its_messages_kept() -> None:
    """The stated policy of a full outbox: the connection goes, the mailbox stays."""

    async def body() -> None:
        outbox = {"max_bytes": 100_000, "max_frames": 50}
        settings = {"outbox": outbox, "limits": {"send_message": "off"}}
        async with relay_with(settings=settings) as relay, bystanders(relay) as (alice, bob):
            async with connected(relay, "mallory") as mallory:
                mallory.ws.transport.pause_reading()
                flooded = connection_of(relay, "mallory")
                sent = 0
                while "slow_consumer" not in relay.driver.counters:
                    await alice.send("MESSAGE_SEND", message(mallory.user, b"x" * 8_000))
                    await alice.until("MESSAGE_ACK")
                    sent += 1
                    assert flooded.queued()[1] <= outbox["max_bytes"] + 65_536
                await must_be_served(alice, bob)
                mallory.ws.transport.abort()
            box = relay.driver.relay.store.mailbox(mallory.user.address, mallory.user.device_id)
            assert len(box) == sent

    run(body())


@pytest.mark.requirement("R-8.1")
def test_half_open_connections_must_be_given_up_after_three_heartbeats() -> None:
    async def body() -> None:
        async with (
            relay_with(clock=frozen()) as relay,
            connected(relay, "mallory"),
        ):
            for second in range(1, 121):
                (conn,) = relay.driver.relay.connections.values()
                assert conn.state == "ready", f"given up after {second - 1} s"
                relay.default.clock.advance(1_000_000)
                relay.default.clock_changed()
            await until(lambda: not relay.driver.relay.connections)
            assert relay.driver.counters["heartbeats.missed"] == 3
            assert relay.driver.counters["connections.lost.heartbeat"] == 1

    run(body())


def test_a_session_of_garbage_must_not_make_the_core_fail() -> None:
    async def body() -> None:
        limits = {"connection_rate": "off", "send_message": "off"}
        async with relay_with(settings={"limits": limits}) as relay, bystanders(relay) as (alice, bob):
            for number in range(20):
                async with raw_upgraded(relay, "mallory") as mallory:
                    mallory.writer.write(bytes((number * 7 + at * 13) % 256 for at in range(300)))
                    await ended(mallory.reader)
            assert relay.driver.crashes == 0
            await must_be_served(alice, bob)

    run(body())
