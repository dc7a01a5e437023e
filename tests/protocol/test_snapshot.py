"""A relay restored from a snapshot taken at any moment goes on alike, effect for effect and byte for byte (R-12.1)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from relay_support import bundle, header, loose
from relay_world import Json, Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import Limit, Limits, MailboxConfig, RelayConfig
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.control import AddUser, MakeContacts, NodeLost, RotateKey, Suspend
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.relay_image import ConnectionImage
from zentalk_sim.protocol.streams import Stream, Streams

INPUTS = (
    "connect",
    "receive_data",
    "receive_text",
    "receive_frame",
    "disconnect",
    "handle_request",
    "receive_event",
    "control",
    "handle_timeout",
)


class Twin:
    """Two relays given the same inputs, the second made anew from the first's snapshot whenever ``split`` is called."""

    def __init__(self, relay: Relay, crypto: Crypto) -> None:
        self.first = relay
        self.second: Relay | None = None
        self.crypto = crypto
        self.compared = 0

    def split(self) -> None:
        snapshot = self.first.snapshot()
        self.second = Relay.restored(snapshot, self.first.config, crypto=self.crypto)
        assert self.second.snapshot() == snapshot

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.first, name)
        if name not in INPUTS:
            return found

        def both(*arguments: Any) -> Any:
            said = found(*arguments)
            if self.second is not None:
                again = getattr(self.second, name)(*arguments)
                assert again == said
                assert msgspec.json.encode(again) == msgspec.json.encode(said)
                assert self.second.next_timeout() == self.first.next_timeout()
                self.compared += len(said)
            return said

        return both

    def assert_equal(self) -> None:
        assert self.second is not None
        assert self.second.snapshot() == self.first.snapshot()
        assert self.compared > 0


class Life:
    """People who do this and that, drawn from a stream."""

    def __init__(self, world: RelayWorld, draw: Stream) -> None:
        self.world = world
        self.draw = draw
        self.people = [world.person(name, devices=2) for name in ("alice", "bob", "carol")]
        self.people.append(world.person("dave", devices=0))
        world.control(MakeContacts(self.people[0].address, self.people[2].address))
        self.sent: list[tuple[str, str, str]] = []

    def pick(self, things: list[Any]) -> Any:
        return things[self.draw.between(0, len(things) - 1)]

    def alive(self) -> list[Line]:
        return [
            line for line in self.world.lines.values() if line.accepted and not line.gone and line.close_code is None
        ]

    def step(self) -> None:
        ready = [line for line in self.alive() if line.session]
        actions = [self.come, self.come, self.wait, self.wait, self.ask]
        if ready:
            actions += [self.say] * 16 + [self.go if self.draw.between(0, 1) else self.command]
        self.pick(actions)()
        for line in list(self.world.lines.values()):
            if line.close_code is not None and not line.gone:
                line.lose("closed")

    def come(self) -> None:
        person: Person = self.pick(self.people[:3])
        device = self.draw.between(0, 1)
        old = [line for line in self.world.lines.values() if line.device_id == person.devices[device] and line.session]
        resume = old[-1].session["resume_token"] if old and self.draw.between(0, 1) else None
        line = person.open(device, resume=resume)
        if line.of("AUTH_CHALLENGE") and self.draw.between(0, 9):
            line.authenticate()

    def go(self) -> None:
        self.pick(self.alive()).lose()

    def wait(self) -> None:
        self.world.advance_us(self.pick([1, 999, 1_000_000, 1_000_000, 3_000_000, 11_000_000, 29_999_999]))

    def say(self) -> None:
        line: Line = self.pick([line for line in self.alive() if line.session])
        peer: Person = self.pick(self.people)
        conversation = conversation_id(line.person.address, peer.address)
        known = [sent for sent in self.sent if sent[1] == line.person.address] or [
            *self.sent,
            (self.world.uuid(), "", ""),
        ]
        kind = self.draw.between(0, 11)
        if kind < 3:
            nonce = b64(self.world.bytes(12))
            head: Json = {"x3dh_header": header(line.person, 1)} if self.draw.between(0, 4) == 0 else {}
            self.sent.append((line.message(peer, nonce=nonce, **head), peer.address, nonce))
        elif kind == 3 and self.sent:
            message_id, to, nonce = self.pick(self.sent)
            line.message(to, nonce=nonce, id=message_id)
        elif kind == 4:
            line.send("MESSAGE_RECEIVED", {"message_id": self.pick(known)[0]})
        elif kind == 5:
            line.send("MESSAGE_READ", {"message_id": self.pick(known)[0]})
        elif kind == 6:
            line.send(self.pick(["TYPING_START", "TYPING_STOP"]), {"conversation_id": conversation})
        elif kind == 7:
            line.send("PRESENCE_SET", {"status": self.pick(["online", "away", "invisible"])})
        elif kind == 8:
            topics = [f"{self.pick(['presence', 'keys'])}:{peer.address}", f"typing:{conversation}"]
            line.send(
                self.pick(["SUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"]), {"topics": topics}, seq=self.draw.between(1, 99)
            )
        elif kind == 9:
            line.raw(self.pick(["{", "[]", '{"type":"PING"}', b"\x02", "\ud800"]))
        elif line.of("PING"):
            line.pong()

    def ask(self) -> None:
        person: Person = self.pick(self.people[:3])
        peer: Person = self.pick(self.people)
        method, path, body = self.pick(
            [
                ("GET", "/api/messages?limit=3", None),
                ("POST", "/api/messages/ack", {"message_ids": [sent[0] for sent in self.sent[-9:]]}),
                ("POST", "/api/keys", bundle(person, (self.draw.between(1, 9),))),
                ("GET", f"/api/keys/{peer.address}", None),
                ("PUT", "/api/settings", {"share_presence": bool(self.draw.between(0, 2))}),
                (
                    "POST",
                    "/api/devices",
                    {"device_id": person.devices[0], "device_name": "", "device_type": "web", "push_token": "p"},
                ),
                ("DELETE", f"/api/devices/{person.devices[1]}", None),
            ]
        )
        person.rest(method, path, body, device=0)

    def command(self) -> None:
        person: Person = self.pick(self.people)
        suspended = self.world.store.users[person.address].suspended
        choice = self.draw.between(0, 5)
        if choice == 0 or suspended:
            self.world.control(Suspend(person.address, not suspended))
        elif choice == 1:
            self.world.control(RotateKey(person.address, person.key, "reinstall"))
        elif choice == 2:
            self.world.control(NodeLost("another"))
        elif choice == 3:
            self.world.control(AddUser(self.draw.bytes(32)))


