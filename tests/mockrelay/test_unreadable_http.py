"""What no application is given, since it is no HTTP request, is answered as every error is: JSON, with its remedy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mockrelay.http.unreadable import MAX_HEAD_BYTES
from mockrelay.server import MockRelay
from tests.mockrelay.live_support import PATIENCE_S, run, serving

HEAD = b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + b"x" * 190


async def answered(relay: MockRelay, sent: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and JSON of the answer, behind which the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(relay.http_url.rpartition(":")[2]))
    writer.write(sent)
    async with asyncio.timeout(PATIENCE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), fields, json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status", "code", "said"),
    [
        (b"no request at all\r\n\r\n", 400, "INVALID_MESSAGE", "illegal request line"),
        (HEAD + b"Content-Length: many\r\n\r\n", 400, "INVALID_MESSAGE", "Content-Length"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "INVALID_MESSAGE", "Content-Length"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "INVALID_MESSAGE", "Host"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501, "INVALID_MESSAGE", "chunked"),
        (CHUNKED + b"zz\r\n", 400, "INVALID_MESSAGE", "chunk"),
        (TLS_HELLO, 400, "INVALID_MESSAGE", "without TLS: use http://"),
        # No more than what is read at once: what lies unread when a connection is closed may take its answer with it.
        (HEAD + b"X: " + b"x" * MAX_HEAD_BYTES, 431, "TOO_LARGE", f"at most {MAX_HEAD_BYTES} bytes"),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, 414, "TOO_LARGE", f"at most {MAX_HEAD_BYTES} bytes"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_what_is_no_request_must_be_answered_in_json(sent: bytes, status: int, code: str, said: str) -> None:
    async def body() -> None:
        async with serving("alice") as relay:
            found, fields, answer = await answered(relay, sent)
            assert (found, answer["error_code"], set(answer)) == (status, code, {"error_code", "message", "details"})
            assert said in answer["message"]
            assert (fields["content-type"], fields["connection"]) == ("application/json", "close")

    run(body())


def test_what_follows_an_answer_must_not_be_answered_in_its_midst() -> None:
    """The rest of a body that nobody asked for: its request is answered already."""

    async def body() -> None:
        async with serving("alice") as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(relay.http_url.rpartition(":")[2]))
            writer.write(CHUNKED.replace(b"/api/messages", b"/health"))
            async with asyncio.timeout(PATIENCE_S):
                assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 405 ")
                writer.write(b"zz\r\n")
                assert await reader.read() == b""
            writer.close()

    run(body())
