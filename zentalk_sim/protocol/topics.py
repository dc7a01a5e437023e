"""SUBSCRIBE and UNSUBSCRIBE: a frame is taken whole or not at all (R-7.2)."""

from __future__ import annotations

import re

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.errors import FORBIDDEN, INVALID_MESSAGE, MALFORMED, TOO_MANY_TOPICS, ProtocolError
from zentalk_sim.protocol.frames import ADDRESS_PATTERN, Topics
from zentalk_sim.protocol.messages import members_of
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.presence import describe
from zentalk_sim.protocol.records import User

_is_address = re.compile(ADDRESS_PATTERN).match
_MAX_TOPIC_CHARACTERS = 256


def check_form(node: Node, payload: Topics) -> None:
    """Part of the payload's form: each topic is of a known kind, and there are not too many."""
    if len(payload.topics) > node.config.topics.max_per_frame:
        raise ProtocolError(
            INVALID_MESSAGE,
            f"at most {node.config.topics.max_per_frame} topics a frame",
            reason=TOO_MANY_TOPICS,
            field="payload.topics",
        )
    for index, topic in enumerate(payload.topics):
        kind, colon, name = topic.partition(":")
        good = bool(colon and name) and len(topic) <= _MAX_TOPIC_CHARACTERS
        if good and kind in ("presence", "keys"):
            good = bool(_is_address(name))
        elif kind != "typing":
            good = False
        if not good:
            raise ProtocolError(
                INVALID_MESSAGE,
                "a topic is presence:<address>, typing:<conversation_id> or keys:<address>",
                reason=MALFORMED,
                field=f"payload.topics[{index}]",
            )


def normal(topic: str) -> str:
    """A topic with its address in lower case."""
    kind, _, name = topic.partition(":")
    return topic if kind == "typing" else f"{kind}:{name.lower()}"


def handle_subscribe(node: Node, conn: Connection, user: User, payload: Topics, now: int) -> None:
    """SUBSCRIBE: permission for every topic first; a presence subscription is answered at once."""
    node.admit("subscribe", node.config.limits.subscribe, conn, now)
    assert conn.session is not None
    held = conn.session.topics
    wanted = dict.fromkeys(normal(topic) for topic in payload.topics)
    for topic in wanted:
        _check_permission(node, user, topic)
    if len(held) + sum(topic not in held for topic in wanted) > node.config.topics.max_per_session:
        raise ProtocolError(
            INVALID_MESSAGE,
            f"at most {node.config.topics.max_per_session} topics a session",
            reason=TOO_MANY_TOPICS,
            field="payload.topics",
        )
    for topic in wanted:
        held[topic] = None
        node.store.subscribers.setdefault(topic, {})[conn.user, conn.device_id] = None
    node.store.save_session((conn.user, conn.device_id), conn.session)
    for topic in wanted:
        if topic.startswith("presence:"):
            node.send(conn, "PRESENCE_UPDATE", describe(node, node.store.users[topic.partition(":")[2]]), now)


def _check_permission(node: Node, user: User, topic: str) -> None:
    kind, _, name = topic.partition(":")
    if kind == "typing":
        members_of(node, name, user)
        return
    other = node.store.user(name)
    if other is None or (kind == "presence" and other is not user and name not in user.contacts):
        raise ProtocolError(FORBIDDEN, f"{topic} is not open to you", topic=topic)


def handle_unsubscribe(node: Node, conn: Connection, user: User, payload: Topics, now: int) -> None:
    """UNSUBSCRIBE: a topic not subscribed to is passed over."""
    node.admit("subscribe", node.config.limits.subscribe, conn, now)
    assert conn.session is not None
    for topic in dict.fromkeys(normal(topic) for topic in payload.topics):
        if topic in conn.session.topics:
            del conn.session.topics[topic]
            drop(node, topic, conn.user, conn.device_id)
    node.store.save_session((conn.user, conn.device_id), conn.session)


def drop(node: Node, topic: str, address: str, device_id: str) -> None:
    """Take one device off a topic."""
    held = node.store.subscribers.get(topic)
    if held is not None:
        held.pop((address, device_id), None)
        if not held:
            del node.store.subscribers[topic]
