"""The outgoing queue, pending sends, re-sends and error answers (R-11.4, R-11.5)."""

from __future__ import annotations

import msgspec
import pytest
from fake_relay import BOB, MS, FakeRelay, S, config
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client_effects import Acked, Failed, Fetch, Rejected
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.frames import BinaryFrame, Frame, Payload, X3dhHeader

QUICK = {"jitter": 0}
HEADER = X3dhHeader(identity_key=b"\x00" * 32, ephemeral_key=b"\x01" * 32, one_time_key_id=1)


def texts(relay: FakeRelay) -> list[str]:
    return [frame.payload.ciphertext.decode() for _, frame in relay.sent("MESSAGE_SEND")]


def last(relay: FakeRelay) -> Frame:
    return relay.sent("MESSAGE_SEND")[-1][1]


@pytest.mark.requirement("R-11.4")
def test_a_send_on_a_free_connection_goes_out_at_once_and_in_order() -> None:
    relay = FakeRelay().join()
    ids = [relay.send(text) for text in ("one", "two", "three")]
    assert [frame.id for frame in relay.frames()] == ids
    for message_id in ids:
        relay.ack(message_id)
    assert [(ack.message_id, ack.status) for ack in relay.new(Acked)] == [(i, "queued") for i in ids]
    assert relay.client.unacked == 0


@pytest.mark.requirement("R-11.4")
def test_sends_while_offline_go_newest_first_one_per_100_ms() -> None:
    relay = FakeRelay()
    for text in ("old", "middle", "new"):
        relay.send(text)
    assert (relay.client.queued, relay.client.unacked) == (3, 3)
    relay.join()
    start = relay.now
    relay.advance(1 * S)
    assert [(at - start, frame.payload.ciphertext) for at, frame in relay.sent("MESSAGE_SEND")] == [
        (0, b"new"),
        (100 * MS, b"middle"),
        (200 * MS, b"old"),
    ]


@pytest.mark.requirement("R-11.4")
def test_a_send_behind_others_waits_and_is_the_next_to_go() -> None:
    relay = FakeRelay()
    for text in ("a", "b", "c"):
        relay.send(text)
    relay.join()
    relay.send("d")
    relay.advance(1 * S)
    assert texts(relay) == ["c", "d", "b", "a"]


@pytest.mark.requirement("R-11.4")
def test_the_101st_is_rejected_to_the_caller() -> None:
    relay = FakeRelay()
    for n in range(100):
        relay.send(f"{n}")
    assert relay.new(Rejected) == []
    refused = relay.send("one too many")
    assert relay.new(Rejected) == [Rejected(refused, "queue_full")]
    assert relay.client.unacked == 100


@pytest.mark.requirement("R-11.4")
def test_at_most_100_sends_are_unacknowledged() -> None:
    relay = FakeRelay().join()
    ids = [relay.send(f"{n}") for n in range(102)]
    assert len(relay.sent("MESSAGE_SEND")) == 100
    assert relay.client.queued == 2
    relay.ack(ids[0])
    assert [frame.id for frame in relay.frames()][-1] == ids[101]


@pytest.mark.requirement("R-11.4")
def test_an_interval_of_zero_drains_at_once() -> None:
    relay = FakeRelay(config(queue={"drain_interval_ms": 0}))
    for text in ("a", "b", "c"):
        relay.send(text)
    relay.join()
    assert texts(relay) == ["c", "b", "a"]


@pytest.mark.requirement("R-11.4")
def test_without_an_ack_a_message_is_sent_again_after_10_s_and_fails_after_five_retries() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    for _ in range(12):
        relay.advance(5 * S)
        relay.ping()
    sent = relay.sent("MESSAGE_SEND")
    assert [at - sent[0][0] for at, _ in sent] == [n * 10 * S for n in range(6)]
    assert {frame.id for _, frame in sent} == {message_id}
    assert len({frame.payload for _, frame in sent}) == 1
    assert relay.all(Failed) == [Failed(message_id, "NO_ACK", 5)]
    assert relay.client.unacked == 0
    relay.ack(message_id)
    assert relay.all(Acked) == []
    assert relay.count("acks.unknown") == 1


