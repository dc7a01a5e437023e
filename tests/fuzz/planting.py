"""What a planted bug is: replacements of the core's own parts, under a name that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Patch = tuple[Any, str, Any]
"""An object, its attribute, and what stands there while the bug is planted."""
Make = Callable[[], list[Patch]]
Bugs = dict[str, tuple[str, Make]]
"""Name → what the bug does, in words, and what makes its replacements."""


def planter(bugs: Bugs) -> Callable[[str], Callable[[Make], Make]]:
    """What plants a bug under a name among these; the docstring of its maker says what is wrong."""

    def bug(name: str) -> Callable[[Make], Make]:
        def keep(make: Make) -> Make:
            assert name not in bugs
            bugs[name] = ((make.__doc__ or "").strip(), make)
            return make

        return keep

    return bug
