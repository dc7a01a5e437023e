"""Hypothesis strategies for payloads and frames, made from the Structs themselves."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from zentalk_sim.protocol.frames import (
    ADDRESS_PATTERN,
    BINARY_CODES,
    CLIENT_FRAMES,
    RELAY_FRAMES,
    UUID_PATTERN,
    BinaryFrame,
    Frame,
    Payload,
)

HEX = "0123456789abcdefABCDEF"
uuids = st.uuids().map(str)
addresses = st.text(HEX, min_size=40, max_size=40).map(lambda digits: "0x" + digits)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
times_ms = st.integers(0, 2**62)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation as the frames use them; UNSET where it is allowed."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *marks = get_args(kind)
        meta = next(mark for mark in marks if isinstance(mark, Meta))
        if meta.pattern == UUID_PATTERN:
            return uuids
        if meta.pattern == ADDRESS_PATTERN:
            return addresses
        if base is bytes:
            return st.binary(min_size=meta.min_length or 0, max_size=meta.max_length)
        assert base is int, kind
        return st.integers(meta.ge, meta.le)  # type: ignore[arg-type]
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin in (Union, types.UnionType):
        return st.one_of([of_type(part) for part in get_args(kind)])
    if origin is tuple:
        return st.lists(of_type(get_args(kind)[0]), max_size=5).map(tuple)
    if origin is dict:
        return st.dictionaries(texts, json_values, max_size=4)
    if isinstance(kind, type) and issubclass(kind, Payload):
        return payloads(kind)
    simple: Mapping[Any, st.SearchStrategy[Any]] = {
        str: texts,
        bytes: st.binary(max_size=60) | st.integers(1_020, 1_030).map(bytes),
        int: times_ms,
        float: st.floats(0, 1e9),
        bool: st.booleans(),
        type(None): st.none(),
        UnsetType: st.just(UNSET),
    }
    return simple[kind]


def payloads(kind: type[Payload]) -> st.SearchStrategy[Any]:
    """Payloads of one type."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: of_type(hints[name]) for name in kind.__struct_fields__})


ALL_TYPES = [
    *((name, "client", kind) for name, kind in CLIENT_FRAMES.items()),
    *((name, "relay", kind) for name, kind in RELAY_FRAMES.items()),
]


def text_frames(name: str, kind: type[Payload]) -> st.SearchStrategy[Frame]:
    """Text frames of one type, with and without ``seq`` and MAC."""
    return st.builds(
        Frame,
        st.just(name),
        uuids,
        times_ms,
        payloads(kind),
        st.none() | st.binary(min_size=32, max_size=32),
        st.none() | st.integers(1, 2**62),
    )


def binary_frames() -> st.SearchStrategy[BinaryFrame]:
    """Binary frames of the two types that may be."""
    tables = {"MESSAGE_SEND": CLIENT_FRAMES, "MESSAGE_NEW": RELAY_FRAMES}
    return st.one_of(
        [
            st.builds(BinaryFrame, st.just(name), uuids, times_ms, payloads(tables[name][name]))
            for name in BINARY_CODES.values()
        ]
    )
