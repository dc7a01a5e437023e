"""R-5.2: the MAC is HMAC-SHA256 (RFC 2104), however it is worked out."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zentalk_sim.protocol.crypto import Ed25519, mac_input
from zentalk_sim.protocol.hmac_sha256 import hmac_sha256


@pytest.mark.requirement("R-5.2")
@given(st.binary(max_size=200), st.lists(st.binary(max_size=3_000), max_size=3))
@example(b"", [b""])
@example(bytes(64), [b"a key of a whole block"])
@example(bytes(65), [b"a key above a block, which is hashed first"])
def test_a_mac_must_be_that_of_the_standard_library(key: bytes, texts: list[bytes]) -> None:
    for text in texts:
        assert hmac_sha256(key, text) == hmac.digest(key, text, "sha256")


@pytest.mark.requirement("R-5.2")
def test_a_mac_must_be_that_of_the_rfcs_vectors() -> None:
    """RFC 4231 §4.3 and §4.7."""
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First").hex() == (
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    )


@pytest.mark.requirement("R-5.2")
def test_a_frames_mac_must_be_over_its_type_id_timestamp_and_payload() -> None:
    key, payload = bytes(range(32)), b'{"message_id":"x"}'
    expected = hmac.digest(key, mac_input("PONG", "an id", 7, payload), "sha256")
    assert Ed25519().message_mac(key, "PONG", "an id", 7, payload) == expected
