"""R-3.1 over sockets: each refusal with its status, JSON body and headers, and what is no upgrade at all."""

from __future__ import annotations

import asyncio

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from mockrelay.bounds import Bounds
from tests.mockrelay.live_support import connected, raw, run, serving, target_of, upgrade_bytes


@pytest.mark.requirement("R-3.1")
@pytest.mark.parametrize(
    ("query", "headers", "status", "error_code"),
    [
        ({}, {"sec_websocket_key": "short"}, 400, "INVALID_MESSAGE"),
        ({}, {"sec_websocket_version": "8"}, 400, "INVALID_MESSAGE"),
        ({}, {"host": "evil.example"}, 421, "MISDIRECTED"),
        ({}, {"origin": "https://evil.example"}, 403, "FORBIDDEN"),
        ({}, {"sec_websocket_protocol": None}, 400, "INVALID_MESSAGE"),
        ({"token": None}, {}, 401, "UNAUTHORIZED"),
        ({"device_id": None}, {}, 400, "INVALID_MESSAGE"),
        ({"device_id": "7"}, {}, 400, "INVALID_MESSAGE"),
        ({"protocol_version": "2"}, {}, 400, "INVALID_MESSAGE"),
    ],
)
def test_a_refused_upgrade_must_carry_its_status_and_reason(
    query: dict[str, str | None], headers: dict[str, str | None], status: int, error_code: str
) -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            request = upgrade_bytes(relay, target_of(relay, "alice", **query), **headers)
            async with raw(relay, request) as peer:
                found, fields, answer = await peer.refused()
            assert (found, answer["error_code"]) == (status, error_code)
            assert set(answer) == {"error_code", "message"}
            assert fields["content-type"] == "application/json"
            assert relay.driver.relay.connections == {}

    run(body())


@pytest.mark.requirement("R-3.1")
def test_another_path_must_be_answered_404_whatever_else_is_wrong() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            for request in (
                upgrade_bytes(relay, "/ws/v2", host="evil.example"),
                b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
            ):
                async with raw(relay, request) as peer:
                    status, _, answer = await peer.refused()
                assert (status, answer["error_code"]) == (404, "NOT_FOUND")

    run(body())


@pytest.mark.requirement("R-3.1")
def test_a_full_relay_must_answer_503_with_retry_after() -> None:
    async def body() -> None:
        async with (
            serving("alice", "bob", settings={"upgrade": {"max_connections": 1}}) as relay,
            connected(relay, "alice"),
            raw(relay, upgrade_bytes(relay, target_of(relay, "bob"))) as peer,
        ):
            status, headers, answer = await peer.refused()
            assert (status, answer["error_code"], headers["retry-after"]) == (503, "SERVICE_UNAVAILABLE", "5")

    run(body())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /ws/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /ws/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"GET /ws/v1 HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 426),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET \xff HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_no_upgrade_must_get_an_http_error(request_bytes: bytes, status: int) -> None:
    async def body() -> None:
        async with serving() as relay, raw(relay, request_bytes) as peer:
            found, _, answer = await peer.refused()
            assert found == status
            assert answer["error_code"] == "INVALID_MESSAGE"

    run(body())


def test_the_answer_to_an_upgrade_must_name_the_subprotocol_and_no_extension() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            offered = "permessage-deflate; client_max_window_bits"
            request = upgrade_bytes(relay, target_of(relay, "alice"), sec_websocket_extensions=offered)
            async with raw(relay, request) as peer:
                status, headers = await peer.head()
            assert status == 101
            # The key and its answer of RFC 6455 §1.3.
            assert headers["sec-websocket-accept"] == "s3pplmbitxaq9kygzzhzrbk+xoo="
            assert headers["sec-websocket-protocol"] == "zentalk.v1"
            assert "sec-websocket-extensions" not in headers
            deflate = [ClientPerMessageDeflateFactory()]
            async with connected(relay, "alice", extensions=deflate, compression=None) as alice:
                assert alice.ws.protocol.extensions == []

    run(body())


def test_frames_sent_along_with_the_request_must_be_taken_after_the_upgrade() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            request = upgrade_bytes(relay, target_of(relay, "alice")) + b"\x89\x80\x01\x02\x03\x04"
            async with raw(relay, request) as peer:
                assert (await peer.head())[0] == 101
                assert (await peer.frame())[0] == 1, "AUTH_CHALLENGE first"
                assert await peer.frame() == (10, b""), "then the pong"

    run(body())


def test_a_request_in_pieces_must_be_put_together() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw(relay) as peer:
            for byte in upgrade_bytes(relay, target_of(relay, "alice")):
                peer.writer.write(bytes((byte,)))
                await peer.writer.drain()
                await asyncio.sleep(0)
            assert (await peer.head())[0] == 101

    run(body())


def test_a_request_that_does_not_come_must_time_out() -> None:
    async def body() -> None:
        async with (
            serving(bounds=Bounds(handshake_timeout_ms=50)) as relay,
            raw(relay, b"GET /ws/v1 HTTP/1.1\r\nHo") as peer,
        ):
            assert (await peer.refused())[0] == 408
            assert relay.driver.counters["upgrades.timeout"] == 1

    run(body())


@pytest.mark.requirement("R-3.2")
def test_a_bad_token_must_be_accepted_first_and_closed_with_4000() -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            request = upgrade_bytes(relay, target_of(relay, "alice", token="no.jwt.at-all"))
            async with raw(relay, request) as peer:
                assert (await peer.head())[0] == 101
                assert b"AUTH_FAILED" in (await peer.frame())[1]
                peer.writer.write(b"\x88\x82\x00\x00\x00\x00\x0f\xa0")
                assert (await peer.until_close())[0] == 4000

    run(body())
