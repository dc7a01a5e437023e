"""What fault rules have made of one connection at its node: silent, deaf, slow to end, with frames held back.

The law: this remembers and does nothing; ``RuledSocket`` reads it at each frame and writes it at each verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zentalk_sim.model.rule_lane import Lane

if TYPE_CHECKING:
    from zentalk_sim.model.rule_engine import RuleEngine


class Edge:
    """What rules have made of one connection."""

    __slots__ = ("is_deaf", "is_ended", "is_gone", "is_silent", "lane_in", "lane_out", "opened_us", "rules", "slow_us")

    def __init__(self, rules: RuleEngine) -> None:
        self.rules = rules
        self.opened_us: int | None = None
        """When its upgrade was answered with 101."""
        self.lane_in: Lane | None = None
        self.lane_out: Lane | None = None
        self.is_ended = False
        """A rule has ended it: no frame passes any more."""
        self.is_silent = False
        """Half-open silence: the socket stands, and nothing is read or written."""
        self.is_deaf = False
        """Both have closed, and the node is slow to end the socket: what still comes is thrown away."""
        self.is_gone = False
        """The transport is gone at the node, whether the core has been told or not."""
        self.slow_us: int | None = None
        """How much later than it could the connection ends."""

    def waiting(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Frames and bytes held back on their way in, and on their way out."""
        lanes = (self.lane_in, self.lane_out)
        waiting_in, waiting_out = ((0, 0) if lane is None else lane.waiting() for lane in lanes)
        return waiting_in, waiting_out

    def forget(self) -> None:
        """What is held back, either way, never passes."""
        for lane in (self.lane_in, self.lane_out):
            if lane is not None:
                lane.clear()
