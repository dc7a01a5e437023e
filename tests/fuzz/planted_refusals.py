"""Bugs of the relay: what it must refuse."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.fuzz.planting import Bugs, Patch, planter
from zentalk_sim.protocol import (
    authentication,
    messages,
    node,
    pipeline,
    ratelimit,
    store,
    token_refresh,
)

BUGS: Bugs = {}
bug = planter(BUGS)


@bug("wrong seq accepted")
def _() -> list[Patch]:
    """A sequence number that is not above the last is taken."""
    original = pipeline._receive_ready

    def receive_ready(n: Any, conn: Any, incoming: Any, now: int) -> None:
        conn.session.seq_in = 0
        original(n, conn, incoming, now)

    return [(pipeline, "_receive_ready", receive_ready)]


@bug("stale time accepted")
def _() -> list[Patch]:
    """Timestamps are not looked at."""
    return [(node.Node, "is_near", lambda self, time_ms, now: True)]


@bug("nonce taken again")
def _() -> list[Patch]:
    """A nonce may be used for two messages."""
    return [(store.MemoryStore, "nonce_holder", lambda self, *_: None)]


@bug("other content under an old id")
def _() -> list[Patch]:
    """An id accepted before is acknowledged whatever it comes with."""
    return [(messages, "content_hash", lambda *_: b"")]


@bug("MAC not checked")
def _() -> list[Patch]:
    """A wrong MAC is let through, and so is none where one is required."""
    return [(pipeline, "_check_mac", lambda *_: None)]


@bug("expired token accepted")
def _() -> list[Patch]:
    """A session token counts for ever."""
    return [(token_refresh, "check_life", lambda *_: None)]


@bug("limit window wrong")
def _() -> list[Patch]:
    """The window of a limit is half as long as it should be."""
    original = ratelimit.check

    def check(state: Any, limit: Any, now_us: int) -> Any:
        half = msgspec.structs.replace(limit, window_s=max(1, limit.window_s // 2))
        return original(state, half, now_us)

    return [(ratelimit, "check", check)]


@bug("limit one too many")
def _() -> list[Patch]:
    """A limit admits one more than it says."""
    original = node.admit

    def admit(state: Any, limit: Any, now_us: int) -> Any:
        more = msgspec.structs.replace(limit, limit=limit.limit + 1, burst=(limit.burst or limit.limit) + 1)
        return original(state, more, now_us)

    return [(node, "admit", admit)]


@bug("too many devices admitted")
def _() -> list[Patch]:
    """The ceiling of connected devices is not looked at."""
    original = authentication._admit

    def admit(n: Any, conn: Any, user: Any, now: int) -> None:
        true = n.config
        n.config = msgspec.structs.replace(
            true, limits=msgspec.structs.replace(true.limits, connections_per_user="off")
        )
        original(n, conn, user, now)
        n.config = true

    return [(authentication, "_admit", admit)]


@bug("signature not checked")
def _() -> list[Patch]:
    """AUTH_SUCCESS for a signature that does not verify."""

    def handle_response(n: Any, conn: Any, payload: Any, now: int) -> None:
        user = n.store.user(conn.user)
        if user is None or user.suspended:
            n.close(conn, 4003, "suspended")
        else:
            authentication._admit(n, conn, user, now)

    return [(authentication, "handle_response", handle_response)]
