"""KEY_MISMATCH: the client fetches the bundle, retries once, and fails what cannot be keyed."""

from __future__ import annotations

import msgspec
import pytest
from fake_relay import BOB, FakeRelay, S, config

from zentalk_sim.protocol.client_effects import Failed, Fetch, NeedRekey
from zentalk_sim.protocol.frames import Frame, X3dhHeader
from zentalk_sim.protocol.pending import REKEY

QUICK = {"jitter": 0}


def texts(relay: FakeRelay) -> list[str]:
    return [frame.payload.ciphertext.decode() for _, frame in relay.sent("MESSAGE_SEND")]


def last(relay: FakeRelay) -> Frame:
    return relay.sent("MESSAGE_SEND")[-1][1]


HEADER = X3dhHeader(identity_key=b"\x00" * 32, ephemeral_key=b"\x01" * 32, one_time_key_id=1)


@pytest.mark.requirement("R-11.5")
@pytest.mark.parametrize(
    ("body", "key_id"),
    [
        ({"identityKey": "x", "oneTimePreKey": {"id": 42, "key": "y"}}, 42),
        ({"oneTimePreKey": None}, msgspec.UNSET),
        ({"oneTimePreKey": {"id": True}}, msgspec.UNSET),
        ([], msgspec.UNSET),
    ],
)
@pytest.mark.parametrize("by_reference", [False, True])
def test_key_mismatch_fetches_the_bundle_and_retries_once(body: object, key_id: object, by_reference: bool) -> None:
    relay = FakeRelay().join()
    message_id = relay.send(x3dh_header=HEADER)
    relay.error("KEY_MISMATCH", last(relay))
    assert [e for e in relay.new(object) if isinstance(e, (NeedRekey, Fetch))] == [
        NeedRekey(BOB, message_id),
        Fetch(1, "GET", f"/api/keys/{BOB}"),
    ]
    relay.respond(200, body if by_reference else msgspec.json.encode(body))
    header = last(relay).payload.x3dh_header
    assert (last(relay).id, header.one_time_key_id) == (message_id, key_id)
    assert header.identity_key == relay.client.public_key()
    assert header.ephemeral_key == HEADER.ephemeral_key
    relay.error("KEY_MISMATCH", last(relay))
    assert relay.new(Failed) == [Failed(message_id, "KEY_MISMATCH", 1)]


@pytest.mark.requirement("R-11.5")
def test_key_mismatch_without_a_header_sends_the_same_again() -> None:
    relay = FakeRelay().join()
    relay.send()
    relay.error("KEY_MISMATCH", last(relay))
    relay.respond(200, b"not json")
    (_, first), (_, second) = relay.sent("MESSAGE_SEND")
    assert second.payload == first.payload


def test_an_unreadable_bundle_leaves_the_pre_key_out() -> None:
    relay = FakeRelay().join()
    relay.send(x3dh_header=HEADER)
    relay.error("KEY_MISMATCH", last(relay))
    relay.respond(200, b"\xff{")
    assert last(relay).payload.x3dh_header.one_time_key_id is msgspec.UNSET


def test_key_mismatch_of_a_user_without_keys_fails() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.error("KEY_MISMATCH", last(relay))
    relay.respond(404, b"{}")
    assert relay.new(Failed) == [Failed(message_id, "KEY_MISMATCH", 0)]


def test_a_bundle_that_cannot_be_had_now_is_asked_for_again_after_a_backoff() -> None:
    relay = FakeRelay(config(backoff=QUICK)).join()
    message_id = relay.send()
    for k in range(5):
        relay.error("KEY_MISMATCH", last(relay))
        relay.respond(0)
        relay.advance(2**k * S)
        relay.ping()
    assert len(relay.sent("MESSAGE_SEND")) == 6
    relay.error("KEY_MISMATCH", last(relay))
    relay.respond(503)
    assert relay.new(Failed) == [Failed(message_id, "KEY_MISMATCH", 5)]


def test_a_request_without_an_answer_counts_as_failed_after_30_s() -> None:
    relay = FakeRelay(config(backoff=QUICK)).join()
    relay.send()
    relay.error("KEY_MISMATCH", last(relay))
    relay.advance(30 * S)
    assert len(relay.sent("MESSAGE_SEND")) == 1
    relay.advance(1 * S)
    assert len(relay.sent("MESSAGE_SEND")) == 2
    relay.respond(200, b"{}")
    assert len(relay.sent("MESSAGE_SEND")) == 2


def test_a_message_that_waits_for_keys_goes_on_waiting_over_a_reconnection() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.error("KEY_MISMATCH", last(relay))
    relay.rejoin()
    relay.advance(1 * S)
    assert relay.client.outbox.sent[message_id].status == REKEY
    relay.respond(200, b"{}")
    assert len(relay.sent("MESSAGE_SEND")) == 2


def test_keys_for_a_message_acknowledged_meanwhile_change_nothing() -> None:
    relay = FakeRelay().join()
    message_id = relay.send()
    relay.error("KEY_MISMATCH", last(relay))
    relay.ack(message_id)
    relay.respond(200, b"{}")
    assert len(relay.sent("MESSAGE_SEND")) == 1
