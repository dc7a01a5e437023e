"""Presence: what others see of a user, told to subscribers when it changes (R-7.3).

A user is online if any connected device is active, away if all are quiet or the user said so, offline
without a connection, and looks offline when invisible or hiding. Setting ``online`` returns to the
automatic rule.
"""

from __future__ import annotations

from msgspec import UNSET

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.frames import PresenceSet, PresenceUpdate
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Presence, User
from zentalk_sim.protocol.timers import NEVER


def hides(user: User) -> bool:
    """Whether a user looks offline whatever is true."""
    return user.status_set == "invisible" or not user.settings.share_presence


def visible_status(node: Node, user: User) -> str:
    """online, away or offline, as others see it."""
    devices = node.store.connected(user.address)
    if not devices or hides(user):
        return "offline"
    if user.status_set != "away":
        for device in devices.values():
            if not device.away:
                return "online"
    return "away"


def describe(node: Node, user: User) -> PresenceUpdate:
    """The current state of a user for those who may see it."""
    if hides(user):
        return PresenceUpdate(user.address, "offline")
    return PresenceUpdate(
        user.address,
        visible_status(node, user),
        user.last_seen_ms if user.settings.show_last_seen else UNSET,
        len(node.store.connected(user.address)),
    )


def announce(node: Node, user: User, now: int) -> None:
    """Tell subscribers, if the status that others see has changed."""
    status = visible_status(node, user)
    shown = node.store.shown_status
    if shown.get(user.address, "offline") == status:
        return
    shown[user.address] = status
    keys = node.store.subscribers.get("presence:" + user.address)
    if not keys:
        return
    targets: list[Presence] = []
    for address, device_id in keys:
        target = node.store.connected(address).get(device_id)
        if target is not None:
            targets.append(target)
    node.send_to(targets, "PRESENCE_UPDATE", describe(node, user), now)


def activity(node: Node, conn: Connection, user: User, now: int) -> None:
    """MESSAGE_SEND, MESSAGE_READ, TYPING_* and PRESENCE_SET: the device is active; automatic away ends."""
    device = user.devices.get(conn.device_id)
    if device is not None:
        device.last_active_us = now
    user.last_seen_ms = now // 1000
    node.store.note_activity(user, conn.device_id)
    conn.away_due_us = now + node.away_after_us
    place = node.store.connected(conn.user).get(conn.device_id)
    if place is not None and place.conn == conn.id and place.away:
        place.away = False
        announce(node, user, now)


def turned_quiet(node: Node, conn: Connection, now: int) -> None:
    """The timer of automatic away."""
    conn.away_due_us = NEVER
    place = node.store.connected(conn.user).get(conn.device_id)
    user = node.store.user(conn.user)
    if place is not None and place.conn == conn.id and user is not None and not place.away:
        place.away = True
        announce(node, user, now)


def handle_presence_set(node: Node, conn: Connection, user: User, payload: PresenceSet, now: int) -> None:
    """PRESENCE_SET: user-wide until set again."""
    node.admit("presence", node.config.limits.presence, conn, now)
    user.status_set = payload.status
    device = user.devices.get(conn.device_id)
    if device is not None:
        device.away_set = payload.status == "away"
    activity(node, conn, user, now)
    node.store.save_user(user)
    announce(node, user, now)
