"""What a connection remembers while something is wrong with it, and only then: a million healthy ones need none."""

from __future__ import annotations

from zentalk_sim.network.link import Link
from zentalk_sim.protocol.timers import NEVER


class Waiting:
    """What one direction's sender waits for: room on the path, or acknowledgements."""

    __slots__ = ("fails_us", "held_bytes", "is_dead", "since_us")

    def __init__(self) -> None:
        self.held_bytes: list[int] = []
        """Sizes of the frames that are held, in order."""
        self.since_us = NEVER
        """Since when the oldest byte is unacknowledged, NEVER where none is: its retransmission timer's start."""
        self.is_dead = False
        """Nothing of this direction will ever arrive again."""
        self.fails_us = NEVER
        """When this sender learns of the end by other means than its timer's give-up from ``since_us``."""

    def ends_us(self, link: Link) -> int:
        """When this sender gives up, as things stand; or NEVER."""
        if self.since_us == NEVER:
            return self.fails_us
        return min(self.fails_us, self.since_us + link.give_up_us)

    def is_over(self) -> bool:
        """Whether it waits for nothing."""
        return self.since_us == NEVER and self.fails_us == NEVER and not self.is_dead and not self.held_bytes


class Stall:
    """Allocated only while something is wrong with a connection."""

    __slots__ = ("answers_rst", "down", "setup_since_us", "syns", "up")

    def __init__(self) -> None:
        self.up = Waiting()
        self.down = Waiting()
        self.answers_rst = False
        """A NAT forgot the mapping: what the device sends comes from a new port, which the relay answers with RST."""
        self.syns = 0
        """SYNs sent in vain so far."""
        self.setup_since_us = NEVER
        """Since when a ClientHello is unanswered."""

    def is_over(self) -> bool:
        """Whether nothing is wrong any more."""
        if self.syns or self.setup_since_us != NEVER or self.answers_rst:
            return False
        return self.up.is_over() and self.down.is_over()
