"""Bytes to frames and back: every type survives the wire, and sizes are known without encoding."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from codec_support import LIMIT, UUID, envelope, refusal, wrong
from hypothesis import given
from hypothesis import strategies as st
from strategies import ALL_TYPES, binary_frames, text_frames

from zentalk_sim.protocol import codec, frame_sizes
from zentalk_sim.protocol.envelope import StrictEnvelope
from zentalk_sim.protocol.errors import CloseConnection, ProtocolError
from zentalk_sim.protocol.frames import (
    CLIENT_FRAMES,
    RELAY_FRAMES,
    BinaryFrame,
    Frame,
    MessageNew,
    MessageSend,
    Payload,
)

ADDRESS = "0x" + "ab" * 20

# --- there and back ----------------------------------------------------------------------------------


@pytest.mark.requirement("R-1.1", "R-1.3")
@pytest.mark.parametrize(("name", "side", "kind"), ALL_TYPES, ids=[f"{side}-{name}" for name, side, _ in ALL_TYPES])
def test_every_frame_type_must_survive_the_wire(name: str, side: str, kind: type[Payload]) -> None:
    @given(frame=text_frames(name, kind))
    def check(frame: Frame) -> None:
        text = codec.encode(frame)
        assert isinstance(text, str)
        assert text.encode() == codec.encode_text(frame)
        assert frame_sizes.frame_size(frame) == len(text.encode())
        assert frame_sizes.payload_size(frame.payload) == len(codec.encode_payload(frame.payload))
        incoming = codec.decode_text(text.encode(), 1 << 20)
        assert (incoming.type, incoming.id_as_sent, incoming.timestamp) == (frame.type, frame.id, frame.timestamp)
        assert (incoming.seq, incoming.message_mac) == (frame.seq, frame.message_mac)
        assert incoming.raw_payload == codec.encode_payload(frame.payload)
        assert codec.decode_payload(kind, incoming.raw_payload) == frame.payload
        # What another JSON library makes of it is the same object, with its four fields and no null ones.
        plain = json.loads(text)
        assert {"type", "id", "timestamp", "payload"} <= plain.keys()
        assert ("seq" in plain, "message_mac" in plain) == (frame.seq is not None, frame.message_mac is not None)

    check()


@pytest.mark.requirement("R-2.1", "R-2.2")
@given(frame=binary_frames())
def test_binary_frames_must_survive_the_wire(frame: BinaryFrame) -> None:
    data = codec.encode(frame)
    assert isinstance(data, bytes)
    assert frame_sizes.frame_size(frame) == len(data)
    incoming = codec.decode_binary(data)
    assert (incoming.type, incoming.id, incoming.timestamp) == (frame.type, frame.id, frame.timestamp)
    assert (incoming.seq, incoming.message_mac, incoming.binary) == (None, None, True)
    assert incoming.raw_payload is not None
    kind = (CLIENT_FRAMES if frame.type == "MESSAGE_SEND" else RELAY_FRAMES)[frame.type]
    assert codec.decode_payload(kind, incoming.raw_payload) == frame.payload


@pytest.mark.requirement("R-1.6", "R-2.2")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 1023, 1024, 1025, 1026, 1027, 20_000, 700_001])
def test_sizes_must_be_those_of_the_encoder_also_for_large_ciphertexts(count: int) -> None:
    nonce = bytes(12)
    for name, payload in (
        ("MESSAGE_SEND", MessageSend(ADDRESS, b"\xff" * count, nonce, "image")),
        ("MESSAGE_NEW", MessageNew(ADDRESS, "conv_ü", b"\xff" * count, nonce, "image", 1)),
    ):
        text = Frame(name, UUID, 1, payload, b"m" * 32, 7)
        assert frame_sizes.frame_size(text) == len(codec.encode_text(text))
        binary = BinaryFrame(name, UUID, 1, payload)
        assert frame_sizes.frame_size(binary) == len(codec.encode(binary))
        assert frame_sizes.payload_size(payload) == len(codec.encode_payload(payload))


@pytest.mark.requirement("R-1.3")
@given(seq=st.integers(1, 2**62))
def test_one_body_given_a_seq_must_equal_encoding_it_with_that_seq(seq: int) -> None:
    frame = Frame("PING", UUID, 3, RELAY_FRAMES["PING"](timestamp=3))
    assert codec.with_seq(codec.encode_text(frame), seq) == codec.encode_text(msgspec.structs.replace(frame, seq=seq))


# --- the envelope ------------------------------------------------------------------------------------


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", None),
        (b"nonsense", None),
        (b"[]", None),
        (b"null", None),
        (b'"text"', None),
        (b"{", None),
        (envelope() + b"x", None),
        (b"{}", "type"),
        (envelope(type="7"), "type"),
        (envelope(type="null"), "type"),
        (envelope(id='"msg_abc123"'), "id"),
        (envelope(id=f'"{UUID}\\n"'), "id"),
        (envelope(id=f'"{{{UUID}}}"'), "id"),
        (envelope(id=f'"{UUID.replace("-", "")}"'), "id"),
        (envelope(timestamp='"1704067200000"'), "timestamp"),
        (envelope(timestamp="1704067200000.5"), "timestamp"),
        (envelope(timestamp=str(2**63)), "timestamp"),
        (envelope(timestamp="1" + "0" * 400), "timestamp"),
        (envelope(timestamp="true"), "timestamp"),
        (envelope("[]"), "payload"),
        (envelope("null"), "payload"),
        (envelope('"{}"'), "payload"),
        (envelope(seq="0"), "seq"),
        (envelope(seq="-1"), "seq"),
        (envelope(seq="null"), "seq"),
        (envelope(seq=str(10**30)), "seq"),
        (envelope(message_mac='"AAAA"'), "message_mac"),
        (envelope(message_mac='"not base64!"'), "message_mac"),
        (envelope(message_mac='"' + "A" * 42 + '-="'), "message_mac"),
        (envelope('{"a":tru}'), None),
        (envelope('{"a":"\\ud800"}', type='"\\ud800"'), None),
    ],
)
def test_an_envelope_of_the_wrong_form_must_be_malformed_and_name_the_field(data: bytes, field: str | None) -> None:
    error = refusal(data)
    assert (error.code, error.reason) == ("INVALID_MESSAGE", "malformed")
    assert error.details.get("field") == field
    if field:
        assert field in error.message


fields = {
    "type": st.sampled_from(['"PONG"', '""', "1"]),
    "id": st.sampled_from([f'"{UUID}"', f'"{UUID.upper()}"', f'"{UUID} "', f'" {UUID}"', f'"{UUID}\\n"', '""', "7"]),
    "timestamp": st.sampled_from(["1704067200000", "1.5", str(2**63), '"1"']),
    "payload": st.just("{}"),
    "seq": st.sampled_from(["1", "0", "null"]),
    "message_mac": st.sampled_from(['"' + "A" * 43 + '="', '"AAAA"']),
}


@pytest.mark.requirement("R-1.2", "R-1.5")
@given(st.fixed_dictionaries({}, optional=fields), st.randoms(use_true_random=False))
def test_the_first_field_at_fault_must_be_told_wherever_the_id_stands(drawn: dict[str, str], order: Any) -> None:
    """The id's form is looked at by itself; the verdict is that of one decoder that knows all of the envelope."""
    names = list(drawn)
    order.shuffle(names)
    data = ("{" + ",".join(f'"{name}":{drawn[name]}' for name in names) + "}").encode()
    try:
        expected = msgspec.json.decode(data, type=StrictEnvelope)
    except msgspec.ValidationError as error:
        assert (refusal(data).message, refusal(data).details.get("field")) == codec.explain(error, "")
    else:
        assert codec.decode_text(data, LIMIT).id_as_sent == expected.id


