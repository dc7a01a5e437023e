"""A load generator for WebSocket servers: many clients on one epoll, their frames made and read by hand.

It costs the machine a fraction of what the servers under test cost, so that these are what is measured. A client of
the relay speaks the whole protocol: upgrade, AUTH_RESPONSE with an Ed25519 signature, MESSAGE_SEND with ``seq`` and
``message_mac``, MESSAGE_RECEIVED for every MESSAGE_NEW, PONG for every PING. A client of a forwarder upgrades and
sends the same MESSAGE_SEND texts; the forwarder hands them on as they are.

Masks are all zero, which RFC 6455 §5.3 lets a receiver not notice: servers unmask as they do for any other.
"""

from __future__ import annotations

import hmac
import json
import select
import socket
import struct
import time
import uuid
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.signing import SigningKey

FRAME_BYTES: Final = 600
"""Size of one MESSAGE_SEND text."""
_PATIENCE_S: Final = 60.0
_UUID_AT: Final = slice(len('{"type":"MESSAGE_NEW","id":"'), len('{"type":"MESSAGE_NEW","id":"') + 36)


class LoadError(Exception):
    """A server did not do what the load generator waits for."""


@dataclass(frozen=True)
class Account:
    """Whom a client connects as; ``secret`` is empty for a forwarder's."""

    address: str
    device_id: str = ""
    token: str = ""
    identity_key: bytes = b""
    secret: bytes = b""

    def target(self) -> str:
        """The path and query of the upgrade."""
        if not self.secret:
            return f"/{self.address}"
        return f"/ws/v1?token={self.token}&device_id={self.device_id}&protocol_version=1"


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame with an all-zero mask (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BBI", 0x80 | opcode, 0x80 | size, 0) + payload
    return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, size, 0) + payload


@dataclass(eq=False)
class Client:
    """One connection."""

    account: Account
    sock: socket.socket
    number: int
    peer: str = ""
    """The address that its messages go to."""
    buffer: bytes = b""
    unsent: bytes = b""
    upgraded: bool = False
    ready: bool = False
    seq: int = 0
    key: bytes = b""
    challenge: bytes = b""
    sent: int = 0
    filling: str = ""
    began_ns: dict[int, int] = field(default_factory=dict)


