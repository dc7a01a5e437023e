"""The nearest right name, so that a typing mistake is answered with its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(wrong: str, right: Iterable[str]) -> str | None:
    """The name in ``right`` most like ``wrong``, without regard to case, ``-`` and ``_``; None if none is like it."""
    folded: dict[str, str] = {}
    for name in right:
        folded.setdefault(_fold(name), name)
    found = get_close_matches(_fold(wrong), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def suggestion(wrong: str, right: Iterable[str]) -> str:
    """A clause to end an error message with: ``; did you mean `x`?``, or the few names there are, or nothing."""
    names = list(right)
    found = nearest(wrong, names)
    if found is not None:
        return f"; did you mean `{found}`?"
    if 0 < len(names) <= 12:
        return "; known: " + ", ".join(names)
    return ""


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