@pytest.mark.requirement("R-11.4")
def test_a_resend_takes_a_fresh_timestamp_seq_and_mac() -> None:
    relay = FakeRelay().join()
    relay.send()
    relay.advance(10 * S)
    (_, first), (_, second) = relay.sent("MESSAGE_SEND")
    assert second.timestamp == first.timestamp + 10_000
    assert (first.seq, second.seq) == (1, 2)
    assert second.message_mac != first.message_mac
    key = Ed25519().session_key("session-token", b"\x07" * 32)
    raw = codec.encode_payload(second.payload)
    assert second.message_mac == Ed25519().message_mac(key, second.type, second.id, second.timestamp, raw)


@pytest.mark.requirement("R-11.4")
def test_at_a_reconnection_what_was_sent_goes_first_oldest_first_and_then_the_queue() -> None:
    relay = FakeRelay().join()
    relay.send("sent first")
    relay.advance(1 * MS)
    relay.send("sent second")
    relay.lose()
    relay.send("queued first")
    relay.send("queued second")
    relay.wait_for_attempt()
    relay.handshake()
    start = relay.now
    relay.advance(1 * S)
    sent = relay.sent("MESSAGE_SEND")[2:]
    assert [(at - start, frame.payload.ciphertext.decode()) for at, frame in sent] == [
        (0, "sent first"),
        (100 * MS, "sent second"),
        (200 * MS, "queued second"),
        (300 * MS, "queued first"),
    ]


@pytest.mark.requirement("R-11.4")
def test_a_resend_that_did_not_get_its_turn_before_the_next_loss_is_no_retry() -> None:
    relay = FakeRelay().join()
    first, second = relay.send("first"), relay.send("second")
    relay.rejoin()
    relay.rejoin()
    relay.advance(1 * S)
    entries = relay.client.outbox.sent
    assert texts(relay) == ["first", "second", "first", "first", "second"]
    assert (entries[first].retry_count, entries[second].retry_count) == (2, 1)


@pytest.mark.requirement("R-11.4")
def test_reconnections_count_as_retries() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    for _ in range(5):
        relay.rejoin()
    assert relay.all(Failed) == []
    relay.rejoin()
    assert relay.all(Failed) == [Failed(message_id, "NO_ACK", 5)]
    assert len(relay.sent("MESSAGE_SEND")) == 6


@pytest.mark.requirement("R-11.4")
def test_a_message_whose_resend_waits_for_its_turn_may_still_be_acknowledged() -> None:
    relay = FakeRelay().join()
    first, second = relay.send("first"), relay.send("second")
    relay.lose()
    relay.wait_for_attempt()
    relay.handshake()
    relay.ack(second, "duplicate")
    relay.advance(5 * S)
    assert texts(relay) == ["first", "second", "first"]
    relay.ack(first, "duplicate")
    assert [ack.message_id for ack in relay.all(Acked)] == [second, first]
    relay.send("third")
    assert texts(relay)[-1] == "third"


@pytest.mark.requirement("R-11.5")
def test_rate_limited_returns_the_send_to_the_head_and_pauses_sending() -> None:
    relay = FakeRelay().join()
    refused = relay.send("refused")
    frame = last(relay)
    relay.error("RATE_LIMITED", frame, retry_after=7)
    relay.send("later")
    start = relay.now
    relay.advance(6_999_999)
    assert texts(relay) == ["refused"]
    relay.advance(1 * S)
    assert [(at - start, f.payload.ciphertext) for at, f in relay.sent("MESSAGE_SEND")[1:]] == [
        (7 * S, b"later"),
        (7 * S + 100 * MS, b"refused"),
    ]
    assert relay.client.outbox.sent[refused].retry_count == 0


