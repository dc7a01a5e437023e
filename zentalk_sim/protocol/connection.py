"""One connection as its relay node sees it: who it is, where it stands, and what is due when.

Every deadline is a field, and one timer is armed for the earliest of them: moving a deadline costs an
assignment, and the timer that comes up too early looks again.
"""

from __future__ import annotations

from typing import Literal

from zentalk_sim.protocol.records import Session

ConnectionState = Literal["challenged", "ready", "ended"]


class Connection:
    """State of one accepted connection. A snapshot has it as a ``ConnectionImage``."""

    __slots__ = (
        "announced_order",
        "armed_us",
        "auth_due_us",
        "away_due_us",
        "challenge",
        "challenged_us",
        "counts_for_ip",
        "device_id",
        "grace_warned",
        "id",
        "ip",
        "key_token",
        "look_due_us",
        "malformed_in_a_row",
        "missed_in_a_row",
        "ping_due_us",
        "ping_missed",
        "ping_sent_us",
        "ping_timestamp_ms",
        "pong_due_us",
        "pushed",
        "refused_in_a_row",
        "resume_token",
        "rtt_us",
        "server_time_ms",
        "session",
        "session_key",
        "session_token",
        "state",
        "token_capabilities",
        "token_exp_s",
        "user",
        "warn_due_us",
    )

    def __init__(self, id: int, ip: str, user: str, device_id: str, token_capabilities: tuple[str, ...]) -> None:
        self.id = id
        self.ip = ip
        self.user = user
        self.device_id = device_id
        self.token_capabilities = token_capabilities
        self.state: ConnectionState = "challenged"
        self.counts_for_ip: bool = False
        self.resume_token: str | None = None
        """As presented in the upgrade's query."""
        self.challenge: bytes = b""
        self.server_time_ms: int = 0
        self.challenged_us: int = 0
        """When the challenge was sent; its answer is due ``auth.timeout_ms`` later (R-4.3)."""
        self.session: Session | None = None
        self.session_token: str = ""
        self.token_exp_s: int = 0
        self.key_token: str = ""
        """The session token of AUTH_SUCCESS, from which the session key is made (R-5.1)."""
        self.session_key: bytes | None = None
        """Derived when a MAC first asks for it."""
        self.grace_warned: bool = False
        self.malformed_in_a_row: int = 0
        self.refused_in_a_row: int = 0
        self.announced_order: int = 0
        """Copies accepted up to this order were announced by SYNC_REQUIRED and are fetched, not pushed (R-6.6)."""
        self.pushed: dict[str, None] = {}
        """Copies pushed on this connection and not yet confirmed."""
        # The heartbeat.
        self.ping_timestamp_ms: int | None = None
        """Of the PING that is outstanding; it stays so until the next is sent."""
        self.ping_sent_us: int = 0
        self.ping_missed: bool = False
        self.missed_in_a_row: int = 0
        self.rtt_us: int | None = None
        # Deadlines in µs; None where nothing is due.
        self.auth_due_us: int | None = None
        self.ping_due_us: int | None = None
        self.pong_due_us: int | None = None
        self.warn_due_us: int | None = None
        self.away_due_us: int | None = None
        self.look_due_us: int | None = None
        self.armed_us: int | None = None
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
