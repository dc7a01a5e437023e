"""A recorded session lived again: the clients' own actions in a world of the simulator, over other settings.

The experiment is made from the recording (its protocol settings, its users and devices, a network that costs nothing)
and a fragment laid over it. What waited in the mailboxes as it began waits here, too, as long ago and under its own
ids. Who takes part and what they do comes from the recording alone, so a fragment that speaks of either is refused.
Message ids are drawn anew; whoever reads a message reads the one that stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from zentalk_sim.experiment import writer
from zentalk_sim.experiment.fragment import overlaid
from zentalk_sim.experiment.loader import read
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import Fault, FileFaults, Located, Origin
from zentalk_sim.model.device import Device
from zentalk_sim.model.population import Member, Person, ip_of, pick_weighted, register
from zentalk_sim.model.workload import Conduct, ciphertext
from zentalk_sim.model.world import World
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.protocol.frames import RELAY_FRAMES
from zentalk_sim.protocol.records import Notice
from zentalk_sim.trace.lift import Action, Lifted

NETWORK: Final = "recorded"
"""The network where the fragment names none: no latency of its own, since the recorded one is not known."""
TAIL_US: Final = 30_000_000
"""How long the simulation goes on after the last recorded event, so that what is under way can arrive."""
_FROM_RECORDING: Final = {
    "workload": (),
    "population": ("devices", "users", "devices_per_user", "contacts", "contact_graph", "tail_exponent"),
}


def experiment_of(
    lifted: Lifted,
    source: str,
    fragment: str | Path | None,
    settings: tuple[str, ...] = (),
    options: dict[str, tuple[str, Any]] | None = None,
) -> Experiment:
    """The experiment that lives a recording again, with a fragment over it. Raises FileFaults."""
    tree = yaml.located(_mapping(lifted, source), Origin(source))
    if fragment is not None:
        over = yaml.load(fragment)
        _refuse_people(over)
        tree = overlaid(tree, over)
    named = [text for text in settings if text.split("=")[0].split(".")[0] in ("workload",) or _names_people(text)]
    if named:
        raise FileFaults([Fault(Origin(f"-S {text}"), "who takes part comes from the recording") for text in named])
    return read(tree, settings, options=options)


def _mapping(lifted: Lifted, source: str) -> dict[str, Any]:
    devices = sum(len(user.devices) for user in lifted.users.values())
    base = Experiment(name=f"{_stem(source)}-again", duration_us=lifted.lasted_us + TAIL_US, fidelity="frames")
    relay = msgspec.structs.replace(
        base.relay,
        ingress=msgspec.structs.replace(base.relay.ingress, enabled=False),
        store_latency_us=0,
        **{
            name: getattr(lifted.config, name)
            for name in lifted.config.__struct_fields__
            # Who may connect is said in the simulation's own terms.
            if name != "upgrade"
        },
    )
    population = msgspec.structs.replace(base.population, devices=devices, networks={NETWORK: 1.0})
    messages = msgspec.structs.replace(base.workload.messages, rate_per_device_per_min=0.0)
    workload = msgspec.structs.replace(base.workload, messages=messages)
    found = writer.to_mapping(
        msgspec.structs.replace(
            base,
            relay=relay,
            population=population,
            workload=workload,
            network={NETWORK: LinkProfile(tls_round_trips=0, source="None: the recorded one is not known.")},
        )
    )
    found["description"] = f"The clients' actions of {Path(source).name}, lived again."
    return found


def _stem(source: str) -> str:
    name = Path(source).name.partition(".")[0]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in name) or "recording"


def _refuse_people(over: Located) -> None:
    faults = []
    if isinstance(over.data, dict):
        for section, names in _FROM_RECORDING.items():
            node = over.data.get(section)
            if node is None:
                continue
            keys = [key for key in (node.data if isinstance(node.data, dict) else ()) if key in names]
            if not names:
                faults.append(Fault(over.keys[section], f"`{section}`: what clients do comes from the recording"))
            faults += [
                Fault(node.keys[key], f"`{section}.{key}`: who takes part comes from the recording") for key in keys
            ]
    if faults:
        raise FileFaults(faults)


def _names_people(text: str) -> bool:
    path = text.split("=")[0].split(".")
    return len(path) > 1 and path[0] == "population" and path[1] in _FROM_RECORDING["population"]


# --- the world ---------------------------------------------------------------------------------------------------


def world_of(lifted: Lifted, made: Callable[[RelivedWorld], None] | None = None) -> Callable[..., World]:
    """What makes the world of a lifted recording, for ``runner.simulate``; ``made`` is told of it."""

    def make(*arguments: Any, **options: Any) -> World:
        world = RelivedWorld(lifted, *arguments, **options)
        if made is not None:
            made(world)
        return world

    return make


class RelivedWorld(World):
    """A world whose people and their doings come from a recording."""

    def __init__(self, lifted: Lifted, *arguments: Any, **options: Any) -> None:
        self.lifted = lifted
        super().__init__(*arguments, **options)

    @property
    def skipped(self) -> int:
        """Actions that could not be done, since a fault had switched the device off."""
        assert isinstance(self.conduct, Script)
        return self.conduct.skipped

    def populate(self) -> list[Member]:
        """The recording's devices, with keys drawn anew, since a relay never has a client's."""
        population = self.experiment.population
        order = {address: index for index, address in enumerate(self.lifted.users)}
        members: list[Member] = []
        for address, user in self.lifted.users.items():
            identity = self.streams.fresh(f"user/{order[address]}/identity")
            secret = identity.bytes(32)
            person = Person(
                index=order[address],
                address=address,
                secret=secret,
                identity_key=self.crypto.public_key(secret),
                device_ids=tuple(user.devices),
                contacts=tuple(order[other] for other in user.contacts if other in order),
            )
            for device_id in user.devices:
                number = len(members)
                draw = self.streams.fresh(f"device/{number}/network").uniform()
                network = pick_weighted(population.networks, draw)
                members.append(Member(number, person, device_id, network, ip_of(number // population.nat_group_size)))
        register(members, self.store, self.start_us)
        for address, user in self.lifted.users.items():
            self.store.users[address].settings = user.settings
        self._carry_over()
        return members

    def _carry_over(self) -> None:
        """Put what waited when the recording began into the mailboxes, its instants moved to this world's time."""
        waiting = self.lifted.waiting
        later_us = self.start_us - waiting.began_us
        for message in waiting.messages:
            assert message.body is not None
            carried = msgspec.structs.replace(
                message,
                accepted_us=message.accepted_us + later_us,
                body=msgspec.structs.replace(message.body, timestamp=message.body.timestamp + later_us // 1000),
                copies=0,
                delivered_to=tuple(message.delivered_to),
            )
            self.store.add_message(carried, waiting.copies[message.id])
            self.store.set_conversation(carried.conversation_id, (carried.sender, carried.recipient))
            self.store.counters.accepted = max(self.store.counters.accepted, carried.order)
        limit = self.experiment.relay.protocol.mailbox.max_notices
        for address, device_id, notice in waiting.notices:
            kept = Notice(notice.type, msgspec.convert(notice.payload, RELAY_FRAMES[notice.type]))
            self.store.add_notice((address, device_id), kept, limit)
        # The ledger of copies begins with what is there.
        self.recorder.count("copies.stored", waiting.count)
        self.recorder.count("copies.carried_over", waiting.count)
        self.recorder.copies_pending += waiting.count

    def conduct_of(self, members: list[Member]) -> Conduct:
        """The recorded actions."""
        people = {member.person.address: member.person for member in members}
        return Script(self, people)


class Script(Conduct):
    """Every device does what it did, at its instant."""

    def __init__(self, world: RelivedWorld, people: dict[str, Person]) -> None:
        super().__init__(world.experiment.workload, world.kernel, list(people.values()), world.streams)
        self._kernel = world.kernel
        self._by_address = people
        self._actions: dict[str, list[Action]] = {}
        for action in reversed(world.lifted.actions):
            self._actions.setdefault(action.device, []).append(action)
        self._start = world.start_us
        self._ids: dict[str, str] = {}
        """Recorded id → the one drawn here."""
        self._recorded: dict[str, str] = {}
        self._waiting: dict[tuple[str, str], None] = {}
        """(device, recorded id): read as soon as it is shown."""
        self._shown: dict[tuple[str, str], None] = {}
        self.skipped = 0
        """Actions of devices that a fault had switched off."""

    def begin(self, device: Device) -> None:
        """Have the device's first action wait for its instant."""
        self._await_next(device)

    def first_connected(self, device: Device) -> None:
        """Nothing follows but what was recorded."""

    def came_back(self, device: Device) -> None:
        """Nothing follows but what was recorded."""

    def shown(self, device: Device, message_id: str) -> None:
        """What was read in the recording before it could be shown here is read now."""
        key = (device.member.device_id, self._recorded.get(message_id, message_id))
        self._shown[key] = None
        if key in self._waiting:
            del self._waiting[key]
            # Once the effects that show it are applied.
            self._kernel.call_at(self._kernel.now, device.read, message_id)

    def _await_next(self, device: Device) -> None:
        actions = self._actions.get(device.member.device_id)
        if actions:
            action = actions.pop()
            self._kernel.call_at(self._start + action.at_us, self._act, device, action)

    def _act(self, device: Device, action: Action) -> None:
        if device.offline:
            self.skipped += 1
        else:
            self._do(device, action)
        self._await_next(device)

    def _do(self, device: Device, action: Action) -> None:
        client, now = device.client, device.now()
        match action.kind:
            case "connect":
                device.connect()
            case "close":
                device.apply(client.close(now))
            case "send":
                self._send_again(device, action)
            case "read":
                self._read_one(device, action)
            case "typing_start":
                device.apply(client.start_typing(action.to, now))
            case "typing_stop":
                device.apply(client.stop_typing(action.to, now))
            case "presence":
                device.apply(client.set_presence(action.texts[0], now))  # type: ignore[arg-type]
            case "subscribe":
                device.apply(client.subscribe(action.texts, now))
            case "unsubscribe":
                device.apply(client.unsubscribe(action.texts, now))

    def _send_again(self, device: Device, action: Action) -> None:
        to = self._by_address.get(action.to)
        if to is None:
            # To somebody without a device, or whom the relay did not know: the relay answers as it did.
            to = Person(-1, action.to, b"", b"", (), ())
        device.send(to, ciphertext(action.size))
        self._ids[action.id] = device.client.last_id
        self._recorded[device.client.last_id] = action.id

    def _read_one(self, device: Device, action: Action) -> None:
        key = (device.member.device_id, action.id)
        if key in self._shown:
            device.read(self._ids.get(action.id, action.id))
        else:
            self._waiting[key] = None
