"""Nesting: a hundred levels for a frame, counted before anything reads it, and whatever else is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from codec_support import LIMIT, UUID, envelope, refusal, wrong
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.frames import MessageReceived


def nested(levels: int) -> str:
    """A payload ``levels`` deep; the envelope around it is one level more."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.requirement("R-1.5")
def test_nesting_must_be_bounded_by_a_number_and_not_by_the_callers_stack() -> None:
    def deeper(levels: int, then: Any) -> Any:
        return then() if levels == 0 else deeper(levels - 1, then)

    good, bad = envelope(nested(codec.MAX_DEPTH - 1)), envelope(nested(codec.MAX_DEPTH))
    for depth in (0, 400):
        assert deeper(depth, lambda: codec.decode_text(good, LIMIT)).type == "PONG"
        assert deeper(depth, lambda: refusal(bad)).reason == "malformed"
    assert refusal(b"[" * 900_000).reason == "malformed"
    assert codec.salvage(bad) == (None, None)
    with_id = f'{{"message_id":"{UUID}",'
    fits, exceeds = (
        nested(levels).replace("{", with_id, 1).encode() for levels in (codec.MAX_DEPTH, codec.MAX_DEPTH + 1)
    )
    assert codec.decode_payload(MessageReceived, fits) == MessageReceived(UUID)
    assert wrong(MessageReceived, exceeds).reason == "malformed"


bracketed = st.text('[]{}"\\a', max_size=8)


@given(st.recursive(bracketed, lambda inner: st.lists(inner) | st.dictionaries(bracketed, inner)))
def test_depth_must_be_counted_outside_of_strings(value: Any) -> None:
    def depth(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + max((depth(p) for p in inner), default=0)

    # A neighbour full of brackets inside a string, so that their number alone decides nothing.
    text = json.dumps(["[{" * 120, value])
    levels = codec.MAX_DEPTH - depth(value) - 1
    assert codec.too_deep(("[" * levels + text + "]" * levels).encode()) is False
    assert codec.too_deep(("[" * (levels + 1) + text + "]" * (levels + 1)).encode()) is True


@given(st.text("{}[] ", max_size=6), st.integers(97, 104))
def test_depth_must_be_counted_whatever_stands_before_the_braces(head: str, levels: int) -> None:
    data = head.encode() + b'{"a":' * levels
    depth = deepest = 0
    for mark in data:
        depth += (mark in b"{[") - (mark in b"}]")
        deepest = max(deepest, depth)
    assert codec.too_deep(data) is (deepest > codec.MAX_DEPTH)


@pytest.mark.requirement("R-1.5")
@given(
    st.sampled_from(["future", "payload"]),
    st.integers(codec.MAX_DEPTH - 2, codec.MAX_DEPTH + 1),
    st.sampled_from(["", "a", "ab", "a" * 20]),
    st.booleans(),
    st.booleans(),
)
def test_a_frame_too_deep_must_be_told_so_whatever_else_it_is(
    where: str, levels: int, name: str, is_array: bool, is_whole: bool
) -> None:
    """The envelope is one level; what is not found by a look at a frame's size and marks is counted."""
    objects = levels - is_array
    inner = f'{{"{name}":' * objects + ("[]" if is_array else "0") + "}" * objects
    data = envelope(**{where: inner})
    data = data if is_whole else data[:-1]
    if levels + 1 > codec.MAX_DEPTH:
        assert refusal(data).message == "nested deeper than 100 levels"
    elif is_whole:
        assert codec.decode_text(data, LIMIT).type == "PONG"
    else:
        assert refusal(data).message == "not a JSON object that can be read"


@given(st.text('[]{}"\\a,:', max_size=300))
def test_depth_must_be_computed_of_anything(text: str) -> None:
    assert codec.too_deep((text * 10).encode()) in (True, False)
