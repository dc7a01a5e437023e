"""The session token's life on a connection: warnings, grace, refresh (R-9)."""

from __future__ import annotations

from zentalk_sim.protocol import authentication
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.errors import (
    FORBIDDEN,
    OUTSIDE_REFRESH_WINDOW,
    UNAUTHORIZED,
    CloseCode,
    CloseConnection,
    ProtocolError,
)
from zentalk_sim.protocol.frames import TokenExpiring, TokenRefresh, TokenRefreshed
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.records import User
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.tokens import token_life


def warn(node: Node, conn: Connection, now: int) -> None:
    """TOKEN_EXPIRING: the refresh window has opened, or the token is in its grace."""
    conn.warn_due_us = NEVER
    remaining_s = max(0, conn.token_exp_s - now // 1_000_000)
    node.send(conn, "TOKEN_EXPIRING", TokenExpiring(conn.token_exp_s * 1000, remaining_s, "refresh_recommended"), now)


def check_life(node: Node, conn: Connection, now: int) -> None:
    """R-9.1, at every frame from the client. Raises CloseConnection 4001 past the grace."""
    life = token_life(conn.token_exp_s, now, node.config.token)
    if life == "valid":
        return
    if life == "expired":
        raise CloseConnection(CloseCode.TOKEN_EXPIRED, "token_expired")
    if not conn.grace_warned:
        conn.grace_warned = True
        warn(node, conn, now)


def handle_refresh(node: Node, conn: Connection, user: User, payload: TokenRefresh, now: int) -> None:
    """TOKEN_REFRESH: limit, then token and signature, then the window (R-9.3)."""
    node.admit("token_refresh", node.config.limits.token_refresh, conn, now)
    token = payload.session_token
    if token != conn.session_token:
        raise ProtocolError(UNAUTHORIZED, "session_token is not this session's current token")
    if not node.crypto.verify(user.identity_key, token.encode("ascii"), payload.signature):
        raise ProtocolError(UNAUTHORIZED, "signature does not verify")
    opens_us = (conn.token_exp_s - node.config.token.refresh_window_s) * 1_000_000
    if now < opens_us:
        raise ProtocolError(
            FORBIDDEN,
            "the token is not yet in its refresh window",
            reason=OUTSIDE_REFRESH_WINDOW,
            opens_at=opens_us // 1000,
        )
    assert conn.session is not None
    expires_ms = authentication.give_token(node, conn, conn.session.session_id, now)
    node.send(conn, "TOKEN_REFRESHED", TokenRefreshed(conn.session_token, expires_ms), now)
