"""Commands of the relay's own tools and of its operator: users, tokens, suspension, stop.

A command's result, where it has one, is left in ``Node.result`` by the relay and returned beside the effects.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from zentalk_sim.protocol import authentication, keys, mailbox, rest_account, typing_indicators
from zentalk_sim.protocol.errors import FORBIDDEN, INVALID_MESSAGE, MALFORMED, NOT_FOUND, CloseCode, ProtocolError
from zentalk_sim.protocol.frames import ADDRESS_PATTERN
from zentalk_sim.protocol.identity import address_of
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Device, Settings, User
from zentalk_sim.protocol.tokens import CAPABILITIES
from zentalk_sim.protocol.upgrade import is_uuid

_is_address = re.compile(ADDRESS_PATTERN).match


class _Command(Struct, frozen=True, tag=True, tag_field="command"):
    """One thing an operator asks of a relay."""


class AddUser(_Command, frozen=True):
    """Register a user; without an address, the one made from its key."""

    identity_key: bytes
    address: str | None = None


class AddDevice(_Command, frozen=True):
    """Register a device."""

    address: str
    device_id: str
    name: str = ""
    type: str = "web"
    push_token: str | None = None


class RemoveDevice(_Command, frozen=True):
    """Remove a device (R-7.1)."""

    address: str
    device_id: str


class IssueToken(_Command, frozen=True):
    """Issue a connection token; the result is (token, expires at in ms)."""

    address: str
    device_id: str
    lifetime_s: int | None = None
    capabilities: tuple[str, ...] = CAPABILITIES


class Suspend(_Command, frozen=True):
    """Suspend an account, or lift it; connections are closed with 4003 at once (R-3.2)."""

    address: str
    suspended: bool = True


class ChangeSettings(_Command, frozen=True):
    """Merge privacy settings (R-7.3)."""

    address: str
    settings: dict[str, Any]


class RotateKey(_Command, frozen=True):
    """Give a user a new identity key (R-7.5)."""

    address: str
    new_key: bytes
    reason: str = "key_rotation"


class MakeContacts(_Command, frozen=True):
    """Make two users contacts of each other (R-7.2)."""

    one: str
    other: str


class CloseConn(_Command, frozen=True):
    """Close a connection with a code, or abort it where the code is None."""

    conn: int
    code: int | None = 1000
    reason: str = ""


class SendFrame(_Command, frozen=True):
    """Send a frame to a connection as if the relay had cause to."""

    conn: int
    type: str
    payload: dict[str, Any]


class NodeLost(_Command, frozen=True):
    """A node is gone, or starts anew and has no connection yet: those it had are lost (R-12.5)."""

    node: str


class Stop(_Command, frozen=True):
    """An orderly stop: every connection is closed with 1001 (R-12.1)."""


class AdvanceClock(_Command, frozen=True):
    """Whoever holds the relay's clock is about to move it to ``until_us`` (R-13.2).

    With ``skip`` no PING is sent up to and at that instant; with ``wait`` the heartbeat goes on, and the holder of the
    clock stops at each PING. The instants in between are run by ``handle_timeout`` as always.
    """

    until_us: int
    heartbeat: Literal["skip", "wait"] = "skip"


Command = (
    AddUser
    | AddDevice
    | RemoveDevice
    | IssueToken
    | Suspend
    | ChangeSettings
    | RotateKey
    | MakeContacts
    | CloseConn
    | SendFrame
    | NodeLost
    | Stop
    | AdvanceClock
)


def _user(node: Node, address: str) -> User:
    user = node.store.user(address.lower())
    if user is None:
        raise ProtocolError(NOT_FOUND, f"no user {address}")
    return user


def _close_all(node: Node, user: User, code: int, reason: str) -> None:
    for device_id in list(node.store.connected(user.address)):
        session = node.store.sessions.get((user.address, device_id))
        if session is not None:
            session.resumable = False
            node.store.save_session((user.address, device_id), session)
        rest_account.disconnect(node, user, device_id, code, reason)
    for conn in list(node.conns.values()):
        if conn.user == user.address and conn.state == "challenged":
            node.close(conn, code, reason)


def execute(node: Node, command: Command, now: int) -> Any:
    """Carry a command out; its result. Raises ProtocolError where it names what there is not."""
    match command:
        case AddUser():
            return _add_user(node, command)
        case AddDevice():
            return _add_device(node, command, now)
        case RemoveDevice():
            user = _user(node, command.address)
            if command.device_id.lower() not in user.devices:
                raise ProtocolError(NOT_FOUND, f"no device {command.device_id}")
            rest_account.forget_device(node, user, command.device_id.lower())
        case IssueToken():
            user = _user(node, command.address)
            token, exp_s = rest_account.connection_token(
                node,
                user,
                command.device_id.lower(),
                now,
                lifetime_s=command.lifetime_s,
                capabilities=command.capabilities,
            )
            return token, exp_s * 1000
        case Suspend():
            user = _user(node, command.address)
            user.suspended = command.suspended
            node.store.save_user(user)
            if command.suspended:
                _close_all(node, user, CloseCode.BANNED, "suspended")
        case ChangeSettings():
            asked = rest_account.settings_from(command.settings)
            rest_account.apply_settings(node, _user(node, command.address), asked, now)
        case RotateKey():
            keys.rotate(node, _user(node, command.address), command.new_key, command.reason, now)
        case MakeContacts():
            one, other = _user(node, command.one), _user(node, command.other)
            if one is not other:
                one.contacts[other.address] = None
                other.contacts[one.address] = None
                node.store.save_user(one)
                node.store.save_user(other)
        case CloseConn() | SendFrame():
            _on_connection(node, command, now)
        case NodeLost():
            node.store.forget_node_ips(command.node)
            for address, device_id, place in list(node.store.connections_of_node(command.node)):
                authentication.leave(node, address, device_id, place.conn, now)
            # What the lost node's timers were to end falls to this one.
            mailbox.arm_expiry(node)
            typing_indicators.take_over(node, now)
        case Stop():
            for conn in list(node.conns.values()):
                if conn.state != "ended":
                    node.close(conn, CloseCode.GOING_AWAY, "shutting_down")
        case AdvanceClock():
            if command.until_us < now:
                raise ProtocolError(INVALID_MESSAGE, "time moves forward only", reason=MALFORMED, field="until_us")
            if command.heartbeat == "skip":
                node.skip_pings_until_us = max(node.skip_pings_until_us, command.until_us)
    return None


def _add_user(node: Node, command: AddUser) -> str:
    if len(command.identity_key) != 32:
        raise ProtocolError(
            INVALID_MESSAGE,
            f"an identity key has 32 bytes, not {len(command.identity_key)}",
            reason=MALFORMED,
            field="identity_key",
        )
    address = (command.address or address_of(command.identity_key)).lower()
    if not _is_address(address):
        raise ProtocolError(INVALID_MESSAGE, "an address is 0x and 40 hex digits", reason=MALFORMED, field="address")
    known = node.store.user(address)
    if known is None:
        node.store.save_user(User(address, command.identity_key, {}, Settings(), {}))
    elif known.identity_key != command.identity_key:
        raise ProtocolError(FORBIDDEN, f"{address} is registered with another key; rotate-key changes it")
    return address


def _add_device(node: Node, command: AddDevice, now: int) -> str:
    user = _user(node, command.address)
    device_id = command.device_id.lower()
    if not is_uuid(device_id):
        raise ProtocolError(INVALID_MESSAGE, "device_id must be a UUID", reason=MALFORMED, field="device_id")
    if device_id not in user.devices:
        most = node.config.devices.max_registered
        if len(user.devices) >= most:
            raise ProtocolError(FORBIDDEN, f"at most {most} devices a user; remove one first", limit=most)
        device = Device(device_id, command.name, command.type, now, command.push_token)
        authentication.register(node, user, device, now)
    return device_id


def _on_connection(node: Node, command: CloseConn | SendFrame, now: int) -> None:
    conn = node.conns.get(command.conn)
    if conn is None or conn.state == "ended":
        raise ProtocolError(NOT_FOUND, f"no connection {command.conn}")
    if isinstance(command, SendFrame):
        node.send(conn, command.type, command.payload, now)
    elif command.code is None:
        node.abort(conn, "operator")
    else:
        if command.code in (CloseCode.AUTH_FAILED, CloseCode.BANNED, CloseCode.DEVICE_LIMIT) and conn.session:
            conn.session.resumable = False
            node.store.save_session((conn.user, conn.device_id), conn.session)
        node.close(conn, command.code, command.reason)
