"""Bugs of the relay: sessions, connections, and the signals that go over them."""

from __future__ import annotations

from typing import Any

from tests.fuzz.planting import Bugs, Patch, planter
from zentalk_sim.protocol import (
    authentication,
    heartbeat,
    pipeline,
    presence,
    topics,
    typing_indicators,
)

BUGS: Bugs = {}
bug = planter(BUGS)


@bug("stale resume accepted")
def _() -> list[Patch]:
    """Any resume token of a device is good, however old."""
    original = authentication._take_session

    def take_session(n: Any, conn: Any, now: int) -> bool:
        session = n.store.sessions.get((conn.user, conn.device_id))
        if session is not None and conn.resume_token:
            conn.resume_token = session.resume_token
        return original(n, conn, now)

    return [(authentication, "_take_session", take_session)]


@bug("late resume accepted")
def _() -> list[Patch]:
    """A session is resumed however long it was lost."""
    original = authentication._take_session

    def take_session(n: Any, conn: Any, now: int) -> bool:
        session = n.store.sessions.get((conn.user, conn.device_id))
        if session is not None and session.lost_us is not None:
            session.lost_us = now
        return original(n, conn, now)

    return [(authentication, "_take_session", take_session)]


@bug("no heartbeat close")
def _() -> list[Patch]:
    """A silent connection is never dropped."""

    def pong_missed(n: Any, conn: Any, now: int) -> None:
        n.timers.end_pong_wait(conn)
        conn.ping_missed = True
        n.note("heartbeats.missed", conn=conn)
        conn.ping_due_us = now + heartbeat.interval_us(n, conn)

    return [(heartbeat, "pong_missed", pong_missed)]


@bug("heartbeat early")
def _() -> list[Patch]:
    """The next PING comes one interval after the PONG, not after the PING."""
    original = heartbeat.handle_pong

    def handle_pong(n: Any, conn: Any, payload: Any, now: int) -> None:
        conn.ping_sent_us = now if payload.timestamp == conn.ping_timestamp_ms else conn.ping_sent_us
        original(n, conn, payload, now)

    return [(heartbeat, "handle_pong", handle_pong)]


@bug("older connection kept")
def _() -> list[Patch]:
    """A device that connects again keeps its older connection."""
    return [(authentication, "_replace", lambda n, older: None)]


@bug("suspended stays connected")
def _() -> list[Patch]:
    """Suspending a user closes no connection until its next frame."""
    from zentalk_sim.protocol import control

    return [(control, "_close_all", lambda *_: None)]


@bug("seq of the relay skips")
def _() -> list[Patch]:
    """Every PING takes two sequence numbers."""
    original = heartbeat.send_ping

    def send_ping(n: Any, conn: Any, now: int) -> None:
        conn.session.seq_out += 1
        original(n, conn, now)

    return [(heartbeat, "send_ping", send_ping)]


@bug("malformed run not counted")
def _() -> list[Patch]:
    """Malformed frames never close a connection."""
    original = pipeline.answer

    def answer(n: Any, conn: Any, *rest: Any) -> None:
        conn.malformed_in_a_row = -1
        original(n, conn, *rest)

    return [(pipeline, "answer", answer)]


# --- signals


@bug("presence of the hidden")
def _() -> list[Patch]:
    """Who is invisible, or hides, is shown as they are."""
    return [(presence, "hides", lambda user: False)]


@bug("presence to strangers")
def _() -> list[Patch]:
    """Anyone may watch anyone's presence."""
    return [(topics, "_check_permission", lambda *_: None)]


@bug("typing to who is disabled")
def _() -> list[Patch]:
    """Typing goes to those as well whom the user excepted."""

    def forward(n: Any, user: Any, members: Any, kind: str, conversation: str, now: int) -> None:
        from zentalk_sim.protocol.frames import TypingUpdate

        targets = [p for a in members if a != user.address for p in n.store.connected(a).values()]
        n.send_to(targets, kind, TypingUpdate(conversation, user.address), now)

    return [(typing_indicators, "_forward", forward)]


@bug("typing never stops")
def _() -> list[Patch]:
    """The relay does not say TYPING_STOP itself."""
    original = typing_indicators.timed_out

    def timed_out(n: Any, key: Any, now: int) -> None:
        entry = n.store.typing.get(key)
        if entry is not None and entry[1] is not None and entry[1] <= now:
            n.store.typing[key] = (entry[0], None)
        original(n, key, now)

    return [(typing_indicators, "timed_out", timed_out)]
