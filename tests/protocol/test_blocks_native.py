"""Blocks of random streams and modelled MACs in C against their definitions in Python, which are the libraries'."""

from __future__ import annotations

from hashlib import blake2b
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.model.native_queue import built
from zentalk_sim.compiled import BLOCKS
from zentalk_sim.protocol import crypto
from zentalk_sim.protocol.crypto import Modelled
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


@EACH
@given(
    st.binary(max_size=40),
    st.text(max_size=12),
    st.text(max_size=40),
    st.integers() | st.integers(0, 2**43),
    st.binary(max_size=80),
)
def test_a_mac_must_be_that_of_the_definition(
    native: ModuleType, key: bytes, kind: str, frame_id: str, timestamp: int, payload: bytes
) -> None:
    assert crypto._mac_in_c is None, "the definition must be what is compared with"
    expected = Modelled().message_mac(key, kind, frame_id, timestamp, payload)
    assert native.mac(key, kind, frame_id, timestamp, payload) == expected


@EACH
@pytest.mark.parametrize("place", [1, 2])
def test_a_mac_over_what_utf8_cannot_hold_must_be_refused_alike(native: ModuleType, place: int) -> None:
    arguments = [KEY, "PONG", "id", 0, b""]
    arguments[place] = "\ud800"
    for function in (native.mac, Modelled().message_mac):
        with pytest.raises(UnicodeEncodeError):
            function(*arguments)


@EACH
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (KEY, "a", "b", 0),
        ("k", "a", "b", 0, b""),
        (KEY, 1, "b", 0, b""),
        (KEY, "a", "b", "0", b""),
        (KEY, "a", "b", 0, ""),
    ],
)
def test_a_mac_over_anything_else_must_be_refused(native: ModuleType, arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        native.mac(*arguments)
