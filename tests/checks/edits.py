"""Edits of a good recording, by the check whose requirement each breaks."""

from __future__ import annotations

from collections.abc import Callable

from tests.checks.story import Story

Edit = Callable[[Story], None]
EDITS: dict[str, Edit] = {}
S = 1_000_000


def breaks(name: str) -> Callable[[Edit], Edit]:
    def keep(edit: Edit) -> Edit:
        assert name not in EDITS
        EDITS[name] = edit
        return edit

    return keep
