"""From a tree with positions to Structs, directed by their types, collecting every fault on the way.

What is not written keeps the default of the *place*, not of the type: ``limits.send_message: {limit: 5}``
changes that limit's number and leaves its window and burst as the specification has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as mi

from zentalk_sim.experiment import keys
from zentalk_sim.experiment.keys import Quantity
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.units import UnitError
from zentalk_sim.files.yaml import UNREADABLE, Fault, Located, Origin
from zentalk_sim.network.profile import NOT_MODELLED, LinkProfile

FAILED: Final[Any] = object()
"""Stands for a value at which a fault was noted."""

_PLAIN: Final[dict[type, type]] = {mi.StrType: str, mi.BoolType: bool}
_PERCENT = re.compile(r"([-+]?[0-9]+(?:\.[0-9]+)?) *%")
_NUMBER_STARTS: Final = tuple("-+.0123456789")

Converter = Callable[["Reader", Located, str], Any]


class Reader:
    """One reading: its faults, and where each key that was read stands."""

    def __init__(self, converters: dict[type, Converter] | None = None, elsewhere: Callable[[str], str] | None = None):
        self.faults: list[Fault] = []
        self.converters = converters or {}
        """Struct type → how a place that holds it (or a list of it) is read instead."""
        self.places: dict[str, Origin] = {}
        """Path of fields → where its key stands."""
        self._elsewhere = elsewhere or (lambda key: "")
        self.replaced: list[str] = []
        """Paths whose value was at fault: what is read has the default there, or None in a list."""

    def fault(self, origin: Origin, message: str) -> Any:
        """Note a fault; returns FAILED."""
        self.faults.append(Fault(origin, message))
        return FAILED

    def is_read(self, *paths: str) -> bool:
        """Whether all of ``paths`` were read without a fault, so that more can be said of them."""
        return not any(
            at == path or at.startswith(path + ".") or path.startswith(at + ".")
            for at in self.replaced
            for path in paths
        )

    def place(self, *paths: str) -> Origin:
        """Where the first of ``paths`` that was written stands, else the nearest enclosing place."""
        for path in paths:
            if path in self.places:
                return self.places[path]
        path = paths[0]
        while path:
            path = path.rpartition(".")[0]
            if path in self.places:
                return self.places[path]
        return self.places.get("", Origin("<experiment>"))

    # --- values ----------------------------------------------------------------------------------------------

    def value(
        self, node: Located, kind: mi.Type, path: str, base: Any = NODEFAULT, what: Quantity | None = None
    ) -> Any:
        """``node`` as ``kind``; ``what`` where its text carries a unit, ``base`` where it starts from a default."""
        if node.data is UNREADABLE:
            return FAILED
        kinds = kind.types if isinstance(kind, mi.UnionType) else (kind,)
        for converted in self._converted(kinds):
            return self.converters[converted](self, node, path)
        data = node.data
        if data is None and any(isinstance(k, mi.NoneType) for k in kinds):
            return None
        structs = [k for k in kinds if isinstance(k, mi.StructType)]
        if structs and (isinstance(data, dict) or len(structs) == len(kinds) or self._constant(structs)):
            literals = [k for k in kinds if isinstance(k, mi.LiteralType)]
            if not (isinstance(data, str) and any(data in k.values for k in literals)):
                return self._one_struct(node, structs, path, base)
        for k in kinds:
            if isinstance(k, mi.DictType) and isinstance(data, dict):
                return self._dict(node, k, path)
            if isinstance(k, mi.VarTupleType | mi.ListType) and isinstance(data, list):
                items = [self.value(item, k.item_type, f"{path}.{i}") for i, item in enumerate(data)]
                if any(item is FAILED for item in items):
                    if not isinstance(k.item_type, mi.UnionType):
                        return FAILED
                    # Of a list of many kinds, such as the faults, the others can be judged still.
                    self.replaced += [f"{path}.{i}" for i, item in enumerate(items) if item is FAILED]
                    items = [None if item is FAILED else item for item in items]
                return items if isinstance(k, mi.ListType) else tuple(items)
            if isinstance(k, mi.TupleType) and isinstance(data, list):
                return self._fixed(node, k, path)
        return self._scalar(node, kinds, path, what)

    def _fixed(self, node: Located, kind: mi.TupleType, path: str) -> Any:
        """A list of a fixed number of items, each with its own type."""
        if len(node.data) != len(kind.item_types):
            message = f"`{path}` must be a list of {len(kind.item_types)} items, not of {len(node.data)}"
            return self.fault(node.origin, message)
        pairs = zip(node.data, kind.item_types, strict=True)
        items = [self.value(item, item_type, f"{path}.{i}") for i, (item, item_type) in enumerate(pairs)]
        return FAILED if any(item is FAILED for item in items) else tuple(items)

    def _converted(self, kinds: tuple[mi.Type, ...]) -> list[type]:
        inner = [k.item_type if isinstance(k, mi.VarTupleType) else k for k in kinds]
        return [k.cls for k in inner if isinstance(k, mi.StructType) and k.cls in self.converters]

    def _dict(self, node: Located, kind: mi.DictType, path: str) -> Any:
        values = {}
        for key, child in node.data.items():
            self.places[f"{path}.{key}"] = node.keys[key]
            values[key] = self.value(child, kind.value_type, f"{path}.{key}")
        return FAILED if any(value is FAILED for value in values.values()) else values

    def _scalar(self, node: Located, kinds: tuple[mi.Type, ...], path: str, what: Quantity | None) -> Any:
        data = node.data
        for k in kinds:
            if isinstance(k, mi.LiteralType) and isinstance(data, str):
                if data in k.values:
                    return data
                if len(kinds) == 1:
                    right = [str(v) for v in k.values]
                    end = suggestion(data, right) or f"; known: {', '.join(right)}"
                    return self.fault(node.origin, f"`{path}`: unknown value `{data}`{end}")
            elif isinstance(data, _PLAIN.get(type(k), ())):
                return data
            elif isinstance(k, mi.IntType | mi.FloatType) and not isinstance(data, bool):
                number = self._number(node, k, path, what)
                if number is not None:
                    return number
        return self.fault(node.origin, f"`{path}` must be {_wanted(kinds, what)}, not {_shown(data)}")

    def _number(self, node: Located, kind: mi.IntType | mi.FloatType, path: str, what: Quantity | None) -> Any:
        """The number at ``node``; FAILED where it is wrong, None where it is none and another type may fit."""
        data = node.data
        if isinstance(data, str):
            percent = _PERCENT.fullmatch(data)
            if isinstance(kind, mi.FloatType) and kind.le == 1 and percent is not None:
                data = float(Decimal(percent[1]) / 100)
            elif what is None or data[:1] not in _NUMBER_STARTS:
                return None
            else:
                try:
                    data = keys.parse(data, what, is_float=isinstance(kind, mi.FloatType))
                except UnitError as error:
                    return self.fault(node.origin, f"`{path}`: {error}")
        elif isinstance(data, int | float):
            if what is not None and data:
                return self.fault(node.origin, f"`{path}` is {what.noun} and needs a unit, such as {what.example}")
        else:
            return None
        if isinstance(kind, mi.IntType):
            if data != int(data):
                return self.fault(node.origin, f"`{path}` must be a whole number, not {_figure(data)}")
            data = int(data)
            if abs(data) >= 1 << 63:
                return self.fault(node.origin, f"`{path}` is too large")
        else:
            data = float(data)
        return self._bounded(node, data, kind, path, what)

    def _bounded(self, node: Located, value: Any, kind: Any, path: str, what: Quantity | None) -> Any:
        def show(bound: float) -> str:
            return _figure(bound) if what is None else keys.render(bound, what)

        if value < 0 and (kind.ge == 0 or kind.gt == 0):
            return self.fault(node.origin, f"`{path}` must not be negative, and is {show(value)}")
        for bound, wrong, words in (
            (kind.ge, kind.ge is not None and value < kind.ge, "at least"),
            (kind.gt, kind.gt is not None and value <= kind.gt, "greater than"),
            (kind.le, kind.le is not None and value > kind.le, "at most"),
            (kind.lt, kind.lt is not None and value >= kind.lt, "less than"),
        ):
            if wrong:
                return self.fault(node.origin, f"`{path}` must be {words} {show(bound)}, and is {show(value)}")
        return value

    # --- structs ---------------------------------------------------------------------------------------------

    @staticmethod
    def _constant(structs: list[mi.StructType]) -> mi.StructType | None:
        """Of distributions and loss models: the one a bare value stands for."""
        return next((s for s in structs if s.tag in ("constant", "bernoulli") and len(s.fields) == 1), None)

    def _one_struct(self, node: Located, structs: list[mi.StructType], path: str, base: Any) -> Any:
        """``node`` as the one of ``structs`` that its tag names."""
        data = node.data
        constant = self._constant(structs)
        numeric = isinstance(data, int | float) and not isinstance(data, bool)
        if constant is not None and (numeric or (isinstance(data, str) and data[:1] in _NUMBER_STARTS)):
            field = constant.fields[0]
            what = keys.quantity(field.name) or keys.bare_unit(field.name)
            value = self.value(node, field.type, path, what=what)
            return FAILED if value is FAILED else constant.cls(**{field.name: value})
        if not isinstance(data, dict):
            example = None
            if constant is not None:
                example = keys.quantity(constant.fields[0].name) or keys.bare_unit(constant.fields[0].name)
            also = f" {example.noun} such as {example.example}, or" if example else ""
            return self.fault(node.origin, f"`{path}` must be{also} a mapping (key: value), not {_shown(data)}")
        if len(structs) == 1 and structs[0].tag_field is None:
            return self.struct(node, structs[0], path, base)
        field_name = structs[0].tag_field or "kind"
        tags = {str(s.tag): s for s in structs}
        tag = data.get(field_name)
        if tag is None:
            return self.fault(node.origin, f"`{path}` needs `{field_name}`: one of {', '.join(tags)}")
        if tag.data not in tags:
            shown = tag.data if isinstance(tag.data, str) else _shown(tag.data)
            end = suggestion(shown, tags)
            return self.fault(tag.origin, f"`{path}.{field_name}`: unknown value `{shown}`{end}")
        # What is tagged is given whole: the parameters of one kind say nothing about another's.
        return self.struct(node, tags[tag.data], path)

    def struct(self, node: Located, kind: mi.StructType, path: str, base: Any = NODEFAULT) -> Any:
        """``node``, a mapping, as the Struct ``kind``, starting from ``base`` where that is one."""
        self.places.setdefault(path, node.origin)
        fields = {field.name: field for field in kind.fields}
        by_key = {keys.key_of(name): name for name in fields}
        given: dict[str, tuple[str, Located]] = {}
        for key, child in node.data.items():
            name = key if key in fields else by_key.get(key)
            if name is None:
                if key != kind.tag_field:
                    self.fault(node.keys[key], self._unknown(key, path, kind, by_key))
            elif name in given:
                message = f"`{given[name][0]}` and `{key}` say the same; keep one"
                self.fault(node.keys[key], message)
            else:
                given[name] = (key, child)
                self.places[_join(path, name)] = node.keys[key]
        if any(key not in fields and key not in by_key and key != kind.tag_field for key in node.data):
            # What is misspelt may be any of those that are not written.
            self.replaced += [_join(path, name) for name in fields if name not in given]
        start = base if isinstance(base, Struct) and type(base) is kind.cls else None
        values: dict[str, Any] = {}
        for name, field in fields.items():
            default = _default(field) if start is None else getattr(start, name)
            if name in given:
                key, child = given[name]
                what = keys.quantity(name) if key != name or keys.key_of(name) == name else None
                values[name] = self.value(child, field.type, _join(path, key), default, what)
            elif default is NODEFAULT:
                where = f" of `{path}`" if path else ""
                values[name] = self.fault(node.origin, f"key `{keys.key_of(name)}`{where} is missing")
            else:
                values[name] = default
        for name, field in fields.items():
            if values[name] is FAILED:
                instead = _default(field) if start is None else getattr(start, name)
                if instead is NODEFAULT:
                    return FAILED
                self.replaced.append(_join(path, name))
                values[name] = instead
        return self._built(node, kind, path, values)

    def _unknown(self, key: str, path: str, kind: mi.StructType, by_key: dict[str, str]) -> str:
        why = NOT_MODELLED.get(key) if kind.cls is LinkProfile else None
        if why is not None:
            return f"`{path}.{key}` cannot be set: {why}"
        right = list(by_key) + ([kind.tag_field] if kind.tag_field else [])
        extra = EXTRA_KEYS.get(kind.cls.__name__, ())
        # A key may be its field's own name, too; each is told once.
        end = suggestion(key, dict.fromkeys([*right, *extra, *by_key.values()]))
        if not end.startswith("; did"):
            end = self._elsewhere(key) or end
        return f"unknown key `{key}`{f' in `{path}`' if path else ''}{end}"

    def _built(self, node: Located, kind: mi.StructType, path: str, values: dict[str, Any]) -> Any:
        try:
            built = kind.cls(**values)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            return self.fault(node.origin, f"`{path}`: {error}")
        contradiction = getattr(built, "fault", None)
        if callable(contradiction):
            found = contradiction()
            if found is not None:
                name, message = found
                return self.fault(self.place(_join(path, name)), f"`{path}`: {message}")
        return built


EXTRA_KEYS: Final[dict[str, tuple[str, ...]]] = {"Population": ("users",), "LinkProfile": ("like",)}
"""Keys that a file may use and that are resolved before the reading."""


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _default(field: mi.Field) -> Any:
    if field.default is not NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not NODEFAULT else NODEFAULT


def _wanted(kinds: tuple[mi.Type, ...], what: Quantity | None) -> str:
    """The kinds in words, for an error message."""
    words: list[str] = []
    for kind in kinds:
        if isinstance(kind, mi.LiteralType):
            words += [f"`{value}`" for value in kind.values]
        elif isinstance(kind, mi.IntType | mi.FloatType) and what is not None:
            words.append(f"{what.noun} such as {what.example}")
        else:
            words.append(_NOUNS.get(type(kind), "a value"))
    return " or ".join(dict.fromkeys(words))


_NOUNS: Final[dict[type, str]] = {
    mi.IntType: "a whole number",
    mi.FloatType: "a number",
    mi.StrType: "a text",
    mi.BoolType: "true or false",
    mi.NoneType: "null",
    mi.StructType: "a mapping (key: value)",
    mi.DictType: "a mapping (key: value)",
    mi.VarTupleType: "a list (- item)",
    mi.ListType: "a list (- item)",
    mi.TupleType: "a list [a, b]",
}


def _figure(value: float) -> str:
    """A number in an error message: as written out, or by its exponent where that would be a long row of digits."""
    text = keys.format_float(value)
    return text if len(text) <= _MOST_DIGITS else f"{value:g}"


_MOST_DIGITS: Final = 20


def _shown(data: Any) -> str:
    """A value in an error message."""
    if data is None:
        return "empty"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, dict):
        return "a mapping"
    if isinstance(data, list):
        return "a list"
    if isinstance(data, float):
        return _figure(data)
    text = str(data)
    return f"`{text if len(text) <= 40 else text[:37] + '…'}`"
