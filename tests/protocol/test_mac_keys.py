"""R-5.2: the MAC is HMAC-SHA256 (RFC 2104), whatever its key and however often it was used before."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.crypto import Ed25519


@pytest.mark.requirement("R-5.2")
@given(st.sampled_from([0, 1, 32, 63, 64, 65, 200]), st.binary(max_size=300), st.integers(0, 2**63 - 1))
def test_a_mac_must_be_that_of_the_library_for_keys_of_any_length(size: int, payload: bytes, timestamp: int) -> None:
    key = bytes(number % 251 for number in range(size))
    expected = hmac.digest(key, b"PONGid" + str(timestamp).encode() + payload, "sha256")
    assert [Ed25519().message_mac(key, "PONG", "id", timestamp, payload) for _ in range(2)] == [expected] * 2
