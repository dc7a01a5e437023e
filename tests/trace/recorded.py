"""Recordings made without sockets: a driver on a frozen clock, fed by hand."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import msgspec

from mockrelay.clock import MovableClock, RealClock
from mockrelay.driver import Driver
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, IssueToken
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.effects import Refuse
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest

HEADERS = {
    "host": "localhost",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "zentalk.v1",
}


class Line:
    """A connection's sink, and the frames it was sent."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.conn = 0
        self.ended: int | str | None = None

    def accept(self) -> None: ...

    def refuse(self, refusal: Refuse) -> None:
        self.ended = refusal.status

    def send(self, payload: bytes, binary: bool) -> None:
        self.frames.append({"type": "MESSAGE_NEW"} if binary else json.loads(payload))

    def close(self, code: int, reason: str) -> None:
        self.ended = code

    def abort(self, cause: str) -> None:
        self.ended = cause


class Bench:
    """A relay with users, driven by hand; make it on a running loop."""

    def __init__(
        self,
        seed: int = 1,
        store: MemoryStore | None = None,
        clock: MovableClock | None = None,
        at_us: int | None = None,
        **config: Any,
    ) -> None:
        """``at_us``: begin at this instant rather than now."""
        if at_us is not None:
            clock = MovableClock(RealClock(lambda: at_us * 1000, lambda: 0), scale=0)
        self.clock = clock or MovableClock(scale=0)
        self._config = {"upgrade": {"profile": "dev"}, **config}
        settings = self.settings()
        store = store or MemoryStore(dedup=settings.dedup)
        relay = Relay(settings, streams=Streams(seed, store.counters.boot), store=store)
        self.driver = Driver(relay, self.clock, asyncio.get_running_loop())
        self.streams = Streams(seed + 1)
        self.crypto = Ed25519()
        self.people: dict[str, tuple[bytes, str, str, str]] = {}

    def settings(self, **more: Any) -> RelayConfig:
        """The settings at the start, and ``more`` of them."""
        return msgspec.convert({**self._config, **more}, RelayConfig)

    def person(self, name: str) -> str:
        """Register; the address."""
        stream = self.streams.stream(name)
        secret, device = stream.bytes(32), stream.uuid4()
        address: str = self.driver.control(AddUser(self.crypto.public_key(secret)))
        self.driver.control(AddDevice(address, device))
        token: str = self.driver.control(IssueToken(address, device))[0]
        self.people[name] = (secret, device, token, address)
        return address

    def renew(self, name: str) -> None:
        """A new connection token for a person."""
        secret, device, _, address = self.people[name]
        token: str = self.driver.control(IssueToken(address, device))[0]
        self.people[name] = (secret, device, token, address)

    def now_ms(self) -> int:
        return self.clock.now_us() // 1000

    def upgrade(self, name: str, **query: str) -> UpgradeRequest:
        """A person's upgrade request."""
        _, device, token, _ = self.people[name]
        return UpgradeRequest("/ws/v1", {"token": token, "device_id": device, **query}, HEADERS, "127.0.0.1")

    def connect(self, name: str, **query: str) -> Line:
        """Upgrade and authenticate."""
        secret, device, _, _ = self.people[name]
        line = Line()
        line.conn = self.driver.connect(line, self.upgrade(name, **query))
        challenge = line.frames[0]["payload"]
        signed = auth_signed_data(b64decode(challenge["challenge"]), challenge["server_time"], device, self.now_ms())
        payload = {
            "identity_key": b64encode(self.crypto.public_key(secret)).decode(),
            "device_id": device,
            "signature": b64encode(self.crypto.sign(secret, signed)).decode(),
            "client_time": self.now_ms(),
        }
        self.send(line, "AUTH_RESPONSE", payload)
        self.driver.queue.flush()
        assert line.frames[1]["type"] == "AUTH_SUCCESS"
        return line

    def send(self, line: Line, kind: str, payload: dict[str, Any]) -> str:
        frame_id = self.streams.stream("ids").uuid4()
        frame = {"type": kind, "id": frame_id, "timestamp": self.now_ms(), "payload": payload}
        self.last_text = json.dumps(frame)
        self.driver.receive_text(line.conn, self.last_text.encode())
        return frame_id

    def message(self, line: Line, to: str, ciphertext: bytes = b"hello") -> str:
        nonce = self.streams.stream("nonces").bytes(12)
        payload = {
            "to": to,
            "ciphertext": b64encode(ciphertext).decode(),
            "nonce": b64encode(nonce).decode(),
            "message_type": "text",
        }
        return self.send(line, "MESSAGE_SEND", payload)

    def binary_message(self, line: Line, to: str, ciphertext: bytes) -> None:
        payload = {
            "to": to,
            "ciphertext": b64encode(ciphertext).decode(),
            "nonce": b64encode(self.streams.stream("nonces").bytes(12)).decode(),
            "message_type": "file",
        }
        frame_id = self.streams.stream("ids").uuid4().replace("-", "")
        body = json.dumps(payload).encode()
        head = b"\x02" + bytes.fromhex(frame_id) + self.now_ms().to_bytes(8, "big") + len(body).to_bytes(4, "big")
        self.driver.receive_binary(line.conn, head + body)

    def rest(self, name: str, method: str, path: str, body: bytes | None = None) -> int:
        token = self.people[name][2]
        return self.driver.request(Request(method, path, {}, token, body, "127.0.0.1")).status

    def pass_ms(self, ms: int) -> None:
        self.clock.advance(ms * 1000)
        self.driver.clock_changed()


def converse(bench: Bench, path: Path, *, before: int = 0) -> None:
    """A session that shows every kind of line; ``before`` messages pass before the recording begins."""
    alice_address, bob_address = bench.person("alice"), bench.person("bob")
    if before:
        alice, bob = bench.connect("alice"), bench.connect("bob")
        for _ in range(before):
            bench.message(alice, bob_address)
            bench.pass_ms(1_500)
        bench.driver.record(str(path), "seed of a test")
    else:
        bench.driver.record(str(path), 1)
        alice, bob = bench.connect("alice"), bench.connect("bob")
    message_id = bench.message(alice, bob_address)
    bench.send(bob, "MESSAGE_RECEIVED", {"message_id": message_id})
    bench.binary_message(alice, bob_address, b"x" * 14_000)
    bench.send(bob, "SUBSCRIBE", {"topics": [f"presence:{alice_address}"]})
    bench.send(alice, "PRESENCE_SET", {"status": "away"})
    bench.driver.receive_text(alice.conn, b'{"type":"\xc3\xa9"}')
    bench.driver.receive_binary(alice.conn, b"\x02\xff")
    bench.driver.disconnect(alice.conn, "closed")
    bench.pass_ms(31_000)
    bench.driver.receive_text(bob.conn, b"\xff\xfe")
    bench.driver.disconnect(bob.conn, "closed")
    bench.rest("bob", "GET", "/api/messages")
    bench.rest("bob", "POST", "/api/messages/ack", b"\xff")
    bench.rest("bob", "POST", "/api/messages/ack", b'{"message_ids":[]}')
    refused = Line()
    bench.driver.connect(refused, UpgradeRequest("/elsewhere", {}, {}, "127.0.0.1"))
    carol = bench.person("carol")
    line = bench.connect("carol")
    bench.message(line, carol)
    bench.driver.receive_oversized(line.conn)
    bench.driver.disconnect(line.conn, "oversized")
    bench.driver.stop()
