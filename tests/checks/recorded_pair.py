"""Recordings of the real client and the real relay, core to core, as the mock relay would write them."""

from __future__ import annotations

from typing import Any

import msgspec
from pair import Pair, Phone

from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import AddDevice, IssueToken
from zentalk_sim.trace import recording as rec
from zentalk_sim.trace.tape import Tape, full_header


class RecordedPair(Pair):
    """A Pair whose relay is on tape."""

    def __init__(self, relay: dict[str, Any] | None = None, client: dict[str, Any] | None = None, **named: Any) -> None:
        super().__init__(
            msgspec.convert(relay or {}, RelayConfig), msgspec.convert(client or {}, ClientConfig), **named
        )
        # A simulation's header has no snapshot; that of wire bytes is a recording's.
        header = rec.header_line(self.relay, 1, {}, self.now)
        if not self.wire:
            header = full_header(
                "pair", 1, self.relay.config, self.client_config, modelled=True, nodes=1, version="test"
            )
        self.lines = [header]
        self.relay = Tape(self.relay, self.lines.append)  # type: ignore[assignment]

    def recording(self) -> bytes:
        """The whole recording so far, ended in order."""
        return b"".join([*self.lines, rec.input_line(rec.End(self.now))])

    def second_device(self, phone: Phone, name: str) -> Phone:
        """Another device of a user."""
        from zentalk_sim.protocol import client_effects as ce
        from zentalk_sim.protocol.client import Client

        device_id = self.streams.fresh(f"device/{name}").uuid4()
        self.control(AddDevice(phone.address, device_id, name, "web"))
        token = self.control(IssueToken(phone.address, device_id))[0]
        identity = ce.Identity(phone.address, phone.client.identity.identity_secret, device_id, token)
        client = Client(
            self.client_config, identity, streams=self.streams, crypto=self.crypto, name=name, wire=self.wire
        )
        made = Phone(self, name, phone.address, device_id, client)
        self.phones.append(made)
        return made


def living(*, wire: bool = True) -> RecordedPair:
    """Alice with two devices and bob: messages, receipts, typing, presence, losses, a refresh, a full queue."""
    pair = RecordedPair({"token": {"lifetime_s": 7_300}, "upgrade": {"profile": "dev"}}, wire=wire)
    alice, bob = pair.phone("alice"), pair.phone("bob")
    tablet = pair.second_device(alice, "tablet")
    for phone in (alice, bob, tablet):
        phone.do("connect")
    pair.run(2)
    first = alice.message(bob)
    pair.run(1)
    bob.do("mark_read", first)
    pair.run(1)
    for _ in range(3):
        bob.message(alice, b"x" * 20_000)
        pair.run(0.3)
    conversation = tablet.of(_deliver())[0].conversation_id
    for _ in range(3):
        alice.do("start_typing", conversation)
        pair.run(4)
    bob.do("subscribe", (f"presence:{alice.address}",))
    bob.do("set_presence", "away")
    pair.run(5)
    # Bob is away: what is for him waits, and is fetched.
    bob.cut()
    for _ in range(4):
        alice.message(bob)
    pair.run(8)
    # An ACK that is lost with its connection: the message is sent again under its id.
    for _ in range(3):
        alice.message(bob)
    pair.run(pair.latency_us * 1.2 / 1_000_000)
    alice.cut()
    pair.run(70)
    # A silent line: the relay gives up after three PINGs.
    tablet.silent = True
    pair.run(140)
    alice.message(bob)
    pair.run(3_700)
    return pair


def _deliver() -> type:
    from zentalk_sim.protocol.client_effects import Deliver

    return Deliver


def storming() -> RecordedPair:
    """Failures in a row: refusals and closes, each followed by the client's next attempt; then suspension and stop."""
    from zentalk_sim.protocol.control import CloseConn, Stop, Suspend

    off = dict.fromkeys(("connections_per_ip", "connection_rate", "auth_attempts"), "off")
    pair = RecordedPair({"upgrade": {"profile": "dev"}, "limits": off})
    phones = [pair.phone(f"phone {i}") for i in range(14)]
    for phone in phones:
        phone.do("connect")
    pair.run(2)
    for phone in phones:
        pair.control(CloseConn(phone.conn or 0, 1011, "failing"))
    pair.run(1.06)
    # Closed again before they are authenticated: failures in a row.
    for _ in range(3):
        for _ in range(400):
            for conn in [c for c in pair.relay.connections.values() if c.state == "challenged"]:
                pair.control(CloseConn(conn.id, 1011, "failing"))
            pair.run(0.005)
    pair.run(60)
    return_to = phones[0]
    pair.control(CloseConn(return_to.conn or 0, 4002, "limited"))
    pair.run(70)
    pair.control(Suspend(phones[1].address))
    pair.run(70)
    pair.control(Stop())
    pair.run(20)
    return pair
