"""What a connection remembers while something is wrong with it, and only then: a million healthy ones need none."""

from __future__ import annotations

from zentalk_sim.network.link import Link


class Waiting:
    """What one direction's sender waits for: room on the path, or acknowledgements."""

    __slots__ = ("fails_us", "held_bytes", "is_dead", "since_us")

    def __init__(self) -> None:
        self.held_bytes: list[int] = []
        """Sizes of the frames that are held, in order."""
        self.since_us: int | None = None
        """Since when the oldest byte is unacknowledged: its retransmission timer's start."""
        self.is_dead = False
        """Nothing of this direction will ever arrive again."""
        self.fails_us: int | None = None
        """When this sender learns of the end by other means than its timer's give-up from ``since_us``."""

    def ends_us(self, link: Link) -> int | None:
        """When this sender gives up, as things stand."""
        given_up_us = None if self.since_us is None else self.since_us + link.give_up_us
        if self.fails_us is None or given_up_us is None:
            return self.fails_us if given_up_us is None else given_up_us
        return min(self.fails_us, given_up_us)


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
        self.setup_since_us: int | None = None
        """Since when a ClientHello is unanswered."""

    def is_over(self) -> bool:
        """Whether nothing is wrong any more."""
        if self.syns or self.setup_since_us is not None or self.answers_rst:
            return False
        return not any(
            w.held_bytes or w.since_us is not None or w.is_dead or w.fails_us is not None for w in (self.up, self.down)
        )
