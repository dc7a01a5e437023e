"""What a sweep varies: seeds and parameters as the command or the file says them, unfolded into combinations.

``-S path=v1,v2`` is an axis of the grid; with one value it is a setting of every cell. Commas inside brackets, braces
or quotes belong to the value. The last axis varies fastest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, Final

from msgspec import Struct

from zentalk_sim.experiment.overrides import Setting
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.yaml import Fault, FileFaults, Located, Origin, located, parse_value

MAX_CELLS: Final = 100_000
MAX_SEED: Final = (1 << 63) - 1

_SEED_PART = re.compile(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?")
_BRACKETS: Final = {"[": "]", "{": "}", "(": ")"}


class Axis(Struct, frozen=True):
    """A parameter and the values it takes, as texts (``30s``) and as plain data; one value is a fixed setting."""

    path: str
    texts: tuple[str, ...]
    values: tuple[str | int | float | bool, ...]
    places: tuple[Origin, ...] = ()
    """Where the path and then each value stand; empty for what an option ``-S`` gave."""

    @property
    def varies(self) -> bool:
        return len(self.texts) > 1

    def place(self, number: int) -> Origin:
        """Where a value stands."""
        return self.places[1 + number] if self.places else Origin(_label(f"{self.path}={','.join(self.texts)}"))

    def setting(self, number: int) -> str | Setting:
        """What sets the path to a value, so that a fault of it is told where it stands."""
        text = self.texts[number]
        if not self.places:
            return f"{self.path}={text}"
        place = self.place(number)
        return Setting(self.path, located(parse_value(text, str(place)).plain(), place), self.places[0])


class FileSweep(Struct, frozen=True):
    """The ``sweep`` section of an experiment file."""

    seeds: str | None = None
    axes: tuple[Axis, ...] = ()
    has_seeds: bool = False
    """Whether it names seeds, be they right or wrong."""


def parse_seeds(text: str) -> list[int]:
    """The seeds of ``1-20``, ``7`` or ``1-5,9``, in the order said. Raises ValueError with a sentence."""
    seeds: list[int] = []
    for part in text.split(","):
        found = _SEED_PART.fullmatch(part)
        if found is None:
            raise ValueError(f"`{text}` names no seeds; write a range such as 1-20, or a list such as 1,2,7-9")
        first = int(found[1])
        last = first if found[2] is None else int(found[2])
        if last < first:
            raise ValueError(f"`{part.strip()}` is an empty range; write the smaller seed first")
        if last > MAX_SEED:
            raise ValueError(f"`{part.strip()}`: a seed is at most {MAX_SEED}")
        if last - first >= MAX_CELLS or len(seeds) + last - first >= MAX_CELLS:
            raise ValueError(f"`{text}` is more than {MAX_CELLS:,} seeds")
        seeds += range(first, last + 1)
    twice = sorted(seed for seed in set(seeds) if seeds.count(seed) > 1) if len(set(seeds)) < len(seeds) else []
    if twice:
        raise ValueError(f"`{text}` names seed {twice[0]} twice; the same seed gives the same run")
    return seeds


def seeds_of(seeds: str | int | Iterable[int] | None) -> list[int]:
    """The seeds that a command's text or a call names; a number is one seed. Raises FileFaults."""
    if seeds is None:
        message = "say which seeds to run, such as --seeds 1-20, or `sweep: {seeds: 1-20}` in the file"
        raise _fault("--seeds", message)
    several = isinstance(seeds, Iterable) and not isinstance(seeds, str)
    try:
        return parse_seeds(",".join(map(str, seeds)) if several else str(seeds))  # type: ignore[arg-type]
    except ValueError as error:
        raise _fault("--seeds", str(error)) from None


def format_seeds(seeds: Sequence[int]) -> str:
    """The shortest text that ``parse_seeds`` reads back as ``seeds``."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and parts[-1][1] + 1 == seed:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def parse_axis(text: str) -> Axis:
    """The axis of an option's ``path=v1,v2``. Raises FileFaults where it cannot be read."""
    label = _label(text)
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        raise _fault(label, "must be path=value or path=value,value, such as -S population.devices=100,200")
    texts = [part.strip() for part in split_values(value)]
    if len(texts) > 1 and not all(texts):
        raise _fault(label, "a value between two commas is empty; quote an empty text as ''")
    return make_axis(path, texts, label)


