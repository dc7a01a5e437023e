"""From a file and the options of the command to an Experiment, with every fault reported at once.

Three steps: the text becomes a tree with positions (`files.yaml`), the tree becomes Structs by their types
(`reader`), and what types cannot say is checked last (`consistency`). A fault of an earlier step stops the
later ones only where they have nothing to go on: a value at fault is replaced by its default, and nothing is said of
what depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as mi

from zentalk_sim.experiment import consistency, overrides, rule_reader, sweep_grid, thresholds
from zentalk_sim.experiment.fault_schema import EventRule
from zentalk_sim.experiment.keys import key_of
from zentalk_sim.experiment.reader import FAILED, Reader
from zentalk_sim.experiment.schema import Experiment, Threshold
from zentalk_sim.files import yaml
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.yaml import Fault, FileFaults, Located, Origin
from zentalk_sim.network.profile import PROFILES, LinkProfile


def load(
    path: str | Path,
    settings: Iterable[str] = (),
    *,
    options: Mapping[str, tuple[str, Any]] | None = None,
    set_aside: list[str] | None = None,
) -> Experiment:
    """The experiment of the file at ``path``.

    ``settings`` are the texts of ``-S``; ``options`` maps a path (``seed``) to what an option of the command
    set it to, with the option as the user wrote it (``--seed 7``). ``set_aside`` is given the names of sections that
    were checked and are no part of an experiment: ``sweep``. Raises FileFaults.
    """
    tree, faults = _readable(lambda: yaml.load(path))
    return read(tree, settings, options=options, set_aside=set_aside, earlier=faults)


def from_mapping(mapping: Mapping[str, Any], settings: Iterable[str] = (), *, source: str = "experiment") -> Experiment:
    """The experiment of a mapping that has a file's keys and values. Raises FileFaults."""
    return read(yaml.located(dict(mapping), Origin(source)), settings)


def from_text(text: str, source: str = "experiment.yaml") -> Experiment:
    """The experiment of a file's text. Raises FileFaults."""
    tree, faults = _readable(lambda: yaml.parse(text, source))
    return read(tree, earlier=faults)


def _readable(load: Callable[[], Located]) -> tuple[Located, list[Fault]]:
    """A tree, and what was at fault in its text beside it. Raises FileFaults where nothing could be read."""
    try:
        return load(), []
    except FileFaults as found:
        if found.tree is None:
            raise
        return found.tree, found.faults


def read(
    tree: Located,
    settings: Iterable[str | overrides.Setting] = (),
    *,
    options: Mapping[str, tuple[str, Any]] | None = None,
    set_aside: list[str] | None = None,
    earlier: list[Fault] | None = None,
) -> Experiment:
    """The experiment of a tree, which is changed on the way. Raises FileFaults with every fault found.

    ``earlier``: what was found at fault as the tree was made.
    """
    if tree.data is None:
        raise FileFaults([Fault(tree.origin, "is empty; `zsim new NAME` writes a file to start from")])
    if not isinstance(tree.data, dict):
        raise FileFaults([Fault(tree.origin, "must be a mapping (key: value), as `zsim new NAME` writes it")])
    reader = Reader({Threshold: thresholds.read, EventRule: rule_reader.read}, elsewhere)
    _set_sweep_aside(tree, reader, set_aside)
    _settle_users(tree, reader)
    for text in settings:
        _attempt(reader, tree, text)
    for path, (label, value) in (options or {}).items():
        overrides.put(tree, path.split("."), yaml.located(value, Origin(label)), label)
    _settle_users(tree, reader)
    links = _read_links(tree, reader)
    if links is FAILED:
        reader.replaced.append("network")
        links = {}
    if "name" not in tree.data:
        # All else can be judged without.
        reader.fault(tree.origin, "key `name` is missing")
        tree.data["name"], tree.keys["name"] = Located("unnamed", tree.origin), tree.origin
    built = reader.struct(tree, experiment_type(), "")
    if built is not FAILED:
        built = consistency.settled(built, links, reader)
        consistency.check(built, reader)
    told = {str(fault.origin) for fault in earlier or ()}
    faults = [*(earlier or ()), *(fault for fault in reader.faults if str(fault.origin) not in told)]
    if faults:
        raise FileFaults(faults)
    assert isinstance(built, Experiment)
    return built


def _set_sweep_aside(tree: Located, reader: Reader, set_aside: list[str] | None) -> None:
    """Check the section ``sweep`` by its form; what its values mean, `sweep.plan` finds out."""
    if "sweep" in tree.data and set_aside is not None:
        set_aside.append("sweep")
    try:
        sweep_grid.take_section(tree)
    except FileFaults as found:
        reader.faults += found.faults


