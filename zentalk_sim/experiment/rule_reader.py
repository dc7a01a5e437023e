"""An item of ``faults``: a fault at a stated time, or a rule in the words of ``zentalk_sim.faults``, each at its place.

Rules are read by the same code as the mock relay's, so that its messages are the same; here they get the file's line
and column. Users and devices of a simulation have no names of their own: ``user-0`` and ``device-0`` are the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from msgspec import inspect as mi

from zentalk_sim.experiment.fault_schema import EventRule, Fault
from zentalk_sim.experiment.reader import FAILED, Reader
from zentalk_sim.faults import Rule, RuleFaults, parse_rule
from zentalk_sim.faults.verdicts import ACTIONS
from zentalk_sim.faults.vocabulary import nearest
from zentalk_sim.files.yaml import Located, Origin
from zentalk_sim.protocol.frames import ADDRESS_PATTERN, UUID_PATTERN

_RULE_KEYS: Final = ("match", "action")
_MAX_NUMBER: Final = 1 << 53
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_USER: Final = re.compile(r"user-(0|[1-9][0-9]{0,9})")
_DEVICE: Final = re.compile(r"device-(0|[1-9][0-9]{0,9})")
_ADDRESS: Final = re.compile(ADDRESS_PATTERN)
_UUID: Final = re.compile(UUID_PATTERN)


@cache
def _timed() -> mi.UnionType:
    found = mi.type_info(Fault)
    assert isinstance(found, mi.UnionType)
    return found


def read(reader: Reader, node: Located, path: str) -> Any:
    """An item as a Fault or an EventRule; faults go to ``reader``."""
    data = node.data
    if not isinstance(data, dict):
        return reader.value(node, _timed(), path)
    tags = [str(kind.tag) for kind in _timed().types if isinstance(kind, mi.StructType)]
    do = data["do"].data if "do" in data else None
    if _is_rule(data, do in tags):
        return _rule(reader, node, path)
    if "do" not in data:
        message = f"`{path}` needs `do`: one of {', '.join(tags)}; or `match` and `action`, where it is a rule"
        return reader.fault(node.origin, message)
    if isinstance(do, str) and do in ACTIONS and do not in tags:
        example = f"{{match: {{…}}, action: {{do: {do}}}}}"
        return reader.fault(data["do"].origin, f"`{path}.do`: `{do}` is what a rule does; write {example}")
    return reader.value(node, _timed(), path)


def _is_rule(data: dict[str, Located], is_timed: bool) -> bool:
    if is_timed and "action" not in data:
        return False
    if any(key in data for key in _RULE_KEYS):
        return True
    return "do" not in data and "at" not in data and any(nearest(str(key), _RULE_KEYS) for key in data)


def _rule(reader: Reader, node: Located, path: str) -> Any:
    reader.places[path] = node.origin
    match = node.data.get("match")
    if match is not None:
        for key, origin in match.keys.items():
            reader.places[f"{path}.match.{key}"] = origin
    too_large = list(_large_numbers(node, path))
    for where, origin in too_large:
        message = f"`{where}` is read as a number too large for one; an address stands in quotes"
        reader.fault(origin, message)
    try:
        rule = parse_rule(node.plain())
    except RuleFaults as found:
        for place, message in found.faults:
            where = path if place == "rule" else f"{path}.{place}"
            if where not in dict(too_large):
                reader.fault(_origin(node, place, is_key="no such field" in message), f"`{where}`: {message}")
        return FAILED
    return FAILED if too_large else EventRule(rule)


def _large_numbers(node: Located, path: str) -> Iterator[tuple[str, Origin]]:
    """Where an address without quotes was read as the number that its digits are (YAML 1.2 §10.3.2)."""
    if isinstance(node.data, dict):
        for key, child in node.data.items():
            yield from _large_numbers(child, f"{path}.{key}")
    elif isinstance(node.data, list):
        for number, child in enumerate(node.data):
            yield from _large_numbers(child, f"{path}[{number}]")
    elif type(node.data) is int and abs(node.data) > _MAX_NUMBER:
        yield path, node.origin


def _origin(node: Located, place: str, *, is_key: bool) -> Origin:
    """Where a place such as ``match.payload.to`` stands: the value there, or the nearest that encloses it."""
    at, origin = node, node.origin
    for index, name in _STEP.findall(place):
        child: Located | None = None
        if index and isinstance(at.data, list) and int(index) < len(at.data):
            child = at.data[int(index)]
        elif name and isinstance(at.data, dict):
            child = at.data.get(name)
        if child is None:
            break
        origin = at.keys[name] if is_key and name in at.keys else child.origin
        at = child
    return origin


def check(reader: Reader, rule: Rule, path: str, *, users: int | None, devices: int) -> None:
    """Note in ``reader`` which of a rule's users and devices there cannot be.

    ``users`` is None where their number is drawn; there are at most as many as devices then.
    """
    match = rule.match
    if match.user is not None and not _ADDRESS.fullmatch(match.user.lower()):
        most = devices if users is None else users
        _check_name(reader, match.user, _USER, most, f"{path}.match.user", "user", "an address in quotes")
    if match.device is not None and not _UUID.fullmatch(match.device.lower()):
        _check_name(reader, match.device, _DEVICE, devices, f"{path}.match.device", "device", "a device's id")


def _check_name(
    reader: Reader, name: str, pattern: re.Pattern[str], most: int, path: str, noun: str, other: str
) -> None:
    found = pattern.fullmatch(name)
    if found is None:
        known = f"`{noun}-0` to `{noun}-{most - 1}`"
        reader.fault(reader.place(path), f"`{path}`: there is no {noun} `{name}`; they are {known}, or say {other}")
    elif int(found[1]) >= most:
        message = f"`{path}`: there is no {noun} {found[1]}; the population has {most}, numbered from 0"
        reader.fault(reader.place(path), message)
