"""``-S path=value``: one key of an experiment set from the command line.

The path is keys with dots between (``relay.heartbeat.interval``), a list's items counted from 0
(``faults.0.for``); the value is YAML. What the path names is created where the file does not have it;
whether it exists is the reader's question, which then answers with the option as the place.
"""

from __future__ import annotations

from typing import NamedTuple

from zentalk_sim.experiment.keys import key_of
from zentalk_sim.files.yaml import Fault, FileFaults, Located, Origin, parse_value

_OPEN_KEYS = ("thresholds",)
"""Mappings whose keys have dots themselves: the rest of a path is one key."""


class Setting(NamedTuple):
    """What sets a key as ``-S`` does and is no option: a value of a file's ``sweep.vary``."""

    path: str
    value: Located
    origin: Origin
    """Where the path stands."""


def apply(tree: Located, text: str | Setting) -> None:
    """Set in ``tree`` what the option's ``text`` says. Raises FileFaults where it cannot be read."""
    if isinstance(text, Setting):
        parts = text.path.split(".")
        if not all(parts):
            raise _refused(text.origin, "the path must be keys with dots between, such as population.devices")
        put(tree, parts, text.value, text.origin)
        return
    label = f"-S {text}" if len(text) <= 80 else f"-S {text[:77]}…"
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals:
        raise _refused(label, "must be path=value, such as -S population.devices=500")
    parts = path.split(".")
    if not all(parts):
        raise _refused(label, "the path before `=` must be keys with dots between, such as population.devices")
    put(tree, parts, parse_value(value, label), label)


def put(tree: Located, parts: list[str], value: Located, label: str | Origin) -> None:
    """Set ``value`` at the path ``parts`` of ``tree``. Raises FileFaults, at ``label``."""
    origin = label if isinstance(label, Origin) else Origin(label)
    at = tree
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        done = ".".join(parts[:depth])
        if isinstance(at.data, list):
            if not part.isdigit() or int(part) >= len(at.data):
                raise _refused(origin, f"`{done}` is a list of {len(at.data)}; name an item by its number from 0")
            if last:
                at.data[int(part)] = value
                return
            at = at.data[int(part)]
            continue
        if at.data is None:
            at.data = {}
        if not isinstance(at.data, dict):
            # A scalar such as `size: 400B` or `limits.typing: off` gives way to a mapping.
            at.data, at.keys = {}, {}
        if done in _OPEN_KEYS and not last:
            part, last = ".".join(parts[depth:]), True
        if last:
            for synonym in [key for key in at.data if key_of(key) == key_of(part)]:
                del at.data[synonym]
            at.data[part] = value
            at.keys[part] = origin
            return
        if part not in at.data:
            at.data[part] = Located({}, origin)
            at.keys[part] = origin
        at = at.data[part]


def _refused(label: str | Origin, message: str) -> FileFaults:
    return FileFaults([Fault(label if isinstance(label, Origin) else Origin(label), message)])
