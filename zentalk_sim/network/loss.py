"""Which segments are lost: Bernoulli, or Gilbert–Elliott stepped once per segment, in netem's parameters.

A loss model is stepped by segments, never by time, as netem does it: a bad spell on an idle link waits for
the next segment. Each direction of each connection has its own.
"""

from __future__ import annotations

from math import log, log1p
from typing import TYPE_CHECKING, Annotated, Protocol, TypeAlias

from msgspec import Meta, Struct

from zentalk_sim.network.latency import require

if TYPE_CHECKING:
    from zentalk_sim.protocol.streams import Stream

Probability = Annotated[float, Meta(ge=0, le=1)]

_NEVER = 1 << 62


class LossModel(Protocol):
    """What a flow asks of a loss model; a test may hand in its own pattern."""

    def lost(self) -> bool:
        """Step by one segment: True if it is lost."""
        ...


class Bernoulli(Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", tag="bernoulli"):
    """Each segment is lost with probability ``p``, whatever happened before (netem ``loss random``)."""

    p: Probability

    def __post_init__(self) -> None:
        require(0 <= self.p <= 1, f"p must lie in 0..1, not {self.p}")

    @property
    def mean(self) -> float:
        """The fraction of segments lost in the long run."""
        return self.p

    def make(self, stream: Stream) -> LossModel:
        """The running model, drawing from ``stream``."""
        return BernoulliLoss(self.p, stream)


class GilbertElliott(Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", tag="gilbert_elliott"):
    """A good and a bad state (netem ``loss gemodel p r 1-h 1-k``).

    ``p`` is the probability to go from good to bad at a segment, ``r`` from bad to good; a segment is delivered
    with probability ``h`` in the bad state and ``k`` in the good one. netem's tool takes 1−h and 1−k on its
    command line; its defaults are ours. Losses in the long run: (p (1−h) + r (1−k)) / (p + r); mean stay in the
    bad state 1/r segments.
    """

    p: Probability
    r: Probability
    h: Probability = 0.0
    k: Probability = 1.0

    def __post_init__(self) -> None:
        for name in ("p", "r", "h", "k"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} must lie in 0..1, not {value}")
        require(self.p + self.r > 0, "p and r must not both be 0: the long-run loss would be undefined")

    @property
    def mean(self) -> float:
        """The fraction of segments lost in the long run."""
        return (self.p * (1 - self.h) + self.r * (1 - self.k)) / (self.p + self.r)

    def make(self, stream: Stream) -> LossModel:
        """The running model, drawing from ``stream``."""
        return GilbertElliottLoss(self, stream)


Loss: TypeAlias = Bernoulli | GilbertElliott
"""Any loss model, told apart by the field ``model``."""


def _stay(p: float, stream: Stream) -> int:
    """How many trials of probability ``p`` it takes to the first success, that one included (one draw)."""
    if p == 0:
        return _NEVER
    if p == 1:
        return 1
    # 1 − U lies in (0, 1], so the logarithm is finite and not positive.
    return 1 + int(min(log(1 - stream.uniform()) / log1p(-p), _NEVER))


class BernoulliLoss:
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


class GilbertElliottLoss:
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
