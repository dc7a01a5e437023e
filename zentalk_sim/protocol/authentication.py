"""From the upgrade to AUTH_SUCCESS: who may go on, the challenge, its answer, the session (R-3.2, R-4).

What has a close code is accepted first and closed with it, since a browser cannot read a refused upgrade.
"""

from __future__ import annotations

from typing import Any, Final

from zentalk_sim.protocol import heartbeat, mailbox, presence, topics
from zentalk_sim.protocol.config import Ceiling, Limit
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.effects import Accept, Refuse
from zentalk_sim.protocol.errors import RATE_LIMITED, SERVICE_UNAVAILABLE, UNAUTHORIZED, CloseCode
from zentalk_sim.protocol.frames import AuthChallenge, AuthFailed, AuthResponse, AuthSuccess, ErrorPayload
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.keys import announce_device
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.ratelimit import Refusal
from zentalk_sim.protocol.records import Device, Presence, Session, User
from zentalk_sim.protocol.store import STORE_AWAY
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.tokens import Claims, TokenError, shared, token_life
from zentalk_sim.protocol.upgrade import UpgradeRefusal, UpgradeRequest, check_upgrade, limits_apply_to, peer_ip

# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_Accept: Final[type[Accept]] = Accept
_AuthChallenge: Final[type[AuthChallenge]] = AuthChallenge
_AuthSuccess: Final[type[AuthSuccess]] = AuthSuccess
_Ceiling: Final[type[Ceiling]] = Ceiling
_Claims: Final[type[Claims]] = Claims
_Limit: Final[type[Limit]] = Limit
_Presence: Final[type[Presence]] = Presence
_Session: Final[type[Session]] = Session


def connect(node: Node, conn_id: int, request: UpgradeRequest, now: int) -> None:
    """Admit an upgrade and challenge it, or refuse it (R-3.1), or accept and close it (R-3.2)."""
    refusal = check_upgrade(request, node.config.upgrade, len(node.conns))
    if refusal is None and not node.store.available:
        refusal = UpgradeRefusal(503, SERVICE_UNAVAILABLE, STORE_AWAY, node.config.upgrade.retry_after_s)
    if refusal is not None:
        node.note("upgrades.refused")
        node.out.append(Refuse(conn_id, refusal.status, refusal.error_code, refusal.message, refusal.retry_after_s))
        return
    query: dict[str, str] = request.query
    device_id = query["device_id"]
    lower = device_id.lower()
    if lower != device_id:
        # Where nothing need change, no copy is kept.
        device_id = lower
    conn = Connection(conn_id, peer_ip(request, node.config.upgrade), "", device_id, ())
    conn.resume_token = query.get("resume_token")
    node.conns[conn_id] = conn
    node.out.append(_Accept(conn_id))
    try:
        claims = node.tokens.verify(query["token"])
    except TokenError as error:
        fail(node, conn, f"token: {error}", now)
        return
    user = node.store.user(claims.sub.lower())
    named: str = claims.device_id
    if named != device_id and named.lower() != device_id:
        fail(node, conn, "token: issued for another device_id", now)
    elif user is None:
        fail(node, conn, "token: its sub is not registered", now)
    elif token_life(claims.exp, now, node.config.token) == "expired":
        node.close(conn, CloseCode.TOKEN_EXPIRED, "token_expired")
    elif user.suspended:
        node.close(conn, CloseCode.BANNED, "suspended")
    else:
        _challenge(node, conn, user, claims, now)


def _challenge(node: Node, conn: Connection, user: User, claims: Claims, now: int) -> None:
    conn.user = user.address
    conn.token_capabilities = shared(claims.capabilities)
    limits = node.config.limits
    refusal = node.limited("connection_rate", user.address + conn.device_id, limits.connection_rate, now)
    if refusal is not None:
        _refuse_rate(node, conn, "connection_rate", refusal.details(), now)
        return
    older = node.store.connected(user.address).get(conn.device_id)
    takes_over = older is not None and older.ip == conn.ip
    if not _ip_has_room(node, conn, takes_over, now):
        return
    if not takes_over:
        _count_for_ip(node, conn)
    draw = node.streams.stream("challenge")
    conn.challenge = draw.bytes(32)
    conn.server_time_ms = now // 1000
    conn.challenged_us = now
    conn.auth_due_us = answer_due_us(node, conn)
    node.send(conn, "AUTH_CHALLENGE", _AuthChallenge(conn.challenge, conn.server_time_ms, draw.bytes(16)), now)
    node.arm(conn)


def answer_due_us(node: Node, conn: Connection) -> int:
    """When the answer to the challenge must have reached the relay (R-4.3)."""
    return conn.challenged_us + node.config.auth.timeout_ms * 1000


