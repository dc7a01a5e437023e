"""What survives an application's restart: pending sends with their ids, and the rest (R-11.4)."""

from __future__ import annotations

import msgspec
import pytest
from fake_relay import (
    BOB,
    MS,
    T0_MS,
    FakeRelay,
    S,
    message,
)

from zentalk_sim.protocol.client_effects import Connect
from zentalk_sim.protocol.client_records import PendingImage
from zentalk_sim.protocol.client_state import ClientState


def _reborn(relay: FakeRelay, seed: int = 1) -> FakeRelay:
    other = FakeRelay(seed=seed)
    other.now = relay.now
    other.client.restore(relay.client.snapshot())
    return other


@pytest.mark.requirement("R-11.4")
def test_pending_messages_survive_the_applications_restart_with_their_ids() -> None:
    relay = FakeRelay().join()
    sent = [relay.send("first"), relay.send("second")]
    relay.advance(10 * S)
    relay.lose()
    queued = relay.send("queued")
    other = _reborn(relay)
    assert other.state is ClientState.DISCONNECTED
    entries = other.client.outbox.sent
    assert [(e.message_id, e.retry_count, e.max_retries) for e in entries.values()] == [
        (sent[0], 1, 5),
        (sent[1], 0, 5),
    ]
    assert [entry.first_attempt for entry in entries.values()] == [T0_MS * MS] * 2
    other.join()
    other.advance(1 * S)
    assert [frame.id for _, frame in other.sent("MESSAGE_SEND")] == [*sent, queued]
    before = {frame.id: frame.payload for _, frame in relay.sent("MESSAGE_SEND")}
    assert {f.id: f.payload for _, f in other.sent("MESSAGE_SEND") if f.id in before} == before


@pytest.mark.requirement("R-11.4")
def test_the_rest_survives_too_and_no_id_repeats() -> None:
    relay = FakeRelay().join(resume_token="r9")
    relay.new_message(message(1))
    relay.do(relay.client.subscribe(["keys:" + BOB], relay.now))
    relay.do(relay.client.mark_read(message(1)[0], relay.now))
    relay.lose()
    relay.do(relay.client.mark_read(message(2)[0], relay.now))
    relay.do(relay.client.set_presence("away", relay.now))
    other = _reborn(relay)
    other.do(other.client.connect(other.now))
    assert other.new(Connect)[0].query["resume_token"] == "r9"
    other.handshake()
    other.new_message(message(1))
    other.advance(1 * S)
    assert other.shown() == []
    for kind in ("PRESENCE_SET", "SUBSCRIBE"):
        assert len(other.sent(kind)) == 1
    assert [f.payload.message_id for _, f in other.sent("MESSAGE_READ")] == [message(1)[0], message(2)[0]]
    ours = {effect.frame.id for effect in relay.all(object) if hasattr(effect, "frame")}
    theirs = {effect.frame.id for effect in other.all(object) if hasattr(effect, "frame")}
    assert ours.isdisjoint(theirs - {message(1)[0]})


@pytest.mark.requirement("R-3.4")
def test_a_restart_may_resume_the_session_with_its_seq_and_subscriptions() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["a", "b"], relay.now))
    relay.advance(30 * S)
    relay.ping()
    relay.do(relay.client.subscribe(["c"], relay.now))
    relay.lose()
    relay.do(relay.client.unsubscribe(["a"], relay.now))
    other = _reborn(relay)
    other.do(other.client.connect(other.now))
    other.handshake(resumed=True)
    frames = [frame for frame in other.frames() if frame.type != "AUTH_RESPONSE"]
    assert [(frame.type, frame.payload.topics) for frame in frames] == [("UNSUBSCRIBE", ("a",)), ("SUBSCRIBE", ("c",))]
    assert [frame.seq for frame in frames] == [4, 5]


def test_a_snapshot_does_not_disturb_and_both_go_on_alike() -> None:
    relay = FakeRelay()
    relay.send("before")
    other = _reborn(relay)
    assert relay.send("after") == other.send("after")
    one, two = relay.client.outbox.queue[-1], other.client.outbox.queue[-1]
    assert PendingImage.of(one) == PendingImage.of(two)


def test_an_unused_clients_snapshot_restores_to_an_unused_client() -> None:
    relay = FakeRelay()
    other = _reborn(relay)
    assert other.client.unacked == 0
    other.join()


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a snapshot", msgspec.msgpack.encode({"version": 1})])
def test_restoring_other_bytes_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a client's snapshot"):
        FakeRelay().client.restore(data)


def test_restoring_another_version_or_into_a_used_client_is_refused() -> None:
    relay = FakeRelay()
    image = msgspec.msgpack.decode(relay.client.snapshot())
    image["version"] = 99
    with pytest.raises(ValueError, match="version 99"):
        FakeRelay().client.restore(msgspec.msgpack.encode(image))
    with pytest.raises(ValueError, match="make a new one"):
        relay.join().client.restore(relay.client.snapshot())
