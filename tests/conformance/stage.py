"""A stage on which the same bodies play before every face of the relay.

A body talks to people (``stage.user("alice")``) and to their lines (raw WebSocket connections), and never knows
whether the relay behind them is simulated or listens on a socket. A stage owns time: ``advance`` moves the
relay's clock, and every timer due runs at its own instant. ``Line.settle`` returns once the relay has answered
all that was sent on any line before it, without waiting for time to pass; after it, what did not come will not.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.streams import Streams

Json = dict[str, Any]
CRYPTO = Ed25519()


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def body_of(frame: Json) -> Json:
    payload: Json = frame["payload"]
    return payload


@dataclass(frozen=True)
class Refused:
    """An upgrade that was answered with an HTTP error."""

    status: int
    error_code: str
    message: str


class Stage(ABC):
    """One relay, its clock and the people who talk to it."""

    def __init__(self, config: RelayConfig) -> None:
        self.config = config
        self._draw = Streams("conformance")
        self.lines: list[Line] = []
        self.last_written: Line | None = None
        """Lines are sockets of their own: what one sends reaches the relay before what another sends later."""

    # --- to be given by each face

    @abstractmethod
    def now_ms(self) -> int:
        """The relay's clock."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Move the relay's clock on, each timer at its own instant."""

    @abstractmethod
    def control(self, command: Any) -> Any:
        """A command of the relay's tools; its result."""

    @abstractmethod
    def open_line(
        self, actor: Actor, device_id: str, query: dict[str, str], headers: dict[str, str], path: str
    ) -> Line:
        """Upgrade; the line's ``refused`` says if the relay would not."""

    @abstractmethod
    def request(self, method: str, target: str, bearer: str | None, body: bytes | None) -> tuple[int, Any]:
        """A REST call: status, and the JSON answered."""

    @abstractmethod
    def count(self, name: str) -> int:
        """How often the relay has noted a fact, such as ``push.sent``."""

    @abstractmethod
    def close(self) -> None:
        """Take everything down."""

    # --- shared

    def uuid(self) -> str:
        return self._draw.stream("uuid").uuid4()

    def bytes(self, count: int) -> bytes:
        return self._draw.stream("bytes").bytes(count)

    def user(self, name: str, *, devices: int = 1) -> Actor:
        from zentalk_sim.protocol.control import AddDevice, AddUser

        secret = self._draw.stream(f"secret/{name}").bytes(32)
        address = self.control(AddUser(CRYPTO.public_key(secret)))
        actor = Actor(self, name, address, secret, [self.uuid() for _ in range(devices)])
        for device_id in actor.devices:
            self.control(AddDevice(address, device_id, f"{name}'s", "mobile"))
        return actor

    def settle(self) -> None:
        """Everything sent so far has been answered, on every line."""
        for line in self.lines:
            if line.close_code is None:
                line.settle()


class Actor:
    """A user: alice, bob."""

    def __init__(self, stage: Stage, name: str, address: str, secret: bytes, devices: list[str]) -> None:
        self.stage = stage
        self.name = name
        self.address = address
        self.secret = secret
        self.key = CRYPTO.public_key(secret)
        self.devices = devices

    def token(self, device: int = 0, **options: Any) -> str:
        from zentalk_sim.protocol.control import IssueToken

        token, _ = self.stage.control(IssueToken(self.address, self.devices[device], **options))
        return str(token)

    def open(
        self,
        device: int = 0,
        *,
        token: str | None = None,
        resume: str | None = None,
        query: dict[str, str | None] | None = None,
        headers: dict[str, str] | None = None,
        path: str = "/ws/v1",
    ) -> Line:
        """Upgrade and no more."""
        device_id = self.devices[device]
        fields: dict[str, str | None] = {"token": token or self.token(device), "device_id": device_id}
        fields["protocol_version"] = "1"
        if resume is not None:
            fields["resume_token"] = resume
        fields.update(query or {})
        kept = {name: value for name, value in fields.items() if value is not None}
        line = self.stage.open_line(self, device_id, kept, headers or {}, path)
        self.stage.lines.append(line)
        return line

    def connect(self, device: int = 0, **options: Any) -> Line:
        """Upgrade and authenticate."""
        line = self.open(device, **options)
        line.authenticate()
        line.expect("AUTH_SUCCESS")
        line.settle()
        line.session = body_of(line.of("AUTH_SUCCESS")[0])
        return line

    def rest(
        self, method: str, target: str, body: Any = None, *, device: int = 0, bearer: str | None = ""
    ) -> tuple[int, Any]:
        """Ask the REST interface as this user."""
        raw = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.stage.request(method, target, self.token(device) if bearer == "" else bearer, raw)


