"""``/admin/users``: people with their keys, devices, tokens, settings, contacts; suspension and rotation of keys."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.http.bodies import ApiError, answer, converted, read, space_of
from mockrelay.people import MAX_NAME_CHARACTERS, Person, described_user
from mockrelay.spaces import Space
from zentalk_sim.protocol.control import AddDevice, ChangeSettings, MakeContacts, RotateKey, Suspend
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.errors import FORBIDDEN
from zentalk_sim.protocol.frames import Bytes32, Uuid
from zentalk_sim.protocol.records import Settings, User
from zentalk_sim.protocol.tokens import CAPABILITIES

MAX_LIFETIME_S: Final = 100 * 366 * 86_400
"""A century; beyond, an expiry in ms would leave what frames can say."""
Reason = Literal["device_added", "key_rotation", "reinstall", "unknown"]
Capability = Literal["send_message", "receive_message", "presence"]


class NewDevice(Struct, forbid_unknown_fields=True):
    """A device of a new user."""

    device_id: Uuid | None = None
    device_name: str | None = None
    device_type: Literal["mobile", "desktop", "tablet", "web"] = "web"
    push_token: str | None = None


class NewUser(Struct, forbid_unknown_fields=True):
    """A user to register."""

    name: str | None = None
    identity_key: Bytes32 | None = None
    devices: list[NewDevice] | None = None


class _Change(Struct, forbid_unknown_fields=True):
    suspended: bool | None = None
    settings: dict[str, Any] | None = None


class _Rotate(Struct, forbid_unknown_fields=True):
    reason: Reason = "key_rotation"


class _Contact(Struct, forbid_unknown_fields=True):
    address: str


class _Token(Struct, forbid_unknown_fields=True):
    device_id: Uuid
    lifetime_s: Annotated[int, Meta(ge=1, le=MAX_LIFETIME_S)] | None = None
    capabilities: tuple[Capability, ...] = ("send_message", "receive_message", "presence")


def register(space: Space, asked: NewUser, place: str = "", *, is_initial: bool = False) -> Person:
    """Register a user; an initial one is there again after a reset. Raises ApiError, at ``place``, or ProtocolError."""
    if asked.name is not None:
        _check_name(space, asked.name, f"{place}.name" if place else "name")
    devices = None
    if asked.devices is not None:
        most = space.config.devices.max_registered
        if len(asked.devices) > most:
            raise ApiError(403, FORBIDDEN, f"at most {most} devices a user", limit=most)
        devices = [
            AddDevice("", device.device_id or "", device.device_name or "", device.device_type, device.push_token)
            for device in asked.devices
        ]
    return space.add_person(asked.name, asked.identity_key, devices, is_initial=is_initial)


def _check_name(space: Space, name: str, field: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise ApiError.malformed(f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters", field)
    if name.lower().startswith("0x"):
        raise ApiError.malformed("a name may not begin with 0x, as addresses do", field)
    if space.people.has_name(name):
        raise ApiError(409, FORBIDDEN, f"there is a user named {name} already", field=field)


def find_user(space: Space, name_or_address: str) -> User:
    """A user by address, or by the name the tools gave it. Raises ApiError."""
    address = space.people.address_of(name_or_address) or name_or_address.lower()
    user = space.store.user(address)
    if user is None:
        raise ApiError.not_found(f"no user {name_or_address[:100]}")
    return user


def _described(space: Space, user: User) -> dict[str, Any]:
    return described_user(user, space.people.name_of(user.address))


async def add_user(request: Request) -> Response:
    """Register a user with devices, and a token for each."""
    space = space_of(request)
    person = register(space, await read(request, NewUser))
    space.journal.control("add_user", user=person.address)
    return answer(201, person.described())


async def list_users(request: Request) -> Response:
    """All users, in the order of their registration."""
    space = space_of(request)
    return answer(200, [_described(space, user) for user in space.store.users.values()])


async def get_user(request: Request) -> Response:
    """One user; with its ``identity_secret`` where the key was made here."""
    space = space_of(request)
    user = find_user(space, request.path_params["address"])
    person = space.people.find(user.address)
    held = person is not None and person.identity_secret is not None
    secret = {"identity_secret": person.identity_secret} if person is not None and held else {}
    return answer(200, {**_described(space, user), **secret})


async def change_user(request: Request) -> Response:
    """Suspend, lift a suspension, merge settings."""
    space = space_of(request)
    asked = await read(request, _Change)
    user = find_user(space, request.path_params["address"])
    if asked.settings is not None:
        converted(asked.settings, Settings, "settings")
        space.driver.control(ChangeSettings(user.address, asked.settings))
    if asked.suspended is not None:
        space.driver.control(Suspend(user.address, asked.suspended))
    space.journal.control("change_user", user=user.address)
    return answer(200, _described(space, find_user(space, user.address)))


async def rotate_key(request: Request) -> Response:
    """Give a user a new identity key; contacts get KEY_CHANGE (R-7.5)."""
    space = space_of(request)
    asked = await read(request, _Rotate)
    user = find_user(space, request.path_params["address"])
    secret = space.draw_secret()
    key = Ed25519().public_key(secret)
    space.driver.control(RotateKey(user.address, key, asked.reason))
    person = space.people.find(user.address)
    if person is not None:
        person.identity_key, person.identity_secret = key, secret
    space.journal.control("rotate_key", user=user.address)
    return answer(200, {"identity_key": key, "identity_secret": secret})


async def add_contact(request: Request) -> Response:
    """Make two users contacts of each other (R-7.2)."""
    space = space_of(request)
    asked = await read(request, _Contact)
    one = find_user(space, request.path_params["address"])
    other = find_user(space, asked.address)
    if one.address == other.address:
        raise ApiError.malformed("nobody is a contact of their own; name another user", "address")
    space.driver.control(MakeContacts(one.address, other.address))
    space.journal.control("add_contact", user=one.address)
    return answer(200, {"contacts": list(find_user(space, one.address).contacts)})


async def issue_token(request: Request) -> Response:
    """A connection token for a device, registered or not (R-3.3)."""
    space = space_of(request)
    asked = await read(request, _Token)
    user = find_user(space, request.path_params["address"])
    device_id = asked.device_id.lower()
    # In the specification's order, each once.
    capabilities = tuple(name for name in CAPABILITIES if name in asked.capabilities)
    token, expires_at = space.issue_token(user.address, device_id, asked.lifetime_s, capabilities)
    return answer(200, {"token": token, "expires_at": expires_at})


def routes() -> list[Route]:
    """The paths of this module."""
    one = "/admin/users/{address}"
    return [
        Route("/admin/users", list_users, methods=["GET"]),
        Route("/admin/users", add_user, methods=["POST"]),
        Route(one, get_user, methods=["GET"]),
        Route(one, change_user, methods=["PATCH"]),
        Route(f"{one}/rotate-key", rotate_key, methods=["POST"]),
        Route(f"{one}/contacts", add_contact, methods=["POST"]),
        Route(f"{one}/token", issue_token, methods=["POST"]),
    ]