@pytest.mark.requirement("R-1.3", "R-5.2")
def test_unknown_fields_must_be_ignored_and_the_payload_kept_as_its_exact_bytes() -> None:
    raw = '{ "timestamp" : 1,\t"client_time":2, "more":[1e3, {"x":"\\u00e9é"}] }'
    incoming = codec.decode_text(envelope(" " + raw + "\n", future='{"a":[1]}'), LIMIT)
    assert incoming.raw_payload == raw.encode()
    assert incoming.type == "PONG"


def test_of_a_name_given_twice_the_last_must_count() -> None:
    """RFC 8259 §4 leaves it open; here one rule holds for envelope, payload and MAC alike."""
    incoming = codec.decode_text(envelope('{"a":1}')[:-1] + b',"payload":{"b":2},"type":"PING"}', LIMIT)
    assert (incoming.type, incoming.raw_payload) == ("PING", b'{"b":2}')


@pytest.mark.requirement("R-1.2")
def test_an_id_must_be_compared_without_case_and_kept_as_sent_for_the_mac() -> None:
    incoming = codec.decode_text(envelope(id=f'"{UUID.upper()}"'), LIMIT)
    assert (incoming.id, incoming.id_as_sent) == (UUID, UUID.upper())


@pytest.mark.requirement("R-1.6")
def test_a_payload_of_exactly_16384_bytes_must_pass_and_one_more_must_not() -> None:
    def sized(count: int) -> str:
        return '{"a":"' + "é" * ((count - 8) // 2) + "x" * (count % 2) + '"}'

    assert len(sized(LIMIT).encode()) == LIMIT
    codec.decode_text(envelope(sized(LIMIT)), LIMIT)
    error = refusal(envelope(sized(LIMIT + 1)))
    assert error.details == {"reason": "payload_requires_binary", "payload_bytes": LIMIT + 1, "limit_bytes": LIMIT}


# --- the payload -------------------------------------------------------------------------------------

SEND = {"to": ADDRESS, "ciphertext": "AAAA", "nonce": "A" * 16, "message_type": "text"}
HEADER = {"identity_key": "A" * 43 + "=", "ephemeral_key": "A" * 43 + "="}


def altered(**changes: Any) -> bytes:
    fields = {**SEND, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


@pytest.mark.requirement("R-1.5", "R-6.1", "R-5.5")
@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        ("MESSAGE_SEND", altered(to=...), "payload.to"),
        ("MESSAGE_SEND", altered(to="bob"), "payload.to"),
        ("MESSAGE_SEND", altered(to=ADDRESS + "0"), "payload.to"),
        ("MESSAGE_SEND", altered(to=ADDRESS.replace("0x", "0X")), "payload.to"),
        ("MESSAGE_SEND", altered(nonce="AAAA"), "payload.nonce"),
        ("MESSAGE_SEND", altered(nonce="A" * 20), "payload.nonce"),
        ("MESSAGE_SEND", altered(ciphertext="%%"), "payload.ciphertext"),
        ("MESSAGE_SEND", altered(ciphertext="_-=="), "payload.ciphertext"),
        ("MESSAGE_SEND", altered(ciphertext="AA"), "payload.ciphertext"),
        ("MESSAGE_SEND", altered(message_type="sticker"), "payload.message_type"),
        ("MESSAGE_SEND", altered(message_type="x - at `$.foo`"), "payload.message_type"),
        ("MESSAGE_SEND", altered(message_type="Object missing required field `x`"), "payload.message_type"),
        ("MESSAGE_SEND", altered(message_type="Expected `str` matching regex\n"), "payload.message_type"),
        ("MESSAGE_SEND", altered(conversation_id=None), "payload.conversation_id"),
        ("MESSAGE_SEND", altered(conversation_id=7), "payload.conversation_id"),
        ("MESSAGE_SEND", altered(x3dh_header={**HEADER, "identity_key": "AAAA"}), "payload.x3dh_header.identity_key"),
        ("MESSAGE_SEND", altered(x3dh_header={**HEADER, "one_time_key_id": -1}), "payload.x3dh_header.one_time_key_id"),
        ("MESSAGE_RECEIVED", b'{"message_id":"msg_abc"}', "payload.message_id"),
        ("PRESENCE_SET", b'{"status":"offline"}', "payload.status"),
        ("SUBSCRIBE", b'{"topics":["keys:x",3]}', "payload.topics[1]"),
        ("SUBSCRIBE", b'{"topics":"keys:x"}', "payload.topics"),
        ("PONG", b'{"timestamp":1}', "payload.client_time"),
        ("PONG", b'{"timestamp":1,"client_time":-1}', "payload.client_time"),
        ("AUTH_RESPONSE", b"{}", "payload.identity_key"),
        ("TYPING_START", b"{}", "payload.conversation_id"),
        ("TOKEN_REFRESH", b'{"session_token":"t","signature":"AAAA"}', "payload.signature"),
    ],
)
def test_a_payload_of_the_wrong_form_must_name_the_field_by_its_path(kind: str, raw: bytes, field: str) -> None:
    error = wrong(CLIENT_FRAMES[kind], raw)
    assert error.reason == "malformed"
    assert error.details["field"] == field
    assert error.message.startswith(field)


