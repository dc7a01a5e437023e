"""What a reader of a run's figures must know and cannot see in them: that there was nobody, or too early, to measure.

A note is a sentence. `zsim run` prints them below its table, ``summary.json`` has them where there are any, and the
report tells them with what happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zentalk_sim.report.results import FaultSpan, Results

_MOST_NAMED = 3
_ASKED_FOR = "the workload has none"


def notes(results: Results) -> list[str]:
    """The notes of a run, most of which have none. A silence that was asked for needs none."""
    is_odd = _why_silent(results) not in ("", _ASKED_FOR)
    return [note for note in (silence(results) if is_odd else "", early_faults(results)) if note]


def silence(results: Results) -> str:
    """That no message was sent, and why where the experiment tells; empty where one was."""
    if results.counts.get("messages.sent"):
        return ""
    why = _why_silent(results)
    return f"No message was sent: {why}." if why else "No message was sent."


def _why_silent(results: Results) -> str:
    population = _section(results.experiment, "population")
    messages = _section(_section(results.experiment, "workload"), "messages")
    if messages.get("interval") is None and str(messages.get("rate_per_device", "")).startswith("0/"):
        return _ASKED_FOR
    if _is_one_user(population):
        return "there is one user alone, who has nobody to write to"
    if population.get("contacts") == 0:
        return "the users have no contacts (`population.contacts` is 0)"
    if results.experiment and not results.counts.get("connections.authenticated"):
        return "no device was ever connected"
    return ""


def _section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = mapping.get(name)
    return found if isinstance(found, Mapping) else {}


def _is_one_user(population: Mapping[str, Any]) -> bool:
    """Whether all devices belong to one user for certain: no user has fewer than all of them."""
    devices, each = population.get("devices"), population.get("devices_per_user", 1)
    if isinstance(each, list | tuple):
        each = next((count for count, weight in enumerate(each, 1) if weight), 1)
    return isinstance(devices, int) and isinstance(each, int) and devices <= each


def is_early(results: Results, fault: FaultSpan) -> bool:
    """Whether a fault lies wholly in the warm-up, so that the metrics have nothing of what began in it."""
    measured_us = results.start_us + results.warm_up_us
    return fault.start_us < measured_us and fault.end_us is not None and fault.end_us <= measured_us


def early_faults(results: Results) -> str:
    """That faults lie wholly in the warm-up; empty where none does."""
    early = [fault for fault in results.faults if is_early(results, fault)]
    if not early:
        return ""
    names = "; ".join(f"{fault.label} at {_since(results, fault)}" for fault in early[:_MOST_NAMED])
    more = f" and {len(early) - _MOST_NAMED:,} more" if len(early) > _MOST_NAMED else ""
    lies, it = ("lies", "it") if len(early) == 1 else ("lie", "they")
    return (
        f"Wholly in the warm-up of {_seconds(results.warm_up_us)} {lies} {names}{more}: what {it} began then is "
        "in the counts and left out of the metrics, whose thresholds say nothing of it."
    )


def _since(results: Results, fault: FaultSpan) -> str:
    return _seconds(fault.start_us - results.start_us)


def _seconds(us: int) -> str:
    return f"{us / 1_000_000:,.6g} s"
