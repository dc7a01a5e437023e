"""Settings of ``mockrelay serve`` from a file, from the environment and from flags, in that order: the later one wins.

The file is YAML 1.2. Its keys are the flags' names; ``config`` holds protocol settings as ``PATCH /admin/config``
takes them, ``rules`` fault rules or the name of a file with them. Each fault is told as ``file:line:column: message``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mockrelay.bounds import BadBound, parse_bounds
from mockrelay.clock import MAX_SCALE, MovableClock
from zentalk_sim.faults import RuleFaults, parse_rules
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.yaml import Fault, FileFaults, Located, load
from zentalk_sim.protocol.config import RelayConfig

FLAGS: Final = {
    "host": "host",
    "port": "port",
    "http_port": "http_port",
    "tls": "tls",
    "tls_cert": "tls_cert",
    "tls_key": "tls_key",
    "ca_dir": "ca_dir",
    "users": "users",
    "store": "store",
    "seed": "seed",
    "clock": "clock",
    "record": "record",
    "profile": "profile",
    "allow_hosts": "hosts",
    "allow_origins": "origins",
    "json": "as_json",
    "log_level": "log_level",
    "log_format": "log_format",
    "bounds": "bounds",
}
"""Key of the file → parameter of the command."""
_LISTS: Final = ("users", "allow_hosts", "allow_origins")
_PATHS: Final = ("tls_cert", "tls_key", "ca_dir", "record")
KEYS: Final = (*FLAGS, "rules", "config")
_BOUNDS: Final = "must be a mapping such as {journal_entries: 10000}"


class FileSettings:
    """What a configuration file says."""

    def __init__(self, flags: dict[str, Any], config: Located | None, rules: Located | None) -> None:
        self.flags = flags
        """Parameter of the command → its value, as a default of the flag."""
        self.config = config
        self.rules = rules


def read_file(path: str, check: Callable[[str, Any], str | None] | None = None) -> FileSettings:
    """The settings of a file; paths in it are relative to its folder.

    ``check`` says what is wrong with a value of a parameter of the command. Raises FileFaults: all faults at once, in
    the order of the file.
    """
    tree = load(path)
    if tree.data is None:
        return FileSettings({}, None, None)
    if not isinstance(tree.data, dict):
        raise FileFaults([Fault(tree.origin, "must be a mapping such as `port: 8765`")])
    faults: list[Fault] = []
    flags: dict[str, Any] = {}
    for key, value in tree.data.items():
        name = key.replace("-", "_")
        if name not in KEYS:
            faults.append(Fault(tree.keys[key], f"unknown key `{key[:80]}`{suggestion(key, KEYS)}"))
        elif name in FLAGS:
            found = _flag(name, value, Path(path).parent, faults)
            said = None
            if check is not None and found is not None and name != "bounds":  # which were checked each at its place
                said = check(FLAGS[name], found)
            if said is not None:
                faults.append(Fault(value.origin, f"{name}: {said}"))
            elif found is not None:
                flags[FLAGS[name]] = found
    config = tree.data.get("config")
    rules = _rules(tree.data.get("rules"), Path(path).parent, faults)
    if config is not None:
        faults += _config_faults(config)
    if faults:
        raise FileFaults(sorted(faults, key=_place))
    return FileSettings(flags, config, rules)


def _place(fault: Fault) -> tuple[str, int, int]:
    return fault.origin.source, fault.origin.line or 0, fault.origin.column or 0


def _rules(rules: Located | None, folder: Path, faults: list[Fault]) -> Located | None:
    """The rules, checked: those that stand here or those of the file that is named."""
    if rules is None:
        return None
    try:
        if isinstance(rules.data, str):
            rules = load(folder / rules.data)
        read_rules(rules)
    except FileFaults as found:
        faults += found.faults
    return rules


def _config_faults(config: Located) -> list[Fault]:
    """What is wrong with protocol settings: each setting by itself, or, where each would do, all of them together."""
    try:
        merged(RelayConfig(), config)
    except FileFaults as together:
        whole = together.faults
    else:
        return []
    found: dict[str, Fault] = {}
    for changes in _apart(config.plain()):
        try:
            merge_settings(RelayConfig(), changes, config)
        except FileFaults as faults:
            found.update({str(fault): fault for fault in faults.faults})
    return list(found.values()) or whole


def _apart(settings: Any) -> Iterator[dict[str, Any]]:
    for section, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(value, dict):
            yield from ({section: {name: inner}} for name, inner in value.items())
        else:
            yield {section: value}


def _flag(name: str, value: Located, folder: Path, faults: list[Fault]) -> Any:
    data = value.plain()
    if name in _LISTS:
        if isinstance(data, list) and all(isinstance(item, str) for item in data):
            return tuple(data)
        faults.append(Fault(value.origin, f"{name} must be a list of texts, such as [alice, bob]"))
        return None
    if name == "bounds":
        return _bounds(value, faults)
    if isinstance(data, dict | list) or data is None:
        faults.append(Fault(value.origin, f"{name} must be a single value"))
        return None
    if name in _PATHS:
        return str(folder / str(data))
    if name == "store" and isinstance(data, str) and data.startswith("sqlite:"):
        return f"sqlite:{folder / data.removeprefix('sqlite:')}"
    return data if isinstance(data, bool) else str(data)


def _bounds(value: Located, faults: list[Fault]) -> Any:
    """The pairs of ``--bound``, each checked at its place."""
    data = value.plain()
    if not isinstance(data, dict):
        faults.append(Fault(value.origin, f"bounds {_BOUNDS}"))
        return None
    pairs = tuple(f"{key}={number}" for key, number in data.items())
    for key, pair in zip(data, pairs, strict=True):
        try:
            parse_bounds((pair,))
        except BadBound as error:
            faults.append(Fault(value.keys[key], str(error)))
    return pairs


def merged(config: RelayConfig, changes: Located | None) -> RelayConfig:
    """Protocol settings with the file's ``config`` merged in. Raises FileFaults at the place of the setting."""
    return config if changes is None else merge_settings(config, changes.plain(), changes)


