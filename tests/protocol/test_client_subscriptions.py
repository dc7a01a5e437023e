"""Subscriptions of the client: sent once, restored after a reconnection, refused, bounded (R-7.2)."""

from __future__ import annotations

import pytest
from fake_relay import FakeRelay, S, config

from zentalk_sim.protocol.client_effects import Failed, Rejected


def topics(relay: FakeRelay) -> list[tuple[str, tuple[str, ...]]]:
    return [(frame.type, frame.payload.topics) for frame in relay.frames() if "SUBSCRIBE" in frame.type]


@pytest.mark.requirement("R-7.2")
def test_subscriptions_are_sent_once_and_taken_back() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["a", "b"], relay.now))
    relay.do(relay.client.subscribe(["b", "c"], relay.now))
    relay.do(relay.client.unsubscribe(["a", "never"], relay.now))
    assert topics(relay) == [("SUBSCRIBE", ("a", "b")), ("SUBSCRIBE", ("c",)), ("UNSUBSCRIBE", ("a",))]


@pytest.mark.requirement("R-3.4")
def test_subscriptions_are_restored_after_a_reconnection_that_did_not_resume() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["a", "b"], relay.now))
    relay.advance(30 * S)
    relay.ping()
    relay.new(object)
    relay.rejoin(resumed=True)
    assert topics(relay) == []
    relay.lose()
    relay.do(relay.client.unsubscribe(["a"], relay.now))
    relay.do(relay.client.subscribe(["c"], relay.now))
    relay.wait_for_attempt()
    relay.handshake(resumed=True)
    assert topics(relay) == [("UNSUBSCRIBE", ("a",)), ("SUBSCRIBE", ("c",))]
    relay.rejoin(resumed=False)
    assert topics(relay) == [("SUBSCRIBE", ("b", "c"))]


@pytest.mark.requirement("R-3.4")
def test_what_was_sent_just_before_a_loss_is_sent_again_even_if_resumed() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["a", "b"], relay.now))
    relay.do(relay.client.unsubscribe(["a"], relay.now))
    relay.new(object)
    relay.rejoin(resumed=True)
    assert topics(relay) == [("UNSUBSCRIBE", ("a",)), ("SUBSCRIBE", ("b",))]


@pytest.mark.requirement("R-7.2")
def test_a_frame_names_at_most_100_topics_and_a_session_1000() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe([f"t{n}" for n in range(250)], relay.now))
    assert [len(names) for _, names in topics(relay)] == [100, 100, 50]
    relay.do(relay.client.subscribe([f"u{n}" for n in range(751)], relay.now))
    assert relay.new(object) == [Rejected("", "too_many_topics")]
    relay.do(relay.client.subscribe([f"u{n}" for n in range(750)], relay.now))
    assert len(topics(relay)) == 8


@pytest.mark.requirement("R-11.5")
@pytest.mark.parametrize("code", ["RATE_LIMITED", "INTERNAL_ERROR"])
def test_a_subscription_refused_for_now_is_sent_again_after_the_pause(code: str) -> None:
    relay = FakeRelay(config(backoff={"jitter": 0, "base_ms": 5000})).join()
    relay.do(relay.client.subscribe(["a"], relay.now))
    relay.error(code, relay.sent("SUBSCRIBE")[-1][1], retry_after=5)
    relay.do(relay.client.subscribe(["b"], relay.now))
    relay.new(object)
    relay.advance(5 * S - 1)
    assert topics(relay) == []
    relay.advance(1)
    assert topics(relay) == [("SUBSCRIBE", ("a", "b"))]
    relay.do(relay.client.unsubscribe(["a"], relay.now))
    relay.error(code, relay.sent("UNSUBSCRIBE")[-1][1], retry_after=5)
    relay.new(object)
    relay.advance(10 * S)
    assert topics(relay) == [("UNSUBSCRIBE", ("a",))]


@pytest.mark.requirement("R-7.2")
def test_a_subscription_refused_for_good_is_reported_and_not_restored() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["presence:stranger"], relay.now))
    frame = relay.sent("SUBSCRIBE")[-1][1]
    relay.error("FORBIDDEN", frame)
    assert relay.new(Failed) == [Failed(frame.id, "FORBIDDEN", 0)]
    relay.rejoin()
    assert topics(relay) == []
    relay.do(relay.client.subscribe(["a"], relay.now))
    relay.do(relay.client.unsubscribe(["a"], relay.now))
    relay.error("FORBIDDEN", relay.sent("UNSUBSCRIBE")[-1][1])
    assert relay.client.signals.topics == {}


def test_only_the_last_subscriptions_are_remembered_for_errors() -> None:
    relay = FakeRelay().join()
    for n in range(40):
        relay.do(relay.client.subscribe([f"t{n}"], relay.now))
    relay.error("FORBIDDEN", relay.sent("SUBSCRIBE")[0][1])
    assert relay.new(Failed) == []


# --- closing -----------------------------------------------------------------------------------------
