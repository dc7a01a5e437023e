"""A fragment of an experiment laid over another file: what it says takes the place of what stood there.

Mappings are merged key by key. Replaced as a whole are lists (so the fragment's faults are all there are), anything
that names its own kind (``dist``, ``kind``, ``do``), and ``population.networks``, whose weights belong together.
Positions are kept, so that a fault names the file it stands in.
"""

from __future__ import annotations

from typing import Final

from zentalk_sim.experiment.keys import key_of
from zentalk_sim.files.yaml import Fault, FileFaults, Located

_KINDS: Final = ("dist", "kind", "do")
_WHOLE: Final = ("population.networks",)


def overlaid(base: Located, fragment: Located) -> Located:
    """``base``, which is changed, with ``fragment`` over it. Raises FileFaults where the fragment is no mapping."""
    if fragment.data is None:
        return base
    if not isinstance(fragment.data, dict) or not isinstance(base.data, dict):
        raise FileFaults([Fault(fragment.origin, "must be a mapping (key: value) of an experiment's keys")])
    _merge(base, fragment, "")
    return base


def _merge(base: Located, over: Located, path: str) -> None:
    for key, value in over.data.items():
        place = f"{path}.{key}" if path else key
        mine = base.data.get(key)
        if (
            mine is not None
            and isinstance(mine.data, dict)
            and isinstance(value.data, dict)
            and place not in _WHOLE
            and not any(kind in value.data for kind in _KINDS)
        ):
            _merge(mine, value, place)
        else:
            # A setting may be written with its unit or without (`store_latency`, `store_latency_us`): it is one.
            for same in [other for other in base.data if key_of(other) == key_of(key)]:
                del base.data[same]
                base.keys.pop(same, None)
            base.data[key] = value
            base.keys[key] = over.keys[key]
