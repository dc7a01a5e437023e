"""How a field of a Struct is named in a file: the unit leaves the name and stands in the value.

``interval_ms`` is written ``interval: 30s``; ``interval_ms: 30000`` is accepted too. This module is the only
place that knows; the reader, the writer and the JSON Schema all ask it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from zentalk_sim.files import units


class Quantity(NamedTuple):
    """What a field measures: ``kind`` duration, size, bit_rate or rate; ``scale`` base units in one of its own."""

    kind: str
    scale: int = 1
    per: str = ""
    """Of a rate: the unit of time the field counts by."""

    @property
    def example(self) -> str:
        return {"duration": "30s", "size": "64KiB", "bit_rate": "10Mbit", "rate": f"2/{self.per}"}[self.kind]

    @property
    def noun(self) -> str:
        return {"duration": "a duration", "size": "a size", "bit_rate": "a bit rate", "rate": "a rate"}[self.kind]


_SUFFIXES: Final[tuple[tuple[str, Quantity], ...]] = (
    # The longest suffix that fits counts, so rates stand before the bare unit of time.
    ("_kbit_per_s", Quantity("bit_rate", 1_000)),
    ("_bits_per_s", Quantity("bit_rate")),
    ("_bit_per_s", Quantity("bit_rate")),
    ("_bps", Quantity("bit_rate")),
    ("_per_min", Quantity("rate", per="min")),
    ("_per_h", Quantity("rate", per="h")),
    ("_per_s", Quantity("rate", per="s")),
    ("_bytes", Quantity("size")),
    ("_us", Quantity("duration", 1)),
    ("_ms", Quantity("duration", 1_000)),
    ("_s", Quantity("duration", 1_000_000)),
)
_UNMARKED: Final[dict[str, Quantity]] = {"background_interval": Quantity("duration", 1_000)}
"""Fields of the protocol's configuration whose unit is not in their name."""
_WHOLE: Final = ("quantiles_ms",)
"""Lists of bare numbers: the unit stays in the name."""


def quantity(field: str) -> Quantity | None:
    """What ``field`` measures; None where it is a bare number, or no number."""
    if field in _WHOLE:
        return None
    for suffix, found in _SUFFIXES:
        if field.endswith(suffix) and len(field) > len(suffix):
            return found
    return _UNMARKED.get(field)


def key_of(field: str) -> str:
    """The key that stands for ``field`` in a file."""
    if field in _WHOLE:
        return field
    for suffix, _ in _SUFFIXES:
        if field.endswith(suffix) and len(field) > len(suffix):
            return field[: -len(suffix)]
    return field


def bare_unit(field: str) -> Quantity | None:
    """What a field named by nothing but its unit measures, such as a distribution's ``ms``."""
    return {"us": Quantity("duration", 1), "ms": Quantity("duration", 1_000), "s": Quantity("duration", 1_000_000)}.get(
        field
    )


def parse(text: str, what: Quantity, *, is_float: bool = False) -> int | float:
    """The number a quantity stands for, in the field's own unit; whole unless ``is_float``. Raises units.UnitError."""
    if what.kind == "rate":
        return units.parse_rate(text, what.per)
    base = {"duration": units.parse_duration, "size": units.parse_size, "bit_rate": units.parse_bit_rate}[what.kind](
        text
    )
    if is_float:
        return base / what.scale
    whole, rest = divmod(base, what.scale)
    if rest:
        raise units.UnitError(f"`{text}` is finer than the {render(1, what)} this setting counts in")
    return whole


def render(value: float, what: Quantity) -> str:
    """The text that ``parse`` reads back as ``value``, to the base unit (µs, byte, bit per second)."""
    if what.kind == "rate":
        return f"{format_float(value)}/{what.per}"
    base = round(value * what.scale)
    if base < 0:
        return f"-{render(-value, what)}"
    return {"duration": units.format_duration, "size": units.format_size, "bit_rate": units.format_bit_rate}[what.kind](
        base
    )


def is_exact(value: float, what: Quantity) -> bool:
    """Whether ``render`` loses nothing of ``value``."""
    if what.kind == "rate":
        return len(format_float(value)) <= 20
    return round(value * what.scale) / what.scale == value


def format_float(value: float) -> str:
    """A number in the fewest decimal digits that read back as the same, without a trailing ``.0`` or an exponent."""
    if value == int(value):
        return str(int(value))
    return format(Decimal(repr(value)), "f")
