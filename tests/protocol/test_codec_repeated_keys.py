"""A field that a frame names twice: the last counts, as for most JSON parsers (RFC 8259 §4), and each must be typed."""

from __future__ import annotations

import pytest

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import ProtocolError

UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "11111111-8b86-4011-b42d-00c04fc964ff"
GOOD = {"type": '"PONG"', "id": f'"{UUID}"', "timestamp": "1704067200000", "payload": "{}"}


def text(*fields: tuple[str, str]) -> bytes:
    """A text frame from names and raw JSON, in this order."""
    return ("{" + ",".join(f'"{name}":{raw}' for name, raw in fields) + "}").encode()


@pytest.mark.requirement("R-1.1")
@pytest.mark.parametrize(
    ("name", "first"),
    [("type", '"PING"'), ("id", f'"{OTHER}"'), ("id", '"no uuid"'), ("timestamp", "1"), ("payload", '{"a":1}')],
)
def test_of_a_field_named_twice_the_last_must_count(name: str, first: str) -> None:
    once = codec.decode_text(text(*GOOD.items()), 16_384)
    twice = codec.decode_text(text((name, first), *GOOD.items()), 16_384)
    assert twice == once


@pytest.mark.requirement("R-1.2", "R-1.5")
@pytest.mark.parametrize(
    ("name", "last"), [("type", "1"), ("id", '"no uuid"'), ("id", "1"), ("timestamp", '"1"'), ("payload", "[]")]
)
def test_a_field_whose_last_naming_is_wrong_must_be_malformed(name: str, last: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode_text(text(*GOOD.items(), (name, last)), 16_384)
    assert caught.value.details["reason"] == "malformed"
    assert caught.value.details["field"] == name


@pytest.mark.requirement("R-1.5")
def test_depth_must_be_bounded_in_a_payload_that_a_second_one_replaces() -> None:
    deep = "[" * 5_000 + "]" * 5_000
    braces = '{"":' * 5_000 + "1" + "}" * 5_000
    for payload in (deep, braces):
        with pytest.raises(ProtocolError) as caught:
            codec.decode_text(text(("payload", payload), *GOOD.items()), 16_384)
        assert caught.value.details["reason"] == "malformed"
