"""What makes two experiments the same one, as bytes to be hashed: their keys and values, in whatever order they stand.

Of one mapping the order counts: devices are dealt to ``population.networks`` in the order in which these stand, so
that the same weights in another order give another run. It is taken as a list of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def ordered(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's mapping, resolved or as its file has it, with a list of pairs where the order counts."""
    found = dict(mapping)
    population = found.get("population")
    if isinstance(population, Mapping) and isinstance(population.get("networks"), Mapping):
        found["population"] = {**population, "networks": [list(pair) for pair in population["networks"].items()]}
    return found


def identity_bytes(mapping: Mapping[str, Any]) -> bytes:
    """The same bytes for the same experiment, and others for any that may give other results."""
    return msgspec.json.encode(ordered(mapping), order="deterministic")
