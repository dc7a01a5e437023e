"""A load generator for WebSocket servers: many clients on one epoll, their frames made and read by hand.

It must cost less than the servers under test, so that these are what is measured: a server that waits for its load
finds little to do in each turn, and pays a turn's price for it. So messages, their MACs and the receipts that answer
them are made ahead (``stock``), and ``cpu_s`` says what the generator itself has taken. A client of the relay speaks
the whole protocol: upgrade, AUTH_RESPONSE with an Ed25519 signature, MESSAGE_SEND with ``seq`` and ``message_mac``,
MESSAGE_RECEIVED for every MESSAGE_NEW, PONG for every PING. A client of a forwarder upgrades and sends the same
MESSAGE_SEND texts; the forwarder hands them on as they are.

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
_TEXT: Final = len('{"type":"MESSAGE_')
_KIND: Final = slice(_TEXT, _TEXT + 3)
"""What tells the frames of messages apart, and from all others: none has NEW, ACK, DEL or SEN there."""
_NEW_ID: Final = slice(len('{"type":"MESSAGE_NEW","id":"'), len('{"type":"MESSAGE_NEW","id":"') + 36)
_SENT_ID: Final = slice(_NEW_ID.start + 1, _NEW_ID.stop + 1)
_medium: Final = struct.Struct("!BBHI").pack


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
    return _medium(0x80 | opcode, 0x80 | 126, size, 0) + payload


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
    stock: deque[bytes] = field(default_factory=deque)
    """Its next messages, all but their ``seq``."""
    receipts: dict[bytes, bytes] = field(default_factory=dict)
    """Message id → the MESSAGE_RECEIVED that answers it, all but its ``seq``."""
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

    def _made(self, client: Client, kind: str, frame_id: str, payload: str) -> bytes:
        """A frame of the protocol but for its ``seq``; with ``message_mac`` where the session has a key (R-5.2)."""
        head = f'{{"type":"{kind}","id":"{frame_id}","timestamp":{self._now_ms},"payload":{payload}'
        if not client.key:
            return head.encode()
        covered = f"{kind}{frame_id}{self._now_ms}{payload}".encode()
        mac = b64encode(hmac.digest(client.key, covered, "sha256")).decode()
        return f'{head},"message_mac":"{mac}","seq":'.encode()

    def _send_made(self, client: Client, made: bytes) -> None:
        if client.key:
            client.seq += 1
            made += b"%d" % client.seq
        self.send(client, masked(made + b"}"))

    def _send_frame(self, client: Client, kind: str, frame_id: str, payload: str) -> None:
        self._send_made(client, self._made(client, kind, frame_id, payload))

    # --- messages ------------------------------------------------------------------------------------

    def prepare(self, sender: Client, recipient: Client) -> None:
        """Fix to whom a client's messages go, and how long their ciphertext is."""
        sender.peer = recipient.account.address
        bare = len(self._payload(sender, 0)) + 130 + (80 if sender.account.secret else 0)
        sender.filling = b64encode(bytes(max(0, (FRAME_BYTES - bare) * 3 // 4))).decode()

    def _payload(self, client: Client, number: int) -> str:
        nonce = b64encode(number.to_bytes(12, "big")).decode()
        return f'{{"to":"{client.peer}","ciphertext":"{client.filling}","nonce":"{nonce}","message_type":"text"}}'

    def _message(self, client: Client, number: int) -> bytes:
        return self._made(client, "MESSAGE_SEND", _id_of(client, number), self._payload(client, number))

    def _receipt(self, client: Client, frame_id: bytes) -> bytes:
        own_id = frame_id[:9] + b"1" + frame_id[10:]
        return self._made(client, "MESSAGE_RECEIVED", own_id.decode(), f'{{"message_id":"{frame_id.decode()}"}}')

    def stock(self, senders: list[Client], messages: int) -> None:
        """Make so many messages ahead, each sender's share and some more, with what their recipients will answer.

        ``prepare`` came before. What is then sent beyond the stock is made when it is sent.
        """
        share = 5 * messages // (4 * len(senders)) + 1
        by_address = {client.account.address: client for client in self.clients}
        for sender in senders:
            recipient = by_address[sender.peer]
            for number in range(sender.sent + len(sender.stock) + 1, sender.sent + share + 1):
                sender.stock.append(self._message(sender, number))
                if recipient.key:
                    frame_id = _id_of(sender, number).encode()
                    recipient.receipts[frame_id] = self._receipt(recipient, frame_id)

    def message(self, client: Client) -> None:
        """Send the client's next message."""
        client.sent = number = client.sent + 1
        made = client.stock.popleft() if client.stock else self._message(client, number)
        client.began_ns[number] = time.perf_counter_ns()
        self._send_made(client, made)

    def _arrived(self, frame_id: bytes) -> None:
        sender = self._senders[int(frame_id[:8], 16)]
        self.delivered += 1
        self.latencies_ns.append(time.perf_counter_ns() - sender.began_ns.pop(int(frame_id[-12:], 16)))
        self.on_delivered(sender)

    @staticmethod
    def cpu_s() -> float:
        """CPU time that this process has taken."""
        return time.process_time()

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
        kind = text[_KIND]
        if kind == b"NEW":
            frame_id = text[_NEW_ID]
            receipt = client.receipts.pop(frame_id, None)
            self._send_made(client, self._receipt(client, frame_id) if receipt is None else receipt)
            self._arrived(frame_id)
        elif kind == b"ACK":
            self.acked += 1
        elif kind == b"DEL":
            self.confirmed += 1
        elif kind == b"SEN":
            self._arrived(text[_SENT_ID])
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


def _id_of(client: Client, number: int) -> str:
    """The id of a client's ``number``-th message; it tells both."""
    return f"{client.number:08x}-0000-4000-8000-{number:012x}"


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