class Line(ABC):
    """One connection, seen from the client."""

    def __init__(self, actor: Actor, device_id: str) -> None:
        self.actor = actor
        self.stage = actor.stage
        self.device_id = device_id
        self.refused: Refused | None = None
        self.frames: list[Json] = []
        self.binary: list[bytes] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.session: Json = {}

    # --- to be given by each face

    @abstractmethod
    def write(self, data: str | bytes) -> None:
        """Send one text or binary message."""

    @abstractmethod
    def settle(self) -> None:
        """Take in all that the relay has to say to what was sent before."""

    @abstractmethod
    def hang_up(self, code: int | None = 1000) -> None:
        """Close with a handshake, or break the connection where the code is None."""

    @abstractmethod
    def wait_close(self) -> None:
        """Until the relay has ended the connection."""

    # --- shared

    def took(self, data: str | bytes) -> None:
        """What came in, kept in order."""
        if isinstance(data, bytes):
            self.binary.append(data)
            self.frames.append(
                {
                    "type": {0x84: "MESSAGE_NEW"}.get(data[0], hex(data[0])),
                    "id": data[1:17].hex(),
                    "timestamp": int.from_bytes(data[17:25], "big"),
                    "payload": json.loads(data[29:]),
                }
            )
        else:
            self.frames.append(json.loads(data))

    def of(self, kind: str) -> list[Json]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    def clear(self) -> None:
        self.stage.settle()
        self.frames.clear()

    def expect(self, kind: str) -> Json:
        """The payload of the last frame of a type, which must have come or come now."""
        if not self.of(kind):
            self.stage.settle()
        found = self.of(kind)
        assert found, f"no {kind} among {self.types()}, close {self.close_code} {self.close_reason}"
        return body_of(found[-1])

    def nothing(self, kind: str | None = None) -> None:
        """No frame (of that type) has come."""
        self.stage.settle()
        found = [t for t in self.types() if kind is None or t == kind]
        assert not found, f"unexpected {found}"

    def expect_close(self, code: int, reason: str | None = None) -> None:
        """The relay must end this connection with that code."""
        if self.close_code is None:
            self.wait_close()
        assert self.close_code == code, (self.close_code, self.close_reason)
        if reason is not None:
            assert self.close_reason == reason

    def still_open(self) -> None:
        self.stage.settle()
        assert self.close_code is None, (self.close_code, self.close_reason)

    def send(self, kind: str, payload: Any, *, id: str | None = None, timestamp: int | None = None, **more: Any) -> str:
        message_id = id or self.stage.uuid()
        stamp = self.stage.now_ms() if timestamp is None else timestamp
        self.write(json.dumps({"type": kind, "id": message_id, "timestamp": stamp, "payload": payload, **more}))
        return message_id

    def auth_payload(self, **changes: Any) -> Json:
        """What a right AUTH_RESPONSE holds."""
        challenge = self.expect("AUTH_CHALLENGE")
        client_time = changes.pop("client_time", self.stage.now_ms())
        signed = auth_signed_data(
            b64decode(challenge["challenge"]), challenge["server_time"], self.device_id, client_time
        )
        secret = changes.pop("secret", self.actor.secret)
        return {
            "identity_key": b64(self.actor.key),
            "device_id": self.device_id,
            "signature": b64(CRYPTO.sign(secret, signed)),
            "client_time": client_time,
            **changes,
        }

    def authenticate(self, **changes: Any) -> None:
        self.send("AUTH_RESPONSE", self.auth_payload(**changes))

    def message(self, to: str | Actor, text: bytes = b"hello", *, id: str | None = None, **fields: Any) -> str:
        """Send a message; its id."""
        more = {name: fields.pop(name) for name in ("seq", "message_mac", "timestamp") if name in fields}
        return self.send("MESSAGE_SEND", self.message_payload(to, text, **fields), id=id, **more)

    def message_payload(self, to: str | Actor, text: bytes = b"hello", **fields: Any) -> Json:
        return {
            "to": to if isinstance(to, str) else to.address,
            "ciphertext": b64(text),
            "nonce": b64(self.stage.bytes(12)),
            "message_type": "text",
            **fields,
        }

    def error(self) -> Json:
        """The last ERROR's payload."""
        self.stage.settle()
        return self.expect("ERROR")

    def reason(self) -> str:
        return str(self.error()["details"].get("reason"))
