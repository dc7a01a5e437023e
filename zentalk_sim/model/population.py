"""Who takes part: users with keys and contacts, their devices, networks and IP addresses.

Everything of a user or device comes from streams named after its number, so that one more device moves no other's
network, keys or instants. What is chosen *among all* does move with their number: contacts, picked from all users,
and whom a fault strikes. Addresses are drawn, not made from keys, so that both fidelities speak of the same users
(R-6.1 asks no more of an address than its form).
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.experiment.schema import Experiment, Population
from zentalk_sim.model.contacts import HeavyTail, pick_contacts
from zentalk_sim.model.people import Member as Member
from zentalk_sim.model.people import Person as Person
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Identity
from zentalk_sim.protocol.config import ClientConfig, TokenConfig
from zentalk_sim.protocol.crypto import Crypto
from zentalk_sim.protocol.records import Device, Settings, User
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.tokens import CAPABILITIES, Claims, TokenAuthority

DEVICE_TYPE = "android"
_ROAMING = 1 << 22
"""NAT groups from here on are those of devices that have changed networks: each has an address of its own."""


def ip_of(group: int) -> str:
    """The address of a NAT group: a public one, since per-IP limits spare private ones in ``dev``."""
    value = (11 << 24) + group
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def roaming_ip(device_index: int) -> str:
    """The address of a device that has changed networks."""
    return ip_of(_ROAMING + device_index)


def pick_weighted(weights: dict[str, float], u: float) -> str:
    """The name at quantile ``u`` of the weights, in their order, which therefore counts (`experiment.identity`)."""
    total = sum(weights.values())
    reached = 0.0
    for name, weight in weights.items():
        reached += weight
        if u * total < reached:
            return name
    return next(reversed(weights))


def deal_devices(population: Population, streams: Streams) -> list[range]:
    """The numbers of each user's devices: as many each, or drawn by weights; the last user gets what remains."""
    each = population.devices_per_user
    weights = {} if isinstance(each, int) else {str(count): weight for count, weight in enumerate(each, 1)}
    dealt: list[range] = []
    first = 0
    while first < population.devices:
        if isinstance(each, int):
            count = each
        else:
            count = int(pick_weighted(weights, streams.fresh(f"user/{len(dealt)}/devices").uniform()))
        dealt.append(range(first, min(first + count, population.devices)))
        first += count
    return dealt


def build_population(experiment: Experiment, streams: Streams, crypto: Crypto) -> list[Member]:
    """The devices of an experiment, in the order of their numbers."""
    population = experiment.population
    dealt = deal_devices(population, streams)
    users = len(dealt)
    tail = None
    if population.contact_graph == "heavy_tailed":
        tail = HeavyTail(streams, users, population.contacts, population.tail_exponent)
    # A network that is the only one need not be drawn, nor contacts where nobody has any: no draw moves another's.
    only = next(iter(population.networks)) if len(population.networks) == 1 else None
    group_size = population.nat_group_size
    members: list[Member] = []
    for user, numbers in enumerate(dealt):
        identity = streams.fresh(f"user/{user}/identity")
        secret = identity.bytes(32)
        address = "0x" + identity.hex(40)
        device_ids = tuple([streams.fresh(f"device/{number}/id").uuid4() for number in numbers])
        contacts: tuple[int, ...] = ()
        if population.contacts:
            picks = streams.fresh(f"user/{user}/contacts")
            contacts = tail.pick(picks, user) if tail else pick_contacts(picks, user, users, population.contacts)
        person = Person(user, address, secret, crypto.public_key(secret), device_ids, contacts)
        for number, device_id in zip(numbers, device_ids, strict=True):
            network = only or pick_weighted(population.networks, streams.fresh(f"device/{number}/network").uniform())
            members.append(Member(number, person, device_id, network, ip_of(number // group_size)))
    return members


def register(members: list[Member], store: MemoryStore, now_us: int) -> None:
    """Put users, devices and mutual contacts into the store, as if registered before the experiment."""
    people: dict[int, Person] = {}
    settings = Settings()
    # Compiled, a number becomes an object with each record that takes it, unless it is one already.
    registered_us: Any = now_us
    for member in members:
        people.setdefault(member.person.index, member.person)
    for person in people.values():
        # A device's id serves as its push token, and the settings are the same for all: both would add up.
        devices = {i: Device(i, "device", DEVICE_TYPE, registered_us, push_token=i) for i in person.device_ids}
        store.save_user(User(person.address, person.identity_key, devices, settings, contacts={}))
    for person in people.values():
        for other in person.contacts:
            store.users[person.address].contacts[people[other].address] = None
            store.users[people[other].address].contacts[person.address] = None


def issue_token(member: Member, authority: TokenAuthority, config: TokenConfig, now_us: int) -> str:
    """A connection token for a device (R-3.3), as its user's app got one before the experiment or gets one now."""
    issued_s = now_us // 1_000_000
    return authority.issue(
        Claims(member.person.address, issued_s, issued_s + config.lifetime_s, member.device_id, CAPABILITIES)
    )


def client_of(member: Member, token: str, config: ClientConfig, streams: Streams, crypto: Crypto, wire: bool) -> Client:
    """The client core of a device, with a connection token to begin with."""
    # The token is given to the client alone: a record that kept it too would be half a kilobyte a device.
    identity = Identity(member.person.address, member.person.secret, member.device_id, "")
    client = Client(config, identity, streams=streams, crypto=crypto, name=f"device/{member.index}", wire=wire)
    client.token = token
    return client
