"""A way to the relay: whether bytes pass it, in each direction. One device's, or one shared by a group.

Connections look at it at each send; faults change it. Blocks are counted, so that of two partitions that
overlap the first to end does not heal the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from zentalk_sim.network.tcp import TcpConnection

Way: TypeAlias = Literal["up", "down"]
"""A direction: up is from the device to the relay."""
Direction: TypeAlias = Literal["up", "down", "both"]


class Path:
    """The state of a way to the relay. ``block`` and ``heal`` change it; everything else only reads."""

    __slots__ = ("_down_blocks", "_up_blocks", "blocked", "changed_us", "down_blocked", "stalled", "up_blocked")

    def __init__(self) -> None:
        self.up_blocked = False
        """Nothing gets from the device to the relay."""
        self.down_blocked = False
        """Nothing gets from the relay to the device."""
        self.blocked = False
        """Either of the two."""
        self.changed_us: int | None = None
        """When ``block`` or ``heal`` was last called."""
        self.stalled: dict[TcpConnection, None] = {}
        """Connections that hold sends or wait for acknowledgements, in the order they began to: whom to
        ``release`` after a ``heal``. Only iterate over a copy, since ``release`` removes from it."""
        self._up_blocks = 0
        self._down_blocks = 0

    def block(self, direction: Direction, now_us: int) -> None:
        """Begin a partition of ``direction``. What is in flight still arrives; what is sent from now on does not."""
        self._change(direction, 1, now_us)

    def heal(self, direction: Direction, now_us: int) -> tuple[Way, ...]:
        """End one partition of ``direction``; returns the directions that are open from now on and were not before.

        Raises ValueError where a direction was not blocked.
        """
        for way, blocks in (("up", self._up_blocks), ("down", self._down_blocks)):
            if direction in (way, "both") and not blocks:
                raise ValueError(f"the path is not blocked {way}wards, so it cannot be healed")
        up, down = self.up_blocked, self.down_blocked
        self._change(direction, -1, now_us)
        opened: list[Way] = []
        if up and not self.up_blocked:
            opened.append("up")
        if down and not self.down_blocked:
            opened.append("down")
        return tuple(opened)

    def _change(self, direction: Direction, by: int, now_us: int) -> None:
        if direction not in ("up", "down", "both"):
            raise ValueError(f"a direction is up, down or both, not {direction!r}")
        if direction != "down":
            self._up_blocks += by
        if direction != "up":
            self._down_blocks += by
        self.up_blocked = self._up_blocks > 0
        self.down_blocked = self._down_blocks > 0
        self.blocked = self.up_blocked or self.down_blocked
        self.changed_us = now_us
