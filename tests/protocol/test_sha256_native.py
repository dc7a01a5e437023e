"""SHA-256 and HMAC-SHA256 in C and their definition in Python against the standard library."""

from __future__ import annotations

import hashlib
import hmac
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.model.native_queue import built
from zentalk_sim.compiled import SHA256
from zentalk_sim.protocol.hmac_sha256 import begun_of, mac_of, sha256_of

NATIVE = built(SHA256)
FORMS = [NATIVE] if NATIVE is not None else []
"""Without a compiler there is nothing to compare: sources run on the definition."""
EACH = pytest.mark.parametrize("native", FORMS, ids=["c"] * len(FORMS))
EDGES = (0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 1_000)
"""About where a block, or its room for the length, is full."""


@EACH
@given(st.binary(max_size=400))
def test_a_hash_must_be_the_standard_librarys(native: ModuleType, data: bytes) -> None:
    expected = hashlib.sha256(data).digest()
    assert native.sha256(data) == native.sha256_portable(data) == sha256_of(data) == expected


@EACH
@pytest.mark.parametrize("size", EDGES)
def test_a_hash_must_be_right_where_a_block_is_full(native: ModuleType, size: int) -> None:
    data = bytes(at * 7 % 256 for at in range(size))
    expected = hashlib.sha256(data).digest()
    assert native.sha256(data) == native.sha256_portable(data) == sha256_of(data) == expected


@EACH
@given(st.binary(max_size=140), st.binary(max_size=400))
@example(bytes(64), b"")
@example(bytes(65), bytes(55))
@example(b"k" * 32, bytes(56))
def test_a_mac_must_be_the_standard_librarys(native: ModuleType, key: bytes, text: bytes) -> None:
    expected = hmac.digest(key, text, "sha256")
    assert native.mac(native.begun(key), text) == mac_of(begun_of(key), text) == expected


@EACH
@pytest.mark.parametrize("arguments", [(), (bytes(64),), (bytes(63), b""), ("a", b""), (bytes(64), "text")])
def test_what_is_no_begun_key_and_text_must_be_refused(native: ModuleType, arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        native.mac(*arguments)


@EACH
def test_what_is_not_bytes_must_be_refused(native: ModuleType) -> None:
    for function in (native.sha256, native.sha256_portable, native.begun):
        with pytest.raises(TypeError):
            function("text")
