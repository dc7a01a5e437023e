"""Where two trees of plain data differ, such as two resolved experiments.

>>> differences({"relay": {"nodes": 3}, "seed": 1}, {"relay": {"nodes": 4}, "seed": 1})
[('relay.nodes', 3, 4)]
"""

from __future__ import annotations

import json
from typing import Any


def differences(before: Any, now: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(path, value before, value now) of all that is not the same; None where there is none. Lists are taken whole."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in sorted({*before, *now}):
            found += differences(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
        return found
    return [] if before == now else [(path, before, now)]


def value_words(value: Any, most: int = 30) -> str:
    """A value in at most so many characters; – for None, which is none."""
    text = "–" if value is None else value if isinstance(value, str) else _compact(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
