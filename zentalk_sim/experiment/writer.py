"""From an Experiment back to what a file says: every key written out, each with its unit."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zentalk_sim.experiment import keys
from zentalk_sim.experiment.fault_schema import EventRule
from zentalk_sim.experiment.schema import Experiment, Threshold
from zentalk_sim.faults.rules import to_builtins
from zentalk_sim.files.yaml import dump


def to_mapping(experiment: Experiment) -> dict[str, Any]:
    """``experiment`` as plain data that `loader.from_mapping` takes back to an equal Experiment."""
    mapping = _struct(experiment)
    bounds: dict[str, list[str]] = {}
    for bound in experiment.thresholds:
        bounds.setdefault(bound.metric, []).append(bound.text)
    mapping["thresholds"] = bounds
    return mapping


def to_yaml(experiment: Experiment) -> str:
    """``experiment`` as the text of a file, such as a run folder's `experiment.yaml`."""
    return dump(to_mapping(experiment))


def _struct(value: Struct) -> dict[str, Any]:
    config = value.__struct_config__
    mapping: dict[str, Any] = {}
    if config.tag_field:
        mapping[config.tag_field] = config.tag
    for field in value.__struct_fields__:
        mapping.update([plain(field, getattr(value, field))])
    return mapping


def plain(field: str, value: Any) -> tuple[str, Any]:
    """A field's key and value as a file says them."""
    what = keys.quantity(field)
    if what is None or isinstance(value, bool) or not isinstance(value, int | float):
        return keys.key_of(field), _value(value)
    if keys.is_exact(value, what):
        return keys.key_of(field), keys.render(value, what)
    # Finer than the units a text can have: the raw name takes the number as it is.
    return field, value


def _value(value: Any) -> Any:
    if isinstance(value, Threshold):
        return value.text
    if isinstance(value, EventRule):
        return to_builtins(value.rule)
    if isinstance(value, Struct):
        return _struct(value)
    if isinstance(value, dict):
        return {key: _value(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_value(child) for child in value]
    return value
