"""Fault rules at ``frame_in`` and ``frame_out``: every action on a frame, over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mockrelay.fault_support import advance, rule, waiting, written
from tests.mockrelay.live_support import connected, frozen, masked, raw_upgraded, run, serving, user_of

SENT = {"event": "frame_in", "type": "MESSAGE_SEND"}
ACKED = {"event": "frame_out", "type": "MESSAGE_ACK"}
PROBE = {"type": "PROBE", "payload": {"n": 1}}


# --- what happens to one frame -----------------------------------------------------------------------


@pytest.mark.requirement("R-1.3")
def test_a_dropped_frame_in_must_never_reach_the_core() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "drop", times=1)
            lost = await alice.message(user_of(relay, "bob"))
            second = await alice.message(user_of(relay, "bob"))
            assert (await alice.until("MESSAGE_ACK"))["payload"]["message_id"] == second
            entry = (await written(relay, **SENT))[0]
            assert entry["frame"]["id"] == lost
            assert entry["rule"] == {"id": "rule-1", "do": "drop", "number": 1, "comment": "test drop"}
            assert relay.driver.relay.store.messages.get(lost) is None

    run(body())


@pytest.mark.requirement("R-1.3")
def test_a_dropped_frame_out_must_have_used_its_seq() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, {**ACKED, "nth": 2}, "drop")
            seqs = []
            for _ in range(3):
                sent = await alice.message(user_of(relay, "bob"))
            while (ack := await alice.until("MESSAGE_ACK"))["payload"]["message_id"] != sent:
                seqs.append(ack["seq"])
            assert ack["seq"] == seqs[0] + 2, "the lost ACK has taken a number"
            assert len(seqs) == 1

    run(body())


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_delayed_frame_must_wait_by_the_spaces_clock_and_keep_what_follows_behind_it(direction: str) -> None:
    async def body() -> None:
        async with serving("alice", "bob", clock=frozen()) as relay, connected(relay, "alice") as alice:
            rule(relay, SENT if direction == "in" else ACKED, "delay", times=1, ms=1000)
            first = await alice.message(user_of(relay, "bob"))
            second = await alice.message(user_of(relay, "bob"))
            await written(relay, 2, **(SENT if direction == "in" else ACKED))
            assert waiting(relay, alice, direction) == 2, "the second waits behind the first"
            await advance(relay, 999)
            assert waiting(relay, alice, direction) == 2
            await advance(relay, 1)
            assert waiting(relay, alice, direction) == 0
            acks = [(await alice.until("MESSAGE_ACK"))["payload"]["message_id"] for _ in range(2)]
            assert acks == [first, second]

    run(body())


@pytest.mark.parametrize("direction", ["in", "out"])
def test_jitter_must_add_at_most_its_width(direction: str) -> None:
    async def body() -> None:
        async with serving("alice", "bob", clock=frozen()) as relay, connected(relay, "alice") as alice:
            rule(relay, SENT if direction == "in" else ACKED, "delay", ms=100, jitter_ms=400)
            await alice.message(user_of(relay, "bob"))
            await written(relay, **(SENT if direction == "in" else ACKED))
            await advance(relay, 100)
            assert waiting(relay, alice, direction) == 1, "of this seed, the jitter is not 0"
            await advance(relay, 400)
            await alice.until("MESSAGE_ACK")

    run(body())


def test_a_duplicated_frame_in_must_reach_the_core_twice() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "duplicate", times=1)
            sent = await alice.message(user_of(relay, "bob"))
            acks = [(await alice.until("MESSAGE_ACK"))["payload"] for _ in range(2)]
            assert [ack["message_id"] for ack in acks] == [sent, sent]
            assert [ack["status"] for ack in acks] == ["queued", "duplicate"]

    run(body())


def test_a_duplicated_frame_out_must_come_twice_with_the_same_bytes() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, ACKED, "duplicate", times=1)
            await alice.message(user_of(relay, "bob"))
            assert await alice.until("MESSAGE_ACK") == await alice.next()

    run(body())


@pytest.mark.parametrize("match", [SENT, ACKED])
def test_reorder_must_let_the_next_frame_pass_first(match: dict[str, str]) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, match, "reorder", times=1)
            first, second, third = [await alice.message(user_of(relay, "bob")) for _ in range(3)]
            acks = [(await alice.until("MESSAGE_ACK"))["payload"]["message_id"] for _ in range(3)]
            assert acks == [second, first, third]

    run(body())


def test_a_frame_held_back_must_pass_before_the_close_that_follows_it() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay:
            rule(relay, SENT, "reorder")
            async with connected(relay, "alice") as alice:
                sent = await alice.message(user_of(relay, "bob"))
            async with connected(relay, "bob") as bob:
                assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1
            assert relay.driver.relay.store.messages.get(sent) is not None

    run(body())


@pytest.mark.parametrize("kind", ["bad_json", "truncate"])
def test_a_corrupted_frame_in_must_be_refused_as_malformed(kind: str) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "corrupt", times=1, kind=kind)
            await alice.message(user_of(relay, "bob"))
            error = (await alice.until("ERROR"))["payload"]
            assert (error["error_code"], error["details"]["reason"]) == ("INVALID_MESSAGE", "malformed")
            entry = (await written(relay, **SENT))[0]
            assert entry["wire"][0]["text"] != json.dumps(entry["frame"])

    run(body())


@pytest.mark.requirement("R-1.5")
def test_bad_utf8_in_must_end_in_1007() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "corrupt", kind="bad_utf8")
            await alice.message(user_of(relay, "bob"))
            await alice.ws.wait_closed()
            assert alice.ws.close_code == 1007

    run(body())


@pytest.mark.parametrize("kind", ["bit_flip", "truncate", "bad_json", "bad_utf8", "wrong_type"])
def test_a_corrupted_frame_out_must_differ_and_the_next_be_whole(kind: str) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, raw_upgraded(relay) as peer:
            rule(relay, {"event": "frame_out", "type": "AUTH_FAILED"}, "corrupt", kind=kind)
            peer.writer.write(masked(1, b"{}"))
            _, spoilt = await peer.frame()
            entry = (await written(relay, event="frame_out", type="AUTH_FAILED"))[0]
            assert entry["frame"]["payload"]["error_code"] == "UNAUTHORIZED"
            assert spoilt != json.dumps(entry["frame"], separators=(",", ":")).encode()
            assert entry["rule"]["do"] == "corrupt"
            assert (await peer.frame())[0] == 8

    run(body())


@pytest.mark.parametrize("frame", [PROBE, json.dumps(PROBE)])
def test_a_replaced_frame_out_must_be_what_the_rule_says(frame: Any) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, ACKED, "replace", times=1, frame=frame)
            await alice.message(user_of(relay, "bob"))
            got = await alice.next()
            assert (got["type"], got["payload"]) == ("PROBE", {"n": 1})
            assert ("id" in got) == isinstance(frame, dict), "an object is completed, a text goes as it stands"

    run(body())


def test_a_replaced_frame_in_must_be_what_the_core_hears() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "replace", times=1, frame=PROBE)
            await alice.message(user_of(relay, "bob"))
            error = (await alice.until("ERROR"))["payload"]
            assert (error["details"]["reason"], error["original_type"]) == ("unknown_type", "PROBE")

    run(body())


def test_an_injected_frame_must_follow_the_one_that_came() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "inject", times=1, frame=PROBE)
            rule(relay, ACKED, "inject", times=1, frame=PROBE)
            await alice.message(user_of(relay, "bob"))
            assert [(await alice.next())["type"] for _ in range(3)] == ["MESSAGE_ACK", "PROBE", "ERROR"]

    run(body())


def test_an_error_must_answer_in_the_place_of_processing() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, SENT, "error", times=2, error_code="RATE_LIMITED", retry_after=7)
            seqs = []
            for _ in range(2):
                sent = await alice.message(user_of(relay, "bob"))
                frame = await alice.next()
                error = frame["payload"]
                seqs.append(frame["seq"])
                assert (frame["type"], error["error_code"]) == ("ERROR", "RATE_LIMITED")
                assert error["details"]["retry_after"] == 7
                assert (error["original_type"], error["original_id"]) == ("MESSAGE_SEND", sent)
                assert error["request_id"].startswith("req_")
            assert seqs[1] == seqs[0] + 1
            sent = await alice.message(user_of(relay, "bob"))
            assert (await alice.next())["payload"]["message_id"] == sent, "it recovers"

    run(body())


# --- which frames ------------------------------------------------------------------------------------


def test_pass_must_be_an_exception_from_the_rules_behind_it() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, {**SENT, "nth": 1}, "pass")
            rule(relay, SENT, "drop")
            first = await alice.message(user_of(relay, "bob"))
            await alice.message(user_of(relay, "bob"))
            assert (await alice.until("MESSAGE_ACK"))["payload"]["message_id"] == first
            entries = await written(relay, 2, **SENT)
            assert [entry["rule"]["do"] for entry in entries] == ["pass", "drop"]

    run(body())


def test_a_payload_a_user_and_every_must_be_matched() -> None:
    async def body() -> None:
        async with serving("alice", "bob", "carol") as relay, connected(relay, "alice") as alice:
            bob, carol = user_of(relay, "bob"), user_of(relay, "carol")
            rule(relay, {**SENT, "user": "alice", "payload": {"to": bob.address}, "every": 2}, "drop")
            kept = [await alice.message(bob), await alice.message(carol)]
            await alice.message(bob)
            kept.append(await alice.message(bob))
            acks = [(await alice.until("MESSAGE_ACK"))["payload"]["message_id"] for _ in range(3)]
            assert acks == kept

    run(body())


def test_chance_must_follow_from_the_seed() -> None:
    async def passed(seed: int) -> list[int]:
        limits = {"send_message": "off"}
        relay = serving("alice", "bob", seed=seed, settings={"limits": limits})
        async with relay, connected(relay, "alice") as alice:
            rule(relay, {**SENT, "probability": 0.5}, "drop")
            sent = [await alice.message(user_of(relay, "bob")) for _ in range(20)]
            await written(relay, 20, **SENT)
            store = relay.driver.relay.store
            return [number for number, ident in enumerate(sent) if store.messages.get(ident) is not None]

    first, again, other = run(passed(3)), run(passed(3)), run(passed(4))
    assert first == again
    assert first != other
    assert 0 < len(first) < 20
