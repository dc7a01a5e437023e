"""One connection as its relay node sees it: who it is, where it stands, and what is due when.

Every deadline is a field, and one timer is armed for the earliest of them: moving a deadline costs an
assignment, and the timer that comes up too early looks again.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from zentalk_sim.protocol.records import Session

ConnectionState = Literal["challenged", "ready", "ended"]


class Connection(Struct):
    """State of one accepted connection."""

    id: int
    ip: str
    user: str
    device_id: str
    token_capabilities: tuple[str, ...]
    state: ConnectionState = "challenged"
    counts_for_ip: bool = False
    resume_token: str | None = None
    """As presented in the upgrade's query."""
    challenge: bytes = b""
    server_time_ms: int = 0
    challenged_us: int = 0
    """When the challenge was sent; its answer is due ``auth.timeout_ms`` later (R-4.3)."""
    session: Session | None = None
    session_token: str = ""
    token_exp_s: int = 0
    key_token: str = ""
    """The session token of AUTH_SUCCESS, from which the session key is made (R-5.1)."""
    session_key: bytes | None = None
    """Derived when a MAC first asks for it."""
    grace_warned: bool = False
    malformed_in_a_row: int = 0
    refused_in_a_row: int = 0
    announced_order: int = 0
    """Copies accepted up to this order were announced by SYNC_REQUIRED and are fetched, not pushed (R-6.6)."""
    pushed: dict[str, None] = {}
    """Copies pushed on this connection and not yet confirmed."""
    # The heartbeat.
    ping_timestamp_ms: int | None = None
    """Of the PING that is outstanding; it stays so until the next is sent."""
    ping_sent_us: int = 0
    ping_missed: bool = False
    missed_in_a_row: int = 0
    rtt_us: int | None = None
    # Deadlines in µs; None where nothing is due.
    auth_due_us: int | None = None
    ping_due_us: int | None = None
    pong_due_us: int | None = None
    warn_due_us: int | None = None
    away_due_us: int | None = None
    look_due_us: int | None = None
    armed_us: int | None = None
    """The earliest instant for which a timer of this connection stands."""

    def next_due_us(self) -> int | None:
        """The earliest deadline."""
        due = self.pong_due_us
        at = self.ping_due_us
        if at is not None and (due is None or at < due):
            due = at
        at = self.look_due_us
        if at is not None and (due is None or at < due):
            due = at
        at = self.away_due_us
        if at is not None and (due is None or at < due):
            due = at
        at = self.warn_due_us
        if at is not None and (due is None or at < due):
            due = at
        at = self.auth_due_us
        if at is not None and (due is None or at < due):
            due = at
        return due

    def clear_deadlines(self) -> None:
        """Nothing is due any more: the connection has ended."""
        self.auth_due_us = self.ping_due_us = self.pong_due_us = None
        self.warn_due_us = self.away_due_us = self.look_due_us = None