def test_what_a_peer_sent_must_not_swell_the_answer() -> None:
    assert len(wrong(MessageSend, altered(message_type="x" * 16_000)).message) < 300


def test_a_payload_that_is_no_json_object_must_be_malformed() -> None:
    for raw in (b"", b"[]", b"\xff", b"{", b'{"a":"\xff"}'):
        assert wrong(MessageSend, raw).reason == "malformed"


@pytest.mark.requirement("R-1.7")
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (envelope(timestamp='"soon"'), ("PONG", UUID)),
        (envelope(id="7"), ("PONG", None)),
        (envelope(type="[]"), (None, UUID)),
        (b'{"type":"PONG"}', ("PONG", None)),
        (b"[1]", (None, None)),
        (b"\xff", (None, None)),
    ],
)
def test_type_and_id_must_be_salvaged_where_they_can_be_read(data: bytes, found: tuple[Any, Any]) -> None:
    assert codec.salvage(data) == found


# --- binary ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-2.1", "R-2.2")
def test_a_binary_frame_must_have_the_layout_of_the_table() -> None:
    payload = MessageSend(ADDRESS, b"hi", bytes(12), "text")
    body = codec.encode_payload(payload)
    data = codec.encode(BinaryFrame("MESSAGE_SEND", UUID, 1_704_067_200_000, payload))
    assert data == (
        b"\x02"
        + bytes.fromhex(UUID.replace("-", ""))
        + (1_704_067_200_000).to_bytes(8, "big")
        + len(body).to_bytes(4, "big")
        + body
    )