def _ip_has_room(node: Node, conn: Connection, takes_over: bool, now: int) -> bool:
    """Whether the IP may have this connection; ends it where not. One about to be replaced counts once (R-10.3)."""
    ceiling = node.config.limits.connections_per_ip
    if not isinstance(ceiling, _Ceiling) or not limits_apply_to(conn.ip, node.config.upgrade):
        return True
    count = node.store.ip_connections.get(conn.ip, 0) - takes_over
    if count < ceiling.limit:
        return True
    details = {"limit": ceiling.limit, "current_count": count, "retry_after": 60}
    _refuse_rate(node, conn, "connections_per_ip", details, now)
    return False


def _count_for_ip(node: Node, conn: Connection) -> None:
    node.store.count_ip(node.name, conn.ip, 1)
    conn.counts_for_ip = True


def _refuse_rate(node: Node, conn: Connection, operation: str, details: dict[str, Any], now: int) -> None:
    node.note(f"rate_limited.{operation}", conn=conn)
    payload = ErrorPayload(RATE_LIMITED, f"{operation} limit exceeded", node.request_id(), details)
    node.send(conn, "ERROR", payload, now)
    node.close(conn, CloseCode.RATE_LIMITED, operation)


def fail(node: Node, conn: Connection, message: str, now: int) -> None:
    """AUTH_FAILED naming the step, then 4000."""
    node.note("connections.auth_failed", conn=conn)
    node.send(conn, "AUTH_FAILED", AuthFailed(UNAUTHORIZED, message), now)
    node.close(conn, CloseCode.AUTH_FAILED, "auth_failed")


def count_attempt(node: Node, conn: Connection, now: int) -> bool:
    """R-4.4: every AUTH_RESPONSE counts for its IP; False where the limit ended the connection."""
    limit = node.config.limits.auth_attempts
    if not isinstance(limit, _Limit) or not limits_apply_to(conn.ip, node.config.upgrade):
        return True
    refusal: Refusal | None = node.limited("auth_attempts", conn.ip, limit, now)
    if refusal is None:
        return True
    _refuse_rate(node, conn, "auth_attempts", refusal.details(), now)
    return False


def handle_response(node: Node, conn: Connection, payload: AuthResponse, now: int) -> None:
    """AUTH_RESPONSE of the right form: device, signature, time and registration, in this order (R-4.2)."""
    user = node.store.user(conn.user)
    signed = auth_signed_data(conn.challenge, conn.server_time_ms, conn.device_id, payload.client_time)
    if payload.device_id.lower() != conn.device_id:
        fail(node, conn, "device_id: differs from the connection's", now)
    elif not node.crypto.verify(payload.identity_key, signed, payload.signature):
        fail(node, conn, "signature: does not verify", now)
    elif not node.is_near(payload.client_time, now):
        fail(node, conn, "client_time: outside the time window", now)
    elif user is None or user.identity_key != payload.identity_key:
        fail(node, conn, "identity_key: not registered to the token's sub", now)
    elif user.suspended:
        # Suspended since the challenge, by way of another node.
        node.close(conn, CloseCode.BANNED, "suspended")
    else:
        _admit(node, conn, user, now)


def _admit(node: Node, conn: Connection, user: User, now: int) -> None:
    store, limits = node.store, node.config.limits
    connected = store.connected(user.address)
    others = sum(1 for device_id in connected if device_id != conn.device_id)
    ceiling = limits.connections_per_user
    if isinstance(ceiling, _Ceiling) and others >= ceiling.limit:
        node.close(conn, CloseCode.DEVICE_LIMIT, "too many connected devices")
        return
    if conn.device_id not in user.devices and len(user.devices) >= node.config.devices.max_registered:
        node.close(conn, CloseCode.DEVICE_LIMIT, "too many registered devices")
        return
    older = connected.get(conn.device_id)
    if not conn.counts_for_ip:
        # It was to take over an older connection's place, which is given up now or was given up meanwhile.
        if not _ip_has_room(node, conn, older is not None and older.ip == conn.ip, now):
            return
        _count_for_ip(node, conn)
    device = user.devices.get(conn.device_id)
    if device is None:
        device = register(node, user, Device(conn.device_id, "", "web", now), now)
    device.last_active_us = now
    resumed = _take_session(node, conn, now)
    # Compiled, a number becomes an object with each record that takes it, unless it is one already: the session's.
    session: Any = conn.session
    store.set_connected(user.address, conn.device_id, _Presence(node.name, session.conn, conn.ip))
    if older is not None:
        _replace(node, older)
    conn.state = "ready"
    conn.auth_due_us = NEVER
    conn.ping_due_us = now + heartbeat.interval_us(node, conn)
    conn.look_due_us = now + node.look_interval_us
    conn.away_due_us = now + node.away_after_us
    _succeed(node, conn, user, resumed, now)
    user.last_seen_ms = now // 1000
    store.save_user(user)
    mailbox.announce_backlog(node, conn, now)
    for notice in store.take_notices((user.address, conn.device_id)):
        node.send(conn, notice.type, notice.payload, now)
    presence.announce(node, user, now)
    node.note("connections.authenticated", conn=conn)
    node.arm(conn)