class Load:
    """Clients of one server, and what they have seen."""

    def __init__(self, host: str, port: int) -> None:
        self._peer = (host, port)
        self._epoll = select.epoll()
        self.clients: list[Client] = []
        self._by_fd: dict[int, Client] = {}
        self.ready = 0
        self.delivered = 0
        """Messages that reached their recipient."""
        self.acked = 0
        self.confirmed = 0
        """MESSAGE_DELIVERED seen by senders."""
        self.latencies_ns: list[int] = []
        self.refused: list[str] = []
        self._senders: dict[int, Client] = {}
        self._now_ms = time.time_ns() // 1_000_000
        self.on_delivered: Callable[[Client], None] = lambda sender: None

    # --- connecting ----------------------------------------------------------------------------------

    def open(self, account: Account, source: str | None = None) -> Client:
        """Begin a connection, from the address ``source`` where it is given."""
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((source, 0))
        sock.connect(self._peer)
        sock.setblocking(False)
        client = Client(account, sock, len(self.clients))
        self.clients.append(client)
        self._senders[client.number] = client
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        request = (
            f"GET {account.target()} HTTP/1.1\r\nHost: {self._peer[0]}:{self._peer[1]}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        )
        if account.secret:
            request += "Sec-WebSocket-Protocol: zentalk.v1\r\n"
        self.send(client, request.encode() + b"\r\n")
        return client

    def open_all(self, accounts: list[Account], at_once: int = 50, sources: list[str] | None = None) -> None:
        """Connect all, ``at_once`` of them under way at any time, until each is ready."""
        waiting = deque(enumerate(accounts))
        begun = self.ready
        while self.ready < begun + len(accounts):
            while waiting and len(self.clients) - self.ready < at_once:
                number, account = waiting.popleft()
                self.open(account, sources[number % len(sources)] if sources else None)
            self.turn(1.0)

    def send(self, client: Client, data: bytes) -> None:
        """Write, or keep what the kernel does not take."""
        if client.unsent:
            client.unsent += data
            return
        try:
            count = client.sock.send(data)
        except BlockingIOError:
            count = 0
        if count < len(data):
            client.unsent = data[count:]
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _send_frame(self, client: Client, kind: str, frame_id: str, payload: str) -> None:
        """A frame of the protocol, with ``seq`` and, where the session has a key, ``message_mac`` (R-5.2)."""
        client.seq += 1
        head = f'{{"type":"{kind}","id":"{frame_id}","timestamp":{self._now_ms},"payload":{payload}'
        if client.key:
            covered = f"{kind}{frame_id}{self._now_ms}{payload}".encode()
            mac = b64encode(hmac.digest(client.key, covered, "sha256")).decode()
            head += f',"seq":{client.seq},"message_mac":"{mac}"'
        self.send(client, masked(f"{head}}}".encode()))

    # --- messages ------------------------------------------------------------------------------------

    def prepare(self, sender: Client, recipient: Client) -> None:
        """Fix to whom a client's messages go, and how long their ciphertext is."""
        sender.peer = recipient.account.address
        bare = len(self._payload(sender, 0)) + 130 + (80 if sender.account.secret else 0)
        sender.filling = b64encode(bytes(max(0, (FRAME_BYTES - bare) * 3 // 4))).decode()

    def _payload(self, client: Client, number: int) -> str:
        nonce = b64encode(number.to_bytes(12, "big")).decode()
        return f'{{"to":"{client.peer}","ciphertext":"{client.filling}","nonce":"{nonce}","message_type":"text"}}'

    def message(self, client: Client) -> None:
        """Send the client's next message."""
        client.sent = number = client.sent + 1
        client.began_ns[number] = time.perf_counter_ns()
        frame_id = f"{client.number:08x}-0000-4000-8000-{number:012x}"
        self._send_frame(client, "MESSAGE_SEND", frame_id, self._payload(client, number))

    def _arrived(self, frame_id: str) -> None:
        sender = self._senders[int(frame_id[:8], 16)]
        self.delivered += 1
        self.latencies_ns.append(time.perf_counter_ns() - sender.began_ns.pop(int(frame_id[-12:], 16)))
        self.on_delivered(sender)

    # --- reading -------------------------------------------------------------------------------------

    def turn(self, timeout_s: float) -> int:
        """Wait for something, and take all that has come; how many sockets had anything."""
        found = self._epoll.poll(timeout_s)
        for fd, event in found:
            client = self._by_fd[fd]
            if event & select.EPOLLOUT and client.unsent:
                data, client.unsent = client.unsent, b""
                self._epoll.modify(fd, select.EPOLLIN)
                self.send(client, data)
            if event & ~select.EPOLLOUT:
                self._read(client)
        return len(found)

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(262_144)
        except BlockingIOError:
            return
        except OSError as error:
            raise LoadError(f"client {client.number}: {error}") from None
        if not data:
            raise LoadError(f"client {client.number} was closed by the server; last seen: {client.buffer[:300]!r}")
        data = client.buffer + data
        if not client.upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                client.buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                raise LoadError(f"client {client.number} was refused: {data[:500]!r}")
            client.upgraded = True
            data = data[end + 4 :]
            if not client.account.secret:
                self._is_ready(client)
        rest = 0
        for opcode, begin, end in _frames(data):
            self._take(client, opcode, data[begin:end])
            rest = end
        client.buffer = data[rest:]

    def _is_ready(self, client: Client) -> None:
        client.ready = True
        self.ready += 1

    def _take(self, client: Client, opcode: int, text: bytes) -> None:
        if opcode == 8:
            raise LoadError(f"client {client.number} was closed: {text!r}")
        if text.startswith(b'{"type":"MESSAGE_NEW"'):
            frame_id = text[_UUID_AT].decode()
            own_id = frame_id[:9] + "1" + frame_id[10:]
            self._send_frame(client, "MESSAGE_RECEIVED", own_id, f'{{"message_id":"{frame_id}"}}')
            self._arrived(frame_id)
        elif text.startswith(b'{"type":"MESSAGE_SEND"'):
            self._arrived(text[slice(_UUID_AT.start + 1, _UUID_AT.stop + 1)].decode())
        elif text.startswith(b'{"type":"MESSAGE_ACK"'):
            self.acked += 1
        elif text.startswith(b'{"type":"MESSAGE_DELIVERED"'):
            self.confirmed += 1
        elif opcode == 1:
            self._other(client, json.loads(text))

    def _other(self, client: Client, frame: dict[str, Any]) -> None:
        kind, payload = frame["type"], frame["payload"]
        if kind == "AUTH_CHALLENGE":
            self._authenticate(client, payload)
        elif kind == "AUTH_SUCCESS":
            hkdf = HKDF(algorithm=SHA256(), length=32, salt=client.challenge, info=b"zentalk.v1 message_mac")
            client.key = hkdf.derive(payload["session_token"].encode())
            self._is_ready(client)
        elif kind == "PING":
            pong = f'{{"timestamp":{payload["timestamp"]},"client_time":{self._now_ms}}}'
            self._send_frame(client, "PONG", str(uuid.uuid4()), pong)
        elif kind in ("ERROR", "AUTH_FAILED"):
            raise LoadError(f"client {client.number}: {frame}")

    def _authenticate(self, client: Client, payload: dict[str, Any]) -> None:
        account = client.account
        client.challenge = b64decode(payload["challenge"])
        signed = client.challenge + struct.pack(">Q", payload["server_time"])
        signed += uuid.UUID(account.device_id).bytes + struct.pack(">Q", self._now_ms)
        answer = {
            "identity_key": b64encode(account.identity_key).decode(),
            "device_id": account.device_id,
            "signature": b64encode(SigningKey(account.secret).sign(signed).signature).decode(),
            "client_time": self._now_ms,
        }
        client.seq = 0
        self._send_frame(client, "AUTH_RESPONSE", str(uuid.uuid4()), json.dumps(answer))
        client.seq = 0

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Take what comes until ``done``. Raises LoadError where nothing comes for long."""
        end_s = time.monotonic() + _PATIENCE_S
        while not done():
            if self.turn(1.0):
                end_s = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > end_s:
                raise LoadError(f"nothing came for {_PATIENCE_S:g} s while waiting for {what}")

    def close(self) -> None:
        """Drop every connection."""
        for client in self.clients:
            client.sock.close()
        self._epoll.close()


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(opcode, begin, end) of each whole frame from a server."""
    at, size = 0, len(data)
    while at + 2 <= size:
        count = data[at + 1]
        begin = at + 2
        if count == 126:
            begin = at + 4
            count = int.from_bytes(data[at + 2 : at + 4], "big")
        elif count == 127:
            begin = at + 10
            count = int.from_bytes(data[at + 2 : at + 10], "big")
        if begin + count > size:
            return
        yield data[at] & 0x0F, begin, begin + count
        at = begin + count