@pytest.mark.requirement("R-11.5")
def test_a_limit_never_makes_a_message_fail_however_often_it_refuses() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    for _ in range(8):
        relay.error("RATE_LIMITED", last(relay), retry_after=1)
        relay.advance(1 * S)
    relay.ack(message_id)
    assert [ack.message_id for ack in relay.all(Acked)] == [message_id]


@pytest.mark.requirement("R-11.5")
def test_rate_limited_without_a_word_on_what_it_answers_pauses_sending() -> None:
    relay = FakeRelay().join()
    relay.send("first")
    relay.error("RATE_LIMITED", retry_after=3)
    relay.send("second")
    relay.advance(2_999_999)
    assert texts(relay) == ["first"]
    relay.advance(1)
    assert texts(relay) == ["first", "second"]


@pytest.mark.requirement("R-11.5")
@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "SERVICE_UNAVAILABLE"])
def test_a_passing_fault_is_retried_with_backoff_five_times(code: str) -> None:
    relay = FakeRelay(config(backoff=QUICK, queue={"ack_timeout_ms": 100_000})).join()
    message_id = relay.send()
    start = relay.now
    while not relay.all(Failed):
        relay.error(code, last(relay))
        relay.ping()
        relay.advance(16 * S)
    assert [at - start for at, _ in relay.sent("MESSAGE_SEND")] == [
        0,
        1 * S,
        16 * S + 2 * S,
        32 * S + 4 * S,
        48 * S + 8 * S,
        64 * S + 16 * S,
    ]
    assert relay.all(Failed) == [Failed(message_id, code, 5)]


@pytest.mark.requirement("R-11.5")
@pytest.mark.parametrize(
    "code", ["RECIPIENT_NOT_FOUND", "INVALID_MESSAGE", "FORBIDDEN", "NOT_FOUND", "UNAUTHORIZED", "NEVER_HEARD_OF"]
)
def test_these_errors_fail_to_the_caller(code: str) -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.error(code, last(relay))
    assert relay.new(Failed) == [Failed(message_id, code, 0)]
    relay.advance(60 * S)
    assert len(relay.sent("MESSAGE_SEND")) == 1
    relay.error(code, last(relay))
    assert relay.new(Failed) == []


def test_a_late_ack_takes_a_message_out_of_the_queue() -> None:
    relay = FakeRelay().join()
    first, second = relay.send("first"), relay.send("second")
    for _, frame in relay.sent("MESSAGE_SEND"):
        relay.error("RATE_LIMITED", frame, retry_after=5)
    relay.ack(second)
    assert [ack.message_id for ack in relay.new(Acked)] == [second]
    relay.advance(5 * S)
    assert [frame.id for frame in relay.frames()] == [first]


def test_an_ack_for_another_message_leaves_the_queue_alone() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.error("RATE_LIMITED", last(relay), retry_after=5)
    relay.ack("00000000-0000-4000-8000-000000000000")
    relay.new(object)
    assert relay.client.unacked == 1
    relay.advance(5 * S)
    assert [frame.id for frame in relay.frames()] == [message_id]


