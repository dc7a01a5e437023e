"""Peers that open connections and do not say what for: bounded in number and bytes, and others are served."""

from __future__ import annotations

import asyncio

import pytest

from mockrelay.bounds import Bounds
from mockrelay.handshake import MAX_HEAD_BYTES
from tests.abuse.abuse_support import bystanders, ended, must_be_served, relay_with, until, wires
from tests.live.jump_loop import jump
from tests.mockrelay.live_support import connected, masked, run, target_of, upgrade_bytes

LORIS = b"GET /ws/v1 HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


def test_of_too_many_half_handshakes_the_oldest_must_go_and_a_newcomer_be_served() -> None:
    async def body() -> None:
        async with relay_with(bounds=Bounds(handshakes=10)) as relay, bystanders(relay) as (alice, bob):
            with wires() as attack:
                first, _ = await attack.dial(relay.ws_url, LORIS)
                for _ in range(39):
                    await attack.dial(relay.ws_url, LORIS)
                await until(lambda: relay.driver.counters.get("handshakes.dropped") == 30)
                assert await ended(first) == b""
                async with connected(relay, "mallory"):
                    await must_be_served(alice, bob)
                # Mallory's own handshake took a place too, for as long as it lasted.
                assert relay.driver.counters["handshakes.dropped"] == 31

    run(body())


def test_bytes_that_trickle_in_must_not_prolong_a_handshake() -> None:
    async def body() -> None:
        async with relay_with(bounds=Bounds(handshake_timeout_ms=100)) as relay:
            with wires() as attack:
                reader, writer = await attack.dial(relay.ws_url, LORIS)
                answer = asyncio.create_task(ended(reader))
                while not answer.done():
                    writer.write(b"x")
                    await asyncio.sleep(0.005)
                assert answer.result().startswith(b"HTTP/1.1 408 ")
                assert relay.driver.counters["upgrades.timeout"] == 1

    jump(body())


def test_a_head_without_end_must_be_cut_off_at_its_bound() -> None:
    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            with wires() as attack:
                reader, writer = await attack.dial(relay.ws_url, LORIS)
                writer.write(b"x" * MAX_HEAD_BYTES)
                assert (await ended(reader)).startswith(b"HTTP/1.1 431 ")
                await must_be_served(alice, bob)

    run(body())


def test_frames_sent_before_the_upgrade_is_answered_must_be_bounded() -> None:
    """A rule holds the answer back; what mallory sends meanwhile stays in the kernel beyond 64 KiB and one read."""

    async def body() -> None:
        stall = {"match": {"event": "upgrade", "user": "mallory"}, "action": {"do": "stall"}}
        async with relay_with(rules=(stall,)) as relay, bystanders(relay) as (alice, bob):
            with wires() as attack:
                request = upgrade_bytes(relay, target_of(relay, "mallory"))
                _, writer = await attack.dial(relay.ws_url, request)
                await until(lambda: len(relay.default.faults.held) == 1)
                writer.write(masked(1, b"x" * 1_000) * 4_000)
                held = next(iter(relay.default.faults.held)).socket
                await until(lambda: not held._reading)  # type: ignore[attr-defined]
                await must_be_served(alice, bob)
                assert len(held._early) <= MAX_HEAD_BYTES + 262_144  # type: ignore[attr-defined]

    run(body())


@pytest.mark.requirement("R-10.3")
def test_a_flood_of_one_ip_must_leave_others_their_connections() -> None:
    async def body() -> None:
        limits = {"connections_per_ip": {"limit": 10}, "connection_rate": "off", "send_message": "off"}
        upgrade = {"profile": "spec", "hosts": ["127.0.0.1"]}
        async with relay_with(settings={"limits": limits, "upgrade": upgrade}) as relay:
            with wires() as attack:
                request = upgrade_bytes(relay, target_of(relay, "mallory"), host="127.0.0.1")
                for _ in range(30):
                    await attack.dial(relay.ws_url, request, "127.0.0.9")
                await until(lambda: relay.driver.counters.get("rate_limited.connections_per_ip") == 20)
                assert len(relay.driver.relay.connections) <= 30
                async with bystanders(relay) as (alice, bob):
                    await must_be_served(alice, bob)

    run(body())


def test_http_requests_that_do_not_come_must_be_bounded_and_time_out() -> None:
    async def body() -> None:
        bounds = Bounds(handshakes=5, handshake_timeout_ms=200)
        async with relay_with(bounds=bounds) as relay, bystanders(relay) as (alice, bob):
            with wires() as attack:
                for _ in range(12):
                    await attack.dial(relay.http_url, b"GET /health HTTP/1.1\r\nX-Slow: ")
                await until(lambda: relay.driver.counters.get("handshakes.dropped") == 7)
                await until(lambda: relay.driver.counters.get("http.timeout") == 5)
                head = b"POST /api/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
                reader, _ = await attack.dial(relay.http_url, head)
                assert await ended(reader) == b"", "a body that does not go on ends its connection"
                assert relay.driver.counters["http.timeout"] == 6
                await must_be_served(alice, bob)

    jump(body())


def test_a_second_request_on_a_connection_must_come_in_time_too() -> None:
    async def body() -> None:
        async with relay_with(bounds=Bounds(handshake_timeout_ms=200)) as relay:
            with wires() as attack:
                whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                reader, writer = await attack.dial(relay.http_url, whole)
                assert b"200 OK" in await reader.readuntil(b'{"status":"ok"}')
                writer.write(whole[:10])
                await ended(reader)
                assert relay.driver.counters["http.timeout"] == 1

    jump(body())
