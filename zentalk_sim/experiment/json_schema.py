"""The JSON Schema (draft-07) of experiment files, for editors: completion, descriptions, mistakes underlined.

It is made from the same types the reader works by. Draft-07, since that is what yaml-language-server takes.
It is a little more lenient than the reader, which alone knows what must fit together.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from msgspec import NODEFAULT, Struct
from msgspec import inspect as mi

from zentalk_sim.experiment import descriptions, keys, rule_schema
from zentalk_sim.experiment.fault_schema import EventRule
from zentalk_sim.experiment.keys import Quantity
from zentalk_sim.experiment.loader import experiment_type
from zentalk_sim.experiment.metrics import CATALOGUE
from zentalk_sim.experiment.schema import Threshold
from zentalk_sim.experiment.writer import plain
from zentalk_sim.network.profile import LinkProfile

_DURATION: Final = r"^([0-9]+(\.[0-9]+)?(e[0-9]{1,2})? *(us|µs|ms|s|m|min|h|d) *)+$"
_PATTERNS: Final[dict[str, str]] = {
    "duration": _DURATION,
    "size": r"^[0-9]+(\.[0-9]+)?(e[0-9]{1,2})? *(B|kB|KB|MB|GB|KiB|MiB|GiB)$",
    "bit_rate": r"^[0-9]+(\.[0-9]+)?(e[0-9]{1,2})? *(bit|kbit|Mbit|Gbit)(/s|ps)?$",
    "rate": r"^[0-9]+(\.[0-9]+)?(e[0-9]{1,2})? */ *(us|ms|s|m|min|h|d)$",
}


def json_schema() -> dict[str, Any]:
    """The schema as plain data."""
    maker = _Maker()
    top = maker.struct(experiment_type(), is_partial=False)
    top["properties"]["network"]["additionalProperties"]["properties"]["like"] = {
        "type": "string",
        "description": "Start from this profile, built in or given above, in place of the defaults.",
    }
    top["properties"]["sweep"] = _SWEEP
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "zentalk-sim experiment",
        "description": "An experiment of zentalk-sim, run by `zsim run FILE`.",
        **top,
        "definitions": dict(sorted(maker.definitions.items())),
    }


_SWEEP_KEYS: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "seeds": {
            "description": "A range such as 1-20, or a list such as 1,2,7-9; as many runs of each combination.",
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$"},
            ],
        },
        "vary": {
            "type": "object",
            "description": "Path of a setting → its values, such as {population.devices: [100, 200]}.",
            "additionalProperties": {"type": "array", "minItems": 1},
        },
    },
}
_SWEEP: Final[dict[str, Any]] = {
    "description": "What `zsim sweep` varies; `zsim run` leaves it aside.",
    "anyOf": [{"type": "null"}, _SWEEP_KEYS],
}


class _Maker:
    """Turns types into schemas; Structs become definitions that are referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def struct(self, kind: mi.StructType, *, is_partial: bool) -> dict[str, Any]:
        """A Struct as an object; ``is_partial`` where the place has a default that missing keys are taken from."""
        about = descriptions.of(kind.cls)
        properties: dict[str, Any] = {}
        required = []
        if kind.tag_field:
            properties[kind.tag_field] = {"const": kind.tag, "description": _first_line(kind.cls)}
            required.append(kind.tag_field)
        for field in kind.fields:
            key, text = keys.key_of(field.name), about.get(field.name, "")
            properties[key] = self.field(field, keys.quantity(field.name), text)
            if key != field.name:
                unit = field.name[len(key) + 1 :].replace("_per_", "/").replace("per_", "per ")
                properties[field.name] = {**self.field(field, None, f"{text} As a bare number, in {unit}.")}
                properties[field.name].pop("default", None)
            elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
                required.append(key)
        if kind.cls.__name__ == "Population":
            text = "Users in all, in place of `devices`: devices = users × devices_per_user."
            properties["users"] = {"type": "integer", "minimum": 1, "description": text}
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if required and not is_partial:
            schema["required"] = required
        return schema

    def field(self, field: mi.Field, what: Quantity | None, text: str) -> dict[str, Any]:
        """A field as a property with its description and default."""
        schema = self.schema(field.type, what, field.default)
        if "$ref" in schema:
            # Draft-07 ignores what stands beside a $ref, and the description must not be lost.
            schema = {"allOf": [schema]}
        schema["description"] = text
        default = field.default
        if default is not NODEFAULT and not isinstance(default, Struct | tuple | dict):
            schema["default"] = plain(field.name, default)[1]
        return schema

    def schema(self, kind: mi.Type, what: Quantity | None, default: Any = NODEFAULT) -> dict[str, Any]:
        kinds = kind.types if isinstance(kind, mi.UnionType) else (kind,)
        found = [self.one(part, what, default) for part in kinds]
        constant = next((k for k in kinds if isinstance(k, mi.StructType) and k.tag in ("constant", "bernoulli")), None)
        if constant is not None:
            field = constant.fields[0]
            found.append(self.one(field.type, keys.quantity(field.name) or keys.bare_unit(field.name), NODEFAULT))
        return found[0] if len(found) == 1 else {"anyOf": found}

    def one(self, kind: mi.Type, what: Quantity | None, default: Any) -> dict[str, Any]:
        """One type without its alternatives."""
        if isinstance(kind, mi.VarTupleType | mi.ListType):
            item = kind.item_type
            if isinstance(item, mi.StructType) and item.cls is Threshold:
                return _thresholds()
            return {"type": "array", "items": self.schema(item, None)}
        if isinstance(kind, mi.TupleType):
            items = [self.schema(item, None) for item in kind.item_types]
            return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
        if isinstance(kind, mi.DictType):
            inner = kind.value_type
            # A profile's keys are all optional: what is missing comes from the profile it is like.
            whole = isinstance(inner, mi.StructType) and inner.cls is LinkProfile
            value = self.struct(inner, is_partial=True) if whole else self.schema(inner, None)  # type: ignore[arg-type]
            return {"type": "object", "additionalProperties": value}
        if isinstance(kind, mi.StructType) and kind.cls is EventRule:
            self.definitions.setdefault("EventRule", rule_schema.event_rule())
            return {"$ref": "#/definitions/EventRule"}
        if isinstance(kind, mi.StructType):
            return self.reference(kind, isinstance(default, kind.cls))
        if isinstance(kind, mi.LiteralType):
            return {"enum": list(kind.values)}
        if isinstance(kind, mi.IntType | mi.FloatType):
            return _number(kind, what)
        return {"type": _TYPES.get(type(kind), "string")}

    def reference(self, kind: mi.StructType, is_partial: bool) -> dict[str, Any]:
        """A reference to a Struct's definition, made at the first call."""
        is_partial = is_partial and kind.tag is None and any(f.required for f in kind.fields)
        name = kind.cls.__name__ + ("Part" if is_partial else "")
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.struct(kind, is_partial=is_partial)
            self.definitions[name]["description"] = _first_line(kind.cls)
        return {"$ref": f"#/definitions/{name}"}


