"""Fault rules in an experiment: what each action does to simulated devices, and what each field of a match picks out.

Every case runs in both fidelities, which must agree to the digest: rules decide alike whether frames travel by
reference or as bytes.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from tests.model.support import Outcome, run, run_for, world
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.faults.verdicts import ACTIONS
from zentalk_sim.faults.vocabulary import CORRUPTIONS
from zentalk_sim.model.rest_line import RestLine
from zentalk_sim.model.ruled_rest_line import RuledRestLine
from zentalk_sim.model.ruled_socket import RuledSocket
from zentalk_sim.model.websocket import WebSocket
from zentalk_sim.model.world import START_US

Rules = list[dict[str, Any]]
FIDELITIES = ("frames", "wire")
FUTURE = {"type": "FROM_THE_FUTURE"}


def rule(match: dict[str, Any], do: str, *, times: int | None = None, **parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"match": match, "action": {"do": do, **parameters}, "comment": f"test {do}"}
    return found if times is None else {**found, "times": times}


def played(faults: Rules, fidelity: str = "frames", **changes: Any) -> Outcome:
    """Two users with a device each write to each other for 40 s."""
    return run(
        **{
            "fidelity": fidelity,
            "duration": "40s",
            "population": {"devices": 2},
            "workload": {"messages": {"rate_per_device": "30/min"}},
            **changes,
            "faults": faults,
        }
    )


@cache
def undisturbed() -> Outcome:
    return played([])


NAP = {"at": "10s", "do": "device_offline", "devices": 1, "for": "10s"}
"""Who comes back from it fetches what it missed over REST."""

CASES: dict[str, tuple[Rules, dict[str, int]]] = {
    "drop out": (
        [rule({"type": "MESSAGE_ACK", "nth": 3}, "drop")],
        {"messages.resent": 1, "messages.sent_again": 1, "messages.unacked": 0},
    ),
    "drop in": (
        [rule({"type": "MESSAGE_SEND", "nth": 2}, "drop")],
        {"messages.resent": 1, "messages.sent_again": 0, "messages.unacked": 0},
    ),
    "duplicate out": ([rule({"type": "MESSAGE_NEW", "nth": 2}, "duplicate")], {"messages.duplicate": 1}),
    "duplicate in": ([rule({"type": "MESSAGE_SEND", "nth": 2}, "duplicate")], {"errors.INVALID_MESSAGE": 1}),
    "replace": (
        [rule({"type": "MESSAGE_SEND", "nth": 2}, "replace", frame="this is no JSON")],
        {"errors.INVALID_MESSAGE": 1, "messages.resent": 1, "messages.unacked": 0},
    ),
    "inject": ([rule({"type": "MESSAGE_ACK", "nth": 2}, "inject", frame=FUTURE)], {"frames.ignored": 1}),
    "inject at the opening": ([rule({"event": "connected"}, "inject", frame=FUTURE)], {"frames.ignored": 2}),
    "close": (
        [rule({"type": "MESSAGE_SEND", "nth": 3}, "close", code=1001)],
        {"connections.closed.1001": 1, "connections.attempted": 3, "messages.unacked": 0},
    ),
    "close with another code": (
        [rule({"event": "connected"}, "close", code=1012, times=1)],
        {"connections.closed.other": 1, "connections.attempted": 3},
    ),
    "abort": (
        [rule({"type": "MESSAGE_SEND", "nth": 3}, "abort")],
        {"connections.closed.1006": 1, "connections.lost.operator": 1, "connections.attempted": 3},
    ),
    "error": (
        [rule({"type": "MESSAGE_SEND", "nth": 2}, "error", error_code="SERVICE_UNAVAILABLE", retry_after=1)],
        {"client.errors.SERVICE_UNAVAILABLE": 1, "errors.SERVICE_UNAVAILABLE": 0, "messages.unacked": 0},
    ),
    "refuse": (
        [rule({"event": "upgrade"}, "refuse", status=503, times=2)],
        {"connections.attempted": 4, "connections.authenticated": 2, "upgrades.refused": 0},
    ),
    "error at the upgrade": (
        [rule({"event": "upgrade", "nth": 1}, "error", error_code="RATE_LIMITED", retry_after=3)],
        {"connections.attempted": 3, "connections.authenticated": 2},
    ),
    "stall": (
        [rule({"event": "upgrade"}, "stall", times=1)],
        {"client.connections.connect_timeout": 1, "connections.authenticated": 2},
    ),
    "blackhole at the upgrade": (
        [rule({"event": "upgrade"}, "blackhole", times=1)],
        {"client.connections.connect_timeout": 1, "connections.authenticated": 2},
    ),
    "abort at the upgrade": (
        [rule({"event": "upgrade"}, "abort", times=1)],
        {"connections.attempted": 3, "connections.authenticated": 2},
    ),
    "refuse a fetch": (
        [NAP, rule({"event": "rest", "method": "GET", "path": "/api/mess*"}, "refuse", status=500, times=1)],
        {"sync.request_failed": 1},
    ),
    "error at a fetch": (
        [NAP, rule({"event": "rest", "path": "/api/messages"}, "error", error_code="SERVICE_UNAVAILABLE", times=1)],
        {"sync.request_failed": 1},
    ),
    "abort a fetch": ([NAP, rule({"event": "rest"}, "abort", times=1)], {"sync.request_failed": 1}),
    "pass": (
        [rule({"user": "user-0"}, "pass"), rule({"type": "MESSAGE_SEND"}, "drop")],
        {"messages.failed": 0},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_action_must_do_the_same_in_both_fidelities(name: str) -> None:
    faults, expected = CASES[name]
    frames, wire = (played(faults, fidelity) for fidelity in FIDELITIES)
    assert frames.results.digest == wire.results.digest
    assert {count: frames.counts[count] for count in expected} == expected
    fired = [fault["action"]["do"] for fault in faults if "action" in fault]
    assert all(frames.counts[f"faults.fired.{do}"] > 0 for do in fired)
    assert frames.results.digest != undisturbed().results.digest


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_message_spoilt_on_its_way_in_must_be_told_and_sent_again(kind: str, fidelity: str) -> None:
    found = played([rule({"type": "MESSAGE_SEND", "nth": 2}, "corrupt", kind=kind)], fidelity).counts
    assert found["faults.fired.corrupt"] == 1
    told = "connections.closed.1007" if kind == "bad_utf8" else "errors.INVALID_MESSAGE"
    assert found[told] == 1
    assert found["messages.unacked"] == 0
    assert found["messages.resent"] + found["messages.failed"] == 1


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_ack_spoilt_on_its_way_out_must_be_no_ack(kind: str, fidelity: str) -> None:
    """The client must not take it for one; text that is not UTF-8 it must answer with 1007."""
    found = played([rule({"type": "MESSAGE_ACK", "nth": 2}, "corrupt", kind=kind)], fidelity).counts
    assert found["messages.resent"] == 1
    assert found["messages.unacked"] == 0
    assert found["connections.closed.1007"] == (kind == "bad_utf8")


def test_every_action_has_a_case() -> None:
    """Those whose effect is a matter of time have tests of their own below."""
    told = {fault["action"]["do"] for faults, _ in CASES.values() for fault in faults if "action" in fault}
    assert told | {"corrupt", "delay", "reorder", "throttle", "slow_close", "blackhole"} == set(ACTIONS)


# --- what takes time ------------------------------------------------------------------------------------------------


def delays_ms(outcome: Outcome) -> list[float]:
    """From sending to showing, in the order of sending."""
    rows = sorted(outcome.messages, key=lambda row: row["sent_us"])
    return [(row["shown_us"] - row["sent_us"]) / 1000 for row in rows if row["shown_us"] is not None]


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("kind", ["MESSAGE_SEND", "MESSAGE_NEW"])
def test_a_delayed_message_must_come_that_much_later(kind: str, fidelity: str) -> None:
    late = delays_ms(played([rule({"type": kind, "nth": 5}, "delay", ms=300, jitter_ms=100)], fidelity))
    prompt = delays_ms(undisturbed())
    (longest,) = (ms for ms in late if ms > max(prompt))
    assert min(prompt) + 300 <= longest <= max(prompt) + 400


def test_order_must_be_kept_behind_a_delayed_frame() -> None:
    """All that follows waits: nothing of that connection arrives before it."""
    found = played([rule({"event": "frame_in", "user": "user-0", "after_ms": 10_000}, "delay", ms=5000, times=1)])
    assert found.counts["messages.sent_again"] == found.counts["errors.INVALID_MESSAGE"] == 0
    waited = [ms for ms in delays_ms(found) if ms > 100]
    assert len(waited) > 1
    assert waited == sorted(waited, reverse=True), "what was sent later waited less, and left at the same instant"


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_reordered_message_must_wait_for_the_next_frame(fidelity: str) -> None:
    outcome = played([rule({"type": "MESSAGE_NEW", "nth": 3}, "reorder")], fidelity)
    assert outcome.counts["messages.shown"] == outcome.counts["messages.sent"]
    assert sum(ms > max(delays_ms(undisturbed())) for ms in delays_ms(outcome)) == 1


@pytest.mark.requirement("R-8.1")
@pytest.mark.requirement("R-8.3")
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_in_half_open_silence_each_side_must_find_out_by_itself(fidelity: str) -> None:
    faults = [rule({"event": "frame_in", "device": "device-0", "after_ms": 5000}, "blackhole", times=1)]
    found = played(faults, fidelity, duration="4m", workload={"messages": {"rate_per_device": "2/min"}})
    assert found.counts["client.connections.silence"] == 1
    assert found.counts["connections.lost.heartbeat"] == 1
    assert found.counts["heartbeats.missed"] == 3
    assert found.counts["connections.authenticated"] == 3


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_slow_close_must_end_later_whoever_begins(fidelity: str) -> None:
    faults = [
        rule({"event": "connected", "user": "user-0"}, "slow_close", ms=3000, times=1),
        rule({"event": "connected", "user": "user-0", "after_ms": 10_000}, "close", code=1012, times=1),
        {"at": "25s", "do": "device_offline", "devices": 2, "how": "orderly"},
    ]
    outcome = played([*faults, rule({"event": "connected"}, "slow_close", ms=1000)], fidelity)
    rows = sorted(outcome.connections, key=lambda row: row["start_us"])
    ended = [(row["close_code"], (row["end_us"] - row["upgraded_us"]) // 1_000_000) for row in rows]
    assert (1012, 13) in ended
    assert [row["end_us"] - START_US for row in rows if row["close_code"] == 1000] == pytest.approx(
        [26_000_000] * 2, abs=10_000
    )


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_throttled_frames_must_take_their_bytes_time(fidelity: str) -> None:
    """A MESSAGE_NEW has some 400 bytes and more: at 2000 a second it takes 0.2 s at least, and nothing is lost."""
    faults = [rule({"event": "connected", "user": "user-1"}, "throttle", bytes_per_s=4000)]
    outcome = played(faults, fidelity, workload={"messages": {"rate_per_device": "6/min"}})
    to_throttled = [row for row in outcome.messages if row["pushed_us"] is not None and row["shown_us"] is not None]
    slow = [row["shown_us"] - row["pushed_us"] for row in to_throttled]
    assert outcome.counts["messages.unacked"] == 0
    assert sum(us > 50_000 for us in slow) > 2
    assert (
        outcome.results.digest
        == played(faults, "frames", workload={"messages": {"rate_per_device": "6/min"}}).results.digest
    )


@pytest.mark.requirement("R-12.4")
def test_what_a_rule_holds_back_must_count_towards_the_outbox() -> None:
    outcome = played(
        [rule({"event": "frame_out", "user": "user-1", "after_ms": 2000}, "delay", ms=30_000)],
        relay={"outbox": {"max_frames": 5}},
    )
    assert outcome.counts["connections.slow_consumer"] >= 1


@pytest.mark.requirement("R-12.4")
def test_what_a_rule_holds_back_on_its_way_in_must_pause_reading() -> None:
    outcome = played(
        [rule({"event": "frame_in", "user": "user-1", "type": "MESSAGE_SEND"}, "delay", ms=8000, times=1)],
        relay={"outbox": {"max_frames": 4}},
        workload={"messages": {"rate_per_device": "60/min"}},
    )
    assert outcome.counts["connections.reading_paused"] == 1
    assert outcome.counts["messages.acked"] > 40, "reading went on"


@pytest.mark.parametrize("do", ["delay", "stall"])
def test_a_fetch_held_up_must_be_answered_later_or_given_up(do: str) -> None:
    action = {"ms": 2000} if do == "delay" else {}
    outcome = played([NAP, rule({"event": "rest"}, do, times=1, **action)], duration="60s")
    assert outcome.counts["sync.request_failed"] == (do == "stall")
    assert outcome.counts["messages.shown"] == outcome.counts["messages.sent"]


def test_a_node_that_crashes_must_take_what_was_held_back_with_it() -> None:
    faults = [
        rule({"event": "frame_in", "after_ms": 5000}, "delay", ms=10_000),
        rule({"event": "frame_out", "after_ms": 5000}, "delay", ms=10_000),
        {"at": "15s", "do": "restart_node", "node": 0},
    ]
    outcome = played(faults, duration="2m")
    assert outcome.counts["connections.authenticated"] > 2


# --- what matches ---------------------------------------------------------------------------------------------------

MATCHES: dict[str, tuple[dict[str, Any], int]] = {
    "event": ({"event": "frame_in", "type": "AUTH_RESPONSE"}, 2),
    "type": ({"type": "AUTH_SUCCESS"}, 2),
    "user": ({"type": "AUTH_SUCCESS", "user": "user-1"}, 1),
    "device": ({"type": "AUTH_SUCCESS", "device": "device-1"}, 1),
    "connection": ({"type": "AUTH_SUCCESS", "connection": 1}, 1),
    "nth": ({"type": "MESSAGE_SEND", "nth": 7}, 1),
    "payload": ({"type": "MESSAGE_SEND", "payload": {"message_type": "image"}}, 0),
    "probability": ({"type": "MESSAGE_SEND", "probability": 0.0}, 0),
    "after_ms": ({"type": "AUTH_SUCCESS", "after_ms": 1000}, 0),
}


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("name", MATCHES)
def test_a_match_must_pick_out_what_it_says(name: str, fidelity: str) -> None:
    match, count = MATCHES[name]
    outcome = played([rule(match, "pass")], fidelity)
    assert outcome.counts["faults.fired.pass"] == count
    assert outcome.results.assumptions[-1].startswith("Fault rules that never fired: test pass") == (count == 0)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_every_and_payload_must_count_what_they_match(fidelity: str) -> None:
    sent = undisturbed().counts["messages.sent"]
    every = rule({"type": "MESSAGE_SEND", "payload": {"message_type": "text"}, "every": 5}, "pass")
    assert played([every], fidelity).counts["faults.fired.pass"] == sent // 5
    to = undisturbed().messages[0]["recipient"]
    mine = sum(row["recipient"] == to for row in undisturbed().messages)
    found = played(
        [rule({"type": "MESSAGE_SEND", "payload": {"to": to.upper().replace("0X", "0x")}}, "pass")], fidelity
    )
    assert found.counts["faults.fired.pass"] == mine > 0


def test_a_user_is_met_by_name_and_by_address() -> None:
    address, device = undisturbed().messages[0]["recipient"], undisturbed().messages[0]["device"]
    for match in ({"user": address}, {"device": device}):
        assert played([rule({"type": "AUTH_SUCCESS", **match}, "pass")]).counts["faults.fired.pass"] == 1


def test_after_ms_at_connected_must_strike_at_its_instant() -> None:
    outcome = played([rule({"event": "connected", "user": "user-0", "after_ms": 7000}, "abort", times=1)])
    (row,) = (row for row in outcome.connections if row["close_code"] == 1006)
    assert row["end_us"] - row["upgraded_us"] == pytest.approx(7_000_000, abs=5_000)


def test_chance_must_be_determined_by_the_seed_and_by_nothing_else() -> None:
    lossy = rule({"type": "MESSAGE_READ", "probability": 0.3}, "drop")
    reads = {"messages": {"rate_per_device": "30/min"}, "reads": {"probability": 1}}
    first, again = (played([lossy], workload=reads) for _ in range(2))
    assert first.results.digest == again.results.digest
    dropped, all_read = first.counts["faults.fired.drop"], played([], workload=reads).counts["messages.read"]
    assert 0.1 < dropped / all_read < 0.5
    other = played([lossy], workload=reads, seed=2)
    assert other.results.digest != first.results.digest


def test_a_rule_more_must_move_no_others_chances_and_no_fault() -> None:
    """Nor does a rule before a timed fault: those keep their streams."""
    lossy = rule({"type": "MESSAGE_READ", "probability": 0.3}, "drop")
    chance = rule({"event": "frame_in", "type": "PONG", "probability": 0.5}, "pass")
    reset = {"at": "20s", "do": "reset_connections", "fraction": 0.5}
    reads = {"messages": {"rate_per_device": "30/min"}, "reads": {"probability": 1}}
    one = played([lossy, reset], workload=reads)
    two = played([lossy, chance, reset], workload=reads)
    assert one.messages == two.messages
    assert one.connections == two.connections


# --- at no cost -----------------------------------------------------------------------------------------------------


def test_a_world_without_rules_must_know_nothing_of_them() -> None:
    """The plain classes are at work, untouched: the choice is made once, when the world is made."""
    made = world()
    run_for(made, 5)
    assert made.rules is None
    assert {type(device.socket) for device in made.devices} == {WebSocket}
    assert (made.socket_type, made.rest_line_type) == (WebSocket, RestLine)
    ruled = world(faults=[rule({"type": "PING"}, "pass")])
    run_for(ruled, 5)
    assert {type(device.socket) for device in ruled.devices} == {RuledSocket}
    assert ruled.rest_line_type is RuledRestLine


def test_rules_that_never_fire_must_change_no_row() -> None:
    quiet = played([rule({"event": "frame_in", "type": "MESSAGE_SEND", "nth": 10_000}, "drop")])
    plain = undisturbed()
    assert (quiet.messages, quiet.connections) == (plain.messages, plain.connections)


# --- files ----------------------------------------------------------------------------------------------------------


def test_an_experiment_with_rules_must_be_written_as_it_was_read() -> None:
    faults = [
        {"at": "3s", "do": "reset_connections"},
        rule({"type": "PONG", "nth": 2}, "replace", frame={"type": "PONG", "payload": {"timestamp": 1}}),
        rule({}, "close", code=1001, reason="going away", times=3),
        rule({"payload": {"details.reason": "burst", "topics[0]": "presence"}, "user": "user-1"}, "pass"),
    ]
    experiment = from_mapping({"name": "x", "faults": faults})
    mapping = json.loads(json.dumps(experiment.to_mapping()))
    assert from_mapping(mapping) == experiment
    assert [fault.get("match") for fault in mapping["faults"][1:]] == [fault["match"] for fault in faults[1:]]
    assert len(experiment.rules) == 3
    assert len(experiment.timed_faults) == 1
