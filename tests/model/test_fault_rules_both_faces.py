"""The same rules before a simulated node and before a mock relay: what a client sees must be the same story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stage import Line

from tests.model.ruled_stages import RuledLiveStage, RuledSimulatorStage, RuledStage
from zentalk_sim.protocol.config import RelayConfig

Rules = list[dict[str, Any]]


@pytest.fixture(params=[RuledSimulatorStage, RuledLiveStage], ids=["simulator", "mockrelay"])
def stage(request: pytest.FixtureRequest) -> Iterator[RuledStage]:
    made = request.param(RelayConfig())
    yield made
    made.close()


def pair(stage: RuledStage, rules: Callable[[str, str], Rules]) -> tuple[Line, Line, str]:
    """Alice and Bob, connected under the rules that ``rules`` makes of their addresses; and Bob's address."""
    alice, bob = stage.user("alice"), stage.user("bob")
    stage.rules(rules(alice.address, bob.address))
    lines = alice.connect(), bob.connect()
    for line in lines:
        line.clear()
    return *lines, bob.address


def test_a_dropped_ack_must_be_missing_and_its_seq_used(stage: RuledStage) -> None:
    alice, bob, to = pair(stage, lambda a, b: [{"match": {"type": "MESSAGE_ACK", "nth": 2}, "action": {"do": "drop"}}])
    sent = [alice.message(to) for _ in range(3)]
    alice.settle()
    stage.settle()
    acks = alice.of("MESSAGE_ACK")
    assert [ack["payload"]["message_id"] for ack in acks] == [sent[0], sent[2]]
    assert acks[1]["seq"] - acks[0]["seq"] == 2
    assert [frame["id"] for frame in bob.of("MESSAGE_NEW")] == sent


def test_a_dropped_message_must_never_reach_the_core(stage: RuledStage) -> None:
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_SEND", "user": a}, "action": {"do": "drop"}, "times": 1}]
    )
    alice.message(to)
    kept = alice.message(to)
    stage.settle()
    assert [ack["payload"]["message_id"] for ack in alice.of("MESSAGE_ACK")] == [kept]
    assert [frame["id"] for frame in bob.of("MESSAGE_NEW")] == [kept]


def test_a_duplicate_must_be_the_same_frame_again(stage: RuledStage) -> None:
    alice, bob, to = pair(stage, lambda a, b: [{"match": {"type": "MESSAGE_NEW"}, "action": {"do": "duplicate"}}])
    alice.message(to)
    stage.settle()
    first, second = bob.of("MESSAGE_NEW")
    assert first == second


def test_a_duplicate_sent_must_be_acknowledged_as_one(stage: RuledStage) -> None:
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_SEND"}, "action": {"do": "duplicate"}, "times": 1}]
    )
    sent = alice.message(to)
    stage.settle()
    assert [ack["payload"]["message_id"] for ack in alice.of("MESSAGE_ACK")] == [sent, sent]
    assert len(bob.of("MESSAGE_NEW")) == 1


def test_an_error_must_answer_in_place_of_the_core(stage: RuledStage) -> None:
    action = {"do": "error", "error_code": "RATE_LIMITED", "retry_after": 7}
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_SEND"}, "action": action, "times": 1, "comment": "too much"}]
    )
    sent = alice.message(to)
    stage.settle()
    error = alice.error()
    assert error["error_code"] == "RATE_LIMITED"
    assert error["message"] == "too much"
    assert error["details"] == {"retry_after": 7}
    assert (error["original_type"], error["original_id"]) == ("MESSAGE_SEND", sent)
    assert alice.types() == ["ERROR"]
    bob.nothing()


def test_close_must_close_with_its_code_and_take_the_frame(stage: RuledStage) -> None:
    action = {"do": "close", "code": 4003, "reason": "enough"}
    alice, bob, to = pair(stage, lambda a, b: [{"match": {"type": "MESSAGE_SEND"}, "action": action}])
    alice.message(to)
    alice.expect_close(4003, "enough")
    assert alice.types() == []
    bob.still_open()
    bob.nothing()


def test_abort_must_end_without_a_handshake(stage: RuledStage) -> None:
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_NEW", "user": b}, "action": {"do": "abort"}}]
    )
    alice.message(to)
    alice.expect("MESSAGE_ACK")
    bob.expect_close(1006)
    assert bob.types() == []
    alice.still_open()


