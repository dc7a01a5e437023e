"""The heartbeat: PING on its schedule, misses counted, a silent peer dropped (R-8).

The first PING is due one interval after AUTH_SUCCESS; the next one interval after the last was *sent* if that
was answered, one interval after its *time-out* if not. Three unanswered in a row: 3 × (30 + 10) = 120 s.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import UNSET

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.frames import Ping, Pong
from zentalk_sim.protocol.node import Node
from zentalk_sim.protocol.timers import NEVER

# Compiled code looks a name of a module that is not compiled up at each use, unless it stands in a Final.
_Ping: Final[type[Ping]] = Ping
_UNSET: Final = UNSET

Quality = Literal["excellent", "good", "fair", "poor"]


def quality_of(rtt_us: int) -> Quality:
    """The specification's table "Latency Measurement"; exactly 1000 ms is still fair (R-8.2)."""
    if rtt_us < 100_000:
        return "excellent"
    if rtt_us < 300_000:
        return "good"
    return "fair" if rtt_us <= 1_000_000 else "poor"


def interval_us(node: Node, conn: Connection) -> int:
    """The pace of PINGs: slower for a device that set itself away, where the relay is told so (R-8.3)."""
    if node.background_interval_us:
        user = node.store.user(conn.user)
        device = user.devices.get(conn.device_id) if user else None
        if device is not None and device.away_set:
            return node.background_interval_us
    return node.ping_interval_us


def send_ping(node: Node, conn: Connection, now: int) -> None:
    """The PING that is due; the one before is no longer outstanding."""
    now_ms = now // 1000
    conn.ping_due_us = NEVER
    conn.ping_timestamp_ms = now_ms
    conn.ping_sent_us = now
    conn.ping_missed = False
    node.timers.await_pong(conn, now + node.pong_timeout_us)
    rtt_us = conn.rtt_us
    node.send(conn, "PING", _Ping(now_ms, _UNSET if rtt_us == NEVER else rtt_us / 1000), now)
    node.note("heartbeats.sent", conn=conn)


def skip_pings(node: Node, conn: Connection) -> None:
    """R-13.2: the PINGs due in a span that the clock is moved over count as answered, and none is sent."""
    pace_us = interval_us(node, conn)
    count = (node.skip_pings_until_us - conn.ping_due_us) // pace_us + 1
    conn.ping_due_us += count * pace_us
    conn.ping_timestamp_ms = NEVER
    conn.missed_in_a_row = 0
    node.note("heartbeats.skipped", count, conn=conn)


def pong_missed(node: Node, conn: Connection, now: int) -> None:
    """The time-out of a PING."""
    node.timers.end_pong_wait(conn)
    conn.ping_missed = True
    conn.missed_in_a_row += 1
    node.note("heartbeats.missed", conn=conn)
    if conn.missed_in_a_row < node.max_missed:
        conn.ping_due_us = now + interval_us(node, conn)


def handle_pong(node: Node, conn: Connection, payload: Pong, now: int) -> None:
    """A PONG that echoes the outstanding PING; any other is ignored."""
    if conn.ping_timestamp_ms == NEVER or payload.timestamp != conn.ping_timestamp_ms:
        return
    conn.ping_timestamp_ms = NEVER
    conn.missed_in_a_row = 0
    rtt_us = conn.rtt_us = now - conn.ping_sent_us
    facts = node.facts
    if facts is not None:
        facts.round_trip(rtt_us)
    else:
        node.note("rtt", conn=conn, value_us=rtt_us)
    if not conn.ping_missed:
        node.timers.end_pong_wait(conn)
        # Where the interval is set shorter than the time-out, the next may be overdue: then it is due now.
        due_us = conn.ping_sent_us + interval_us(node, conn)
        conn.ping_due_us = due_us if due_us > now else now
