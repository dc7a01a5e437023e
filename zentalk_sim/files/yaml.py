"""YAML 1.2 with a position for every key and value, read without constructing anything but plain data.

By the core schema of YAML 1.2 (§10.3): ``on`` and ``12:30:45`` are texts, ``1e6`` is a number. Beyond it:
duplicate keys, keys that are no text, tags and merge keys are refused. Anchors may be used; the tree they
unfold into is bounded, so that a small file cannot become a large one. All faults of a file that can be
told apart are reported together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node

MAX_BYTES: Final = 4 << 20
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 64

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_MAX_DIGITS = 400
_CORE_TAGS: Final = ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")


class Origin:
    """Where a value stands: a file's line and column, or the option of a command that gave it."""

    __slots__ = ("column", "line", "source")

    def __init__(self, source: str, line: int | None = None, column: int | None = None) -> None:
        self.source = source
        self.line = line
        """From 1; None for what came from no file."""
        self.column = column

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        return f"Origin({self})"


class Fault:
    """One thing wrong, where, and what to do about it."""

    __slots__ = ("message", "origin")

    def __init__(self, origin: Origin, message: str) -> None:
        self.origin = origin
        self.message = message

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"

    def __repr__(self) -> str:
        return f"Fault({self})"


class FileFaults(Exception):
    """A file, with the options of the command, that cannot be taken; every fault on a line."""

    def __init__(self, faults: list[Fault], tree: Located | None = None) -> None:
        self.tree = tree
        """What could be read beside the faults, with UNREADABLE in their places; None where nothing could."""
        self.faults = sorted(faults, key=lambda f: (f.origin.line is None, f.origin.line or 0, f.origin.column or 0))
        super().__init__("\n".join(str(fault) for fault in self.faults))


UNREADABLE: Final[Any] = object()
"""Stands for a scalar that is none; see ``FileFaults.tree``."""


class Located:
    """A value with its origin: ``data`` is a scalar, a list of Located, or a dict of key → Located."""

    __slots__ = ("data", "keys", "origin")

    def __init__(self, data: Any, origin: Origin, keys: dict[str, Origin] | None = None) -> None:
        self.data = data
        self.origin = origin
        self.keys = {} if keys is None else keys
        """Of a mapping: where each key stands."""

    def plain(self) -> Any:
        """The data without origins."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data


def located(data: Any, origin: Origin) -> Located:
    """Plain data as a tree whose every part stands at ``origin``."""
    if isinstance(data, dict):
        tree = {str(key): located(value, origin) for key, value in data.items()}
        return Located(tree, origin, dict.fromkeys(tree, origin))
    if isinstance(data, list | tuple):
        return Located([located(value, origin) for value in data], origin)
    return Located(data, origin)


def load(path: str | Path) -> Located:
    """The tree of the YAML file at ``path``, or of standard input for ``-``.

    Raises FileFaults, also where the file cannot be read.
    """
    source = str(path)
    if source == "-":
        return parse(_whole(sys.stdin), source)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FileFaults([Fault(Origin(source), "no such file")]) from None
    except IsADirectoryError:
        raise FileFaults([Fault(Origin(source), "is a folder; name the file in it")]) from None
    except OSError as error:
        raise FileFaults([Fault(Origin(source), f"cannot be read: {error.strerror}")]) from None
    if len(data) > MAX_BYTES:
        raise FileFaults([Fault(Origin(source), f"is larger than {MAX_BYTES >> 20} MiB")])
    return parse(data, source)


@lru_cache(maxsize=1)
def _whole(stream: TextIO) -> bytes:
    """What a stream holds, kept for whoever reads the same file once more. Raises FileFaults."""
    data = stream.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FileFaults([Fault(Origin("-"), f"is larger than {MAX_BYTES >> 20} MiB")])
    return data


def parse(data: bytes | str, source: str) -> Located:
    """The tree of a YAML text. Raises FileFaults for what is no YAML, no UTF-8, or no plain data."""
    text = data if isinstance(data, str) else _decoded(data, source)
    _refuse_controls(text, source)
    return _Reader(source).tree(_compose(text, source))


def parse_value(text: str, source: str) -> Located:
    """A value given as an option, in YAML's flow form; every part of it stands at ``source``."""
    try:
        tree = parse(text, source)
    except FileFaults as faults:
        first = faults.faults[0].message
        raise FileFaults([Fault(Origin(source), f"the value cannot be read: {first}")]) from None
    return located(tree.plain(), Origin(source))


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        message = "is no UTF-8 text; save the file as UTF-8"
        if b"\0" in data:
            message = "is a binary file, not a YAML text"
        raise FileFaults([Fault(Origin(source, line, column), message)]) from None


def _refuse_controls(text: str, source: str) -> None:
    """Refuse characters outside YAML's printable set (§5.1), which the parser reports without a place."""
    found = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if found is None:
        return
    before = text[: found.start()]
    origin = Origin(source, before.count("\n") + 1, found.start() - before.rfind("\n"))
    what = (
        "is a binary file, not a YAML text" if found[0] == "\0" else f"character U+{ord(found[0]):04X} is not allowed"
    )
    raise FileFaults([Fault(origin, what)])


def _compose(text: str, source: str) -> Node | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _refuse_depth(YAML(typ="rt", pure=True).parse(text), source)
        node: Node | None = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = Origin(source) if mark is None else Origin(source, mark.line + 1, mark.column + 1)
        problem = " ".join(str(error.problem or error.context or "is no YAML").split())
        if "'\\t'" in problem:
            problem += "; indent with spaces"
        raise FileFaults([Fault(origin, f"is no YAML: {problem}")]) from None
    except (YAMLError, ValueError) as error:
        raise FileFaults([Fault(Origin(source, 1, 1), f"is no YAML: {str(error).splitlines()[0]}")]) from None
    except RecursionError:
        raise FileFaults([Fault(Origin(source, 1, 1), f"is nested deeper than {MAX_DEPTH} levels")]) from None
    return node


