"""Spoilt bytes: never those that came, each kind wrong in its own way, the same for the same stream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.faults.corruption import corrupt
from zentalk_sim.faults.vocabulary import CORRUPTIONS
from zentalk_sim.protocol.codec import decode_binary, encode
from zentalk_sim.protocol.frames import BinaryFrame, MessageSend
from zentalk_sim.protocol.streams import Stream, Streams

FRAME = msgspec.json.encode(
    {
        "type": "MESSAGE_ACK",
        "id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "timestamp": 1_700_000_000_000,
        "payload": {"message_id": "größe 🙂", "n": [1, {"deep": None}], "ok": True, "details": {}},
    }
)
ENCODED = encode(
    BinaryFrame(
        "MESSAGE_SEND",
        "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        1,
        MessageSend("0x" + "a1" * 20, b"x" * 40, b"n" * 12, "text"),
    )
)
assert isinstance(ENCODED, bytes)
BINARY: bytes = ENCODED


def stream(seed: int) -> Stream:
    return Streams(seed).fresh("corrupt")


def is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    return True


def leaf_types(value: Any, path: str = "") -> dict[str, type]:
    """The type of every member of objects, by path."""
    found: dict[str, type] = {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        kind = float if isinstance(item, int) and not isinstance(item, bool) else type(item)
        found[f"{path}/{name}"] = kind
        found |= leaf_types(item, f"{path}/{name}")
    return found


@pytest.mark.parametrize("kind", CORRUPTIONS)
@given(
    data=st.binary(max_size=60) | st.text(max_size=20).map(str.encode), seed=st.integers(0, 9), is_text=st.booleans()
)
def test_the_bytes_are_never_those_that_came(kind: str, data: bytes, seed: int, is_text: bool) -> None:
    spoilt = corrupt(kind, data, stream(seed), is_text=is_text)
    assert spoilt != data
    assert spoilt == corrupt(kind, data, stream(seed), is_text=is_text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some, max_size=3),
).map(msgspec.json.encode)


@given(JSON, st.integers(0, 9))
def test_each_kind_is_wrong_in_its_own_way(data: bytes, seed: int) -> None:
    flipped = corrupt("bit_flip", data, stream(seed))
    assert flipped.decode(), "must stay UTF-8"
    assert sum((a ^ b).bit_count() for a, b in zip(data, flipped, strict=True)) == 1
    short = corrupt("truncate", data, stream(seed))
    assert data.startswith(short)
    short.decode()
    bad = corrupt("bad_json", data, stream(seed))
    assert bad.decode()
    assert not is_json(bad)
    with pytest.raises(UnicodeDecodeError):
        corrupt("bad_utf8", data, stream(seed)).decode()
    wrong = corrupt("wrong_type", data, stream(seed))
    before, after = msgspec.json.decode(data), msgspec.json.decode(wrong)
    assert after != before


@pytest.mark.parametrize("data", [b'["a:b"]', b'{"a":1', b"", b"[1,2 ", b'{"a":"\'"}'])
def test_bad_json_is_no_json_also_where_a_simple_change_would_leave_or_make_it_json(data: bytes) -> None:
    for seed in range(40):
        spoilt = corrupt("bad_json", data, stream(seed))
        assert spoilt != data
        assert not is_json(spoilt), spoilt


@given(st.text(st.characters(min_codepoint=128, exclude_categories=["Cs"]), min_size=1, max_size=4), st.integers(0, 9))
def test_a_text_stays_utf_8_where_utf_8_is_not_the_fault(text: str, seed: int) -> None:
    for kind in CORRUPTIONS:
        if kind != "bad_utf8":
            corrupt(kind, text.encode(), stream(seed)).decode()


@pytest.mark.parametrize("is_text", [True, False])
def test_a_flip_of_no_text_is_any_bit(is_text: bool) -> None:
    """In a binary frame every bit can flip; in text the eighth of an ASCII character cannot."""
    flipped = {corrupt("bit_flip", b"a", stream(seed), is_text=is_text) for seed in range(100)}
    assert flipped == {bytes((ord("a") ^ 1 << bit,)) for bit in range(7 if is_text else 8)}


@given(st.binary(max_size=30), st.integers(0, 9))
def test_bad_utf8_is_bad_whatever_came(data: bytes, seed: int) -> None:
    with pytest.raises(UnicodeDecodeError):
        corrupt("bad_utf8", data, stream(seed)).decode()


def test_wrong_type_changes_one_member_and_leaves_the_rest() -> None:
    """Every member, nested ones too, must come up in turn."""
    before = leaf_types(msgspec.json.decode(FRAME))
    changed: dict[str, None] = {}
    for seed in range(200):
        after = leaf_types(msgspec.json.decode(corrupt("wrong_type", FRAME, stream(seed))))
        different = [path for path in after if after[path] is not before[path]]
        assert len(different) == 1
        changed[different[0]] = None
        gone = [path for path in before if path not in after]
        assert all(path.startswith(different[0] + "/") for path in gone)
    assert sorted(changed) == sorted(path for path in before if path not in ("/payload/n/0", "/payload/n/1"))


def test_wrong_type_keeps_the_other_bytes() -> None:
    """Numbers beyond a double and the order of members must stand as they came."""
    data = b'{"z":123456789012345678901234567890,"a":1}'
    spoilt = {corrupt("wrong_type", data, stream(seed)) for seed in range(20)}
    assert spoilt == {
        b'{"z":"123456789012345678901234567890","a":1}',
        b'{"z":123456789012345678901234567890,"a":"1"}',
    }


def test_a_text_nested_beyond_reason_is_spoilt_all_the_same() -> None:
    data = b"[" * 5000 + b"]" * 5000
    for kind in CORRUPTIONS:
        assert corrupt(kind, data, stream(1)) != data


@pytest.mark.requirement("R-2.1")
@pytest.mark.parametrize("kind", ["bad_json", "bad_utf8", "wrong_type"])
def test_a_binary_frame_keeps_its_header_where_its_json_is_spoilt(kind: str) -> None:
    for seed in range(20):
        spoilt = corrupt(kind, BINARY, stream(seed), is_text=False)
        incoming = decode_binary(spoilt)
        assert (incoming.type, incoming.timestamp) == ("MESSAGE_SEND", 1)
        assert incoming.raw_payload != BINARY[29:]
        assert is_json(incoming.raw_payload or b"") is (kind == "wrong_type")


def test_an_unknown_kind_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        corrupt("rot", b"{}", stream(1))
