"""Loss models at work: which of the segments that come one after the other are lost.

Apart from the models as experiments write them (``loss``), so that stepping them can be machine code in long runs.
"""

from __future__ import annotations

from math import log, log1p
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zentalk_sim.network.loss import GilbertElliott
    from zentalk_sim.protocol.streams import Stream

_NEVER: Final = 1 << 62


class LossModel:
    """What a flow asks of a loss model; a test may hand in its own pattern."""

    __slots__ = ()

    def lost(self) -> bool:
        """Step by one segment: True if it is lost."""
        raise NotImplementedError


def _stay(p: float, stream: Stream) -> int:
    """How many trials of probability ``p`` it takes to the first success, that one included (one draw)."""
    if p == 0:
        return _NEVER
    if p == 1:
        return 1
    # 1 − U lies in (0, 1], so the logarithm is finite and not positive.
    return 1 + int(min(log(1 - stream.uniform()) / log1p(-p), _NEVER))


class BernoulliLoss(LossModel):
    """Counts down to the next loss: the gaps are geometric, so one draw is needed per loss, not per segment."""

    __slots__ = ("_left", "_p", "_stream")

    def __init__(self, p: float, stream: Stream) -> None:
        self._p = p
        self._stream = stream
        self._left = _stay(p, stream)

    def lost(self) -> bool:
        """Step by one segment: True if it is lost."""
        left = self._left = self._left - 1
        if left:
            return False
        self._left = _stay(self._p, self._stream)
        return True


class GilbertElliottLoss(LossModel):
    """The running two-state chain, counting down the stay in its state: a lossless state needs no draw per segment.

    The chain begins in its stationary distribution. netem always begins in the good state; a population of short
    connections would then see too little loss.
    """

    __slots__ = ("_left", "_lossless", "_spec", "_stream", "bad")

    def __init__(self, spec: GilbertElliott, stream: Stream) -> None:
        self._spec = spec
        self._stream = stream
        self.bad = stream.uniform() * (spec.p + spec.r) < spec.p
        """Whether the next segment meets the bad state."""
        self._lossless = (spec.h if self.bad else spec.k) == 1
        """Nothing is lost in the present state."""
        self._left = _stay(spec.r if self.bad else spec.p, stream)

    def lost(self) -> bool:
        """Step by one segment: the state decides its fate, then the state moves (as netem's ``loss_gilb_ell``)."""
        if self._lossless and self._left > 1:
            self._left -= 1
            return False
        spec = self._spec
        delivered = spec.h if self.bad else spec.k
        is_lost = delivered == 0 or (delivered != 1 and self._stream.uniform() >= delivered)
        self._left -= 1
        if not self._left:
            self.bad = not self.bad
            self._lossless = (spec.h if self.bad else spec.k) == 1
            self._left = _stay(spec.r if self.bad else spec.p, self._stream)
        return is_lost
