"""Bugs planted into the core, one at a time: each a context manager that breaks one rule of relay or client.

``BUGS`` names each with what it does. Its budget is ``MOST_SEEDS`` seeds of the fuzzer, in which a check must find it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from tests.fuzz import planted_client, planted_connections, planted_messages, planted_refusals
from tests.fuzz.planting import Bugs

MOST_SEEDS: Final = 40
BUGS: Bugs = {**planted_messages.BUGS, **planted_refusals.BUGS, **planted_connections.BUGS, **planted_client.BUGS}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The core with one bug in it."""
    patches = [patch.object(target, attribute, value) for target, attribute, value in BUGS[name][1]()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()
