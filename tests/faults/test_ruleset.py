"""Which rule fires: order, times, nth, every, probability; counters, snapshots, and independence of chances."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.faults.matching import FaultEvent
from zentalk_sim.faults.reading import RuleFaults
from zentalk_sim.faults.ruleset import Ruleset, RulesetState
from zentalk_sim.faults.verdicts import CloseWith, Delay, Drop, Pass, completed, drawn
from zentalk_sim.protocol.streams import Stream, Streams

ACK = FaultEvent(event="frame_out", now_us=0, opened_us=0, type="MESSAGE_ACK")
PING = FaultEvent(event="frame_out", now_us=0, opened_us=0, type="PING")


def stream(name: str = "faults") -> Stream:
    return Streams(1).fresh(name)


def rule(match: dict[str, Any], do: str = "drop", **more: Any) -> dict[str, Any]:
    return {"match": match, "action": {"do": do}, **more}


def fired(ruleset: Ruleset, events: list[FaultEvent], own: Stream | None = None) -> list[str | None]:
    """The ids of the rules that fire, event by event."""
    own = own or stream()
    firings = [ruleset.decide(event, own) for event in events]
    return [None if firing is None else firing.rule.id for firing in firings]


def firing_places(ruleset: Ruleset, count: int, own: Stream | None = None) -> list[int]:
    """The numbers, from 1, of the ACKs at which a rule fires."""
    return [number for number, found in enumerate(fired(ruleset, [ACK] * count, own), 1) if found]


def test_without_rules_everything_passes() -> None:
    assert fired(Ruleset(), [ACK, PING]) == [None, None]


def test_the_first_rule_that_matches_wins() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"type": "PING"}, "pass"))
    ruleset.add(rule({"event": "frame_out"}))
    ruleset.add(rule({"type": "MESSAGE_ACK"}, "abort"))
    own = stream()
    firing = ruleset.decide(PING, own)
    assert firing is not None
    assert firing.verdict == Pass()
    firing = ruleset.decide(ACK, own)
    assert firing is not None
    assert repr(firing) == "Firing(rule-2, Drop(), number=1)"
    assert (firing.rule.id, firing.verdict, firing.number) == ("rule-2", Drop(), 1)


def test_a_rule_that_names_no_event_acts_wherever_its_action_can() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"user": "bob"}, "abort"))
    for event in ("upgrade", "connected", "frame_in", "frame_out", "rest"):
        assert ruleset.has_rules_at(event)
        assert fired(ruleset, [FaultEvent(event=event, now_us=0, opened_us=0, names=("bob",))]) == ["rule-1"]
    ruleset.clear()
    ruleset.add(rule({}, "stall"))
    assert not ruleset.has_rules_at("frame_in")
    assert fired(ruleset, [ACK]) == [None]


def test_an_event_that_is_none_is_an_error_of_the_face() -> None:
    with pytest.raises(KeyError):
        Ruleset().decide(FaultEvent(event="frame", now_us=0), stream())


def test_it_fails_twice_and_then_recovers() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"type": "MESSAGE_ACK"}, times=2))
    assert firing_places(ruleset, 5) == [1, 2]
    assert ruleset.listing()[0]["fired"] == 2


def test_a_spent_rule_leaves_its_place_to_the_next() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({}, times=1))
    ruleset.add(rule({}, "abort", times=1))
    assert fired(ruleset, [ACK] * 3) == ["rule-1", "rule-2", None]


@pytest.mark.parametrize("nth", [1, 2, 7])
def test_nth_fires_at_that_one_alone(nth: int) -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"type": "MESSAGE_ACK", "nth": nth}))
    events = [PING, ACK] * 10
    assert [number for number, found in enumerate(fired(ruleset, events)) if found] == [2 * nth - 1]


@pytest.mark.parametrize(("every", "times"), [(1, None), (3, None), (3, 2)])
def test_every_fires_at_each_of_that_many(every: int, times: int | None) -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"type": "MESSAGE_ACK", "every": every}, times=times))
    assert firing_places(ruleset, 12) == list(range(every, 13, every))[:times]


def test_a_rule_counts_also_what_an_earlier_rule_takes() -> None:
    """The third ACK must be the third ACK, whatever other rules there are."""
    ruleset = Ruleset()
    ruleset.add(rule({"type": "MESSAGE_ACK", "nth": 1}))
    ruleset.add(rule({"type": "MESSAGE_ACK", "nth": 3}, "abort"))
    assert fired(ruleset, [ACK] * 4) == ["rule-1", None, "rule-2", None]


def test_nth_that_falls_to_an_earlier_rule_is_gone() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({}))
    ruleset.add(rule({"nth": 1}, "abort"))
    assert fired(ruleset, [ACK]) == ["rule-1"]
    ruleset.remove("rule-1")
    assert fired(ruleset, [ACK]) == [None]


def test_probability_0_and_1_are_never_and_always() -> None:
    for likelihood, expected in ((0, []), (1, list(range(1, 101)))):
        ruleset = Ruleset()
        ruleset.add(rule({"probability": likelihood}))
        assert firing_places(ruleset, 100) == expected


def test_probability_is_the_share_that_fires() -> None:
    """Over 4000 frames a share of 0.3 must come within four standard deviations (0.029)."""
    ruleset = Ruleset()
    ruleset.add(rule({"probability": 0.3}))
    assert abs(len(firing_places(ruleset, 4000)) / 4000 - 0.3) < 0.029


def test_probability_repeats_with_the_stream_and_only_with_it() -> None:
    def places(name: str) -> list[int]:
        ruleset = Ruleset()
        ruleset.add(rule({"probability": 0.5}))
        return firing_places(ruleset, 60, stream(name))

    assert places("one") == places("one") != places("two")


def test_nth_counts_after_the_draw() -> None:
    """The rest of a rule has its probability in it."""
    ruleset = Ruleset()
    ruleset.add(rule({"probability": 0.5}))
    hits = firing_places(ruleset, 60)
    ruleset = Ruleset()
    ruleset.add(rule({"probability": 0.5, "nth": 4}))
    assert firing_places(ruleset, 60) == hits[3:4]


def test_a_further_rule_does_not_move_anothers_chances() -> None:
    alone, among = Ruleset(), Ruleset()
    for ruleset in (alone, among):
        ruleset.add(rule({"type": "MESSAGE_ACK", "probability": 0.5}))
    among.add({"match": {"probability": 0.9}, "action": {"do": "delay", "ms": 1, "jitter_ms": 90}})
    one, two = stream(), stream()
    events = [ACK, PING] * 50
    expected = fired(alone, events, one)
    assert [found if found == "rule-1" else None for found in fired(among, events, two)] == expected
    assert one.bytes(8) == two.bytes(8), "as many bytes must have been taken"


def test_rules_have_chances_of_their_own() -> None:
    """Of two rules at 0.5, the second must get about half of what the first lets through (200 of 400, ± 4 sd)."""
    ruleset = Ruleset()
    ruleset.add_all([rule({"probability": 0.5}), rule({"probability": 0.5}, "abort")])
    found = fired(ruleset, [ACK] * 800)
    assert abs(found.count("rule-1") - 400) < 57
    assert abs(found.count("rule-2") - 200) < 49


def test_jitter_is_added_within_its_width() -> None:
    ruleset = Ruleset()
    ruleset.add({"match": {}, "action": {"do": "delay", "ms": 100, "jitter_ms": 3}})
    own = stream()
    delays = [firing.verdict for _ in range(200) if (firing := ruleset.decide(ACK, own)) is not None]
    assert {(delay.ms, delay.jitter_ms) for delay in delays if isinstance(delay, Delay)} == {
        (100, 0),
        (101, 0),
        (102, 0),
        (103, 0),
    }
    assert drawn(CloseWith(4002), own) == CloseWith(4002)
    assert drawn(Delay(5), own) == Delay(5)


def test_after_ms_counts_from_the_opening() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"event": "frame_in", "after_ms": 1000}, "blackhole"))
    own = stream()
    for now_us, is_due in ((1_999_999, False), (2_000_000, True), (9_000_000, True)):
        event = FaultEvent(event="frame_in", now_us=now_us, opened_us=1_000_000)
        assert (ruleset.decide(event, own) is not None) is is_due


def test_a_connection_is_closed_some_time_after_its_opening() -> None:
    """The face asks at the opening and at the instants given, and the rule fires once a connection."""
    ruleset = Ruleset()
    ruleset.add(rule({"event": "connected", "after_ms": 5000}, "abort", times=2))
    ruleset.add(rule({"event": "connected", "after_ms": 2000, "user": "bob"}, "abort"))
    ruleset.add(rule({"event": "frame_in", "after_ms": 1}, "abort"))
    own = stream()
    for opened_us in (0, 7_000_000):
        instants = ruleset.connected_instants(opened_us)
        assert instants == [opened_us + 2_000_000, opened_us + 5_000_000]
        asked = [opened_us, *instants]
        found = [ruleset.decide(FaultEvent(event="connected", now_us=at, opened_us=opened_us), own) for at in asked]
        assert [firing and firing.rule.id for firing in found] == [None, None, "rule-1"]
    assert ruleset.connected_instants(0) == [2_000_000], "a spent rule needs no timer"


def test_the_payload_is_wanted_only_where_a_rule_looks_into_it() -> None:
    ruleset = Ruleset()
    ruleset.add(rule({"event": "frame_in"}))
    ruleset.add(rule({"event": "frame_out", "payload": {"status": "queued"}}))
    assert [ruleset.wants_payload(event) for event in ("frame_in", "frame_out", "rest")] == [False, True, False]


# --- changing and keeping ----------------------------------------------------------------------------


def test_rules_are_listed_with_id_and_counters_and_can_be_removed() -> None:
    ruleset = Ruleset()
    first = ruleset.add(rule({"type": "MESSAGE_ACK", "nth": 2}, comment="lost"))
    ruleset.add(rule({"type": "PING"}))
    fired(ruleset, [ACK, ACK, ACK])
    assert first.id == "rule-1"
    assert ruleset.listing()[0] == {
        "id": "rule-1",
        "match": {"type": "MESSAGE_ACK", "nth": 2},
        "action": {"do": "drop"},
        "comment": "lost",
        "matched": 3,
        "fired": 1,
    }
    assert ruleset.remove("rule-1")
    assert not ruleset.remove("rule-1")
    assert [found.id for found in ruleset.rules] == ["rule-2"]
    assert ruleset.clear() == 1
    assert len(ruleset) == 0
    assert ruleset.add(rule({})).id == "rule-3", "an id must not come twice"


def test_a_refused_rule_changes_nothing() -> None:
    ruleset = Ruleset()
    with pytest.raises(RuleFaults):
        ruleset.add(rule({"nth": 0}))
    with pytest.raises(RuleFaults):
        ruleset.add_all([rule({}), rule({"nth": 0})])
    assert len(ruleset) == 0
    assert [found.id for found in ruleset.add_all([rule({}), rule({})])] == ["rule-1", "rule-2"]


RULES = st.lists(
    st.builds(
        lambda match, times: rule(match, times=times),
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["MESSAGE_ACK", "PING"]),
                "probability": st.sampled_from([0.3, 0.7]),
                "connection": st.sampled_from([1, "1"]),
                "payload": st.just({"a.b": [1, None]}),
            },
        ).flatmap(
            lambda match: st.sampled_from([match, {**match, "nth": 2}, {**match, "every": 2}]),
        ),
        st.none() | st.integers(1, 3),
    ),
    max_size=4,
)
EVENTS = st.lists(
    st.builds(
        lambda kind, payload: FaultEvent("frame_out", 0, 0, connection=1, type=kind, payload=payload),
        st.sampled_from(["MESSAGE_ACK", "PING"]),
        st.sampled_from([None, {"a": {"b": [1, None]}}]),
    ),
    max_size=12,
)


@given(RULES, EVENTS, EVENTS)
def test_a_restored_ruleset_goes_on_alike(
    rules: list[dict[str, Any]], before: list[FaultEvent], after: list[FaultEvent]
) -> None:
    ruleset = Ruleset()
    ruleset.add_all(rules)
    own, other = stream(), stream()
    fired(ruleset, before, own)
    other.bytes(16 * len(before))
    kept = msgspec.json.encode(ruleset.snapshot())
    restored = Ruleset.restored(msgspec.json.decode(kept, type=RulesetState))
    assert restored.listing() == ruleset.listing()
    assert fired(restored, after, other) == fired(ruleset, after, own)
    assert restored.snapshot() == ruleset.snapshot()
    assert restored.add(rule({})).id == ruleset.add(rule({})).id


@given(RULES, EVENTS)
def test_no_rule_fires_more_often_than_it_may(rules: list[dict[str, Any]], events: list[FaultEvent]) -> None:
    ruleset = Ruleset()
    ruleset.add_all(rules)
    found = [one for one in fired(ruleset, events) if one]
    for state in ruleset.snapshot().rules:
        assert state.fired == found.count(state.rule.id) <= state.matched
        assert state.rule.times is None or state.fired <= state.rule.times
        assert state.rule.match.nth is None or state.fired <= 1


# --- frames to send ----------------------------------------------------------------------------------


def test_a_frame_to_inject_is_completed_and_keeps_what_it_says() -> None:
    own = stream()
    frame = completed({"type": "PING"}, 5_000_999, own)
    assert list(frame) == ["type", "id", "timestamp", "payload"]
    assert (frame["type"], frame["timestamp"], frame["payload"], len(frame["id"])) == ("PING", 5000, {}, 36)
    wrong: dict[str, object] = {"id": 7, "timestamp": None, "payload": [], "seq": 3}
    assert completed(wrong, 0, own) == wrong
    assert completed("no JSON", 0, own) == "no JSON"