def _refuse_depth(events: Iterable[Any], source: str) -> None:
    """Refuse deep flow collections at the first too many, since the parser's time grows with the square of them."""
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            origin = Origin(source, event.start_mark.line + 1, event.start_mark.column + 1)
            raise FileFaults([Fault(origin, f"is nested deeper than {MAX_DEPTH} levels")])


class _Reader:
    """Turns a composed node graph into a bounded tree, collecting faults."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self.seen = 0
        self.told: set[tuple[int, int, str]] = set()

    def tree(self, node: Node | None) -> Located:
        if node is None:
            return Located(None, Origin(self.source, 1, 1))
        tree = self.visit(node, ())
        if self.faults:
            raise FileFaults(self.faults, tree)
        return tree

    def fault(self, node: Node, message: str) -> None:
        """Note a fault, once however often an alias leads to it."""
        origin = self.origin(node)
        key = (origin.line or 0, origin.column or 0, message)
        if key not in self.told:
            self.told.add(key)
            self.faults.append(Fault(origin, message))

    def origin(self, node: Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1, node.start_mark.column + 1)

    def visit(self, node: Node, above: tuple[int, ...]) -> Located:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        origin = self.origin(node)
        self.seen += 1
        if self.seen > MAX_NODES:
            message = f"unfolds to more than {MAX_NODES} values; use fewer aliases"
            raise FileFaults([*self.faults, Fault(origin, message)])
        if id(node) in above:
            raise FileFaults([*self.faults, Fault(origin, "an alias stands inside its own anchor")])
        if len(above) >= MAX_DEPTH:
            raise FileFaults([*self.faults, Fault(origin, f"is nested deeper than {MAX_DEPTH} levels")])
        suffix = _tag(node)
        if suffix not in _CORE_TAGS:
            self.fault(node, f"tag `{suffix}` is not allowed; write plain values")
            return Located(UNREADABLE, origin)
        if isinstance(node, MappingNode):
            return self.mapping(node, origin, (*above, id(node)))
        if isinstance(node, SequenceNode):
            return Located([self.visit(item, (*above, id(node))) for item in node.value], origin)
        return Located(self.scalar(node), origin)

    def mapping(self, node: MappingNode, origin: Origin, above: tuple[int, ...]) -> Located:
        tree: dict[str, Located] = {}
        keys: dict[str, Origin] = {}
        for key_node, value_node in node.value:
            value = self.visit(value_node, above)
            key = key_node.value
            if not isinstance(key, str):
                self.fault(key_node, "a key must be a text")
            elif _tag(key_node) == "merge":
                self.fault(key_node, "merge keys (`<<`) are not part of YAML 1.2; repeat the keys")
            elif key in tree:
                self.fault(key_node, f"key `{key}` is given twice, first in line {keys[key].line}; keep one")
            else:
                tree[key] = value
                keys[key] = self.origin(key_node)
        return Located(tree, origin, keys)

    def scalar(self, node: Node) -> Any:
        """A scalar's value: quoted and block scalars are texts, plain ones as in YAML 1.2 §10.3.2."""
        text: str = node.value
        if getattr(node, "style", None) == ">":
            # The parser marks with BEL where a folded text was folded; a file itself cannot hold that character.
            text = text.replace("\a", "")
        explicit = str(node.ctag) if node.ctag is not None else ""
        if getattr(node, "style", None) is not None or explicit.endswith(":str") or explicit == "!":
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                self.fault(node, "a number this long is not allowed")
                return UNREADABLE
            if _INT.fullmatch(text):
                base = {"0o": 8, "0x": 16}.get(text[:2], 10)
                return int(text, base)
            value = float(text)
            if value in (float("inf"), float("-inf")):
                self.fault(node, f"number `{text}` is too large")
                return UNREADABLE
            return value
        if _INFINITE.fullmatch(text):
            self.fault(node, f"`{text}` is not a finite number")
            return UNREADABLE
        return text


def _tag(node: Node) -> str:
    """A node's tag without YAML's own prefix."""
    return str(node.tag or "").removeprefix("tag:yaml.org,2002:")


def dump(data: Any) -> str:
    """Plain data as YAML text that ``parse`` reads back equal."""
    return "".join(f"{line}\n" for line in _lines(data, 0))


def _lines(data: Any, indent: int) -> Iterator[str]:
    margin = " " * indent
    if isinstance(data, dict) and data:
        for key, value in data.items():
            if isinstance(value, dict | list) and value:
                yield f"{margin}{_scalar(key)}:"
                yield from _lines(value, indent + 2)
            else:
                yield f"{margin}{_scalar(key)}: {_scalar(value)}"
    elif isinstance(data, list) and data:
        for value in data:
            inner = list(_lines(value, indent + 2))
            yield f"{margin}- {inner[0][indent + 2 :]}"
            yield from inner[1:]
    else:
        yield margin + _scalar(data)


def _scalar(value: Any) -> str:
    """A scalar (or an empty collection) in a form that reads back as the same value."""
    import json

    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z0-9_/µ][A-Za-z0-9_/.%µ-]*( [A-Za-z0-9_/.%µ-]+)*", value)
        number = _INT.fullmatch(value) or _FLOAT.fullmatch(value) or _INFINITE.fullmatch(value)
        if plain and value not in _WORDS and not number:
            return value
        # JSON leaves U+007F and C1 controls bare, which YAML does not; escape all that is not printable.
        text = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else _escaped(c) for c in text)
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return json.dumps(value)


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
