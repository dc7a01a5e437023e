"""Reading rules: every action and match, every refusal with its place and remedy, and nothing else than RuleFaults."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from zentalk_sim.faults.reading import RuleFaults
from zentalk_sim.faults.rules import (
    Match,
    Rule,
    parse_journal_match,
    parse_match,
    parse_rule,
    parse_rules,
    to_builtins,
)
from zentalk_sim.faults.verdicts import (
    ACTIONS,
    Abort,
    Blackhole,
    CloseWith,
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    ErrorAnswer,
    Inject,
    Pass,
    Refuse,
    Reorder,
    Replace,
    SlowClose,
    Stall,
    Throttle,
    name_of,
)
from zentalk_sim.faults.vocabulary import ACTIONS_AT, CORRUPTIONS, ERROR_CODES, EVENTS, FRAME_TYPES

FRAME = {"type": "PING", "payload": {"timestamp": 1}}
EVERY_ACTION: list[tuple[dict[str, Any], Any]] = [
    ({"do": "pass"}, Pass()),
    ({"do": "refuse", "status": 503}, Refuse(503)),
    ({"do": "stall"}, Stall()),
    ({"do": "drop"}, Drop()),
    ({"do": "delay", "ms": 200}, Delay(200)),
    ({"do": "delay", "ms": 200, "jitter_ms": 50}, Delay(200, 50)),
    ({"do": "duplicate"}, Duplicate()),
    ({"do": "reorder"}, Reorder()),
    *[({"do": "corrupt", "kind": kind}, Corrupt(kind)) for kind in CORRUPTIONS],
    ({"do": "replace", "frame": FRAME}, Replace(FRAME)),
    ({"do": "replace", "frame": "no JSON"}, Replace("no JSON")),
    ({"do": "inject", "frame": FRAME}, Inject(FRAME)),
    ({"do": "close", "code": 4002}, CloseWith(4002)),
    ({"do": "close", "code": 1001, "reason": "going away"}, CloseWith(1001, "going away")),
    ({"do": "abort"}, Abort()),
    ({"do": "blackhole"}, Blackhole()),
    ({"do": "slow_close", "ms": 3000}, SlowClose(3000)),
    ({"do": "throttle", "bytes_per_s": 1024}, Throttle(1024)),
    *[({"do": "error", "error_code": code}, ErrorAnswer(code)) for code in ERROR_CODES],
    ({"do": "error", "error_code": "RATE_LIMITED", "retry_after": 7}, ErrorAnswer("RATE_LIMITED", 7)),
]


def faults_of(raw: object) -> list[tuple[str, str]]:
    with pytest.raises(RuleFaults) as caught:
        parse_rule(raw)
    return caught.value.faults


def fault_of(raw: object) -> tuple[str, str]:
    faults = faults_of(raw)
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(("action", "expected"), EVERY_ACTION, ids=[str(list(a.values())) for a, _ in EVERY_ACTION])
def test_every_action_is_read_and_written_back(action: dict[str, Any], expected: object) -> None:
    rule = parse_rule({"match": {}, "action": action})
    assert rule.action == expected
    assert to_builtins(rule) == {"match": {}, "action": action}


def test_no_action_is_left_out_above() -> None:
    assert {action["do"] for action, _ in EVERY_ACTION} == set(ACTIONS)


def test_every_match_field_is_read_and_written_back() -> None:
    match: dict[str, Any] = {
        "event": "frame_in",
        "type": "MESSAGE_SEND",
        "user": "alice",
        "device": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "connection": 17,
        "nth": 3,
        "probability": 0.25,
        "payload": {"to": "bob", "x3dh_header.one_time_key_id": None, "list[2].name": [1, {"a": True}]},
        "after_ms": 5000,
    }
    raw = {"match": match, "action": {"do": "drop"}, "times": 2, "comment": "a lost message"}
    rule = parse_rule(raw)
    assert rule == Rule(Match(**match), Drop(), 2, "a lost message")
    assert to_builtins(rule) == raw
    rest = {"event": "rest", "method": "POST", "path": "/api/messages", "every": 2}
    assert parse_match(rest) == Match(event="rest", method="POST", path="/api/messages", every=2)


def test_every_frame_type_can_be_matched_without_naming_its_event() -> None:
    for kind in FRAME_TYPES:
        rule = parse_rule({"match": {"type": kind}, "action": {"do": "drop"}})
        assert set(rule.events) <= {"frame_in", "frame_out"}
        assert rule.events


@pytest.mark.parametrize("event", EVENTS)
def test_an_action_is_taken_exactly_at_the_events_of_the_table(event: str) -> None:
    done: dict[str, dict[str, Any]] = {action["do"]: action for action, _ in EVERY_ACTION}
    for do, action in done.items():
        raw = {"match": {"event": event}, "action": action}
        if do in ACTIONS_AT[event]:
            assert parse_rule(raw).events == (event,)
        else:
            place, message = fault_of(raw)
            assert place == "action.do"
            assert f"`{do}` cannot be done at `{event}`" in message
            assert message.endswith(", ".join(ACTIONS_AT[event])), "must list what can be done there"


def test_null_means_not_said() -> None:
    raw = {"match": {"type": None, "nth": None}, "action": {"do": "delay", "ms": 1, "jitter_ms": None}, "times": None}
    assert to_builtins(parse_rule(raw)) == {"match": {}, "action": {"do": "delay", "ms": 1}}


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "place", "right"),
    [
        ({"tpye": "PING"}, "match.tpye", "type"),
        ({"afterMs": 3}, "match.afterMs", "after_ms"),
        ({"event": "frame-in"}, "match.event", "frame_in"),
        ({"event": "conected"}, "match.event", "connected"),
        ({"type": "MESAGE_ACK"}, "match.type", "MESSAGE_ACK"),
        ({"type": "message_ack"}, "match.type", "MESSAGE_ACK"),
        ({"method": "get"}, "match.method", "GET"),
    ],
)
def test_a_mistyped_name_in_a_match_is_refused_with_the_nearest(match: object, place: str, right: str) -> None:
    found, message = fault_of({"match": match, "action": {"do": "pass"}})
    assert found == place
    assert f"did you mean `{right}`?" in message


@pytest.mark.parametrize(
    ("action", "place", "right"),
    [
        ({"do": "dorp"}, "action.do", "drop"),
        ({"do": "black-hole"}, "action.do", "blackhole"),
        ({"do": "delay", "ms": 1, "jiter_ms": 1}, "action.jiter_ms", "jitter_ms"),
        ({"do": "corrupt", "kind": "bad_utf_8"}, "action.kind", "bad_utf8"),
        ({"do": "error", "error_code": "RATE_LIMIT"}, "action.error_code", "RATE_LIMITED"),
        ({"do": "refuse", "status": 503, "stats": 1}, "action.stats", "status"),
    ],
)
def test_a_mistyped_name_in_an_action_is_refused_with_the_nearest(action: object, place: str, right: str) -> None:
    found, message = fault_of({"match": {}, "action": action})
    assert found == place
    assert f"did you mean `{right}`?" in message


def test_a_name_like_no_other_is_answered_with_all_there_are() -> None:
    _, message = fault_of({"match": {"event": "zzz"}, "action": {"do": "pass"}})
    assert message.endswith("known: upgrade, connected, frame_in, frame_out, rest")


def test_all_faults_are_reported_at_once() -> None:
    faults = faults_of(
        {
            "match": {"event": "frame_inn", "type": "PINK", "nth": 0, "user": 7, "payload": {"a..b": 1}, "x": 1},
            "action": {"do": "delay", "jitter_ms": -1},
            "times": True,
            "coment": "",
        }
    )
    assert [place for place, _ in faults] == [
        "coment",
        "match.x",
        "match.event",
        "match.type",
        "match.nth",
        "match.user",
        "match.payload.a..b",
        "action.ms",
        "action.jitter_ms",
        "times",
    ]


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (None, "rule"),
        ({"match": {}, "action": {"do": "drop"}, 10**5000: 1}, "a number of more than 18 digits"),
        ({"match": {"payload": {7: 1}}, "action": {"do": "drop"}}, "match.payload.7"),
        ({"match": {"user": "a" * 1001}, "action": {"do": "drop"}}, "match.user"),
        ({"match": {"payload": {"a": b"x"}}, "action": {"do": "drop"}}, "match.payload.a"),
        ({"match": {"payload": {"a": {"b": "\ud800"}}}, "action": {"do": "drop"}}, "match.payload.a.b"),
        ([], "rule"),
        ({"match": {}, "action": "drop"}, "action"),
        ({"match": [], "action": {"do": "drop"}}, "match"),
        ({"match": {}, "action": {}}, "action.do"),
        ({"match": {}, "action": {"do": 7}}, "action.do"),
        ({"action": {"do": "drop"}}, "match"),
        ({"match": {}}, "action"),
        ({"match": {}, "action": {"do": "drop"}, "times": 0}, "times"),
        ({"match": {}, "action": {"do": "drop"}, "times": 1.5}, "times"),
        ({"match": {}, "action": {"do": "drop"}, "id": "rule-1"}, "id"),
        ({"match": {"nth": True}, "action": {"do": "drop"}}, "match.nth"),
        ({"match": {"nth": 2, "every": 2}, "action": {"do": "drop"}}, "match.every"),
        ({"match": {"probability": 1.01}, "action": {"do": "drop"}}, "match.probability"),
        ({"match": {"probability": float("nan")}, "action": {"do": "drop"}}, "match.probability"),
        ({"match": {"probability": True}, "action": {"do": "drop"}}, "match.probability"),
        ({"match": {"connection": -1}, "action": {"do": "drop"}}, "match.connection"),
        ({"match": {"user": ""}, "action": {"do": "drop"}}, "match.user"),
        ({"match": {"payload": "to"}, "action": {"do": "drop"}}, "match.payload"),
        ({"match": {"payload": {"payload.to": 1}}, "action": {"do": "drop"}}, "match.payload.payload.to"),
        ({"match": {"payload": {"a[x]": 1}}, "action": {"do": "drop"}}, "match.payload.a[x]"),
        ({"match": {"payload": {"a": float("inf")}}, "action": {"do": "drop"}}, "match.payload.a"),
        ({"match": {"payload": {"a": {1: 2}}}, "action": {"do": "drop"}}, "match.payload.a"),
        ({"match": {"payload": {"a": 2**64}}, "action": {"do": "drop"}}, "match.payload.a"),
        ({"match": {"after_ms": -1}, "action": {"do": "drop"}}, "match.after_ms"),
        ({"match": {}, "action": {"do": "delay", "ms": "5s"}}, "action.ms"),
        ({"match": {}, "action": {"do": "throttle", "bytes_per_s": 0}}, "action.bytes_per_s"),
        ({"match": {}, "action": {"do": "refuse", "status": 200}}, "action.status"),
        ({"match": {}, "action": {"do": "refuse", "status": 599}}, "action.status"),
        ({"match": {}, "action": {"do": "close", "code": 999}}, "action.code"),
        ({"match": {}, "action": {"do": "close", "code": 1005}}, "action.code"),
        ({"match": {}, "action": {"do": "close", "code": 1000, "reason": "ä" * 62}}, "action.reason"),
        ({"match": {}, "action": {"do": "inject", "frame": 7}}, "action.frame"),
        ({"match": {}, "action": {"do": "error"}}, "action.error_code"),
    ],
)
def test_what_is_no_rule_is_refused_at_its_place(raw: object, place: str) -> None:
    assert fault_of(raw)[0] == place


def test_1006_is_refused_with_the_way_to_get_it() -> None:
    _, message = fault_of({"match": {}, "action": {"do": "close", "code": 1006}})
    assert "`do: abort` gives 1006" in message


def test_an_action_written_as_a_name_is_answered_with_the_object_it_should_be() -> None:
    assert 'write {"do": "drop"}' in fault_of({"match": {}, "action": "drop"})[1]


def test_a_frame_nested_beyond_reason_is_refused() -> None:
    frame: dict[str, Any] = {}
    for _ in range(5000):
        frame = {"a": frame}
    assert "nested deeper" in fault_of({"match": {}, "action": {"do": "inject", "frame": frame}})[1]


@pytest.mark.parametrize(
    ("match", "action", "place"),
    [
        ({"event": "frame_in", "type": "MESSAGE_ACK"}, {"do": "drop"}, "match.type"),
        ({"event": "frame_out", "type": "MESSAGE_SEND"}, {"do": "drop"}, "match.type"),
        ({"event": "upgrade", "type": "PING"}, {"do": "stall"}, "match.type"),
        ({"event": "upgrade", "after_ms": 3}, {"do": "stall"}, "match.after_ms"),
        ({"event": "rest", "connection": 3}, {"do": "stall"}, "match.connection"),
        ({"event": "connected", "payload": {"a": 1}}, {"do": "abort"}, "match.payload"),
        ({"event": "frame_in", "path": "/api"}, {"do": "abort"}, "match.path"),
        ({"type": "PING"}, {"do": "refuse", "status": 503}, "match"),
        ({"type": "MESSAGE_ACK"}, {"do": "error", "error_code": "FORBIDDEN"}, "match"),
        ({"type": "PING", "method": "GET"}, {"do": "delay", "ms": 1}, "match"),
    ],
)
def test_a_rule_that_could_never_fire_is_refused(match: object, action: object, place: str) -> None:
    assert fault_of({"match": match, "action": action})[0] == place


def test_rules_of_a_file_are_named_by_their_number() -> None:
    good = {"match": {}, "action": {"do": "abort"}}
    assert parse_rules([good, good]) == [parse_rule(good)] * 2
    with pytest.raises(RuleFaults) as caught:
        parse_rules([good, {"match": {"nth": 0}, "action": {"do": "drop"}}, 7], "faults")
    assert [place for place, _ in caught.value.faults] == ["faults[1].match.nth", "faults[2]"]
    assert str(caught.value).startswith("faults[1].match.nth: must be a whole number")
    with pytest.raises(RuleFaults, match="must be a list of rules"):
        parse_rules(good)


def test_a_journal_match_takes_the_journals_own_events_and_fields() -> None:
    match = parse_journal_match({"event": "push", "user": "bob", "direction": "out", "close_code": 4002, "rule": "x"})
    assert match == Match(event="push", user="bob", direction="out", close_code=4002, rule="x")
    assert parse_journal_match({"event": "frame_in", "type": "PING"}).type == "PING", "what never was can be asked for"
    assert parse_journal_match({"event": "bot"}, events=("bot",)).event == "bot"
    for raw, place in (
        ({"probability": 0.5}, "match.probability"),
        ({"event": "pull"}, "match.event"),
        ({"type": "PINGG"}, "match.type"),
        ({"close_code": "x"}, "match.close_code"),
        (7, "match"),
    ):
        with pytest.raises(RuleFaults) as caught:
            parse_journal_match(raw)
        assert [where for where, _ in caught.value.faults] == [place]
    with pytest.raises(RuleFaults, match="no such field"):
        parse_match({"close_code": 4002})


# --- any value ---------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY = st.recursive(SCALARS, lambda some: st.lists(some, max_size=3) | st.dictionaries(ANY_TEXT, some, max_size=3))
NAMES = [field.name for field in fields(Match)]
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "match": st.dictionaries(st.sampled_from(NAMES), ANY | st.sampled_from([*EVENTS, *FRAME_TYPES]), max_size=3)
        | ANY,
        "action": st.sampled_from([action for action, _ in EVERY_ACTION])
        | st.fixed_dictionaries(
            {"do": st.sampled_from(list(ACTIONS))},
            optional=dict.fromkeys(("ms", "jitter_ms", "kind", "frame", "code", "status", "reason"), ANY),
        ),
        "times": st.integers(-1, 3) | ANY,
        "comment": ANY,
        "extra": ANY,
    },
)


@given(ANY | NEARLY)
def test_any_value_is_a_rule_or_is_refused_at_named_places(raw: object) -> None:
    try:
        rule = parse_rule(raw)
    except RuleFaults as refused:
        assert refused.faults
        assert all(place and message for place, message in refused.faults)
        assert str(refused).encode(), "must be a text that an answer can hold"
        return
    again = msgspec.json.decode(msgspec.json.encode(to_builtins(rule)))
    assert parse_rule(again) == rule
    assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule
    assert rule.events
    assert all(name_of(rule.action) in ACTIONS_AT[event] for event in rule.events)
