"""What the tests of connections share: links of round numbers, and losses by hand."""

from __future__ import annotations

from typing import Any

from zentalk_sim.network.latency import Constant
from zentalk_sim.network.loss import LossModel
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Streams

MS = 1_000
S = 1_000_000
FAR = Constant(50.0)
"""50 ms each way: SRTT 100 ms, RTO 300 ms."""


class Losing(LossModel):
    """Loses the segments of the given numbers, counted from 1 in the order they are sent, retransmissions too."""

    def __init__(self, *numbers: int, all_until: int = 0) -> None:
        self.numbers = {*numbers, *range(1, all_until + 1)}
        self.count = 0

    def lost(self) -> bool:
        self.count += 1
        return self.count in self.numbers


def connection(
    *, loss_up: LossModel | None = None, path: Path | None = None, now_us: int = 0, **settings: Any
) -> TcpConnection:
    """A connection over a link that has latency ``FAR`` unless told otherwise."""
    profile = LinkProfile(**{"latency": FAR, **settings})
    return TcpConnection(profile, path or Path(), Streams(1).fresh("link"), now_us, loss_up=loss_up)
