"""Users for a relay without a control API: read from a file, as ``mockrelay serve --json`` prints them."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from zentalk_sim.experiment.real_time import Member, with_address
from zentalk_sim.protocol.crypto import Ed25519


class UsersError(Exception):
    """Users that cannot be used; the text begins with the file's name."""


class GivenDevice(Struct):
    """A device and its connection token (R-3.3)."""

    device_id: str
    token: str


class GivenUser(Struct):
    """A user. Either ``device_id`` and ``token``, or ``devices``."""

    address: str
    identity_secret: str
    device_id: str = ""
    token: str = ""
    devices: list[GivenDevice] = []


def read_users(path: Path) -> list[GivenUser]:
    """A JSON list of users, or an object with ``users``. Raises UsersError."""
    try:
        found: Any = msgspec.json.decode(path.read_bytes())
        users = msgspec.convert(found["users"] if isinstance(found, dict) else found, list[GivenUser])
    except OSError as error:
        raise UsersError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError:
        raise UsersError(f"{path}: an object without `users`; give what `mockrelay serve --json` prints") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UsersError(f"{path}: not a list of users: {error}") from None
    for number, user in enumerate(users):
        try:
            secret = b64decode(user.identity_secret, validate=True)
        except (Base64Error, ValueError):
            secret = b""
        if len(secret) != 32:
            raise UsersError(f"{path}: users.{number}.identity_secret is not 32 bytes in base64")
        if not user.devices and not (user.device_id and user.token):
            raise UsersError(f"{path}: users.{number} has no `device_id` with its `token`")
    return users


def given_people(members: list[Member], users: list[GivenUser]) -> tuple[list[Member], dict[str, str]]:
    """The population with its users replaced by those given, in order; and device → token. Raises UsersError."""
    wanted = {member.person.index: member.person for member in members}
    if len(users) < len(wanted):
        raise UsersError(
            f"--users has {len(users)} users, the experiment {len(wanted)}; "
            f"give more, or run it with -S population.users={len(users)}"
        )
    tokens: dict[str, str] = {}
    known = {}
    renamed: dict[str, str] = {}
    for person, user in zip(wanted.values(), users, strict=False):
        devices = user.devices or [GivenDevice(user.device_id, user.token)]
        if len(devices) < len(person.device_ids):
            raise UsersError(
                f"--users: {user.address} has {len(devices)} devices, the experiment gives a user "
                f"{len(person.device_ids)}; run it with -S population.devices_per_user={len(devices)}"
            )
        secret = b64decode(user.identity_secret)
        ids = tuple(device.device_id.lower() for device in devices[: len(person.device_ids)])
        renamed.update(zip(person.device_ids, ids, strict=True))
        tokens.update({device.device_id.lower(): device.token for device in devices})
        known[person.index] = msgspec.structs.replace(
            person,
            address=user.address.lower(),
            secret=secret,
            identity_key=Ed25519().public_key(secret),
            device_ids=ids,
        )
    return [
        with_address(msgspec.structs.replace(member, device_id=renamed[member.device_id]), known[member.person.index])
        for member in members
    ], tokens
