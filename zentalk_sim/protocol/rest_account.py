"""Devices, keys, settings and tokens over REST (R-3.3, R-6.8, R-7.1, R-7.3)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from zentalk_sim.protocol import authentication, mailbox, presence, topics
from zentalk_sim.protocol.errors import (
    FORBIDDEN,
    INVALID_MESSAGE,
    MALFORMED,
    NOT_FOUND,
    TIMESTAMP_OUT_OF_WINDOW,
    UNAUTHORIZED,
    CloseCode,
    ProtocolError,
)
from zentalk_sim.protocol.frames import Address, Bytes32, Bytes64, Int63, Uuid
from zentalk_sim.protocol.identity import address_of, token_signed_data
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Device, Prekeys, Settings, User
from zentalk_sim.protocol.rest_types import Caller, Request, body_from, body_of
from zentalk_sim.protocol.tokens import CAPABILITIES, Claims
from zentalk_sim.protocol.upgrade import is_uuid


class _RegisterDevice(Struct):
    device_id: Uuid
    device_name: str
    device_type: Literal["mobile", "desktop", "tablet", "web"]
    push_token: str | None = None


class _OneTimeKey(Struct):
    id: Int63
    key: Bytes32


class _SignedPreKey(Struct):
    id: Int63
    key: Bytes32


class _PublishKeys(Struct):
    identityKey: Bytes32
    signedPreKey: _SignedPreKey
    signature: Bytes64
    oneTimePreKeys: list[_OneTimeKey]


class _Settings(Struct):
    share_presence: bool | UnsetType = UNSET
    show_last_seen: bool | UnsetType = UNSET
    send_read_receipts: bool | UnsetType = UNSET
    typing_disabled_for: list[Address] | UnsetType = UNSET


class _TokenRequest(Struct):
    identity_key: Bytes32
    device_id: Uuid
    timestamp: Int63
    signature: Bytes64


def issue_token(node: Node, request: Request, now: int) -> tuple[int, Any]:
    """A connection token for whoever proves an identity key; profile ``dev`` registers an unknown one (R-3.5)."""
    node.store.need()
    asked = body_of(request, _TokenRequest)
    if not node.crypto.verify(asked.identity_key, token_signed_data(asked.device_id, asked.timestamp), asked.signature):
        raise ProtocolError(UNAUTHORIZED, "signature does not verify")
    if not node.is_near(asked.timestamp, now):
        raise ProtocolError(
            INVALID_MESSAGE,
            "timestamp is not within the time window of the relay's clock",
            reason=TIMESTAMP_OUT_OF_WINDOW,
            field="timestamp",
            server_time=now // 1000,
        )
    user = next((user for user in node.store.users.values() if user.identity_key == asked.identity_key), None)
    if user is None:
        if node.config.upgrade.profile != "dev":
            raise ProtocolError(UNAUTHORIZED, "identity_key is not registered; profile dev would register it")
        address = address_of(asked.identity_key)
        if node.store.user(address) is not None:
            # The address stands under another key, after a rotation: the old key must not take it back.
            raise ProtocolError(UNAUTHORIZED, "identity_key is no longer the key of its address")
        user = User(address, asked.identity_key, {}, Settings(), {})
        node.store.save_user(user)
    if user.suspended:
        raise ProtocolError(FORBIDDEN, "this account is suspended")
    token, exp_s = connection_token(node, user, asked.device_id.lower(), now)
    return 200, {"token": token, "expires_at": exp_s * 1000}


def connection_token(
    node: Node,
    user: User,
    device_id: str,
    now: int,
    *,
    lifetime_s: int | None = None,
    capabilities: tuple[str, ...] = CAPABILITIES,
) -> tuple[str, int]:
    """A token without a session (R-3.3), and the second it expires."""
    issued_s = now // 1_000_000
    exp_s = issued_s + (node.config.token.lifetime_s if lifetime_s is None else lifetime_s)
    return node.tokens.issue(Claims(user.address, issued_s, exp_s, device_id, capabilities)), exp_s


def _described(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "device_name": device.name,
        "device_type": device.type,
        "push_token": device.push_token,
        "registered_at": device.registered_us // 1000,
        "last_active": None if device.last_active_us is None else device.last_active_us // 1000,
    }


def register_device(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """Register a device or change what is known of it; the 21st is refused (R-7.1)."""
    asked = body_of(request, _RegisterDevice)
    most = node.config.devices.max_name_characters
    if len(asked.device_name) > most:
        raise ProtocolError(
            INVALID_MESSAGE, f"device_name has at most {most} characters", reason=MALFORMED, field="device_name"
        )
    device_id = asked.device_id.lower()
    user = caller.user
    device = user.devices.get(device_id)
    if device is not None:
        device.name, device.type = asked.device_name, asked.device_type
        device.push_token = asked.push_token if asked.push_token is not None else device.push_token
        node.store.save_user(user)
        return 200, _described(device)
    if len(user.devices) >= node.config.devices.max_registered:
        raise ProtocolError(
            FORBIDDEN,
            f"at most {node.config.devices.max_registered} devices a user; remove one first",
            limit=node.config.devices.max_registered,
        )
    device = Device(device_id, asked.device_name, asked.device_type, now, asked.push_token)
    authentication.register(node, user, device, now)
    return 201, _described(device)


def list_devices(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """The user's devices in the order of their registration."""
    return 200, [_described(device) for device in caller.user.devices.values()]