def axes_of(vary: Mapping[str, Iterable[Any]]) -> list[Axis]:
    """The axes of a call's path → values. Raises FileFaults."""
    axes = []
    for path, values in vary.items():
        label = f"vary {path}"
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            message = f"must be a list of values, such as [{values!r}]; what is the same in every run is in `settings`"
            raise _fault(label, message)
        texts = [value if isinstance(value, str) else _json(value, label) for value in values]
        if not texts:
            raise _fault(label, "has no values")
        axes.append(make_axis(path, texts, label, (Origin(label),) * (1 + len(texts))))
    return axes


def make_axis(path: str, texts: Sequence[str], label: str, places: tuple[Origin, ...] = ()) -> Axis:
    """An axis, its values read as YAML. Raises FileFaults at ``label``."""
    if path == "seed":
        example = "--seeds 1-20, or by `sweep: {seeds: 1-20}` in the file"
        raise _fault(label, f"the seeds of a sweep are given by --seeds, such as {example}")
    if path == "name":
        raise _fault(label, "`name` names the sweep's folder and cannot vary; change it in the file")
    if path.partition(".")[0] == "sweep":
        raise _fault(label, "`sweep` itself cannot vary; vary a setting by its own path")
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if list(texts).count(text) > 1)
        raise _fault(label, f"`{twice}` stands twice; it would give the same runs twice")
    return Axis(path, tuple(texts), tuple(_shown(parse_value(text, label), text) for text in texts), places)


