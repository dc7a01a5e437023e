"""Bounds on results: ``metric: ["p99 < 5s"]`` parsed with units, and held against what a run reports.

A bound on a metric without a single value does not hold: nothing was shown. A count that a run does not report is 0,
unless nobody counted it, as where a live relay does not tell: then no bound on it holds.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.experiment.metrics import BY_NAME, CENSORED, Metric
from zentalk_sim.experiment.reader import FAILED, Reader
from zentalk_sim.experiment.schema import Threshold
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.units import MICROSECONDS, UnitError, parse_duration
from zentalk_sim.files.yaml import Located

OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SYNONYMS: Final[dict[str, str]] = {"=": "==", "≤": "<=", "≥": ">=", "≠": "!="}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
"""A number without a unit; `1.2.3` and `.` are none, and are told as durations that cannot be read."""
_BOUND = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)?\s*([<>=!≤≥≠]+)\s*(.*?)\s*", re.DOTALL)


class ThresholdError(ValueError):
    """A bound that cannot be read; the message says why."""


class Verdict(Struct, frozen=True, kw_only=True):
    """A threshold held against a run, as `summary.json` has it."""

    id: str
    held: bool
    value: float | None
    """The statistic's value; None where the metric has no values, or the count is not known."""


def parse(metric: str, text: str) -> Threshold:
    """The bound ``text`` on ``metric``. Raises ThresholdError for unknown names, wrong units, or no bound at all."""
    line = BY_NAME.get(metric)
    if line is None:
        raise ThresholdError(f"unknown metric `{metric}`{_metric_hint(metric)}")
    found = _BOUND.fullmatch(text)
    example = "== 0" if line.kind == "count" else "p99 < 5s" if line.unit != "1" else "p99 < 100"
    if found is None or not found[3]:
        raise ThresholdError(f"`{text}` is no bound on `{metric}`; write one such as `{example}`")
    statistic, sign, value = found.groups()
    sign = _SYNONYMS.get(sign, sign)
    if sign not in OPERATORS:
        raise ThresholdError(f"`{sign}` is no comparison; use one of {', '.join(OPERATORS)}")
    if statistic is None and line.kind == "count":
        statistic = "value"
    if statistic is None:
        raise ThresholdError(f"`{text}` names no statistic of `{metric}`; write one such as `{example}`")
    if statistic not in line.statistics():
        end = suggestion(statistic, line.statistics())
        raise ThresholdError(f"unknown statistic `{statistic}` of `{metric}`{end}")
    number = _number(value, line, statistic, example)
    return Threshold(metric=metric, statistic=statistic, operator=sign, value=number, text=" ".join(text.split()))  # type: ignore[arg-type]


def _metric_hint(metric: str) -> str:
    return suggestion(metric, BY_NAME) or "; `zsim metrics` lists them all"


def _number(text: str, line: Metric, statistic: str, example: str) -> float:
    """The bound's number in the metric's unit."""
    if line.unit == "1" or statistic in ("count", CENSORED):
        try:
            value = float(text)
        except ValueError:
            raise ThresholdError(
                f"`{text}` is no number, which `{statistic}` of `{line.name}` is compared with"
            ) from None
        if not abs(value) < 1e300:
            raise ThresholdError(f"`{text}` is not a finite number")
        return value
    if _NUMBER.fullmatch(text) and float(text) != 0:
        raise ThresholdError(f"`{text}` needs a unit of time, as in `{example}`")
    try:
        return 0.0 if text == "0" else parse_duration(text) / MICROSECONDS[line.unit]
    except (UnitError, ValueError) as error:
        raise ThresholdError(str(error)) from None


def read(reader: Reader, node: Located, path: str) -> Any:
    """The file's ``thresholds`` mapping as a tuple of Threshold; faults go to ``reader``."""
    if not isinstance(node.data, dict):
        return reader.fault(node.origin, f'`{path}` must be a mapping from metric to bounds such as ["p99 < 5s"]')
    bounds: list[Threshold] = []
    good = True
    for metric, child in node.data.items():
        if metric not in BY_NAME:
            reader.fault(node.keys[metric], f"unknown metric `{metric}` in `{path}`{_metric_hint(metric)}")
            good = False
            continue
        items = child.data if isinstance(child.data, list) else [child]
        for item in items:
            if not isinstance(item.data, str):
                good = False
                reader.fault(item.origin, f'`{path}.{metric}` must be a bound in quotes such as "p99 < 5s"')
                continue
            try:
                bounds.append(parse(metric, item.data))
            except ThresholdError as error:
                reader.fault(item.origin, f"`{path}.{metric}`: {error}")
                good = False
    return tuple(bounds) if good else FAILED


def evaluate(
    thresholds: Iterable[Threshold],
    metrics: Mapping[str, Mapping[str, float | int | None]],
    counts: Mapping[str, int],
    knows: Callable[[str], bool] = lambda name: True,
) -> list[Verdict]:
    """Each threshold's verdict; ``metrics`` and ``counts`` are those of `summary.json`.

    ``knows`` says of a count or metric that is not there whether it is 0, rather than not known.
    """
    verdicts = []
    for bound in thresholds:
        nothing = 0 if knows(bound.metric) else None
        if bound.statistic == "value":
            value: float | int | None = counts.get(bound.metric, nothing)
        else:
            of_metric = metrics.get(bound.metric, {})
            absent = nothing if bound.statistic in ("count", CENSORED) else None
            value = of_metric.get(bound.statistic, absent)
        held = value is not None and OPERATORS[bound.operator](value, bound.value)
        verdicts.append(Verdict(id=bound.id, held=held, value=value))
    return verdicts
