"""Floods of the HTTP port: REST, big and compressed bodies, the control API, listeners that read nothing."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest

from mockrelay.bounds import Bounds
from tests.abuse.abuse_support import bystanders, ended, must_be_served, relay_with, until, wires
from tests.mockrelay.live_support import PATIENCE_S, run


def test_a_flood_of_unauthorised_requests_must_leave_others_served() -> None:
    async def body() -> None:
        async with (
            relay_with() as relay,
            bystanders(relay) as (alice, bob),
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S, base_url=relay.http_url) as client,
        ):
            asked = [
                *(client.get("/api/messages", headers={"Authorization": "Bearer no"}) for _ in range(50)),
                *(client.get("/admin/journal") for _ in range(50)),
            ]
            flood = asyncio.gather(*asked)
            await must_be_served(alice, bob)
            assert {answer.status_code for answer in await flood} == {401}

    run(body())


@pytest.mark.parametrize("path", ["/api/token", "/admin/users"])
def test_a_body_above_its_bound_must_be_refused_before_it_is_read(path: str) -> None:
    """1 MiB is taken in, not the 50 that come."""

    async def body() -> None:
        async with relay_with() as relay, bystanders(relay) as (alice, bob):
            taken = 0

            async def chunks():  # type: ignore[no-untyped-def]
                nonlocal taken
                for _ in range(800):
                    taken += 65_536
                    yield b" " * 65_536

            headers = {"Authorization": f"Bearer {relay.admin_token}"}
            async with httpx.AsyncClient(
                trust_env=False, timeout=PATIENCE_S, base_url=relay.http_url, headers=headers
            ) as client:
                try:
                    answer = await client.post(path, content=chunks())
                    assert answer.status_code == 413
                except (httpx.WriteError, httpx.ReadError):
                    # The relay ended the connection amid the body.
                    pass
            await must_be_served(alice, bob)

    run(body())


@pytest.mark.parametrize("path", ["/api/token", "/admin/users", "/api/v1/upload-media"])
def test_a_compressed_body_must_be_refused_and_not_inflated(path: str) -> None:
    async def body() -> None:
        async with relay_with() as relay:
            headers = {"Authorization": f"Bearer {relay.admin_token}", "Content-Encoding": "gzip"}
            async with httpx.AsyncClient(
                trust_env=False, timeout=PATIENCE_S, base_url=relay.http_url, headers=headers
            ) as client:
                answer = await client.post(path, content=gzip.compress(b" " * 10_000_000))
                assert answer.status_code == 415
                assert "no Content-Encoding is taken" in answer.json()["message"]

    run(body())


def test_a_listener_that_reads_nothing_must_hold_no_more_than_its_queue() -> None:
    async def body() -> None:
        async with relay_with(bounds=Bounds(event_queue=100)) as relay, bystanders(relay) as (alice, bob):
            journal = relay.default.journal
            before = len(journal.listeners)
            with wires() as attack:
                head = "GET /admin/events HTTP/1.1\r\nHost: localhost\r\n"
                head += f"Authorization: Bearer {relay.admin_token}\r\n\r\n"
                _, writer = await attack.dial(relay.http_url, head.encode())
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await until(lambda: len(journal.listeners) > before)
                while relay.driver.counters.get("events.dropped", 0) < 100:
                    journal.write("control", facts={"action": "x" * 10_000})
                    await asyncio.sleep(0)
                listener = journal.listeners[-1].__self__  # type: ignore[attr-defined]
                assert len(listener._queue) == 100
                await must_be_served(alice, bob)

    run(body())


def test_listeners_must_be_bounded_in_number() -> None:
    async def body() -> None:
        async with relay_with(bounds=Bounds(event_listeners=3)) as relay, bystanders(relay) as (alice, bob):
            with wires() as attack:
                head = f"GET /admin/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {relay.admin_token}\r\n"
                journal = relay.default.journal
                # The log may listen too; it takes nobody's place.
                before = len(journal.listeners)
                for _ in range(3):
                    await attack.dial(relay.http_url, (head + "\r\n").encode())
                await until(lambda: len(journal.listeners) == before + 3)
                reader, _ = await attack.dial(relay.http_url, (head + "Connection: close\r\n\r\n").encode())
                assert (await ended(reader)).startswith(b"HTTP/1.1 503 ")
                assert relay.driver.counters["events.refused"] == 1
                await must_be_served(alice, bob)

    run(body())


def test_a_journal_of_a_flood_must_keep_within_its_bytes() -> None:
    async def body() -> None:
        bounds = Bounds(journal_entries=200, journal_bytes=100_000)
        async with relay_with(bounds=bounds) as relay, bystanders(relay) as (alice, bob):
            for _ in range(60):
                await must_be_served(alice, bob)
            journal = relay.default.journal
            assert len(journal) <= 200
            assert journal.size_bytes <= 100_000
            assert journal.size_bytes == sum(entry.size for entry in journal.entries())
            assert relay.driver.counters["journal.dropped"] == journal.gone > 0

    run(body())