def split_values(text: str) -> list[str]:
    """``text`` cut at its commas, but for those inside brackets, braces or quotes."""
    parts, start, closers, quote = [], 0, "", ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _BRACKETS:
            closers += _BRACKETS[character]
        elif closers and character == closers[-1]:
            closers = closers[:-1]
        elif character == "," and not closers:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def combinations(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """Every choice of one value per axis, as indices; a single empty one where nothing varies."""
    return list(product(*(range(len(axis.texts)) for axis in axes)))


def grid_size(axes: Sequence[Axis]) -> int:
    """How many ``combinations`` there are."""
    return prod(len(axis.texts) for axis in axes)


def refuse_same_values(axes: Sequence[Axis], keys: Sequence[str]) -> None:
    """Refuse two texts of one value, such as ``20s`` and ``20000ms``. Raises FileFaults.

    ``keys`` are those of all combinations of ``axes``. Two values are one if no combination tells them apart.
    """
    choices = combinations(axes)
    for at, axis in enumerate(axes):
        found: list[list[str]] = [[] for _ in axis.texts]
        for choice, key in zip(choices, keys, strict=True):
            found[choice[at]].append(key)
        first: dict[tuple[str, ...], int] = {}
        for number, text in enumerate(axis.texts):
            before = first.setdefault(tuple(found[number]), number)
            if before != number:
                message = f"`{axis.texts[before]}` and `{text}` are the same value; it would give the same runs twice"
                raise FileFaults([Fault(axis.place(number), message)])


def asked(
    section: FileSweep,
    seeds: str | int | Iterable[int] | None,
    settings: Iterable[str],
    vary: Mapping[str, Iterable[Any]],
    faults: list[Fault],
) -> tuple[list[int], list[Axis]]:
    """The seeds and axes that a file's section and a command or call ask for.

    What cannot be taken is left out and told in ``faults``, so that the rest can be looked at all the same.
    """
    given: list[Axis] = []
    said: list[str | dict[str, Iterable[Any]]] = [*settings, *({path: values} for path, values in vary.items())]
    for part in said:
        try:
            given += [parse_axis(part)] if isinstance(part, str) else axes_of(part)
        except FileFaults as found:
            faults += found.faults
    axes = merged(section.axes, given, faults)
    if seeds is None and section.seeds is None and section.has_seeds:
        return [], axes
    try:
        return seeds_of(seeds if seeds is not None else section.seeds), axes
    except FileFaults as found:
        faults += found.faults
        return [], axes


def merged(from_file: Iterable[Axis], given: Iterable[Axis], faults: list[Fault]) -> list[Axis]:
    """The file's axes and the command's, which take the place of the file's; ``faults`` is told of any given twice."""
    found = {axis.path: axis for axis in from_file}
    told: set[str] = set()
    for axis in given:
        if axis.path in told:
            message = "is given twice; say all its values in one -S, with commas between"
            faults.append(Fault(Origin(f"-S {axis.path}"), message))
        told.add(axis.path)
        found[axis.path] = axis
    return list(found.values())


def take_section(tree: Located) -> FileSweep:
    """The ``sweep`` section, taken out of an experiment's tree. Raises FileFaults with every fault of it."""
    faults: list[Fault] = []
    section = read_section(tree, faults)
    if faults:
        raise FileFaults(faults)
    return section


def read_section(tree: Located, faults: list[Fault]) -> FileSweep:
    """The ``sweep`` section, taken out of an experiment's tree: what is right of it; the rest is told in ``faults``."""
    if not isinstance(tree.data, dict) or "sweep" not in tree.data:
        return FileSweep()
    node: Located = tree.data.pop("sweep")
    tree.keys.pop("sweep", None)
    if node.data is None:
        return FileSweep()
    example = "`sweep` must be a mapping such as {seeds: 1-20, vary: {population.devices: [100, 200]}}"
    if not isinstance(node.data, dict):
        faults.append(Fault(node.origin, example))
        # What was meant may well have named seeds.
        return FileSweep(has_seeds=True)
    faults += [
        Fault(node.keys[key], f"unknown key `{key}` in `sweep`{suggestion(key, ('seeds', 'vary'))}")
        for key in node.data
        if key not in ("seeds", "vary")
    ]
    # A key misspelt may have meant the seeds.
    has_seeds = "seeds" in node.data or any(key != "vary" for key in node.data)
    return FileSweep(
        _section_seeds(node.data.get("seeds"), faults), _section_axes(node.data.get("vary"), faults), has_seeds
    )


def _section_seeds(node: Located | None, faults: list[Fault]) -> str | None:
    if node is None:
        return None
    text = str(node.data) if isinstance(node.data, int | str) and not isinstance(node.data, bool) else ""
    try:
        parse_seeds(text)
    except ValueError:
        faults.append(Fault(node.origin, "`sweep.seeds` must be a range such as 1-20, or a list such as 1,2,7-9"))
        return None
    return text


def _section_axes(node: Located | None, faults: list[Fault]) -> tuple[Axis, ...]:
    if node is None:
        return ()
    if not isinstance(node.data, dict):
        faults.append(Fault(node.origin, "`sweep.vary` must be a mapping from a setting's path to a list of values"))
        return ()
    axes = []
    for path, child in node.data.items():
        if not isinstance(child.data, list) or not child.data:
            faults.append(Fault(child.origin, f"`sweep.vary.{path}` must be a list of values, such as [100, 200]"))
            continue
        texts = [
            item.data if isinstance(item.data, str) else json.dumps(item.plain(), ensure_ascii=False)
            for item in child.data
        ]
        try:
            places = (node.keys[path], *(item.origin for item in child.data))
            axes.append(make_axis(path, texts, str(node.keys[path]), places))
        except FileFaults as found:
            faults += found.faults
    return tuple(axes)


def _shown(node: Located, text: str) -> str | int | float | bool:
    """A value as a table's column has it: a scalar as itself, anything else as its text."""
    value: Any = node.plain()
    return value if isinstance(value, str | int | float | bool) else text


def _json(value: Any, label: str) -> str:
    """A value of a call as YAML text; numpy's scalars are taken as Python's."""
    try:
        return json.dumps(value.item() if hasattr(value, "item") else value, ensure_ascii=False)
    except (TypeError, ValueError):
        message = f"`{value!r}` is no plain value; write numbers, texts, lists or mappings"
        raise _fault(label, message) from None


def _label(text: str) -> str:
    """How a message names an option."""
    return f"-S {text}" if len(text) <= 80 else f"-S {text[:77]}…"


def _fault(label: str, message: str) -> FileFaults:
    return FileFaults([Fault(Origin(label), message)])
