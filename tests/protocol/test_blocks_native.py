"""Blocks of random streams in C against their definition in Python, which is hashlib's BLAKE2b."""

from __future__ import annotations

from hashlib import blake2b
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.model.native_queue import built
from zentalk_sim.compiled import BLOCKS
from zentalk_sim.protocol.streams import begun_of, block_of, ids_of

NATIVE = built(BLOCKS)
FORMS = [NATIVE] if NATIVE is not None else []
"""Without a compiler there is nothing to compare: sources run on the definition."""
EACH = pytest.mark.parametrize("native", FORMS, ids=["c"] * len(FORMS))
KEY = bytes(range(32))


@EACH
@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**64 - 1), st.binary(max_size=600))
@example(KEY, 0, bytes(119))
@example(KEY, 0, bytes(120))
@example(KEY, 0, bytes(121))
@example(KEY, 1, bytes(248))
@example(KEY, 1, bytes(249))
def test_a_block_and_its_ids_must_be_those_of_the_definition(
    native: ModuleType, key: bytes, number: int, name: bytes
) -> None:
    assert native.block(native.begun(key), number, name) == block_of(begun_of(key), number, name)
    assert native.ids(native.begun(key), number, name) == ids_of(begun_of(key), number, name)


def test_the_definition_must_be_blake2b_under_the_key() -> None:
    """RFC 7693, keyed, over number and name."""
    expected = blake2b((7).to_bytes(8, "big") + b"device/1/ids", key=KEY, digest_size=64).digest()
    assert block_of(begun_of(KEY), 7, b"device/1/ids") == expected


@EACH
@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_number_outside_64_bits_must_be_refused(native: ModuleType, number: int) -> None:
    for function in (native.block, native.ids):
        with pytest.raises(OverflowError):
            function(native.begun(KEY), number, b"name")


@EACH
@pytest.mark.parametrize(
    "arguments",
    [(), (bytes(64), 0), (bytes(63), 0, b""), ("a", 0, b""), (bytes(64), "0", b""), (bytes(64), 0, "name")],
)
def test_anything_else_must_be_refused(native: ModuleType, arguments: tuple[object, ...]) -> None:
    for function in (native.block, native.ids):
        with pytest.raises(TypeError):
            function(*arguments)


@EACH
@pytest.mark.parametrize("key", [b"", bytes(65), "key"])
def test_what_is_no_key_must_be_refused(native: ModuleType, key: object) -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        native.begun(key)
