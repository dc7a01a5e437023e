"""How much a relay keeps, and lets others ask for: each bound a setting, with the counter that tells when it was met.

Bounds of the protocol itself (pre-keys, outboxes, frame sizes, limits) are settings of ``RelayConfig``. Those here are
of the tool around it, and hold for the default space and for every other one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from zentalk_sim.files.names import suggestion

MAX_BOUND = 2**53
Positive = Annotated[int, Meta(ge=1, le=MAX_BOUND)]


class BadBound(ValueError):
    """A bound that there is not, or a value that it cannot have."""


class Bounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds, with the counter of each (``GET /admin/stats``, ``/metrics``)."""

    journal_entries: Positive = 100_000
    """Of a space; older ones go (``journal.dropped``)."""
    journal_bytes: Positive = 64 << 20
    media_bytes: Positive = 100 << 20
    """Of one upload, and of all that a space keeps; older ones go (``media.dropped``)."""
    spaces: Positive = 500
    """Besides the default one; more are refused (``spaces.refused``)."""
    space_ttl_s: Positive = 3_600
    """How long a space lives unused, where it was made without a ``ttl_s`` of its own (``spaces.collected``)."""
    event_queue: Positive = 1_000
    """Entries that wait for one listener of ``/admin/events``; older ones go (``events.dropped``)."""
    event_listeners: Positive = 100
    """More are refused (``events.refused``)."""
    wait_timeout_ms: Positive = 60_000
    """The longest that ``/admin/journal/wait`` waits; more is refused (``waits.refused``)."""
    handshakes: Positive = 1_000
    """Connections of a port whose request is not whole; of more, the oldest goes (``handshakes.dropped``)."""
    handshake_timeout_ms: Positive = 10_000
    """How long such a connection may take (``upgrades.timeout``, ``http.timeout``)."""
    body_bytes_per_s: Positive = 8_192
    """What a request's body must bring, in the mean of each such time, until it is whole (``http.timeout``)."""


def parse_bounds(pairs: tuple[str, ...]) -> Bounds:
    """The defaults with ``NAME=N`` in place of some. Raises BadBound saying what there is."""
    found: dict[str, int] = {}
    names = Bounds.__struct_fields__
    for pair in pairs:
        name, _, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if name not in names:
            raise BadBound(f"no bound `{name[:80]}`{suggestion(name, names)}")
        if not (value.strip().isascii() and value.strip().isdecimal()):
            raise BadBound(f"{name}={value[:80]}: a bound is a whole number of at least 1, such as {name}=100")
        found[name] = int(value)
        if not 1 <= found[name] <= MAX_BOUND:
            raise BadBound(f"{pair[:80]}: a bound is a whole number from 1 to {MAX_BOUND}")
    return msgspec.convert(found, Bounds)
