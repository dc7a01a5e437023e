"""Frames of a relay that nobody records take a straight way through the driver; it leads where the long way does."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mockrelay.clock import MovableClock
from mockrelay.people import Person
from mockrelay.space import Space
from mockrelay.websocket import Connection
from tests.mockrelay.live_support import config, run
from tests.mockrelay.test_live_outbox import Wire
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.identity import auth_signed_data

CRYPTO = Ed25519()
NAMES = ("alice", "bob")


class Peer:
    """One user's connection on a wire, which says what it is told to and remembers what it was sent."""

    def __init__(self, space: Space, person: Person) -> None:
        self.person = person
        self.device_id, token = next(iter(person.tokens.items()))
        self.wire = Wire()
        self.connection = Connection(lambda path: (space, path), lambda _: None, lambda _: None)
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)
        self.now_ms = space.clock.now_us() // 1000
        self.seq = 0
        self.key = b""
        self.connection.data_received(
            f"GET /ws/v1?token={token}&device_id={self.device_id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: zentalk.v1\r\n\r\n".encode()
        )

    def texts(self) -> list[dict[str, Any]]:
        """The text frames sent to it so far."""
        data = self.wire.written
        at = data.index(b"\r\n\r\n") + 4
        found = []
        while at < len(data):
            count, begin = data[at + 1], at + 2
            if count == 126:
                count, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if data[at] == 0x81:
                found.append(json.loads(data[begin : begin + count]))
            at = begin + count
        return found

    def authenticate(self) -> None:
        """R-4.1."""
        payload = self.texts()[0]["payload"]
        self.challenge = b64decode(payload["challenge"])
        secret = self.person.identity_secret
        assert secret is not None
        signed = auth_signed_data(self.challenge, payload["server_time"], self.device_id, self.now_ms)
        answer = {
            "identity_key": b64encode(self.person.identity_key).decode(),
            "device_id": self.device_id,
            "signature": b64encode(CRYPTO.sign(secret, signed)).decode(),
            "client_time": self.now_ms,
        }
        self.say(self.frame("AUTH_RESPONSE", 0, answer))

    def learn_key(self) -> None:
        """R-5.1, from AUTH_SUCCESS."""
        self.key = CRYPTO.session_key(self.texts()[1]["payload"]["session_token"], self.challenge)

    def frame(self, kind: str, number: int, payload: dict[str, Any], has_mac: bool = True) -> bytes:
        """A text frame, with ``seq`` and MAC once there is a key."""
        frame_id = f"{number:08x}-0000-4000-8000-{NAMES.index(self.person.name):012x}"
        text = json.dumps(payload)
        more = ""
        if self.key:
            self.seq += 1
            mac = CRYPTO.message_mac(self.key, kind, frame_id, self.now_ms, text.encode())
            more = f',"seq":{self.seq}' + (f',"message_mac":"{b64encode(mac).decode()}"' if has_mac else "")
        return f'{{"type":"{kind}","id":"{frame_id}","timestamp":{self.now_ms},"payload":{text}{more}}}'.encode()

    def say(self, *texts: bytes, first: int = 0x81) -> None:
        """Frames of one reading of the socket."""
        data = b""
        for text in texts:
            size = bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
            data += bytes((first,)) + size + bytes(4) + text
        self.connection.data_received(data)


Step = tuple[int, str, int]
STEPS = st.tuples(
    st.sampled_from((0, 1)),
    st.sampled_from(("send", "send", "send", "received", "read", "typing", "large", "no_mac", "odd", "text", "binary")),
    st.integers(0, 5),
)


def frame_of(peer: Peer, other: Peer, kind: str, number: int) -> bytes:
    """What a step says."""
    name = "MESSAGE_SEND"
    payload: dict[str, Any] = {
        "to": other.person.address,
        "ciphertext": b64encode(b"x" * (9_000 if kind == "large" else 20 * number)).decode(),
        "nonce": b64encode(number.to_bytes(12, "big")).decode(),
        "message_type": "text",
    }
    if kind in ("received", "read"):
        name = f"MESSAGE_{kind.upper()}"
        payload = {"message_id": f"{number:08x}-0000-4000-8000-{NAMES.index(other.person.name):012x}"}
    elif kind == "typing":
        name, payload = "TYPING_START", {"conversation_id": "conv_0123456789abcdef"}
    elif kind == "odd":
        name, payload = "DANCE", {}
    elif kind == "text":
        return ("not JSON", '{"type":1}', "\u00e4")[number % 3].encode()
    return peer.frame(name, number, payload, has_mac=kind != "no_mac")


def outcome(steps: list[Step], instant_us: int, record: Path | None) -> tuple[list[bytes], list[Any], dict[str, int]]:
    """What two peers were sent, the journal, and what was counted."""

    async def body() -> tuple[list[bytes], list[Any], dict[str, int]]:
        clock = MovableClock(scale=0)
        clock.advance_to(instant_us)
        space = Space(config(limits={"send_message": {"limit": 4, "window_s": 60, "burst": 3}}), seed=1, clock=clock)
        if record is not None:
            space.driver.record(str(record), 1)
        peers = [Peer(space, space.add_person(name)) for name in NAMES]
        await asyncio.sleep(0)
        for peer in peers:
            peer.authenticate()
        await asyncio.sleep(0)
        for peer in peers:
            peer.learn_key()
        for who, kind, number in steps:
            peer, other = peers[who], peers[1 - who]
            peer.say(frame_of(peer, other, kind, number), first=0x82 if kind == "binary" else 0x81)
            if number % 2:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        entries = [entry.as_json() for entry in space.journal.entries()]
        counters = dict(space.driver.counters)
        written = [peer.wire.written.partition(b"\r\n\r\n")[2] for peer in peers]
        for peer in peers:
            peer.connection.connection_lost(None)
        space.close()
        return written, entries, counters

    return run(body())


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=25, deadline=None)
def test_a_recorded_relay_and_one_that_nobody_records_must_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Wire, journal and counters: a recording makes every input and output take the long way."""
    instant_us = MovableClock().now_us() + 60_000_000
    straight = outcome(steps, instant_us, None)
    long = outcome(steps, instant_us, tmp_path_factory.mktemp("recorded") / "all.jsonl")
    assert straight[0] == long[0]
    assert straight[1] == long[1]
    assert straight[2] == long[2]


def test_messages_must_pass_on_the_straight_way() -> None:
    """What the comparison compares is not two relays that refuse everything."""
    steps: list[Step] = [(0, "send", 1), (1, "received", 1), (1, "send", 2), (0, "read", 2)]
    written, entries, counters = outcome(steps, MovableClock().now_us() + 60_000_000, None)
    kinds = [entry["type"] for entry in entries if "type" in entry]
    first = kinds.index("MESSAGE_SEND")
    assert kinds[first : first + 4] == ["MESSAGE_SEND", "MESSAGE_ACK", "MESSAGE_NEW", "MESSAGE_RECEIVED"]
    assert kinds.count("MESSAGE_DELIVERED") == 2
    assert counters["messages.delivered"] == 2
    assert counters["copies.stored"] == 2
    assert all(b"MESSAGE_NEW" in one for one in written)
