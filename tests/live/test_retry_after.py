"""What the live face reads of a refused upgrade's Retry-After, and that it hands it to the client core."""

from __future__ import annotations

import asyncio

import pytest

from zentalk_sim.live.device import Device
from zentalk_sim.live.socket import retry_after_ms
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Identity, StateChanged
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig
from zentalk_sim.protocol.streams import Streams

NOW_S = 1_704_067_200.0
"""2024-01-01T00:00:00Z."""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("5", 5_000),
        (" 120 ", 120_000),
        ("0", 0),
        ("Mon, 01 Jan 2024 00:01:30 GMT", 90_000),
        ("Sun, 31 Dec 2023 23:59:00 GMT", 0),
        ("99999999999999999999", 86_400_000),
        ("Fri, 31 Dec 2099 23:59:59 GMT", 86_400_000),
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_says_nothing(
    header: str | None, expected: int | None
) -> None:
    assert retry_after_ms(header, NOW_S) == expected


def test_a_refusal_over_a_real_socket_directs_the_next_attempt() -> None:
    asyncio.run(_refused_and_directed())


async def _refused_and_directed() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    identity = Identity("0x" + "a" * 40, bytes(32), "11111111-1111-4111-8111-111111111111", "token")
    settings = ClientConfig(backoff=BackoffConfig(policy="server_directed"))
    client = Client(settings, identity, streams=Streams("seed"))
    now_us = round(NOW_S * 1e6)
    url = f"127.0.0.1:{port}"
    async with server, Device(client, f"ws://{url}/ws/v1", f"http://{url}", clock=lambda: now_us) as alice:
        refused = asyncio.create_task(
            alice.wait_for(StateChanged, lambda change: change.new is ClientState.FAILED, timeout_s=5)
        )
        await asyncio.sleep(0)
        alice.connect()
        change = await refused
        assert change.cause == "refused with 503"
        due_us = client.next_timeout()
        assert due_us is not None
        assert 40_000_000 <= due_us - now_us <= 41_000_000