def remove_device(node: Node, caller: Caller, request: Request, path: dict[str, str], now: int) -> tuple[int, Any]:
    """Remove a device: its connection is closed and its mailbox dropped (R-7.1)."""
    device_id = path["device_id"].lower()
    if not is_uuid(device_id) or device_id not in caller.user.devices:
        raise ProtocolError(NOT_FOUND, "no such device")
    forget_device(node, caller.user, device_id)
    return 204, None


def forget_device(node: Node, user: User, device_id: str) -> None:
    """Take a device off a user."""
    session = node.store.drop_session((user.address, device_id))
    if session is not None:
        for topic in session.topics:
            topics.drop(node, topic, user.address, device_id)
    del user.devices[device_id]
    mailbox.drop_with_device(node, user, device_id)
    user.push_outstanding.pop(device_id, None)
    node.store.save_user(user)
    disconnect(node, user, device_id, CloseCode.NORMAL, "device_removed")


def disconnect(node: Node, user: User, device_id: str, code: int, reason: str) -> None:
    """Close a device's connection, wherever it is."""
    place = node.store.connected(user.address).get(device_id)
    if place is None:
        return
    if place.node != node.name:
        node.kick(place, code, reason)
        return
    conn = node.conns.get(place.conn)
    if conn is not None and conn.state != "ended":
        node.close(conn, code, reason)


def publish_keys(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """Publish a key bundle; its signature is over the signed pre-key's raw bytes, by the identity key."""
    asked = body_of(request, _PublishKeys)
    user = caller.user
    if asked.identityKey != user.identity_key:
        raise ProtocolError(FORBIDDEN, "identityKey is not this user's registered key")
    if not node.crypto.verify(asked.identityKey, asked.signedPreKey.key, asked.signature):
        raise ProtocolError(UNAUTHORIZED, "signature does not verify over signedPreKey.key")
    kept = dict(user.prekeys.one_time) if user.prekeys else {}
    handed_out = dict(user.prekeys.handed_out) if user.prekeys else {}
    for key in asked.oneTimePreKeys:
        if kept.get(key.id) != key.key:
            # Another key under an id that was given away is a new pre-key.
            handed_out.pop(key.id, None)
        kept[key.id] = key.key
    bound = node.config.devices.max_prekeys * max(1, len(user.devices))
    # A key given away may never be used: the oldest of those make room, or fetching bundles would lock a user out.
    for key_id in list(handed_out)[: max(0, len(kept) - bound)]:
        del kept[key_id], handed_out[key_id]
    if len(kept) > bound:
        raise ProtocolError(FORBIDDEN, f"at most {bound} one-time pre-keys are kept", kept=len(kept))
    signed = {"id": asked.signedPreKey.id, "key": asked.signedPreKey.key}
    user.prekeys = Prekeys(signed, asked.signature, kept, handed_out)
    node.store.save_user(user)
    return 200, {"oneTimePreKeys": len(kept) - len(handed_out)}


def get_keys(node: Node, caller: Caller, request: Request, path: dict[str, str], now: int) -> tuple[int, Any]:
    """A user's key bundle with one pre-key that nobody was given before, or null (R-6.8)."""
    user = node.store.user(path["address"].lower())
    if user is None or user.prekeys is None:
        raise ProtocolError(NOT_FOUND, "no key bundle at this address")
    bundle = user.prekeys
    free = next((key_id for key_id in bundle.one_time if key_id not in bundle.handed_out), None)
    one_time = None
    if free is not None:
        bundle.handed_out[free] = None
        node.store.save_user(user)
        one_time = {"id": free, "key": bundle.one_time[free]}
    return 200, {
        "identityKey": user.identity_key,
        "signedPreKey": bundle.signed_prekey,
        "signature": bundle.signature,
        "oneTimePreKey": one_time,
    }


def get_settings(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """The user's privacy settings."""
    return 200, _settings_of(caller.user)


def _settings_of(user: User) -> Settings:
    # A copy: an answer that travels by reference must not change with the record.
    return replace(user.settings)


def put_settings(node: Node, caller: Caller, request: Request, _path: dict[str, str], now: int) -> tuple[int, Any]:
    """Merge privacy settings; what others see changes at once (R-7.3)."""
    apply_settings(node, caller.user, body_of(request, _Settings), now)
    return 200, _settings_of(caller.user)


def apply_settings(node: Node, user: User, asked: object, now: int) -> None:
    """Merge settings from a record with the names of Settings, each perhaps UNSET."""
    # A new record: users who never changed anything may share one.
    user.settings = replace(user.settings)
    for name in Settings.__struct_fields__:
        value = getattr(asked, name, UNSET)
        if value is UNSET:
            continue
        if name == "typing_disabled_for":
            value = [address.lower() for address in value]
        setattr(user.settings, name, value)
    node.store.save_user(user)
    presence.announce(node, user, now)


def settings_from(mapping: object) -> object:
    """Settings as the control interface gives them. Raises ProtocolError ``malformed`` with the field's path."""
    return body_from(mapping, _Settings)
