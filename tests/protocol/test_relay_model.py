"""The relay against a plain model, rule by rule in any order (R-5.5, R-5.6, R-6, R-12.5)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from relay_model import Model, Told
from relay_support import NO_LIMITS, rest_on
from relay_world import Json, Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import DedupConfig, HeartbeatConfig, MailboxConfig, RelayConfig
from zentalk_sim.protocol.control import AddDevice, RemoveDevice
from zentalk_sim.protocol.crypto import Modelled

CONFIG = RelayConfig(
    limits=NO_LIMITS,
    heartbeat=HeartbeatConfig(interval_ms=10**12),
    mailbox=MailboxConfig(max_copies=3, max_notices=2, retention_s=1000),
    dedup=DedupConfig(window_s=1500, bloom_capacity=1000),
)
NAMES = ("alice", "bob", "carol")
COUNTED = (
    "copies.stored",
    "copies.confirmed",
    "copies.dropped.overflow",
    "copies.dropped.expired",
    "copies.dropped.device_removed",
    "notices.dropped.overflow",
)
names = st.sampled_from(NAMES)
nodes = st.integers(0, 1)
any_number = st.integers(0, 11)


def in_short(frame: Json) -> Told | None:
    """What the model says of a frame; None for those it does not speak of."""
    kind, payload = frame["type"], frame["payload"]
    match kind:
        case "MESSAGE_ACK":
            return kind, payload["message_id"], payload["status"], payload["recipient_devices"]
        case "MESSAGE_NEW":
            return kind, frame["id"], payload["ciphertext"]
        case "MESSAGE_DELIVERED":
            return kind, payload["message_id"], payload["device_id"]
        case "MESSAGE_READ":
            return kind, payload["message_id"]
        case "SYNC_REQUIRED":
            return kind, payload["pending_count"]
        case "ERROR":
            return kind, payload["error_code"], payload["details"].get("reason")
        case "KEY_CHANGE":
            return kind, payload["user_id"]
    return None


class RelayMachine(RuleBasedStateMachine):
    """Three users on two nodes; carol begins without a device."""

    steps = 0

    @initialize()
    def begin(self) -> None:
        self.world = RelayWorld(CONFIG, nodes=2, crypto=Modelled())
        self.model = Model(3, 2, 1000 * 10**6, 1500 * 10**6)
        self.people: dict[str, Person] = {}
        self.lines: dict[str, Line] = {}
        self.ids: list[tuple[str, str, str, str]] = []
        """(id, to, nonce, text) of every MESSAGE_SEND."""
        for name, devices in zip(NAMES, (2, 1, 0), strict=True):
            person = self.people[name] = self.world.person(name, devices=devices)
            self.model.devices[person.address] = list(person.devices)
            self.model.contacts[person.address] = set()
        self._connect(self.people["alice"], 0, 0)
        self._connect(self.people["bob"], 0, 1)

    def line_of(self, pick: int) -> Line:
        lines = list(self.lines.values())
        return lines[pick % len(lines)]

    # --- rules ---------------------------------------------------------------------------------------------

    @rule(pick=any_number, node=nodes, replace=st.booleans())
    def come_or_go(self, pick: int, node: int, replace: bool) -> None:
        """A device connects; one that is connected goes, or replaces its own connection."""
        devices = [(person, number) for person in self.people.values() for number in range(len(person.devices))]
        if not devices:
            return
        person, number = devices[pick % len(devices)]
        if replace or person.devices[number] not in self.lines:
            self._connect(person, number, node)
        else:
            self.lines.pop(person.devices[number]).lose()
            self.model.disconnect(person.devices[number])

    def _connect(self, person: Person, number: int, node: int) -> None:
        device = person.devices[number]
        older = self.lines.get(device)
        line = self.lines[device] = person.connect(number, relay=node)
        if older is not None:
            assert older.end == (1000, "replaced")
            older.lose()
        self.model.connect(device)
        assert line.session["resumed"] is False

    @precondition(lambda self: self.lines)
    @rule(pick=any_number, to=names, count=st.integers(1, 4))
    def send(self, pick: int, to: str, count: int) -> None:
        for _ in range(count):
            nonce, text = b64(self.world.bytes(12)), b64(self.world.bytes(3))
            self._send(self.line_of(pick), self.world.uuid(), self.people[to].address, nonce, text)

    @precondition(lambda self: self.lines and self.ids)
    @rule(
        pick=any_number,
        which=any_number,
        change=st.sampled_from(["nothing", "nothing", "nothing", "id", "to", "nonce", "text", "sender"]),
    )
    def send_again(self, pick: int, which: int, change: str) -> None:
        message_id, to, nonce, text = self.ids[which % len(self.ids)]
        line = self.line_of(pick)
        known = self.model.index.get(message_id)
        if change != "sender" and known is not None:
            line = next((one for one in self.lines.values() if one.person.address == known.sender), line)
        match change:
            case "id":
                message_id = self.world.uuid()
            case "to":
                to = next(person.address for person in self.people.values() if person.address != to)
            case "nonce":
                nonce = b64(self.world.bytes(12))
            case "text":
                text = b64(self.world.bytes(4))
        self._send(line, message_id, to, nonce, text)

    def _send(self, line: Line, message_id: str, to: str, nonce: str, text: str) -> None:
        line.message(to, id=message_id, nonce=nonce, ciphertext=text)
        self.ids.append((message_id, to, nonce, text))
        self.model.send(line.device_id, line.person.address, to, message_id, nonce, text, self.world.now)

    @precondition(lambda self: self.lines and self.ids)
    @rule(
        pick=any_number,
        which=any_number,
        kind=st.sampled_from(["MESSAGE_RECEIVED", "MESSAGE_READ"]),
        own=st.sampled_from([True, True, True, False]),
    )
    def receipt(self, pick: int, which: int, kind: str, own: bool) -> None:
        line = self.line_of(pick)
        held = self.model.boxes.get(line.device_id)
        ids = held if own and held else [one[0] for one in self.ids[-8:]]
        message_id = ids[which % len(ids)]
        line.send(kind, {"message_id": message_id})
        self.model.receipt(kind, line.device_id, line.person.address, message_id)

    @rule(name=names, pick=any_number, node=nodes, limit=st.integers(1, 3), offset=st.integers(0, 2))
    def fetch(self, name: str, pick: int, node: int, limit: int, offset: int) -> None:
        person = self.people[name]
        if not person.devices:
            return
        number = pick % len(person.devices)
        answer = rest_on(node, person, "GET", f"/api/messages?limit={limit}&offset={offset}", device=number)
        wanted = self.model.boxes.get(person.devices[number], [])
        assert [message["id"] for message in answer.body["messages"]] == wanted[offset : offset + limit]
        assert answer.body["total"] == len(wanted)
        for message in answer.body["messages"]:
            assert b64(message["payload"].ciphertext) == self.model.index[message["id"]].text
            assert message["timestamp"] == self.model.index[message["id"]].at_us // 1000

    @precondition(lambda self: self.ids)
    @rule(name=names, pick=any_number, node=nodes, which=st.lists(any_number, min_size=1, max_size=5))
    def acknowledge(self, name: str, pick: int, node: int, which: list[int]) -> None:
        person = self.people[name]
        if not person.devices:
            return
        number = pick % len(person.devices)
        near = [one[0] for one in self.ids[-4:]] + self.model.boxes.get(person.devices[number], [])
        ids = [near[one % len(near)] for one in which]
        answer = rest_on(node, person, "POST", "/api/messages/ack", {"message_ids": ids}, device=number)
        assert answer.body == {"acked": self.model.acknowledge(person.devices[number], person.address, ids)}

    @rule(name=names, pick=any_number, node=nodes, more=st.booleans())
    def change_devices(self, name: str, pick: int, node: int, more: bool) -> None:
        person = self.people[name]
        if len(person.devices) < (3 if more else 1):
            device = self.world.uuid()
            person.devices.append(device)
            self.world.apply(self.world.relays[node].control(AddDevice(person.address, device), self.world.now))
            self.model.register(person.address, device)
            return
        device = person.devices.pop(pick % len(person.devices))
        self.world.apply(self.world.relays[node].control(RemoveDevice(person.address, device), self.world.now))
        self.model.remove(person.address, device)
        line = self.lines.pop(device, None)
        if line is not None:
            assert line.end == (1000, "device_removed")
            line.lose()

    @rule(span_us=st.sampled_from([1, 1_000, 30_000_000, 400_000_000, 999_999_999, 1_000_000_000]))
    def wait(self, span_us: int) -> None:
        self.world.advance_us(span_us)
        self.model.expire(self.world.now)

    # --- what must always hold -----------------------------------------------------------------------------

    @invariant()
    def every_connection_was_told_what_the_model_says(self) -> None:
        type(self).steps += 1
        assert sorted(self.lines) == sorted(self.model.online)
        for device, line in self.lines.items():
            assert line.close_code is None
            assert [short for frame in line.frames if (short := in_short(frame))] == self.model.online[device]

    @invariant()
    def every_mailbox_holds_what_the_model_says_in_its_order(self) -> None:
        held = {device or address: list(box) for (address, device), box in self.world.store.mailboxes.items()}
        assert held == {place: box for place, box in self.model.boxes.items() if box}
        assert set(self.world.store.messages) == set(self.model.index)

    @invariant()
    def the_ledger_of_copies_balances(self) -> None:
        counted = {name: self.world.count(name) for name in COUNTED}
        assert counted == {name: self.model.counts.get(name, 0) for name in COUNTED}
        dropped = sum(count for name, count in counted.items() if name.startswith("copies.dropped."))
        held = sum(map(len, self.world.store.mailboxes.values()))
        assert counted["copies.stored"] == counted["copies.confirmed"] + dropped + held

    @invariant()
    def every_acknowledged_message_is_accounted_for(self) -> None:
        """Each copy of each message is in a mailbox, or one note says where it went."""
        ends: dict[str, int] = {}
        stored: dict[str, int] = {}
        for note in self.world.notes:
            if note.message_id is not None and note.name == "copies.stored":
                stored[note.message_id] = stored.get(note.message_id, 0) + note.count
            elif note.message_id is not None and note.name.startswith("copies."):
                ends[note.message_id] = ends.get(note.message_id, 0) + note.count
        removed = sum(note.count for note in self.world.notes if note.name == "copies.dropped.device_removed")
        missing = 0
        for message_id, count in stored.items():
            message = self.world.store.messages.get(message_id)
            gone = count - ends.get(message_id, 0) - (message.copies if message else 0)
            assert gone >= 0, "a copy ended twice"
            missing += gone
        assert missing == removed


STEPS = settings(max_examples=max(100, settings().max_examples // 5), stateful_step_count=50, database=None)
"""The rest is the profile's: deterministic and quick in ``ci``, long and random in ``soak``."""


@pytest.mark.requirement("R-5.5", "R-5.6", "R-6.2", "R-6.3", "R-6.5", "R-6.6", "R-7.1", "R-12.5")
def test_the_relay_must_agree_with_its_model() -> None:
    RelayMachine.steps = 0
    run_state_machine_as_test(RelayMachine, settings=STEPS)
    assert RelayMachine.steps > 1000, "the machine must have gone a long way"
