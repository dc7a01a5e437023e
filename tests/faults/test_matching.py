"""Matching: every field for itself, and what is said of entries that nearly match."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.faults.matching import Difference, FaultEvent, Matcher, Miss, matching, nearest_misses
from zentalk_sim.faults.rules import Match, parse_journal_match, parse_match

ALICE = "0x" + "a1" * 20
BOB = "0x" + "b0" * 20
DEVICE = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
SENT = FaultEvent(
    event="frame_in",
    now_us=12_000_000,
    opened_us=10_000_000,
    connection=7,
    user=ALICE,
    names=("alice", "al"),
    device=DEVICE,
    type="MESSAGE_SEND",
    payload={
        "to": BOB,
        "message_type": "text",
        "x3dh_header": {"one_time_key_id": 4, "ok": True},
        "list": [{"a": 1}, [5, 6], None],
    },
)
CALLED = FaultEvent(event="rest", now_us=1, method="POST", path="/api/messages/ack", payload=[{"id": 3}])


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"event": "frame_in"},
        {"type": "MESSAGE_SEND"},
        {"user": "alice"},
        {"user": "al"},
        {"user": ALICE},
        {"user": ALICE.upper().replace("X", "x")},
        {"device": DEVICE},
        {"device": DEVICE.upper()},
        {"connection": 7},
        {"connection": "7"},
        {"after_ms": 0},
        {"after_ms": 2000},
        {"payload": {"to": BOB}},
        {"payload": {"to": BOB.upper().replace("X", "x")}},
        {"payload": {"x3dh_header.one_time_key_id": 4}},
        {"payload": {"x3dh_header.one_time_key_id": 4.0}},
        {"payload": {"x3dh_header": {"one_time_key_id": 4}}},
        {"payload": {"list[0].a": 1, "list[1][1]": 6, "list[2]": None}},
        {"payload": {"list": [{"a": 1}, [5, 6], None]}},
    ],
)
def test_what_an_event_is_matches(match: dict[str, Any]) -> None:
    matcher = Matcher(parse_match(match))
    assert matcher.holds(SENT)
    assert matcher.differences(SENT) == []


@pytest.mark.parametrize(
    ("match", "path", "wanted", "got"),
    [
        ({"event": "frame_out"}, "event", "frame_out", "frame_in"),
        ({"type": "PING"}, "type", "PING", "MESSAGE_SEND"),
        ({"user": "bob"}, "user", "bob", "alice"),
        ({"user": "ALICE"}, "user", "ALICE", "alice"),
        ({"user": BOB}, "user", BOB, "alice"),
        ({"device": "x"}, "device", "x", DEVICE),
        ({"connection": 8}, "connection", 8, 7),
        ({"after_ms": 2001}, "after_ms", 2001, 2000),
        ({"method": "GET"}, "method", "GET", None),
        ({"path": "/api*"}, "path", "/api*", None),
        ({"payload": {"to": ALICE}}, "payload.to", ALICE, BOB),
        ({"payload": {"message_type": "TEXT"}}, "payload.message_type", "TEXT", "text"),
        ({"payload": {"x3dh_header": {"one_time_key_id": 5}}}, "payload.x3dh_header.one_time_key_id", 5, 4),
        ({"payload": {"x3dh_header.ok": 1}}, "payload.x3dh_header.ok", 1, True),
        ({"payload": {"list[3]": None}}, "payload.list[3]", None, None),
        ({"payload": {"list[0]": {"a": 2}}}, "payload.list[0].a", 2, 1),
        ({"payload": {"list[1]": [5]}}, "payload.list[1]", [5], [5, 6]),
        ({"payload": {"to.x": 1}}, "payload.to.x", 1, None),
        ({"payload": {"absent": {}}}, "payload.absent", {}, None),
    ],
)
def test_what_an_event_is_not_is_told_as_a_difference(match: dict[str, Any], path: str, wanted: Any, got: Any) -> None:
    matcher = Matcher(parse_match(match))
    assert not matcher.holds(SENT)
    assert matcher.differences(SENT) == [Difference(path, wanted, got)]


def test_all_differences_are_told() -> None:
    match = parse_match({"type": "PING", "user": "bob", "payload": {"to": "x", "message_type": "text"}})
    assert [difference.path for difference in Matcher(match).differences(SENT)] == ["type", "user", "payload.to"]


def test_a_rest_call_is_matched_by_method_path_and_body() -> None:
    for path in ("/api/messages/ack", "/api/messages/*", "*"):
        assert Matcher(Match(path=path, method="POST", payload={"[0].id": 3})).holds(CALLED)
    assert not Matcher(Match(path="/api/messages")).holds(CALLED)
    assert not Matcher(Match(method="GET")).holds(CALLED)


def test_an_event_without_a_user_or_payload_matches_none() -> None:
    for match in ({"user": "alice"}, {"payload": {"to": None}}, {"after_ms": 0}, {"connection": "None"}):
        assert not Matcher(parse_match(match)).holds(FaultEvent(event="upgrade", now_us=0)), match


def test_after_ms_at_connected_is_an_instant() -> None:
    """A connected rule fires once, at its own instant, and one without after_ms at the opening only."""
    later = Matcher(Match(event="connected", after_ms=5000))
    at_once = Matcher(Match(event="connected"))
    for now_us, is_due, is_opening in ((0, False, True), (4_999_999, False, False), (5_000_000, True, False)):
        event = FaultEvent(event="connected", now_us=now_us, opened_us=0)
        assert later.holds(event) is is_due
        assert at_once.holds(event) is is_opening
    assert not later.holds(FaultEvent(event="connected", now_us=5_000_001, opened_us=0))


def test_a_journals_entry_is_matched_as_a_rule_matches_its_event() -> None:
    entry = {
        "n": 4,
        "t_ms": 12_000,
        "event": "frame_out",
        "direction": "out",
        "connection": 7,
        "user": BOB,
        "device": DEVICE,
        "type": "MESSAGE_NEW",
        "frame": {"type": "MESSAGE_NEW", "payload": {"from": ALICE}},
        "rule": {"id": "rule-2", "comment": "lost"},
    }
    event = FaultEvent.of_entry(entry, names=("bob",), opened_us=10_000_000)
    for raw in (
        {"event": "frame_out", "direction": "out", "type": "MESSAGE_NEW", "user": "bob", "after_ms": 2000},
        {"payload": {"from": ALICE}, "rule": "lost"},
        {"rule": "rule-2"},
    ):
        assert Matcher(parse_journal_match(raw)).holds(event), raw
    closed = FaultEvent.of_entry({"event": "closed", "t_ms": 1, "close_code": 4002, "rule": "rule-1"})
    assert Matcher(Match(event="closed", close_code=4002, rule="rule-1")).holds(closed)
    differences = Matcher(Match(close_code=1000, direction="in", rule="rule-9")).differences(closed)
    assert differences == [
        Difference("direction", "in", None),
        Difference("close_code", 1000, 4002),
        Difference("rule", "rule-9", "rule-1"),
    ]
    assert msgspec.json.encode(differences[1]) == b'{"path":"close_code","wanted":1000,"got":4002}'


def frames(*types: str) -> list[FaultEvent]:
    return [FaultEvent(event="frame_in", now_us=0, type=kind) for kind in types]


def test_nth_and_every_count_what_matches_the_rest() -> None:
    events = frames("PONG", "MESSAGE_SEND", "PONG", "PONG", "MESSAGE_SEND", "PONG")
    assert matching(events, Match(type="PONG")) == [0, 2, 3, 5]
    assert matching(events, Match(type="PONG", nth=3)) == [3]
    assert matching(events, Match(type="PONG", every=2)) == [2, 5]
    assert matching(events, Match(type="PONG", nth=5)) == []


def test_the_nearest_misses_come_nearest_first_and_never_match() -> None:
    reads = [
        FaultEvent(event="frame_out", now_us=0, type="PING"),
        FaultEvent(event="frame_in", now_us=0, type="MESSAGE_READ", names=("bob",), payload={"message_id": "1"}),
        FaultEvent(event="frame_in", now_us=0, type="MESSAGE_READ", names=("alice",), payload={"message_id": "2"}),
        FaultEvent(event="frame_in", now_us=0, type="MESSAGE_READ", names=("alice",), payload={"message_id": "1"}),
        FaultEvent(event="frame_in", now_us=0, type="MESSAGE_RECEIVED", names=("alice",), payload={"message_id": "1"}),
        FaultEvent(event="frame_in", now_us=0, type="MESSAGE_READ", names=("bob",), payload={"message_id": "2"}),
    ]
    wanted = Match(event="frame_in", type="MESSAGE_READ", user="alice", payload={"message_id": "1"})
    assert matching(reads, wanted) == [3]
    assert nearest_misses(reads, wanted, limit=4) == [
        Miss(1, (Difference("user", "alice", "bob"),)),
        Miss(2, (Difference("payload.message_id", "1", "2"),)),
        Miss(5, (Difference("user", "alice", "bob"), Difference("payload.message_id", "1", "2"))),
        Miss(4, (Difference("type", "MESSAGE_READ", "MESSAGE_RECEIVED"),)),
    ]
    assert [miss.index for miss in nearest_misses(reads, wanted)] == [1, 2, 5]


def test_of_a_frame_that_never_came_other_frames_are_nearer_than_what_is_no_frame() -> None:
    events = [FaultEvent(event="connected", now_us=0, names=("alice",)), *frames("PONG")]
    assert [miss.index for miss in nearest_misses(events, Match(type="MESSAGE_READ"))] == [1, 0]


def test_a_miss_by_number_alone_says_which_it_was() -> None:
    found = nearest_misses(frames("PONG", "PONG"), Match(type="PONG", nth=3))
    assert found == [Miss(0, (Difference("nth", 3, 1),)), Miss(1, (Difference("nth", 3, 2),))]
    assert nearest_misses(frames("PONG"), Match(every=2)) == [Miss(0, (Difference("every", 2, 1),))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", BOB]),
    lambda some: st.lists(some, max_size=2) | st.dictionaries(st.sampled_from("abc"), some, max_size=2),
)


@given(JSON, st.dictionaries(st.sampled_from(["a", "b.a", "[0]", "a[1].c"]), JSON, max_size=2))
def test_to_match_is_to_have_no_difference(payload: Any, wanted: dict[str, Any]) -> None:
    matcher = Matcher(parse_match({"payload": wanted}))
    event = FaultEvent(event="frame_in", now_us=0, payload=payload)
    assert matcher.holds(event) is (matcher.differences(event) == [])


@given(st.dictionaries(st.sampled_from("abc"), JSON))
def test_a_payload_matches_itself(payload: dict[str, Any]) -> None:
    assert Matcher(parse_match({"payload": payload})).holds(FaultEvent(event="frame_in", now_us=0, payload=payload))
