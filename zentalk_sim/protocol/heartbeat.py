"""The heartbeat: PING on its schedule, misses counted, a silent peer dropped (R-8).

The first PING is due one interval after AUTH_SUCCESS; the next one interval after the last was *sent* if that
was answered, one interval after its *time-out* if not. Three unanswered in a row: 3 × (30 + 10) = 120 s.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.frames import Ping, Pong
from zentalk_sim.protocol.node import Node

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
    config = node.config.heartbeat
    if config.background_interval != "off":
        user = node.store.user(conn.user)
        device = user.devices.get(conn.device_id) if user else None
        if device is not None and device.away_set:
            return config.background_interval * 1000
    return config.interval_ms * 1000


def send_ping(node: Node, conn: Connection, now: int) -> None:
    """The PING that is due; the one before is no longer outstanding."""
    conn.ping_due_us = None
    conn.ping_timestamp_ms = now // 1000
    conn.ping_sent_us = now
    conn.ping_missed = False
    conn.pong_due_us = now + node.config.heartbeat.pong_timeout_ms * 1000
    node.send(conn, "PING", Ping(now // 1000, UNSET if conn.rtt_us is None else conn.rtt_us / 1000), now)
    node.note("heartbeats.sent", conn=conn)


def skip_pings(node: Node, conn: Connection) -> None:
    """R-13.2: the PINGs due in a span that the clock is moved over count as answered, and none is sent."""
    assert conn.ping_due_us is not None
    pace_us = interval_us(node, conn)
    count = (node.skip_pings_until_us - conn.ping_due_us) // pace_us + 1
    conn.ping_due_us += count * pace_us
    conn.ping_timestamp_ms = None
    conn.missed_in_a_row = 0
    node.note("heartbeats.skipped", count, conn=conn)


def pong_missed(node: Node, conn: Connection, now: int) -> None:
    """The time-out of a PING."""
    conn.pong_due_us = None
    conn.ping_missed = True
    conn.missed_in_a_row += 1
    node.note("heartbeats.missed", conn=conn)
    if conn.missed_in_a_row < node.config.heartbeat.max_missed:
        conn.ping_due_us = now + interval_us(node, conn)


def handle_pong(node: Node, conn: Connection, payload: Pong, now: int) -> None:
    """A PONG that echoes the outstanding PING; any other is ignored."""
    if conn.ping_timestamp_ms is None or payload.timestamp != conn.ping_timestamp_ms:
        return
    conn.ping_timestamp_ms = None
    conn.missed_in_a_row = 0
    conn.rtt_us = now - conn.ping_sent_us
    node.note("rtt", conn=conn, value_us=conn.rtt_us)
    if not conn.ping_missed:
        conn.pong_due_us = None
        # What stood for the time-out is overtaken, and a later timer armed in its place.
        conn.armed_us = None
        # Where the interval is set shorter than the time-out, the next may be overdue: then it is due now.
        conn.ping_due_us = max(now, conn.ping_sent_us + interval_us(node, conn))
