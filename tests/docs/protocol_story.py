"""The examples of docs/protocol.md: a short story played on the relay core, every frame and answer kept by name.

alice (two devices) and bob (one) exchange messages, receipts, signals and tokens. Nothing is made up: each example
is what went over the wire, and each frame of alice's first device carries ``seq`` and a ``message_mac`` that verifies
with the challenge and the session token shown in the document.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

from relay_world import Json, Line, Person, RelayWorld, b64

from zentalk_sim.protocol.control import RotateKey
from zentalk_sim.protocol.crypto import mac_input
from zentalk_sim.protocol.identity import auth_signed_data, conversation_id, token_signed_data

DAY_S = 86_400


@dataclass
class Exchange:
    """One REST request and its answer; ``body`` and ``answer`` are JSON values, None where there is none."""

    method: str
    target: str
    body: Any
    status: int
    answer: Any
    headers: tuple[tuple[str, str], ...] = ()
    bearer: bool = True


@dataclass
class Examples:
    """What the document shows, by name."""

    client: dict[str, Json] = field(default_factory=dict)
    relay: dict[str, Json] = field(default_factory=dict)
    rest: dict[str, Exchange] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    claims: Json = field(default_factory=dict)
    token_header: Json = field(default_factory=dict)
    refusal: Json = field(default_factory=dict)
    refusal_status: int = 0


def compact(value: Any) -> str:
    """JSON as it stands on the wire: no spaces, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def play() -> Examples:
    """Play the story from its beginning; the same every time."""
    return _Story().told()


