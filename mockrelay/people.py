"""Who the relay's tools know by name: names, keys made here, devices, and the tokens last issued.

The core knows addresses alone. What is made here follows from the relay's key and the name, so that the same seed
and name give the same user wherever and whenever it is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.protocol.records import User

MAX_NAME_CHARACTERS: Final = 64


class Person(Struct):
    """A user that was added by the tools."""

    name: str
    address: str
    identity_key: bytes
    identity_secret: bytes | None
    """The 32-byte Ed25519 seed, where it was made here."""
    tokens: dict[str, str]
    """Device → the connection token last issued for it by the tools."""

    def described(self) -> dict[str, Any]:
        """As ``POST /admin/users`` answers; ``device_id`` and ``token`` are those of the first device."""
        secret = {} if self.identity_secret is None else {"identity_secret": self.identity_secret}
        first = next(iter(self.tokens.items()), None)
        return {
            "name": self.name,
            "address": self.address,
            "identity_key": self.identity_key,
            **secret,
            "devices": [{"device_id": device_id, "token": token} for device_id, token in self.tokens.items()],
            **({} if first is None else {"device_id": first[0], "token": first[1]}),
        }


class People:
    """The names of one relay's users."""

    def __init__(self) -> None:
        self._by_name: dict[str, Person] = {}
        self._by_address: dict[str, Person] = {}
        self.names: dict[str, str] = {}
        """Address → name; not to be changed."""

    def __iter__(self) -> Iterator[Person]:
        return iter(self._by_name.values())

    def add(self, person: Person) -> None:
        """Remember a person."""
        self._by_name[person.name] = person
        self._by_address[person.address] = person
        self.names[person.address] = person.name

    def clear(self) -> None:
        """Forget everybody."""
        self._by_name.clear()
        self._by_address.clear()
        self.names.clear()

    def find(self, name_or_address: str) -> Person | None:
        """A person by name or by address."""
        return self._by_name.get(name_or_address) or self._by_address.get(name_or_address.lower())

    def has_name(self, name: str) -> bool:
        """Whether somebody has this name."""
        return name in self._by_name

    def name_of(self, address: str) -> str | None:
        """The name of an address; None for who came without the tools."""
        return self.names.get(address)

    def address_of(self, name_or_address: str) -> str | None:
        """The address of a name or of an address that has one."""
        person = self.find(name_or_address)
        return None if person is None else person.address

    def free_name(self) -> str:
        """A name that nobody has."""
        number = len(self._by_name) + 1
        while f"user-{number}" in self._by_name:
            number += 1
        return f"user-{number}"


def described_user(user: User, name: str | None) -> dict[str, Any]:
    """What the store holds of a user, as ``GET /admin/users`` lists it."""
    return {
        "name": name,
        "address": user.address,
        "identity_key": user.identity_key,
        "suspended": user.suspended,
        "settings": user.settings,
        "contacts": list(user.contacts),
        "devices": [
            {
                "device_id": device.device_id,
                "device_name": device.name,
                "device_type": device.type,
                "push_token": device.push_token,
            }
            for device in user.devices.values()
        ],
    }
