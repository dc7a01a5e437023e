"""Typing indicators: throttled, forwarded, stopped by themselves (R-7.4).

What was accepted last stands in the store, so that the throttle holds for a device that changes its node.
"""

from __future__ import annotations

from zentalk_sim.protocol import presence
from zentalk_sim.protocol.config import Limit
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.frames import TypingSignal, TypingUpdate
from zentalk_sim.protocol.messages import find_members, members_of
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import Presence, User


def handle_start(node: Node, conn: Connection, user: User, payload: TypingSignal, now: int) -> None:
    """TYPING_START: ignored within the throttle of the last accepted one, else forwarded."""
    members = members_of(node, payload.conversation_id, user)
    presence.activity(node, conn, user, now)
    key = (user.address, conn.device_id, payload.conversation_id)
    last = node.store.typing.get(key)
    if last is not None and now - last[0] < throttle_us(node):
        return
    stop_us = now + node.config.typing.timeout_ms * 1000
    node.store.typing[key] = (now, stop_us)
    node.timers.arm(stop_us, "typing", key)
    _forward(node, user, members, "TYPING_START", payload.conversation_id, now)


def handle_stop(node: Node, conn: Connection, user: User, payload: TypingSignal, now: int) -> None:
    """TYPING_STOP: always accepted, and ends it."""
    members = members_of(node, payload.conversation_id, user)
    presence.activity(node, conn, user, now)
    key = (user.address, conn.device_id, payload.conversation_id)
    last = node.store.typing.get(key)
    if last is not None:
        node.store.typing[key] = (last[0], None)
    _forward(node, user, members, "TYPING_STOP", payload.conversation_id, now)


def timed_out(node: Node, key: tuple[str, str, str], now: int) -> None:
    """The timer of a TYPING_START: the relay says TYPING_STOP, unless it was prolonged or stopped meanwhile."""
    typing = node.store.typing
    entry = typing.get(key)
    if entry is None:
        return
    last_us, stop_us = entry
    if stop_us is not None and stop_us > now:
        return
    if stop_us is not None:
        user = node.store.user(key[0])
        members = find_members(node, key[2], user) if user is not None else None
        if user is not None and members is not None:
            _forward(node, user, members, "TYPING_STOP", key[2], now)
    again_us = last_us + throttle_us(node)
    if again_us > now:
        # Kept for the throttle's sake alone, where that outlasts the time-out.
        typing[key] = (last_us, None)
        node.timers.arm(again_us, "typing", key)
    else:
        del typing[key]


def take_over(node: Node, now: int) -> None:
    """A node is lost and its timers with it: this one ends what typing stands; a second timer does no harm."""
    for key, (last_us, stop_us) in node.store.typing.items():
        node.timers.arm(max(now, last_us + throttle_us(node) if stop_us is None else stop_us), "typing", key)


def throttle_us(node: Node) -> int:
    """The least distance of two accepted TYPING_START of a device and conversation."""
    limit = node.config.limits.typing
    return limit.window_s * 1_000_000 // limit.limit if isinstance(limit, Limit) else 0


def _forward(node: Node, user: User, members: tuple[str, str], kind: str, conversation: str, now: int) -> None:
    targets: list[Presence] = []
    for address in members:
        if address != user.address and address not in user.settings.typing_disabled_for:
            targets.extend(node.store.connected(address).values())
    node.send_to(targets, kind, TypingUpdate(conversation, user.address), now)
