"""Durations, sizes and rates as people write them, to integers and back without loss.

A duration is a number and a unit (``30s``, ``150ms``, ``1.5h``), or several such parts, each of a smaller
unit than the one before (``1h30m``). A size is a number with ``B``, a decimal (``kB``, ``MB``, ``GB``) or a
binary unit (``KiB``, ``MiB``, ``GiB``). A rate is events per ``s``, ``min`` or ``h`` (``2/min``), or bits per
second in netem's units (``10Mbit``, ``64kbit``). Arithmetic is exact (decimals, never floats).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MICROSECONDS: Final[dict[str, int]] = {
    "us": 1,
    "µs": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
"""A unit's length in µs; ``m`` is a minute, as in Go and Prometheus."""

MAX_DURATION_US: Final = 36_525 * MICROSECONDS["d"]
"""A hundred years: far beyond any use, and far below what 64 bits hold."""

BYTES: Final[dict[str, int]] = {
    "B": 1,
    "kB": 1_000,
    "KB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}

BITS_PER_S: Final[dict[str, int]] = {
    "bit": 1,
    "kbit": 1_000,
    "Mbit": 1_000_000,
    "Gbit": 1_000_000_000,
}
"""tc's units: decimal multiples, bits per second."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[0-9]{1,2})?"
_PART = re.compile(rf"({_NUMBER})\s*([A-Za-zµμ]+)")
_WHOLE = re.compile(rf"({_NUMBER})\s*([A-Za-zµμ/]*)")
_MAX_CHARACTERS = 64
_SHORT_CHARACTERS = 7


class UnitError(ValueError):
    """A quantity that cannot be read; the message says why and shows one that can."""


def parse_duration(text: str) -> int:
    """The duration in µs. Raises UnitError for no unit, an unknown one, a negative or a fraction of a µs."""
    rest = _checked(text, "duration", "30s")
    total = Decimal(0)
    last = None
    while rest:
        found = _PART.match(rest)
        if found is None:
            raise UnitError(f"`{text}` is no duration; write a number and a unit, such as 30s, 150ms, 5m or 2h")
        number, unit = found.groups()
        scale = MICROSECONDS.get(unit.replace("μ", "µ"))
        if scale is None:
            raise UnitError(f"`{unit}` is no unit of time; use us, ms, s, m (minutes), h or d")
        if last is not None and scale >= last:
            raise UnitError(f"`{text}`: the parts of a duration go from the larger unit to the smaller, as in 1h30m")
        last = scale
        total += Decimal(number) * scale
        rest = rest[found.end() :].lstrip()
    us = _whole(total, text, "microsecond")
    if us > MAX_DURATION_US:
        raise UnitError(f"`{text}` is longer than 100 years")
    return us


def parse_size(text: str) -> int:
    """The size in bytes. Raises UnitError for no unit, an unknown one, a negative or a fraction of a byte."""
    found = _WHOLE.fullmatch(_checked(text, "size", "64KiB"))
    if found is None or not found[2]:
        raise UnitError(f"`{text}` is no size; write a number and a unit, such as 600B, 64KiB or 1MB")
    scale = BYTES.get(found[2])
    if scale is None:
        raise UnitError(f"`{found[2]}` is no unit of size; use B, kB, MB, GB, KiB, MiB or GiB")
    return _whole(Decimal(found[1]) * scale, text, "byte")


def parse_bit_rate(text: str) -> int:
    """The rate in bits per second. Raises UnitError as ``parse_size`` does."""
    found = _WHOLE.fullmatch(_checked(text, "bit rate", "10Mbit"))
    if found is None or not found[2]:
        raise UnitError(f"`{text}` is no bit rate; write a number and a unit, such as 10Mbit or 64kbit (per second)")
    scale = BITS_PER_S.get(found[2].removesuffix("/s").removesuffix("ps"))
    if scale is None:
        raise UnitError(f"`{found[2]}` is no unit of bit rate; use bit, kbit, Mbit or Gbit (per second)")
    return _whole(Decimal(found[1]) * scale, text, "bit per second")


def parse_rate(text: str, per: str) -> float:
    """Events per ``per`` (a unit of time) from such as ``2/min``. Raises UnitError where it cannot be read."""
    number, slash, unit = _checked(text, "rate", "2/min").partition("/")
    if not slash or not re.fullmatch(_NUMBER, number.strip()):
        raise UnitError(f"`{text}` is no rate; write events per unit of time, such as 2/min or 0.5/s")
    scale = MICROSECONDS.get(unit.strip())
    if scale is None:
        raise UnitError(f"`{unit.strip()}` is no unit of time; use s, min or h, as in 2/min")
    return float(Decimal(number.strip()) * MICROSECONDS[per] / scale)


def format_duration(us: int) -> str:
    """The duration in its largest unit that makes it a whole number: ``90s``, ``2m``, ``1500ms``."""
    for unit in ("d", "h", "m", "s", "ms"):
        if us and us % MICROSECONDS[unit] == 0:
            return f"{us // MICROSECONDS[unit]}{unit}"
    return f"{us}us" if us else "0s"


def about_duration(us: int) -> str:
    """The duration as a message tells it: exact where that is short, else to four figures (``37.94s``)."""
    exact = format_duration(us)
    if len(exact) <= _SHORT_CHARACTERS:
        return exact
    unit = next((unit for unit in ("d", "h", "m", "s", "ms") if us >= MICROSECONDS[unit]), "us")
    return f"{us / MICROSECONDS[unit]:.4g}{unit}"


def format_size(count: int) -> str:
    """The size in its largest binary unit that makes it a whole number, else in its largest decimal one."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
        if count and count % BYTES[unit] == 0:
            return f"{count // BYTES[unit]}{unit}"
    return f"{count}B"


def format_bit_rate(bits: int) -> str:
    """The rate in its largest unit that makes it a whole number."""
    for unit in ("Gbit", "Mbit", "kbit"):
        if bits and bits % BITS_PER_S[unit] == 0:
            return f"{bits // BITS_PER_S[unit]}{unit}"
    return f"{bits}bit"


def _checked(text: str, what: str, example: str) -> str:
    """``text`` without its margins. Raises UnitError where it is empty, very long or negative."""
    text = text.strip()
    if not text:
        raise UnitError(f"an empty text is no {what}; write one such as {example}")
    if len(text) > _MAX_CHARACTERS:
        raise UnitError(f"`{text[:20]}…` is too long for a {what}; write one such as {example}")
    if text.startswith("-"):
        raise UnitError(f"`{text}` is negative; a {what} is 0 or more")
    return text


def _whole(value: Decimal, text: str, unit: str) -> int:
    number = int(value)
    if number != value:
        raise UnitError(f"`{text}` is not a whole number of {unit}s")
    return number
