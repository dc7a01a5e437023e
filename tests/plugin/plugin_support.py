"""A raw synchronous client of a relay under test, written from the specification alone."""

from __future__ import annotations

import json
import os
import struct
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nacl.signing import SigningKey
from websockets.sync.client import ClientConnection, connect

from mockrelay.testing import RelayUser

Json = dict[str, Any]
PATIENCE_S = 60.0


class App:
    """One user's connection."""

    def __init__(self, user: RelayUser, ws: ClientConnection) -> None:
        self.user = user
        self.ws = ws
        self.seen: list[Json] = []

    def next(self) -> Json:
        frame: Json = json.loads(self.ws.recv(timeout=PATIENCE_S))
        self.seen.append(frame)
        return frame

    def until(self, kind: str) -> Json:
        """The payload of the next frame of this type; others pass by into ``seen``."""
        while True:
            frame = self.next()
            if frame["type"] == kind:
                payload: Json = frame["payload"]
                return payload

    def send(self, kind: str, payload: Json) -> str:
        frame_id = str(uuid.uuid4())
        now_ms = time.time_ns() // 1_000_000
        self.ws.send(json.dumps({"type": kind, "id": frame_id, "timestamp": now_ms, "payload": payload}))
        return frame_id

    def message(self, to: str, ciphertext: bytes = b"hello") -> str:
        payload = {
            "to": to,
            "ciphertext": b64encode(ciphertext).decode(),
            "nonce": b64encode(os.urandom(12)).decode(),
            "message_type": "text",
        }
        return self.send("MESSAGE_SEND", payload)

    def authenticate(self) -> None:
        challenge = self.until("AUTH_CHALLENGE")
        client_time = time.time_ns() // 1_000_000
        signed = b64decode(challenge["challenge"]) + struct.pack(">Q", challenge["server_time"])
        signed += uuid.UUID(self.user.device_id).bytes + struct.pack(">Q", client_time)
        self.send(
            "AUTH_RESPONSE",
            {
                "identity_key": b64encode(self.user.identity_key).decode(),
                "device_id": self.user.device_id,
                "signature": b64encode(SigningKey(self.user.identity_secret).sign(signed).signature).decode(),
                "client_time": client_time,
            },
        )
        self.until("AUTH_SUCCESS")


@contextmanager
def app(user: RelayUser) -> Iterator[App]:
    """A user's app, connected and authenticated."""
    with connect(
        user.url,
        subprotocols=["zentalk.v1"],
        proxy=None,
        ping_interval=None,
        close_timeout=1,  # type: ignore[list-item]
    ) as ws:
        found = App(user, ws)
        found.authenticate()
        yield found