class _Story:
    def __init__(self) -> None:
        self.world = RelayWorld(seed="protocol.md")
        self.examples = Examples()
        self.alice = self.world.person("alice", devices=2)
        self.bob = self.world.person("bob")
        self.conversation = conversation_id(self.alice.address, self.bob.address)
        self.seq = 0
        self.key = b""
        self.line: Line

    def told(self) -> Examples:
        self._connect()
        self._keys_and_devices()
        self._messages()
        self._signals()
        self._errors()
        self._refused_connections()
        self._heartbeat()
        self._token_life()
        return self.examples

    # --- tools

    def _say(self, kind: str, payload: Json, name: str | None = None, *, id: str | None = None) -> str:
        """A frame of alice's first device, with seq and MAC, kept under ``name`` (its type unless given)."""
        world, line = self.world, self.line
        frame_id = id or world.uuid()
        self.seq += 1
        mac = b64(world.crypto.message_mac(self.key, kind, frame_id, world.now_ms, compact(payload).encode()))
        frame = {"type": kind, "id": frame_id, "timestamp": world.now_ms, "payload": payload}
        frame |= {"seq": self.seq, "message_mac": mac}
        self.examples.client[name or kind] = frame
        line.raw(compact(frame))
        assert line.close_code is None, line.end
        world.advance(0.1)
        return frame_id

    def _heard(self, line: Line, kind: str, name: str | None = None) -> Json:
        """Keep the last frame of a type that came over a line."""
        frame = line.of(kind)[-1]
        self.examples.relay[name or kind] = frame
        return frame

    def _ask(self, name: str, person: Person, method: str, target: str, body: Any = None, *, device: int = 0) -> Any:
        return self._keep(name, person, method, target, body, person.token(device))

    def _keep(self, name: str, person: Person, method: str, target: str, body: Any, bearer: str | None) -> Any:
        respond = person.rest(method, target, body, bearer=bearer)
        answer = None if respond.body is None else _as_json(respond.body)
        self.examples.rest[name] = Exchange(
            method, target, body, respond.status, answer, respond.headers, bearer is not None
        )
        self.world.advance(0.1)
        return answer

    def _envelope(self, to: Person | str, text: bytes = b"...encrypted...", **more: Any) -> Json:
        address = to if isinstance(to, str) else to.address
        nonce = b64(self.world.bytes(12))
        return {"to": address, "ciphertext": b64(text), "nonce": nonce, "message_type": "text", **more}

    # --- chapters

    def _connect(self) -> None:
        world, alice, values = self.world, self.alice, self.examples.values
        device_id = alice.devices[0]
        signed = token_signed_data(device_id, world.now_ms)
        body = {
            "identity_key": b64(alice.key),
            "device_id": device_id,
            "timestamp": world.now_ms,
            "signature": b64(world.crypto.sign(alice.secret, signed)),
        }
        token = self._keep("token", alice, "POST", "/api/token", body, None)["token"]
        self.line = line = alice.open(token=token)
        challenge = self._heard(line, "AUTH_CHALLENGE")["payload"]
        world.advance(0.02)
        line.send = self._recorded(line)  # type: ignore[method-assign]
        line.authenticate(client_time=world.now_ms)
        del line.send
        session_token = self._heard(line, "AUTH_SUCCESS")["payload"]["session_token"]
        raw = b64decode(challenge["challenge"])
        self.key = world.crypto.session_key(session_token, raw)
        head, claims, _ = session_token.split(".")
        self.examples.token_header, self.examples.claims = _unpack(head), _unpack(claims)
        values |= {
            "alice": alice.address,
            "bob": self.bob.address,
            "conversation": self.conversation,
            "device_id": device_id,
            "secret": alice.secret.hex(),
            "identity_key": alice.key.hex(),
            "token_signed": signed.hex(),
            "challenge": raw.hex(),
            "server_time": challenge["server_time"].to_bytes(8, "big").hex(),
            "device_bytes": device_id.replace("-", ""),
            "client_time": world.now_ms.to_bytes(8, "big").hex(),
            "signed_data": auth_signed_data(raw, challenge["server_time"], device_id, world.now_ms).hex(),
            "session_key": self.key.hex(),
        }

    def _recorded(self, line: Line) -> Any:
        def send(kind: str, payload: Json) -> None:
            frame = {"type": kind, "id": self.world.uuid(), "timestamp": self.world.now_ms, "payload": payload}
            self.examples.client[kind] = frame
            line.raw(compact(frame))

        return send

    def _keys_and_devices(self) -> None:
        world, alice, bob = self.world, self.alice, self.bob
        signed = world.bytes(32)
        keys = [{"id": number, "key": b64(world.bytes(32))} for number in (41, 42)]
        bundle = {
            "identityKey": b64(bob.key),
            "signedPreKey": {"id": 7, "key": b64(signed)},
            "signature": b64(world.crypto.sign(bob.secret, signed)),
            "oneTimePreKeys": keys,
        }
        self._ask("publish keys", bob, "POST", "/api/keys", bundle)
        self._ask("get keys", alice, "GET", f"/api/keys/{bob.address}")
        laptop = world.uuid()
        device = {"device_id": laptop, "device_name": "Laptop", "device_type": "desktop"}
        self._ask("register device", alice, "POST", "/api/devices", device)
        self._ask("list devices", bob, "GET", "/api/devices")
        self._ask("remove device", alice, "DELETE", f"/api/devices/{laptop}")
        self._ask("get settings", alice, "GET", "/api/settings")
        self._ask("put settings", alice, "PUT", "/api/settings", {"show_last_seen": False, "typing_disabled_for": []})

    def _messages(self) -> None:
        world, alice, bob, line = self.world, self.alice, self.bob, self.line
        header = {"identity_key": b64(alice.key), "ephemeral_key": b64(world.bytes(32)), "one_time_key_id": 41}
        payload = self._envelope(bob, x3dh_header=header)
        first = self._say("MESSAGE_SEND", payload)
        self._heard(line, "MESSAGE_ACK")
        frame = self.examples.client["MESSAGE_SEND"]
        mac_over = mac_input("MESSAGE_SEND", first, frame["timestamp"], compact(payload).encode())
        self.examples.values["mac_over"] = mac_over.decode()
        self.examples.values["mac"] = frame["message_mac"]
        world.advance(60)
        line.pong()
        self._say("MESSAGE_SEND", payload, "MESSAGE_SEND again", id=first)
        self._heard(line, "MESSAGE_ACK", "MESSAGE_ACK duplicate")
        his = bob.connect()
        self._heard(his, "SYNC_REQUIRED")
        self._ask("get messages", bob, "GET", "/api/messages?limit=100&offset=0")
        self._ask("ack messages", bob, "POST", "/api/messages/ack", {"message_ids": [first]})
        self._heard(line, "MESSAGE_DELIVERED")
        his.send("MESSAGE_READ", {"message_id": first})
        self._heard(line, "MESSAGE_READ")
        world.advance(1)
        reply = his.message(alice, b"...encrypted reply...")
        self._heard(line, "MESSAGE_NEW")
        self._say("MESSAGE_RECEIVED", {"message_id": reply})
        self._say("MESSAGE_READ", {"message_id": reply})
        large = self._envelope(bob, bytes(20_000))
        # The large field last, so that the document can show how the payload begins.
        large["ciphertext"] = large.pop("ciphertext")
        body = compact(large).encode()
        frame_id = world.uuid()
        binary = b"\x02" + bytes.fromhex(frame_id.replace("-", "")) + world.now_ms.to_bytes(8, "big")
        line.raw(binary + len(body).to_bytes(4, "big") + body)
        assert line.last("MESSAGE_ACK")["message_id"] == frame_id
        received = his.binary[-1]
        self.examples.values |= {
            "binary_sent": binary.hex() + len(body).to_bytes(4, "big").hex(),
            "binary_sent_id": frame_id,
            "binary_sent_start": body[:150].decode(),
            "binary_got": received[:29].hex(),
        }
        post = {"id": world.uuid(), **self._envelope(bob)}
        self._ask("post message", alice, "POST", "/api/messages", post)
        self.his = his

    def _signals(self) -> None:
        world, bob, line, his = self.world, self.bob, self.line, self.his
        topics = [f"presence:{bob.address}", f"typing:{self.conversation}", f"keys:{bob.address}"]
        self._say("SUBSCRIBE", {"topics": topics})
        self._heard(line, "PRESENCE_UPDATE")
        self._say("TYPING_START", {"conversation_id": self.conversation})
        self._say("TYPING_STOP", {"conversation_id": self.conversation})
        his.send("TYPING_START", {"conversation_id": self.conversation})
        self._heard(line, "TYPING_START")
        world.advance(5)
        self._heard(line, "TYPING_STOP")
        self._say("PRESENCE_SET", {"status": "away"})
        self._say("UNSUBSCRIBE", {"topics": topics[:1]})
        world.control(RotateKey(bob.address, world.crypto.public_key(world.bytes(32)), "key_rotation"))
        self._heard(line, "KEY_CHANGE")

    def _errors(self) -> None:
        line, alice = self.line, self.alice
        self._say("MESSAGE_SEND", self._envelope(self.bob) | {"nonce": b64(b"short")}, "MESSAGE_SEND malformed")
        self._heard(line, "ERROR", "ERROR malformed")
        self._say("MESSAGE_SEND", self._envelope("0x" + "0" * 40), "MESSAGE_SEND to nobody")
        self._heard(line, "ERROR", "ERROR recipient")
        self._keep("no bearer", alice, "GET", "/api/messages", None, None)
        self._ask("bad limit", alice, "GET", "/api/messages?limit=0")
        self._ask("no bundle", alice, "GET", f"/api/keys/{alice.address}")
        self._ask("wrong method", alice, "PATCH", "/api/messages")
        for _ in range(11):
            line.message(self.bob)
        self._heard(line, "ERROR", "ERROR")
        post = {"id": self.world.uuid(), **self._envelope(self.bob)}
        self._ask("limited", alice, "POST", "/api/messages", post)

    def _refused_connections(self) -> None:
        second = self.alice.open(1)
        second.authenticate(signature=b64(bytes(64)))
        self._heard(second, "AUTH_FAILED")
        assert second.close_code == 4000
        refused = self.alice.open(1, headers={"origin": "https://example.org"}).refused
        assert refused is not None
        self.examples.refusal = {"error_code": refused.error_code, "message": refused.message}
        self.examples.refusal_status = refused.status

    def _heartbeat(self) -> None:
        line, world = self.line, self.world
        pings = len(line.of("PING"))
        while len(line.of("PING")) == pings:
            world.advance(0.02)
        world.advance(0.042)
        line.pong()
        world.advance(30)
        ping = self._heard(line, "PING")["payload"]
        self._say("PONG", {"timestamp": ping["timestamp"], "client_time": world.now_ms})

    def _token_life(self) -> None:
        line, world = self.line, self.world
        until = self.line.session["expires_at"] * 1000 - 7_200 * 1_000_000 + 1_000_000
        self.his.lose()
        while world.now < until:
            line.clear()
            world.advance(5)
            if line.of("TOKEN_EXPIRING"):
                self._heard(line, "TOKEN_EXPIRING")
            if line.of("PING"):
                line.pong()
        token = self.line.session["session_token"]
        signature = b64(world.crypto.sign(self.alice.secret, token.encode("ascii")))
        self._say("TOKEN_REFRESH", {"session_token": token, "signature": signature})
        self._heard(line, "TOKEN_REFRESHED")


def _as_json(body: Any) -> Any:
    import msgspec

    return json.loads(msgspec.json.encode(body))


def _unpack(part: str) -> Json:
    from base64 import urlsafe_b64decode

    found: Json = json.loads(urlsafe_b64decode(part + "=="))
    return found