def merge_settings(config: RelayConfig, changes: Any, places: Located) -> RelayConfig:
    """Protocol settings with changes merged in, whose faults are told at their ``places``. Raises FileFaults."""
    from mockrelay.http.bodies import ApiError
    from mockrelay.http.relay_routes import merged_config

    try:
        return merged_config(config, changes)
    except ApiError as error:
        raise FileFaults([_placed(places, error.details.get("field"), str(error))]) from None


def _placed(tree: Located, field: Any, message: str) -> Fault:
    """A fault at the deepest part of ``field`` that the file has."""
    origin, at = tree.origin, tree
    for part in str(field or "").split("."):
        if not isinstance(at.data, dict) or part not in at.data:
            break
        origin, at = at.keys[part], at.data[part]
    return Fault(origin, message)


def read_rules(source: str | Located) -> list[Any]:
    """Fault rules of a YAML or JSON file, checked, as ``POST /admin/rules`` takes them. Raises FileFaults."""
    tree = load(source) if isinstance(source, str) else source
    if isinstance(tree.data, dict) and set(tree.data) == {"rules"}:
        tree = tree.data["rules"]
    raw = tree.plain()
    if not isinstance(raw, list):
        raise FileFaults([Fault(tree.origin, "must be a list of rules, each with `match` and `action`")])
    try:
        parse_rules(raw, "rules")
    except RuleFaults as error:
        faults = [Fault(_origin_of_rule(tree, place), f"{place}: {said}") for place, said in error.faults]
        raise FileFaults(faults) from None
    return raw


def _origin_of_rule(tree: Located, place: str) -> Any:
    """Where ``rules[0].match.type`` stands."""
    origin, at = tree.origin, tree
    for part in place.removeprefix("rules").replace("[", ".").replace("]", "").strip(".").split("."):
        if isinstance(at.data, list) and part.isdecimal() and int(part) < len(at.data):
            at = at.data[int(part)]
            origin = at.origin
        elif isinstance(at.data, dict) and part in at.data:
            origin, at = at.keys[part], at.data[part]
        else:
            break
    return origin


def clock_of(text: str) -> MovableClock:
    """``real``, ``frozen`` or ``xN``, N times real time. Raises ValueError saying what there is."""
    if text == "real":
        return MovableClock()
    if text == "frozen":
        return MovableClock(scale=0)
    try:
        factor = float(text.removeprefix("x")) if text.startswith("x") else 0.0
    except ValueError:
        factor = 0.0
    if not 0 < factor < MAX_SCALE:
        raise ValueError(f"{text!r} is no clock; use real, frozen, or xN such as x60 (above 0, below 1e6)")
    return MovableClock(scale=factor)
