"""Raw peers of a mock relay on 127.0.0.1, written from the specification and the rulings alone."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import struct
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec
from nacl.signing import SigningKey
from websockets.asyncio.client import ClientConnection, connect

from mockrelay.clock import MovableClock
from mockrelay.server import MockRelay, MockUser, Options
from zentalk_sim.protocol.config import RelayConfig

T = TypeVar("T")
Json = dict[str, Any]
PATIENCE_S = 120.0
"""When a test hangs; nothing is proved by how long one takes."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; one that hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return asyncio.run(bounded())


def config(**sections: Any) -> RelayConfig:
    """Profile ``dev`` and these settings."""
    sections.setdefault("upgrade", {}).setdefault("profile", "dev")
    return msgspec.convert(sections, RelayConfig)


def serving(*users: str, settings: Json | None = None, **options: Any) -> MockRelay:
    """A relay on free ports with a fixed seed."""
    options.setdefault("seed", 7)
    return MockRelay(Options(config=config(**(settings or {})), port=0, http_port=0, users=users, **options))


def frozen() -> MovableClock:
    """A clock that stands still at the present."""
    return MovableClock(scale=0)


def now_ms() -> int:
    """The system's time."""
    return time.time_ns() // 1_000_000


class Peer:
    """One user's raw connection."""

    def __init__(self, user: MockUser, ws: ClientConnection) -> None:
        self.user = user
        self.ws = ws
        self.seen: list[Json] = []

    async def next(self) -> Json:
        data = await self.ws.recv()
        if isinstance(data, bytes):
            frame: Json = {
                "type": {0x84: "MESSAGE_NEW"}[data[0]],
                "id": str(uuid.UUID(bytes=data[1:17])),
                "timestamp": int.from_bytes(data[17:25], "big"),
                "payload": json.loads(data[29:]),
                "binary": True,
            }
        else:
            frame = json.loads(data)
        self.seen.append(frame)
        return frame

    async def until(self, kind: str) -> Json:
        """The next frame of this type; others pass by into ``seen``."""
        while True:
            frame = await self.next()
            if frame["type"] == kind:
                return frame

    async def send(self, kind: str, payload: Json, **more: Any) -> str:
        frame_id = more.pop("id", None) or str(uuid.uuid4())
        frame = {"type": kind, "id": frame_id, "timestamp": now_ms(), "payload": payload, **more}
        await self.ws.send(json.dumps(frame))
        return str(frame_id)

    async def authenticate(self) -> Json:
        """R-4.1."""
        challenge = (await self.until("AUTH_CHALLENGE"))["payload"]
        client_time = now_ms()
        signed = b64decode(challenge["challenge"]) + struct.pack(">Q", challenge["server_time"])
        signed += uuid.UUID(self.user.device_id).bytes + struct.pack(">Q", client_time)
        await self.send(
            "AUTH_RESPONSE",
            {
                "identity_key": b64encode(self.user.identity_key).decode(),
                "device_id": self.user.device_id,
                "signature": b64encode(SigningKey(self.user.identity_secret).sign(signed).signature).decode(),
                "client_time": client_time,
            },
        )
        return (await self.until("AUTH_SUCCESS"))["payload"]  # type: ignore[no-any-return]

    async def message(self, to: MockUser, text: bytes = b"hello") -> str:
        return await self.send("MESSAGE_SEND", message(to, text))


def message(to: MockUser, text: bytes = b"hello") -> Json:
    """A MESSAGE_SEND payload."""
    return {
        "to": to.address,
        "ciphertext": b64encode(text).decode(),
        "nonce": b64encode(os.urandom(12)).decode(),
        "message_type": "text",
    }


def user_of(relay: MockRelay, name: str) -> MockUser:
    return next(user for user in relay.users if user.name == name)


@asynccontextmanager
async def connected(relay: MockRelay, name: str, *, authenticate: bool = True, **options: Any) -> AsyncIterator[Peer]:
    """A user's connection, authenticated unless told otherwise."""
    user = user_of(relay, name)
    options.setdefault("subprotocols", ["zentalk.v1"])
    async with connect(relay.url_of(user), proxy=None, ping_interval=None, close_timeout=1, **options) as ws:
        peer = Peer(user, ws)
        if authenticate:
            await peer.authenticate()
        yield peer


def trusting(relay: MockRelay) -> ssl.SSLContext:
    """What a client needs that connects to a relay served with ``tls=True``."""
    assert relay.development_tls is not None
    return ssl.create_default_context(cafile=relay.development_tls.cert_file)


# --- bytes by hand -----------------------------------------------------------------------------------


def upgrade_bytes(relay: MockRelay, target: str, **changes: str | None) -> bytes:
    """An upgrade request; ``changes`` replace headers (``_`` for ``-``), None takes one out."""
    headers: dict[str, str | None] = {
        "host": relay.ws_url.split("/")[2],
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "zentalk.v1",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def target_of(relay: MockRelay, name: str, **changes: str | None) -> str:
    user = user_of(relay, name)
    query: dict[str, str | None] = {"token": user.token, "device_id": user.device_id, **changes}
    return "/ws/v1?" + "&".join(f"{key}={value}" for key, value in query.items() if value is not None)


def masked(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    """A client's frame, RFC 6455 §5.2."""
    head = bytes(((0x80 if fin else 0) | opcode,))
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes((bit | len(payload),))
    elif len(payload) < 65_536:
        head += bytes((bit | 126,)) + len(payload).to_bytes(2, "big")
    else:
        head += bytes((bit | 127,)) + len(payload).to_bytes(8, "big")
    if not mask:
        return head + payload
    key = b"\x01\x02\x03\x04"
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


class Raw:
    """A TCP connection with frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def refused(self) -> tuple[int, dict[str, str], Json]:
        """Status, headers and body of an answer after which the relay ends the connection."""
        status, headers = await self.head()
        body = await self.reader.readexactly(int(headers["content-length"]))
        assert await self.reader.read() == b"", "the connection must end after a refusal"
        return status, headers, json.loads(body)

    async def frame(self) -> tuple[int, bytes]:
        first, size = await self.reader.readexactly(2)
        assert first & 0x80, "the relay must not fragment"
        assert not size & 0x80, "the relay must not mask (RFC 6455 §5.1)"
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def until_close(self) -> tuple[int, str]:
        """Code and reason of the close frame; after it TCP must end."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                assert await self.reader.read() == b""
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@asynccontextmanager
async def raw(relay: MockRelay, first: bytes = b"") -> AsyncIterator[Raw]:
    """TCP to the WebSocket port."""
    host, port = relay.ws_url.split("/")[2].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(first)
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def raw_upgraded(relay: MockRelay, name: str = "alice") -> AsyncIterator[Raw]:
    """An upgraded connection by hand, its AUTH_CHALLENGE read."""
    async with raw(relay, upgrade_bytes(relay, target_of(relay, name))) as peer:
        status, _ = await peer.head()
        assert status == 101
        assert json.loads((await peer.frame())[1])["type"] == "AUTH_CHALLENGE"
        yield peer
