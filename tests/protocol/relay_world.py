"""A relay with its own clock and people who talk to it frame by frame; what the relay says is kept in order.

``RelayWorld`` owns time. ``Person`` holds an identity and opens ``Line``s (connections). A line sends frames as
a client written from the rulings would, and keeps what came back; nothing here decides anything.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from zentalk_sim.protocol.codec import encode, encode_text, with_seq
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, IssueToken
from zentalk_sim.protocol.crypto import Crypto, Ed25519
from zentalk_sim.protocol.effects import (
    Abort,
    Accept,
    ClearPush,
    Close,
    Effect,
    Note,
    Publish,
    Push,
    Refuse,
    Respond,
    Send,
    SendMany,
)
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest

START_US = 1_704_067_200_000_000
HEADERS = {
    "host": "relay.zentalk.network",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "zentalk.v1",
}
Json = dict[str, Any]


def b64(data: bytes) -> str:
    return b64encode(data).decode()


class RelayWorld:
    """One relay (or several on one store), its clock, and everything it said."""

    def __init__(
        self, config: RelayConfig | None = None, *, seed: int | str = 1, nodes: int = 1, crypto: Crypto | None = None
    ) -> None:
        self.config = config or RelayConfig()
        self.now = START_US
        self.crypto = crypto or Ed25519()
        self.store = MemoryStore()
        self.relays = [
            Relay(
                self.config,
                streams=Streams(f"{seed}/{i}"),
                store=self.store,
                crypto=self.crypto,
                node=f"relay-{i}",
            )
            for i in range(nodes)
        ]
        self.lines: dict[int, Line] = {}
        self.notes: list[Note] = []
        self.pushes: list[Push | ClearPush] = []
        self.answers: dict[int, Respond] = {}
        self.bus_up = True
        self._draw = Streams(f"people {seed}")
        self._ids = 0

    @property
    def relay(self) -> Relay:
        return self.relays[0]

    @property
    def now_ms(self) -> int:
        return self.now // 1000

    def uuid(self) -> str:
        return self._draw.stream("uuid").uuid4()

    def bytes(self, count: int) -> bytes:
        return self._draw.stream("bytes").bytes(count)

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def apply(self, effects: list[Effect]) -> None:
        """Carry effects out in order; the bus delivers at once."""
        for effect in effects:
            match effect:
                case Accept():
                    self.lines[effect.conn].accepted = True
                case Refuse():
                    self.lines[effect.conn].refused = effect
                case Send():
                    self.lines[effect.conn].take(encode(effect.frame), self.now)
                case SendMany():
                    body = encode_text(effect.frame)
                    for conn, seq in effect.targets:
                        self.lines[conn].take(with_seq(body, seq).decode(), self.now)
                case Close():
                    self.lines[effect.conn].ended(effect.code, effect.reason, self.now)
                case Abort():
                    self.lines[effect.conn].ended(1006, effect.cause, self.now)
                case Publish():
                    if self.bus_up:
                        for relay in self.relays:
                            if relay.name == effect.node:
                                self.apply(relay.receive_event(effect.event, self.now))
                case Note():
                    self.notes.append(effect)
                case Push() | ClearPush():
                    self.pushes.append(effect)
                case Respond():
                    self.answers[effect.request] = effect

    def count(self, name: str) -> int:
        return sum(note.count for note in self.notes if note.name == name)

    def control(self, command: Any) -> Any:
        self.apply(self.relay.control(command, self.now))
        return self.relay.result

    def advance(self, seconds: float) -> None:
        """Let time pass, each timer at its own instant."""
        self.advance_us(round(seconds * 1_000_000))

    def advance_us(self, span_us: int) -> None:
        until = self.now + span_us
        while True:
            due = [(at, i) for i, relay in enumerate(self.relays) if (at := relay.next_timeout()) is not None]
            if not due or min(due)[0] > until:
                break
            at, index = min(due)
            self.now = max(self.now, at)
            self.apply(self.relays[index].handle_timeout(self.now))
        self.now = until

    def person(self, name: str, *, devices: int = 1) -> Person:
        secret = self._draw.stream(f"secret/{name}").bytes(32)
        key = self.crypto.public_key(secret)
        address = self.control(AddUser(key))
        person = Person(self, name, address, secret, key, [self.uuid() for _ in range(devices)])
        for device_id in person.devices:
            self.control(AddDevice(address, device_id, f"{name}'s", "mobile"))
        return person


class Person:
    """A user: alice, bob. Her devices and her way to connect."""

    def __init__(
        self, world: RelayWorld, name: str, address: str, secret: bytes, key: bytes, devices: list[str]
    ) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.secret = secret
        self.key = key
        self.devices = devices

    def token(self, device: int = 0, **options: Any) -> str:
        token, _ = self.world.control(IssueToken(self.address, self.devices[device], **options))
        return str(token)

    def open(
        self,
        device: int = 0,
        *,
        token: str | None = None,
        ip: str = "203.0.113.1",
        relay: int = 0,
        resume: str | None = None,
        headers: Json | None = None,
        path: str = "/ws/v1",
        query: Json | None = None,
    ) -> Line:
        """Upgrade and no more."""
        fields = {"token": token or self.token(device), "device_id": self.devices[device], "protocol_version": "1"}
        if resume is not None:
            fields["resume_token"] = resume
        fields.update(query or {})
        request = UpgradeRequest(
            path, {k: v for k, v in fields.items() if v is not None}, {**HEADERS, **(headers or {})}, ip
        )
        line = Line(self, self.devices[device], self.world.next_id(), self.world.relays[relay])
        self.world.lines[line.conn] = line
        self.world.apply(line.relay.connect(line.conn, request, self.world.now))
        return line

    def connect(self, device: int = 0, **options: Any) -> Line:
        """Upgrade and authenticate."""
        line = self.open(device, **options)
        line.authenticate()
        assert line.close_code is None, (line.close_code, line.frames)
        return line

    def rest(self, method: str, target: str, body: Any = None, *, device: int = 0, bearer: str | None = "") -> Respond:
        """Ask the REST interface."""
        world = self.world
        path, _, query = target.partition("?")
        fields = dict(pair.split("=") for pair in query.split("&")) if query else {}
        request_id = world.next_id()
        raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        token = self.token(device) if bearer == "" else bearer
        world.apply(
            world.relay.handle_request(request_id, Request(method, path, fields, token, raw, "203.0.113.1"), world.now)
        )
        return world.answers.pop(request_id)


class Line:
    """One connection, seen from the client."""

    def __init__(self, person: Person, device_id: str, conn: int, relay: Relay) -> None:
        self.person = person
        self.world = person.world
        self.device_id = device_id
        self.conn = conn
        self.relay = relay
        self.accepted = False
        self.refused: Refuse | None = None
        self.frames: list[Json] = []
        self.arrived_us: list[int] = []
        self.binary: list[bytes] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.closed_us: int | None = None
        self.session: Json = {}
        self.gone = False

    # --- what comes in

    def take(self, data: str | bytes, now: int) -> None:
        assert self.close_code is None, "a frame after the close"
        if isinstance(data, bytes):
            self.binary.append(data)
            frame = {
                "type": {0x84: "MESSAGE_NEW"}[data[0]],
                "id": data[1:17].hex(),
                "timestamp": int.from_bytes(data[17:25], "big"),
                "payload": json.loads(data[29:]),
            }
        else:
            frame = json.loads(data)
        self.frames.append(frame)
        self.arrived_us.append(now)

    def ended(self, code: int, reason: str, now: int) -> None:
        assert self.close_code is None, "closed twice"
        self.close_code, self.close_reason, self.closed_us = code, reason, now

    def of(self, kind: str) -> list[Json]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def last(self, kind: str) -> Json:
        found = self.of(kind)
        assert found, f"no {kind} among {[f['type'] for f in self.frames]}"
        return found[-1]["payload"]

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    def clear(self) -> None:
        self.frames.clear()
        self.arrived_us.clear()

    # --- what goes out

    def raw(self, data: str | bytes) -> None:
        self.world.apply(self.relay.receive_data(self.conn, data, self.world.now))

    def send(self, kind: str, payload: Any, *, id: str | None = None, timestamp: int | None = None, **more: Any) -> str:
        message_id = id or self.world.uuid()
        stamp = self.world.now_ms if timestamp is None else timestamp
        self.raw(json.dumps({"type": kind, "id": message_id, "timestamp": stamp, "payload": payload, **more}))
        return message_id

    def authenticate(self, **changes: Any) -> None:
        challenge = self.last("AUTH_CHALLENGE")
        client_time = changes.pop("client_time", self.world.now_ms)
        signed = auth_signed_data(
            b64decode(challenge["challenge"]), challenge["server_time"], self.device_id, client_time
        )
        payload = {
            "identity_key": b64(self.person.key),
            "device_id": self.device_id,
            "signature": b64(self.world.crypto.sign(self.person.secret, signed)),
            "client_time": client_time,
            **changes,
        }
        self.send("AUTH_RESPONSE", payload)
        if self.of("AUTH_SUCCESS"):
            self.session = self.last("AUTH_SUCCESS")

    def message(self, to: str | Person, text: bytes = b"hello", **fields: Any) -> str:
        """Send a message; its id."""
        address = to if isinstance(to, str) else to.address
        id = fields.pop("id", None)
        more = {name: fields.pop(name) for name in ("seq", "message_mac", "timestamp") if name in fields}
        payload = {
            "to": address,
            "ciphertext": b64(text),
            "nonce": b64(self.world.bytes(12)),
            "message_type": "text",
            **fields,
        }
        return self.send("MESSAGE_SEND", payload, id=id, **more)

    def pong(self) -> None:
        """Answer the last PING."""
        ping = self.last("PING")
        self.send("PONG", {"timestamp": ping["timestamp"], "client_time": self.world.now_ms})

    def lose(self, cause: str = "reset") -> None:
        """The transport is gone."""
        assert not self.gone
        self.gone = True
        self.world.apply(self.relay.disconnect(self.conn, cause, self.world.now))

    def error(self) -> Json:
        return self.last("ERROR")

    def reason(self) -> str:
        """``details.reason`` of the last ERROR."""
        return str(self.error()["details"].get("reason"))

    def mac(self, kind: str, id: str, timestamp: int, raw_payload: str | bytes) -> str:
        """R-5.2: the MAC of a frame whose payload is sent as exactly these bytes."""
        raw = raw_payload.encode() if isinstance(raw_payload, str) else raw_payload
        crypto = self.world.crypto
        key = crypto.session_key(self.session["session_token"], b64decode(self.last("AUTH_CHALLENGE")["challenge"]))
        return b64(crypto.message_mac(key, kind, id, timestamp, raw))

    @property
    def end(self) -> tuple[int | None, str]:
        """Close code and reason."""
        return self.close_code, self.close_reason