def _succeed(node: Node, conn: Connection, user: User, resumed: bool, now: int) -> None:
    session = conn.session
    assert session is not None
    expires_ms = give_token(node, conn, session.session_id, now)
    conn.key_token = conn.session_token
    success = _AuthSuccess(
        conn.session_token,
        expires_ms,
        now // 1000,
        session.session_id,
        conn.token_capabilities,
        session.resume_token,
        resumed,
    )
    node.send(conn, "AUTH_SUCCESS", success, now)


def give_token(node: Node, conn: Connection, session_id: str, now: int) -> int:
    """Issue the session's next token, and have its refresh window announced when it opens (R-9.2); its end in ms."""
    settings = node.config.token
    lifetime_s = settings.lifetime_s
    issued_s = now // 1_000_000
    conn.token_exp_s = issued_s + lifetime_s
    claims = _Claims(conn.user, issued_s, conn.token_exp_s, conn.device_id, conn.token_capabilities, session_id)
    conn.session_token = node.tokens.issue(claims)
    conn.grace_warned = False
    # Added up, not multiplied: a product as long as a time in µs costs compiled code an object.
    expires_us = now - now % 1_000_000 + lifetime_s * 1_000_000
    opens_us = expires_us - settings.refresh_window_s * 1_000_000
    # A token that lives no longer than the window is in it from the first.
    conn.warn_due_us = opens_us if opens_us > now else now
    return expires_us // 1000


def register(node: Node, user: User, device: Device, now: int) -> Device:
    """Add a device to a user; the first gets what waited for one, a further one is told to contacts (R-6.2, R-7.5)."""
    first = not user.devices
    user.devices[device.device_id] = device
    node.store.save_user(user)
    if first:
        node.store.adopt_waiting(user, device)
    else:
        announce_device(node, user, now)
    return device


def _take_session(node: Node, conn: Connection, now: int) -> bool:
    """Resume the device's session where its token is good for it, else begin a new one (R-3.4)."""
    key = (conn.user, conn.device_id)
    session: Session | None = node.store.sessions.get(key)
    draw = node.streams.stream("session")
    resumed = False
    if session is not None:
        window_us = node.config.resume.window_ms * 1000
        in_time = session.lost_us is None or now - session.lost_us <= window_us
        resumed = bool(
            conn.resume_token and session.resume_token == conn.resume_token and session.resumable and in_time
        )
        if not resumed:
            for topic in session.topics:
                topics.drop(node, topic, conn.user, conn.device_id)
    if session is None or not resumed:
        session_id = "sess_" + draw.hex(12)
        session = _Session(session_id, "res_" + draw.hex(32), conn.id)
    else:
        session.conn, session.lost_us = conn.id, None
        session.resume_token = "res_" + draw.hex(32)
    node.store.save_session(key, session)
    conn.session = session
    return resumed


def _replace(node: Node, older: Presence) -> None:
    """Close the device's older connection (R-10.3)."""
    if older.node != node.name:
        node.kick(older, CloseCode.NORMAL, "replaced")
        return
    conn = node.conns.get(older.conn)
    if conn is not None and conn.state == "ready":
        conn.session = None
        node.close(conn, CloseCode.NORMAL, "replaced")


def lose(node: Node, conn: Connection, now: int) -> None:
    """A connection is gone: its places in store and presence are given up, once."""
    if conn.counts_for_ip:
        node.store.count_ip(node.name, conn.ip, -1)
        conn.counts_for_ip = False
    leave(node, conn.user, conn.device_id, conn.id, now)


def leave(node: Node, address: str, device_id: str, conn_id: int, now: int) -> None:
    """A device's connection is gone, of this node or of one that died: session, presence and push follow."""
    user = node.store.user(address)
    session = node.store.sessions.get((address, device_id))
    if session is not None and session.conn == conn_id:
        session.conn, session.lost_us = None, now
        node.store.save_session((address, device_id), session)
    if user is None or not node.store.set_disconnected(address, device_id, conn_id):
        return
    user.last_seen_ms = now // 1000
    node.store.save_user(user)
    presence.announce(node, user, now)
    if not node.store.connected(address):
        node.push_wake(user)
