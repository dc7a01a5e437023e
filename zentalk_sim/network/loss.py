"""Which segments are lost: Bernoulli, or Gilbert–Elliott stepped once per segment, in netem's parameters.

A loss model is stepped by segments, never by time, as netem does it: a bad spell on an idle link waits for
the next segment. Each direction of each connection has its own: see ``losing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from msgspec import Meta, Struct

from zentalk_sim.network.latency import require
from zentalk_sim.network.losing import BernoulliLoss as BernoulliLoss
from zentalk_sim.network.losing import GilbertElliottLoss as GilbertElliottLoss
from zentalk_sim.network.losing import LossModel as LossModel

if TYPE_CHECKING:
    from zentalk_sim.protocol.streams import Stream

Probability = Annotated[float, Meta(ge=0, le=1)]


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
