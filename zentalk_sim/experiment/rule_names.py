"""The names that fault rules have for a population: ``user-3`` and ``device-17``, numbered from 0 as the tables are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from zentalk_sim.faults import Rule

if TYPE_CHECKING:
    from zentalk_sim.model.population import Member


def names_in(members: Iterable[Member]) -> tuple[dict[str, str], dict[str, str]]:
    """The users' names with their addresses, and the devices' with their ids."""
    users: dict[str, str] = {}
    devices: dict[str, str] = {}
    for member in members:
        users[f"user-{member.person.index}"] = member.person.address
        devices[f"device-{member.index}"] = member.device_id
    return users, devices


def settled(rules: Iterable[Rule], users: Mapping[str, str], devices: Mapping[str, str]) -> list[Rule]:
    """The rules with each such name as the address or id that it stands for."""
    found = []
    for rule in rules:
        match = rule.match
        user, device = users.get(match.user or ""), devices.get(match.device or "")
        if user is not None:
            match = replace(match, user=user)
        if device is not None:
            match = replace(match, device=device)
        found.append(replace(rule, match=match))
    return found