@pytest.mark.requirement("R-2.2")
@pytest.mark.parametrize("header", [msgspec.UNSET, HEADER])
def test_a_payload_above_16384_bytes_travels_as_binary_without_seq_and_mac(header: object) -> None:
    relay = FakeRelay().join()
    size_of_the_rest = 0
    for count in (12_000, 12_400):
        relay.do(relay.client.send(BOB, b"x" * count, "image", relay.now, x3dh_header=header))  # type: ignore[arg-type]
        frame = last(relay)
        size = len(codec.encode_payload(frame.payload))
        size_of_the_rest = size - 4 * ((count + 2) // 3)
        assert (type(frame) is BinaryFrame) == (size > 16_384)
    # The edge itself: 16 384 bytes are still text, one more is binary.
    edge = (16_384 - size_of_the_rest) // 4 * 3
    relay.do(relay.client.send(BOB, b"x" * edge, "image", relay.now, x3dh_header=header))  # type: ignore[arg-type]
    assert type(last(relay)) is Frame
    relay.do(relay.client.send(BOB, b"x" * (edge + 3), "image", relay.now, x3dh_header=header))  # type: ignore[arg-type]
    binary = last(relay)
    assert type(binary) is BinaryFrame
    assert binary.seq is None
    assert binary.message_mac is None


@pytest.mark.requirement("R-1.6")
def test_a_payload_of_exactly_16384_bytes_is_still_text() -> None:
    relay = FakeRelay().join()
    rest = len(codec.encode_payload(_payload(relay, b""))) + len(',"conversation_id":""')
    name = "c" * (4 + (16_384 - rest) % 4)
    count = (16_384 - rest - len(name)) // 4 * 3
    relay.do(relay.client.send(BOB, b"x" * count, "image", relay.now, conversation_id=name))
    assert len(codec.encode_payload(last(relay).payload)) == 16_384
    assert type(last(relay)) is Frame


@pytest.mark.requirement("R-1.6")
def test_a_frame_above_1_mib_is_refused_by_the_client_itself() -> None:
    relay = FakeRelay().join()
    rest = len(codec.encode_payload(_payload(relay, b""))) + 29
    fits = ((1 << 20) - rest) // 4 * 3
    relay.do(relay.client.send(BOB, b"x" * fits, "image", relay.now))
    assert len(codec.encode(last(relay))) <= 1 << 20
    relay.new(object)
    relay.do(relay.client.send(BOB, b"x" * (fits + 3), "image", relay.now))
    assert relay.new(object) == [Rejected(relay.client.last_id, "too_large")]


def _payload(relay: FakeRelay, ciphertext: bytes) -> Payload:
    relay.do(relay.client.send(BOB, ciphertext, "image", relay.now))
    payload: Payload = last(relay).payload
    return payload


@pytest.mark.requirement("R-11.4")
@pytest.mark.parametrize("wire", [False, True])
@given(
    st.lists(
        st.sampled_from(["send", "ack", "limit", "fault", "keys", "fail", "answer", "lose", "join", "wait"]),
        max_size=60,
    )
)
def test_every_message_is_acked_rejected_failed_or_still_here(wire: bool, happenings: list[str]) -> None:
    relay = FakeRelay(config(queue={"max_messages": 3, "max_unacked": 4}), wire=wire)
    count = 0
    for happening in ["send", "join", *happenings]:
        outstanding = list(relay.client.outbox.sent)
        sent = relay.sent("MESSAGE_SEND")
        match happening:
            case "send":
                relay.send()
                count += 1
            case "ack" if outstanding:
                relay.ack(outstanding[0])
            case "limit" if sent:
                relay.error("RATE_LIMITED", sent[-1][1], retry_after=2)
            case "fault" if sent:
                relay.error("INTERNAL_ERROR", sent[-1][1])
            case "keys" if sent:
                relay.error("KEY_MISMATCH", sent[-1][1])
            case "fail" if sent:
                relay.error("FORBIDDEN", sent[-1][1])
            case "answer" if relay.all(Fetch):
                relay.respond(200, b"{}")
            case "lose":
                relay.lose()
            case "join":
                relay.do(relay.client.connect(relay.now))
                relay.open()
                relay.challenge()
                relay.success()
            case _:
                relay.advance(3 * S)
        box = relay.client.outbox
        assert box._resends == sum(entry.status == 2 for entry in box.sent.values())
        assert len(box.sent) <= 4
        ends = [e.message_id for e in relay.all(object) if isinstance(e, (Acked, Rejected, Failed))]
        assert len(ends) == len(set(ends))
        assert count == len(ends) + relay.client.unacked