@pytest.mark.requirement("R-2.3")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 1002),
        (b"\x02" + bytes(27), 1002),
        (b"\xff" + bytes(27), 1002),
        (b"\x02" + bytes(24) + b"\0\0\0\x03{}", 1002),
        (b"\x02" + bytes(24) + b"\0\0\0\x01{}", 1002),
        (b"\xff" + bytes(24) + b"\xff\xff\xff\xff{}", 1002),
        (b"\x01" + bytes(28), 1003),
        (b"\x82" + bytes(28), 1003),
        (b"\x00" + bytes(24) + b"\0\0\0\x02{}", 1003),
    ],
)
def test_a_bad_binary_header_must_end_the_connection(data: bytes, code: int) -> None:
    with pytest.raises(CloseConnection) as caught:
        codec.decode_binary(data)
    assert caught.value.code == code


@given(st.binary(max_size=400))
def test_arbitrary_bytes_must_decode_or_be_refused(data: bytes) -> None:
    for binary in (False, True):
        try:
            incoming = codec.decode_binary(data) if binary else codec.decode_text(data, LIMIT)
        except (ProtocolError, CloseConnection):
            continue
        assert len(incoming.id) == 36


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize(
    ("kind", "field", "good"),
    [
        ("MESSAGE_SEND", "to", "0x" + "aB" * 20),
        ("MESSAGE_RECEIVED", "message_id", "0b9f2c3d-0000-4000-8000-00000000000F"),
        ("MESSAGE_READ", "message_id", "0b9f2c3d-0000-4000-8000-00000000000F"),
    ],
)
def test_a_bounded_payload_must_be_taken_and_refused_as_by_its_pattern(kind: str, field: str, good: str) -> None:
    fields: dict[str, Any] = {}
    if kind == "MESSAGE_SEND":
        fields = {"ciphertext": "", "nonce": "A" * 16, "message_type": "text"}
    bad = [
        "",
        good[:-1],
        good + "0",
        good + "\n",
        "g" + good[1:],
        "a" + good[1:-1] + "g",
        good[:-1] + "٣",
        "ａ" + good[1:],
    ]
    bad += [good.replace("-", "0"), good.replace("x", "X"), "a" + good[1:], good[:8] + "-" + good[9:], 1, None]
    payload_type = CLIENT_FRAMES[kind]
    for value in [good, good.lower(), good.upper().replace("X", "x"), *bad]:
        raw = msgspec.json.encode({**fields, field: value})
        told: list[object] = []
        for bounded in (False, True):
            try:
                found = codec.decode_payload(payload_type, raw, bounded=bounded)
            except ProtocolError as error:
                told.append((error.code, error.message, error.details))
            else:
                told.append(msgspec.structs.astuple(found))
        assert told[0] == told[1], value