def test_refusals_must_answer_the_upgrade(stage: RuledStage) -> None:
    alice = stage.user("alice")
    limited = {"do": "error", "error_code": "RATE_LIMITED", "retry_after": 3}
    stage.rules(
        [
            {"match": {"event": "upgrade", "user": alice.address, "nth": 1}, "action": {"do": "refuse", "status": 503}},
            {"match": {"event": "upgrade", "device": alice.devices[0], "nth": 2}, "action": limited},
        ]
    )
    refused = [alice.open().refused, alice.open().refused]
    assert [found.status for found in refused if found is not None] == [503, 429]
    alice.connect().still_open()


def test_an_opening_may_be_closed_at_once_or_later(stage: RuledStage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    stage.rules(
        [
            {"match": {"event": "connected", "user": alice.address, "nth": 1}, "action": {"do": "close", "code": 1013}},
            {
                "match": {"event": "connected", "user": bob.address, "after_ms": 5000},
                "action": {"do": "close", "code": 1012},
            },
        ]
    )
    alice.open().expect_close(1013)
    line = bob.connect()
    stage.advance(4.9)
    line.still_open()
    stage.advance(0.2)
    line.expect_close(1012)


def test_reorder_must_let_the_next_frame_pass_first(stage: RuledStage) -> None:
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_NEW", "nth": 1}, "action": {"do": "reorder"}}]
    )
    first = alice.message(to)
    stage.settle()
    bob.nothing("MESSAGE_NEW")
    second = alice.message(to)
    stage.settle()
    assert [frame["id"] for frame in bob.of("MESSAGE_NEW")] == [second, first]


def test_what_is_injected_or_replaced_must_be_sent_as_it_stands(stage: RuledStage) -> None:
    frame = {"type": "FROM_THE_FUTURE", "payload": {"n": 1}}
    alice, bob, to = pair(
        stage,
        lambda a, b: [
            {"match": {"type": "MESSAGE_ACK"}, "action": {"do": "inject", "frame": frame}},
            {"match": {"type": "MESSAGE_NEW"}, "action": {"do": "replace", "frame": frame}},
        ],
    )
    alice.message(to)
    stage.settle()
    assert alice.types() == ["MESSAGE_ACK", "FROM_THE_FUTURE"]
    assert bob.types() == ["FROM_THE_FUTURE"]
    (found,) = bob.frames
    assert found["payload"] == {"n": 1}
    assert found["timestamp"] == stage.now_ms() or isinstance(stage, RuledSimulatorStage)


@pytest.mark.parametrize("kind", ["bad_json", "wrong_type", "truncate"])
def test_a_spoilt_frame_must_be_answered_as_malformed(stage: RuledStage, kind: str) -> None:
    alice, bob, to = pair(
        stage, lambda a, b: [{"match": {"type": "TYPING_START"}, "action": {"do": "corrupt", "kind": kind}}]
    )
    alice.send("TYPING_START", {"conversation_id": to})
    stage.settle()
    assert alice.error()["error_code"] == "INVALID_MESSAGE"
    bob.nothing()


def test_text_that_is_not_utf8_must_close_1007(stage: RuledStage) -> None:
    alice, _, to = pair(
        stage, lambda a, b: [{"match": {"type": "MESSAGE_SEND"}, "action": {"do": "corrupt", "kind": "bad_utf8"}}]
    )
    alice.message(to)
    alice.expect_close(1007)


def test_rest_calls_must_be_refused_by_method_path_and_body(stage: RuledStage) -> None:
    alice = stage.user("alice")
    path = {"event": "rest", "method": "GET", "path": "/api/mess*"}
    body = {"event": "rest", "method": "POST", "payload": {"message_ids[0]": "6BA7B810-9dad-41d1-80b4-00c04fd430c8"}}
    away = {"do": "error", "error_code": "SERVICE_UNAVAILABLE", "retry_after": 2}
    stage.rules(
        [
            {"match": path, "action": {"do": "refuse", "status": 500}, "times": 1, "comment": "broken"},
            {"match": body, "action": away, "times": 1},
        ]
    )
    status, answer = alice.rest("GET", "/api/messages")
    assert (status, answer["error_code"], answer["message"]) == (500, "INTERNAL_ERROR", "broken")
    assert alice.rest("GET", "/api/messages")[0] == 200
    asked = {"message_ids": ["6ba7b810-9dad-41d1-80b4-00c04fd430c8"]}
    status, answer = alice.rest("POST", "/api/messages/ack", asked)
    assert (status, answer["error_code"], answer["details"]) == (503, "SERVICE_UNAVAILABLE", {"retry_after": 2})
    assert alice.rest("POST", "/api/messages/ack", asked)[0] == 200
