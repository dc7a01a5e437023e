"""One connection as its relay node sees it: who it is, where it stands, and what is due when.

Every deadline is a field, and one timer is armed for the earliest of them: moving a deadline costs an
assignment, and the timer that comes up too early looks again. Only the time-out of a PING, which hardly
ever comes, is armed apart, since it would else be the earliest each time.
"""

from __future__ import annotations

from typing import Any, Literal

from zentalk_sim.protocol.records import Session
from zentalk_sim.protocol.timers import NEVER

ConnectionState = Literal["challenged", "ready", "ended"]


class Connection:
    """State of one accepted connection. A snapshot has it as a ``ConnectionImage``."""

    __slots__ = (
        "announced_order",
        "armed_after",
        "armed_before",
        "armed_order",
        "armed_us",
        "auth_due_us",
        "away_due_us",
        "challenge",
        "challenged_us",
        "counts_for_ip",
        "device_id",
        "face",
        "grace_warned",
        "id",
        "ip",
        "key_token",
        "look_due_us",
        "looked_endings",
        "malformed_in_a_row",
        "missed_in_a_row",
        "ping_due_us",
        "ping_missed",
        "ping_sent_us",
        "ping_timestamp_ms",
        "pong_after",
        "pong_before",
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
        # In the order in which compiled code has them in memory: what each PING and PONG needs stands together.
        self.id = id
        self.user = user
        self.device_id = device_id
        self.state: ConnectionState = "challenged"
        self.face: Any = None
        """Whatever a face in the same process knows the connection by; nothing of the core's."""
        self.session: Session | None = None
        self.session_key: bytes | None = None
        """Derived when a MAC first asks for it."""
        self.token_exp_s: int = 0
        self.pushed: dict[str, None] | None = None
        """Copies pushed on this connection and not yet confirmed; None where none was."""
        self.looked_endings: int = -1
        """The store's ``endings`` when a look last found that this connection stands; -1 before the first."""
        # The heartbeat.
        self.ping_missed: bool = False
        self.ping_timestamp_ms: int = NEVER
        """Of the PING that is outstanding; it stays so until the next is sent. NEVER where none is."""
        self.ping_sent_us: int = 0
        self.missed_in_a_row: int = 0
        self.rtt_us: int = NEVER
        """The round trip measured last; NEVER before the first."""
        # Deadlines in µs; NEVER where nothing is due.
        self.ping_due_us: int = NEVER
        self.look_due_us: int = NEVER
        self.away_due_us: int = NEVER
        self.warn_due_us: int = NEVER
        self.auth_due_us: int = NEVER
        # What the node's Timers set, and only they.
        self.pong_due_us: int = NEVER
        self.pong_before: Connection | None = None
        self.pong_after: Connection | None = None
        self.armed_us: int = NEVER
        """The instant for which a timer of this connection stands."""
        self.armed_order: int = 0
        self.armed_before: Connection | None = None
        self.armed_after: Connection | None = None
        # The rest.
        self.malformed_in_a_row: int = 0
        self.refused_in_a_row: int = 0
        self.announced_order: int = 0
        """Copies accepted up to this order were announced by SYNC_REQUIRED and are fetched, not pushed (R-6.6)."""
        self.token_capabilities = token_capabilities
        self.ip = ip
        self.counts_for_ip: bool = False
        self.grace_warned: bool = False
        self.resume_token: str | None = None
        """As presented in the upgrade's query."""
        self.challenge: bytes = b""
        self.server_time_ms: int = 0
        self.challenged_us: int = 0
        """When the challenge was sent; its answer is due ``auth.timeout_ms`` later (R-4.3)."""
        self.session_token: str = ""
        self.key_token: str = ""
        """The session token of AUTH_SUCCESS, from which the session key is made (R-5.1)."""

    def next_due_us(self) -> int:
        """The earliest deadline but for the PONG's; NEVER where there is none."""
        due = self.ping_due_us
        if self.look_due_us < due:
            due = self.look_due_us
        if self.away_due_us < due:
            due = self.away_due_us
        if self.warn_due_us < due:
            due = self.warn_due_us
        if self.auth_due_us < due:
            due = self.auth_due_us
        return due

    def clear_deadlines(self) -> None:
        """Nothing of its own is due any more: the connection has ended."""
        self.auth_due_us = self.ping_due_us = NEVER
        self.warn_due_us = self.away_due_us = self.look_due_us = NEVER
