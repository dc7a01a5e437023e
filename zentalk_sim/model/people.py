"""A user and a device of a population, as records; how they are made is in ``population``."""

from __future__ import annotations

from msgspec import Struct


class Person(Struct, frozen=True, gc=False):
    """A user of the population."""

    index: int
    address: str
    secret: bytes
    identity_key: bytes
    device_ids: tuple[str, ...]
    contacts: tuple[int, ...]


class Member(Struct, frozen=True, gc=False):
    """A device of the population."""

    index: int
    person: Person
    device_id: str
    network: str
    ip: str
