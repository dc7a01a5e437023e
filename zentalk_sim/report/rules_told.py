"""The fault rules of a run's experiment in words: they strike at events and not at times, and have no span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from zentalk_sim.report.results import Results

_MOST_CHARS = 160


def rule_rows(results: Results) -> list[tuple[str, str, str, str]]:
    """Per rule: its comment or place, what it matches, what it does, and how often its action was carried out.

    A run counts by action (``faults.fired.DO``), so that rules with the same action share a figure.
    """
    rows = []
    faults = results.experiment.get("faults")
    for place, fault in enumerate(faults if isinstance(faults, list | tuple) else ()):
        if not isinstance(fault, Mapping) or "action" not in fault:
            continue
        action = fault["action"]
        does = action.get("do") if isinstance(action, Mapping) else None
        times = f", at most {fault['times']} times" if fault.get("times") else ""
        rows.append(
            (
                str(fault.get("comment") or f"faults.{place}"),
                _words(fault.get("match")) or "everywhere",
                _words(action) + times,
                f"{results.counts.get(f'faults.fired.{does}', 0):,}",
            )
        )
    return rows


def _words(mapping: Any) -> str:
    """``do delay, ms 20``."""
    if not isinstance(mapping, Mapping):
        return ""
    text = ", ".join(f"{key} {value if isinstance(value, str) else _json(value)}" for key, value in mapping.items())
    return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