_TYPES: Final[dict[type, str]] = {mi.StrType: "string", mi.BoolType: "boolean", mi.NoneType: "null"}


def _number(kind: mi.IntType | mi.FloatType, what: Quantity | None) -> dict[str, Any]:
    if what is not None:
        text: dict[str, Any] = {"type": "string", "pattern": _PATTERNS[what.kind]}
        if (kind.ge or 0) > 0 or kind.gt is not None:
            return text
        return {"anyOf": [text, {"const": 0}]}
    schema: dict[str, Any] = {"type": "integer" if isinstance(kind, mi.IntType) else "number"}
    bounds = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le, "exclusiveMaximum": kind.lt}
    schema.update({name: bound for name, bound in bounds.items() if bound is not None})
    if isinstance(kind, mi.FloatType) and kind.le == 1:
        return {"anyOf": [schema, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"}]}
    return schema


def _thresholds() -> dict[str, Any]:
    """The mapping from metric to bounds, with every name there is."""
    bound = {"type": "string", "description": "statistic, comparison and value, such as p99 < 5s"}
    properties = {}
    for metric in CATALOGUE:
        text = f"{metric.definition} (over: {metric.population}). Statistics: {', '.join(metric.statistics())}."
        for name in metric.names():
            properties[name] = {"description": text, "anyOf": [bound, {"type": "array", "items": bound}]}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n")[0].replace("``", "`")