def _attempt(reader: Reader, tree: Located, text: str | overrides.Setting) -> None:
    path = text.partition("=")[0] if isinstance(text, str) else text.path
    try:
        before = _plain_at(tree, "population", "users") if path == "population.devices" else None
        overrides.apply(tree, text)
        population = tree.data.get("population")
        if path == "population.users" and population is not None:
            population.data.pop("devices", None)
        if before is not None and population is not None:
            population.data.pop("users", None)
    except FileFaults as faults:
        reader.faults += faults.faults


@cache
def experiment_type() -> mi.StructType:
    """The type of an experiment, for the reader, the writer and the JSON Schema."""
    found = mi.type_info(Experiment)
    assert isinstance(found, mi.StructType)
    return found


@cache
def _homes() -> dict[str, tuple[str, ...]]:
    """Key → the sections it belongs in."""
    homes: dict[str, list[str]] = {}

    def visit(kind: mi.Type, path: str) -> None:
        for part in kind.types if isinstance(kind, mi.UnionType) else (kind,):
            if isinstance(part, mi.StructType) and part.tag is None and path.count(".") < 4:
                for field in part.fields:
                    homes.setdefault(key_of(field.name), []).append(path)
                    visit(field.type, f"{path}.{key_of(field.name)}" if path else key_of(field.name))

    visit(experiment_type(), "")
    return {key: tuple(found) for key, found in homes.items()}


def elsewhere(key: str) -> str:
    """A clause that says where ``key`` belongs, or nothing where it is known nowhere or in many places."""
    found = _homes().get(key) or _homes().get(key_of(key)) or ()
    if not 0 < len(found) <= 2:
        return ""
    return "; it belongs in " + " or ".join(f"`{path}`" if path else "the top level" for path in found)


def _plain_at(tree: Located, *path: str) -> Any:
    at: Any = tree
    for part in path:
        if not isinstance(at, Located) or not isinstance(at.data, dict):
            return None
        at = at.data.get(part)
    return at.data if isinstance(at, Located) else None


def _settle_users(tree: Located, reader: Reader) -> None:
    """Turn ``population.users`` into devices and devices per user, which is all that is kept of it."""
    population = tree.data.get("population") if isinstance(tree.data, dict) else None
    if population is None or not isinstance(population.data, dict) or "users" not in population.data:
        return
    node: Located = population.data.pop("users")
    key = population.keys.pop("users")
    users = node.data
    if isinstance(users, bool) or not isinstance(users, int) or users < 1:
        reader.fault(node.origin, f"`population.users` must be a whole number of at least 1, not `{users}`")
        return
    devices, each = (_plain_at(population, name) for name in ("devices", "devices_per_user"))
    if isinstance(each, list):
        reader.fault(key, "`population.users` needs `devices_per_user` to be a number; say `devices` in its place")
        return
    if "devices" not in population.data:
        count = each if isinstance(each, int) and not isinstance(each, bool) and each > 0 else 1
        population.data["devices"] = Located(users * count, node.origin)
        population.keys["devices"] = key
    elif isinstance(devices, int):
        if each is None and devices >= 1:
            each = -(-devices // users)
            population.data["devices_per_user"] = Located(each, node.origin)
            population.keys["devices_per_user"] = key
        if isinstance(each, int) and each >= 1 and -(-devices // each) != users:
            message = (
                f"{devices} devices with {each} a user make {-(-devices // each)} users, not {users}; leave one out"
            )
            reader.fault(key, message)


def _read_links(tree: Located, reader: Reader) -> Any:
    """The file's own link profiles, taken out of the tree, each starting from what it is ``like``."""
    node: Located | None = tree.data.pop("network", None)
    key = tree.keys.get("network")
    if node is None or node.data is None:
        return {}
    if not isinstance(node.data, dict):
        return reader.fault(node.origin, "`network` must be a mapping from a profile's name to its settings")
    kind = mi.type_info(LinkProfile)
    assert isinstance(kind, mi.StructType)
    reader.places["network"] = key or node.origin
    links: dict[str, LinkProfile] = {}
    good = True
    for name, child in node.data.items():
        path = f"network.{name}"
        reader.places[path] = node.keys[name]
        if not isinstance(child.data, dict):
            good = False
            reader.fault(child.origin, f"`{path}` must be a mapping (key: value)")
            continue
        like = child.data.pop("like", None)
        base, origin = PROFILES.get(name, LinkProfile()), name
        if like is not None:
            known = {**PROFILES, **links}
            if not isinstance(like.data, str) or like.data not in known:
                good = False
                end = suggestion(str(like.data), known)
                reader.fault(like.origin, f"`{path}.like`: unknown profile `{like.data}`{end}")
                continue
            base, origin = known[like.data], like.data
        built = reader.struct(child, kind, path, base)
        if built is FAILED:
            good = False
            continue
        if built != base and base.source and "source" not in child.data:
            # The sources of a profile do not vouch for what the file changed in it.
            built = msgspec.structs.replace(built, source=f"Like {origin}, changed. {base.source}")
        links[name] = built
    return links if good else FAILED
