"""A clock that is off: by an offset from the start, and by a drift that grows with time.

Whoever has such a clock is given its time as ``now``, and the instants it asks to be woken at are turned back into
true ones. All integers: a clock never goes backwards, and never jumps over a timer.
"""

from __future__ import annotations

from zentalk_sim.experiment.sections import ClockSkew
from zentalk_sim.protocol.streams import Stream

_BILLION = 1_000_000_000


class Clock:
    """Shows ``now + offset_us`` at ``start_us`` and gains ``drift_ppb`` billionths of the time that passes."""

    __slots__ = ("_rate", "_start_us", "offset_us")

    def __init__(self, offset_us: int, drift_ppb: int, start_us: int) -> None:
        if drift_ppb <= -_BILLION:
            raise ValueError(f"a clock that drifts by {drift_ppb} billionths would stand still")
        self.offset_us = offset_us
        self._rate = _BILLION + drift_ppb
        self._start_us = start_us

    def local(self, now_us: int) -> int:
        """What it shows at a true instant."""
        return self._start_us + self.offset_us + (now_us - self._start_us) * self._rate // _BILLION

    def instant(self, local_us: int) -> int:
        """The first true instant at which it shows ``local_us`` or more."""
        shown_us = local_us - self._start_us - self.offset_us
        return self._start_us - (-shown_us * _BILLION // self._rate)


def draw_clock(skew: ClockSkew, stream: Stream, start_us: int) -> Clock | None:
    """The clock of one device or node; None where it keeps true time. Always four draws, whatever comes of them."""
    is_off = stream.uniform() < skew.fraction
    offset_us = skew.offset.quantile(stream.uniform())
    ahead = stream.uniform() < 0.5
    drift_ppb = round((2 * stream.uniform() - 1) * skew.drift_ppm * 1000)
    if not is_off or (offset_us == 0 and drift_ppb == 0):
        return None
    if skew.sign == "behind" or (skew.sign == "both" and not ahead):
        offset_us = -offset_us
    return Clock(offset_us, drift_ppb, start_us)
