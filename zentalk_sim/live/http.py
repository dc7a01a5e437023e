"""One HTTP/1.1 request over asyncio streams, parsed by h11 (RFC 9112); a connection for each.

That is all a client core asks of HTTP: a handful of small JSON requests, their status and their body.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import h11

MAX_BODY_BYTES: Final = 64 << 20
_READ_BYTES: Final = 65_536


class HttpError(Exception):
    """A request that got no answer, or none that can be read."""


async def request(
    url: str,
    method: str,
    *,
    bearer: str | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 60.0,
    max_body_bytes: int = MAX_BODY_BYTES,
    headers: Mapping[str, str] | None = None,
    sink: BinaryIO | None = None,
) -> tuple[int, bytes]:
    """Status and body of one request to an ``http://`` or ``https://`` URL.

    ``tls`` is the context for ``https``; None is the system's trust. ``headers`` are sent besides. The body of an
    answer with status 200 goes to ``sink``, where one is given, however long. Raises HttpError, also for another
    answer of more than ``max_body_bytes``. No redirect is followed.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    context = (tls or ssl.create_default_context()) if secure else None
    fields = [("Host", parts.netloc), ("Accept", "application/json"), ("Connection", "close")]
    fields += list((headers or {}).items())
    if bearer is not None:
        fields.append(("Authorization", f"Bearer {bearer}"))
    if body is not None:
        fields += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, parts.port or (443 if secure else 80), ssl=context)
            try:
                head = h11.Request(method=method, target=target, headers=fields)
                return await _exchange(reader, writer, head, body, max_body_bytes, sink)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, h11.ProtocolError, ValueError) as error:
        raise HttpError(f"{method} {parts.path}: {str(error) or type(error).__name__}") from error


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    head: h11.Request,
    body: bytes | None,
    max_body_bytes: int,
    sink: BinaryIO | None,
) -> tuple[int, bytes]:
    connection = h11.Connection(our_role=h11.CLIENT)
    out = connection.send(head) or b""
    if body:
        out += connection.send(h11.Data(data=body)) or b""
    out += connection.send(h11.EndOfMessage()) or b""
    writer.write(out)
    await writer.drain()
    status = 0
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            if sink is not None and status == 200:
                sink.write(event.data)
                continue
            content += event.data
            if len(content) > max_body_bytes:
                raise ValueError(f"the answer exceeds {max_body_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(content)