TIGHT = RelayConfig(
    limits=Limits(auth_attempts="off", connection_rate="off", connections_per_ip="off", send_message=Limit(limit=9)),
    mailbox=MailboxConfig(max_copies=4, max_notices=3, retention_s=200),
)


def live(config: RelayConfig, crypto: Crypto, seed: str, steps: int, every: int) -> None:
    world = RelayWorld(config, seed=seed, crypto=crypto)
    twin = Twin(world.relay, crypto)
    life = Life(world, Streams(seed).stream("life"))
    world.relays[0] = twin  # type: ignore[call-overload]
    for number in range(steps):
        if number % every == 0:
            twin.split()
        life.step()
    twin.assert_equal()
    world.advance(1000)
    twin.assert_equal()


@pytest.mark.requirement("R-12.1")
@pytest.mark.parametrize("seed", range(6))
def test_a_relay_restored_at_any_moment_must_go_on_alike(seed: int) -> None:
    live(TIGHT if seed % 2 else loose(), Modelled(), f"life {seed}", 700, 23)


@pytest.mark.requirement("R-12.1")
def test_a_relay_restored_once_must_go_on_alike_for_long() -> None:
    live(TIGHT, Modelled(), "long life", 600, 10_000)


@pytest.mark.requirement("R-12.1")
def test_real_signatures_and_tokens_must_go_on_alike() -> None:
    live(TIGHT, Ed25519(), "real life", 80, 9)


@pytest.mark.requirement("R-12.1")
def test_what_is_no_snapshot_must_be_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        Relay.restored(b"nonsense", RelayConfig())


def test_the_image_of_a_connection_must_hold_all_of_its_state() -> None:
    armed = {"armed_us", "armed_order", "armed_before", "armed_after", "pong_before", "pong_after"}
    of_the_face = {"face"}
    found_anew = {"looked_endings"}
    assert set(ConnectionImage.__struct_fields__) == set(Connection.__slots__) - armed - of_the_face - found_anew
