"""Identity keys that change, and who is told (R-7.5)."""

from __future__ import annotations

from zentalk_sim.protocol.errors import INVALID_MESSAGE, MALFORMED, ProtocolError
from zentalk_sim.protocol.frames import KeyChange
from zentalk_sim.protocol.identity import fingerprint
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Presence, User

REASONS = ("device_added", "key_rotation", "reinstall", "unknown")
"""Table "Key Change Notifications"."""


def announce_change(node: Node, user: User, old_key: bytes, reason: str, now: int) -> None:
    """KEY_CHANGE to contacts, kept for those away, and to those who subscribe to ``keys:``."""
    change = KeyChange(user.address, user.identity_key, fingerprint(old_key), fingerprint(user.identity_key), reason)
    for address in list(user.contacts):
        node.notify(node.store.users[address], "KEY_CHANGE", change, now)
    targets: list[Presence] = []
    for address, device_id in node.store.subscribers.get("keys:" + user.address, {}):
        if address not in user.contacts:
            target = node.store.connected(address).get(device_id)
            if target is not None:
                targets.append(target)
    node.send_to(targets, "KEY_CHANGE", change, now)


def announce_device(node: Node, user: User, now: int) -> None:
    """``device_added`` names the same key as old and new."""
    announce_change(node, user, user.identity_key, "device_added", now)


def rotate(node: Node, user: User, new_key: bytes, reason: str, now: int) -> None:
    """Give a user a new identity key; sessions go on, and the new key signs from now on (R-9.3).

    Raises ProtocolError ``malformed`` for a key that is not 32 bytes, or a reason that is not one of ``REASONS``.
    """
    if len(new_key) != 32:
        raise ProtocolError(
            INVALID_MESSAGE, f"an identity key has 32 bytes, not {len(new_key)}", reason=MALFORMED, field="new_key"
        )
    if reason not in REASONS:
        raise ProtocolError(
            INVALID_MESSAGE, f"reason must be one of {', '.join(REASONS)}", reason=MALFORMED, field="reason"
        )
    old_key, user.identity_key = user.identity_key, new_key
    user.prekeys = None
    node.store.save_user(user)
    announce_change(node, user, old_key, reason, now)
