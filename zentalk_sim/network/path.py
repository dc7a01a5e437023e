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

    __slots__ = ("_down_blocks", "_stalled", "_up_blocks", "blocked", "changed_us")

    def __init__(self) -> None:
        self.blocked = False
        """Either direction is."""
        self.changed_us = 0
        """When ``block`` or ``heal`` was last called; 0: never."""
        self._up_blocks = 0
        self._down_blocks = 0
        self._stalled: dict[TcpConnection, None] | None = None
        """None where there was none yet: most ways are never cut."""

    @property
    def up_blocked(self) -> bool:
        """Nothing gets from the device to the relay."""
        return self._up_blocks > 0

    @property
    def down_blocked(self) -> bool:
        """Nothing gets from the relay to the device."""
        return self._down_blocks > 0

    @property
    def stalled(self) -> tuple[TcpConnection, ...]:
        """Connections that hold sends or wait for acknowledgements, in the order they began to: whom to
        ``release`` after a ``heal``."""
        return tuple(self._stalled or ())

    def stall(self, connection: TcpConnection) -> None:
        """Note a connection that holds sends or waits for acknowledgements."""
        if self._stalled is None:
            self._stalled = {}
        self._stalled[connection] = None

    def forget(self, connection: TcpConnection) -> None:
        """A connection does so no longer."""
        if self._stalled is not None:
            self._stalled.pop(connection, None)

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
        self.blocked = self._up_blocks > 0 or self._down_blocks > 0
        self.changed_us = now_us
