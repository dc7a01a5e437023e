"""How long to wait before the next attempt: pure functions over a Stream, integers in microseconds.

Sources: the specification's "Reconnection Strategy" and R-11.2 for ``spec``; M. Brooker, "Exponential Backoff And
Jitter" (AWS Architecture Blog, 2015) for the others. With d = min(cap, base · 2ᵏ) before attempt k = 0, 1, …:

- ``spec``: d plus a jitter uniform in [0, jitter · d]; with ``jitter`` 0 it is exponential backoff without jitter.
- ``none``: no backoff, the next attempt follows at once.
- ``equal``: d/2 plus uniform in [0, d/2].
- ``full``: uniform in [0, d].
- ``decorrelated``: min(cap, uniform in [base, 3 · the wait before]); the first wait takes base for the one before.
- ``server_directed``: after a refusal that carried Retry-After (RFC 9110 §10.2.3), that time plus uniform in [0, d],
  so that those refused together do not come back together, and spread further with each refusal; else as ``spec``.
"""

from __future__ import annotations

from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.protocol.streams import Stream


def exponential_us(config: BackoffConfig, attempt: int) -> int:
    """d = min(cap, base · 2ᵏ) in µs, for attempt k = 0, 1, …"""
    # Beyond 2⁶⁴ every base reaches every cap; the bound keeps the shift small however long attempts go on.
    return min(config.cap_ms, config.base_ms << min(attempt, 64)) * 1000


def delay_us(config: BackoffConfig, attempt: int, previous_us: int, stream: Stream, told_us: int | None = None) -> int:
    """The wait before attempt k = 0, 1, … in µs. ``previous_us`` is the wait before the last one, 0 if none was.

    ``told_us`` is the server's own delay, None where it named none; only ``server_directed`` heeds it. Draws one word
    from ``stream``, or none under policy ``none``.
    """
    d = exponential_us(config, attempt)
    match config.policy:
        case "server_directed" if told_us is not None:
            return told_us + stream.between(0, d)
        case "spec" | "server_directed":
            return d + stream.between(0, int(d * config.jitter))
        case "none":
            return 0
        case "equal":
            half = d // 2
            return half + stream.between(0, d - half)
        case "full":
            return stream.between(0, d)
        case _:
            base = config.base_ms * 1000
            return min(config.cap_ms * 1000, stream.between(base, max(base, 3 * previous_us or 3 * base)))
