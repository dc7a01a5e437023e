"""The journal by itself: numbers, bounds, searching, waiting; with a clock of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockrelay.journal import JOURNAL_EVENTS, Entry, Journal, Party
from tests.mockrelay.live_support import run
from zentalk_sim.faults import Match, parse_journal_match
from zentalk_sim.protocol.effects import ClearPush, Note, Push

ALICE = Party(1, "0x" + "a1" * 20, "6ba7b810-9dad-41d1-80b4-00c04fd430c8")
BOB = Party(2, "0x" + "b0" * 20, "6ba7b811-9dad-41d1-80b4-00c04fd430c8")
NAMES = {ALICE.user or "": "alice", BOB.user or "": "bob"}


def journal(**bounds: Any) -> Journal:
    return Journal(lambda: 5_000_000, names=NAMES, **bounds)


def match(**wanted: Any) -> Match:
    return parse_journal_match(wanted, JOURNAL_EVENTS)


def frame(kind: str, **payload: Any) -> bytes:
    return json.dumps({"type": kind, "id": "x", "timestamp": 1, "payload": payload}).encode()


def shown(log: Journal) -> list[dict[str, Any]]:
    return [entry.as_json() for entry in log.entries()]


def test_an_entry_must_have_the_names_of_the_contract() -> None:
    log = journal()
    log.write("frame_in", ALICE, frame("MESSAGE_SEND", to="bob"))
    log.write("closed", BOB, facts={"direction": "out", "close_code": 4001})
    assert shown(log) == [
        {
            "n": 1,
            "t_ms": 5000,
            "event": "frame_in",
            "direction": "in",
            "connection": 1,
            "user": ALICE.user,
            "device": ALICE.device,
            "type": "MESSAGE_SEND",
            "frame": {"type": "MESSAGE_SEND", "id": "x", "timestamp": 1, "payload": {"to": "bob"}},
        },
        {
            "n": 2,
            "t_ms": 5000,
            "event": "closed",
            "direction": "out",
            "connection": 2,
            "user": BOB.user,
            "device": BOB.device,
            "close_code": 4001,
        },
    ]


@pytest.mark.parametrize(
    ("data", "binary", "found"),
    [
        (b"no json", False, {"text": "no json"}),
        (b"[1]", False, {"text": "[1]"}),
        (b"\xff{}", False, {"base64": "/3t9"}),
        (b"[" * 5000, False, {"text": "[" * 5000}),
        (b"\x01short", True, {"base64": "AXNob3J0", "binary": True}),
        (
            b"\x02" + bytes(16) + (7).to_bytes(8, "big") + (8).to_bytes(4, "big") + b'{"to":1}',
            True,
            {
                "type": "MESSAGE_SEND",
                "frame": {
                    "type": "MESSAGE_SEND",
                    "id": "00000000-0000-0000-0000-000000000000",
                    "timestamp": 7,
                    "payload": {"to": 1},
                },
                "binary": True,
            },
        ),
    ],
)
def test_whatever_a_client_sends_must_be_shown(data: bytes, binary: bool, found: dict[str, Any]) -> None:
    log = journal()
    log.write("frame_in", data=data, binary=binary)
    (entry,) = shown(log)
    assert entry == {"n": 1, "t_ms": 5000, "event": "frame_in", "direction": "in", **found}


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_must_break_the_journal(data: bytes, binary: bool) -> None:
    log = journal()
    log.write("frame_in", ALICE, data, binary=binary)
    json.dumps(shown(log))
    assert log.verify(match(type="PING", payload={"a.b": 1}), 0).held


# --- bounds ------------------------------------------------------------------------------------------


def test_the_oldest_entries_must_go_over_the_bound_of_entries() -> None:
    gone: list[tuple[str, int]] = []
    log = journal(max_entries=3, count=lambda name, count: gone.append((name, count)))
    for _ in range(5):
        log.write("rtt")
    assert [entry.n for entry in log.entries()] == [3, 4, 5]
    assert (log.first_n, log.last_n, log.gone, len(log)) == (3, 5, 2, 3)
    assert gone == [("journal.dropped", 1)] * 2


def test_the_oldest_entries_must_go_over_the_bound_of_bytes() -> None:
    log = journal(max_bytes=10_000)
    for _ in range(10):
        log.write("frame_in", data=b"x" * 2000)
        assert log.size_bytes <= 10_000
    assert len(log) == 4
    log.write("frame_in", data=b"x" * 20_000)
    assert (len(log), log.size_bytes) == (0, 0), "an entry that alone is too large does not stay"


def test_entries_after_a_number_must_be_the_ones_above_it() -> None:
    log = journal(max_entries=5)
    for _ in range(8):
        log.write("rtt")
    assert [[entry.n for entry in log.entries(after)] for after in (0, 5, 7, 8, 99)] == [
        [4, 5, 6, 7, 8],
        [6, 7, 8],
        [8],
        [],
        [],
    ]


def test_a_verification_that_needs_what_is_gone_must_say_so() -> None:
    log = journal(max_entries=3)
    for _ in range(4):
        log.write("rtt", ALICE)
    found = log.verify(match(event="rtt"), 3)
    assert not found.held
    assert found.as_json()["journal_truncated"] is True
    assert log.verify(match(event="rtt"), 3, after=1).held, "those after 1 are all there"


def test_what_was_cleared_must_not_count_as_lost() -> None:
    log = journal(max_entries=2)
    for _ in range(5):
        log.write("rtt")
    log.clear()
    log.write("rtt")
    assert log.entries()[0].n == 6
    assert log.verify(match(event="rtt"), 1).held


def test_room_for_many_entries_must_be_made_for_some_at_once_and_never_above_the_bound() -> None:
    gone: list[int] = []
    log = journal(max_entries=1_000, count=lambda name, count: gone.append(count))
    for _ in range(3_000):
        log.write("rtt")
        assert 1_000 - 1_000 // 128 <= len(log) <= 1_000 or log.last_n < 1_000
    assert log.gone == sum(gone)
    assert len(gone) < 2_000 // 7


def note(log: Journal, entry: Entry) -> None:
    """As a connection's gate does."""
    log.frames.append(entry)
    log.frame_bytes += len(entry.data or b"")


def test_frames_must_stand_among_the_other_entries_where_they_came() -> None:
    log = journal()
    note(log, Entry(1, "frame_in", ALICE, b"one"))
    note(log, Entry(2, "frame_out", BOB, b"two", True))
    assert log.last_n == 2
    note(log, Entry(3, "frame_in", ALICE, b"three"))
    log.write("rtt", BOB, t_us=4)
    note(log, Entry(5, "frame_in", BOB, b"four"))
    assert [(e.n, e.t_us, e.event, e.party, e.data, e.binary) for e in log.entries()] == [
        (1, 1, "frame_in", ALICE, b"one", False),
        (2, 2, "frame_out", BOB, b"two", True),
        (3, 3, "frame_in", ALICE, b"three", False),
        (4, 4, "rtt", BOB, None, False),
        (5, 5, "frame_in", BOB, b"four", False),
    ]
    assert log.size_bytes == sum(entry.size for entry in log.entries())


def test_frames_must_be_told_to_listeners_in_their_order() -> None:
    heard: list[bytes | None] = []
    log = journal(max_entries=2)
    log.listeners.append(lambda entry: heard.append(entry.data))
    for data in (b"one", b"two", b"three"):
        note(log, Entry(1, "frame_in", ALICE, data))
    log.settle()
    assert heard == [b"one", b"two", b"three"]
    assert [(entry.n, entry.data) for entry in log.entries()] == [(2, b"two"), (3, b"three")]


# --- searching ---------------------------------------------------------------------------------------


def written() -> Journal:
    log = journal()
    log.write("frame_in", ALICE, frame("MESSAGE_SEND", to="bob", message_type="text"))
    log.write("frame_out", BOB, frame("MESSAGE_NEW", message_type="text"))
    log.write("frame_in", BOB, frame("MESSAGE_RECEIVED", message_id="m1"))
    log.write("frame_in", ALICE, frame("MESSAGE_SEND", to="carol", message_type="image"))
    log.write("closed", ALICE, facts={"direction": "in", "close_code": 1000})
    return log


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"event": "frame_in"}, [1, 3, 4]),
        ({"type": "MESSAGE_SEND"}, [1, 4]),
        ({"user": "alice"}, [1, 4, 5]),
        ({"user": BOB.user}, [2, 3]),
        ({"connection": 2}, [2, 3]),
        ({"device": (ALICE.device or "").upper()}, [1, 4, 5]),
        ({"direction": "out"}, [2]),
        ({"payload": {"message_type": "text"}}, [1, 2]),
        ({"type": "MESSAGE_SEND", "nth": 2}, [4]),
        ({"event": "frame_in", "every": 2}, [3]),
        ({"close_code": 1000}, [5]),
    ],
)
def test_verify_must_find_exactly_what_matches(wanted: dict[str, Any], found: list[int]) -> None:
    result = written().verify(match(**wanted), len(found))
    assert (result.held, [entry.n for entry in result.entries]) == (True, found)
    assert not written().verify(match(**wanted), len(found) + 1).held


def test_a_failed_verification_must_name_the_nearest_miss_field_by_field() -> None:
    result = written().verify(
        match(type="MESSAGE_SEND", user="alice", payload={"to": "bob", "message_type": "image"}), 1
    )
    said = result.as_json()
    assert (said["held"], said["found"]) == (False, 0)
    assert [near["entry"]["n"] for near in said["nearest"]][:2] == [1, 4]
    assert said["nearest"][0]["differences"] == [{"path": "payload.message_type", "wanted": "image", "got": "text"}]
    assert said["nearest"][1]["differences"] == [{"path": "payload.to", "wanted": "bob", "got": "carol"}]


def test_a_verification_with_too_many_must_name_those_beyond_the_count() -> None:
    said = written().verify(match(type="MESSAGE_SEND"), 1).as_json()
    assert said["found"] == 2
    (surplus,) = said["nearest"]
    assert surplus["entry"]["n"] == 4
    assert surplus["differences"] == [{"path": "count", "wanted": 1, "got": 2}]


def test_order_must_be_verified_with_others_in_between() -> None:
    log = written()
    sent, received = match(type="MESSAGE_SEND", user="alice"), match(type="MESSAGE_RECEIVED")
    held, at = log.verify_order(log.entries(), [sent, received, sent], False)
    assert (held.held, at, [entry.n for entry in held.entries]) == (True, 3, [1, 3, 4])
    broken, at = log.verify_order(log.entries(), [received, match(type="MESSAGE_NEW")], False)
    assert (broken.held, at, broken.found) == (False, 1, 1)
    assert all(entry.n > 3 for entry, _ in broken.misses), "a miss lies behind what was found"


# --- waiting -----------------------------------------------------------------------------------------


def test_wait_must_count_what_is_there_and_what_comes() -> None:
    async def body() -> None:
        log = written()
        waiting = asyncio.ensure_future(log.wait(match(type="MESSAGE_SEND"), 3, 10))
        await asyncio.sleep(0)
        log.write("frame_in", BOB, frame("PONG"))
        await asyncio.sleep(0)
        assert not waiting.done()
        log.write("frame_in", BOB, frame("MESSAGE_SEND"))
        found = await waiting
        assert (found.held, found.found, [entry.n for entry in found.entries]) == (True, 3, [1, 4, 7])
        assert (await log.wait(match(type="MESSAGE_SEND"), 2, 0)).held, "at least"

    run(body())


def test_wait_must_end_when_time_runs_out_and_name_what_came_near() -> None:
    async def body() -> None:
        found = await written().wait(match(type="MESSAGE_SEND", user="bob"), 1, 0.01)
        assert not found.held
        assert found.as_json()["nearest"][0]["differences"] == [{"path": "user", "wanted": "bob", "got": "alice"}]

    run(body())


def test_wait_for_an_nth_must_say_when_the_earlier_ones_are_gone() -> None:
    async def body() -> None:
        log = journal(max_entries=2)
        for _ in range(3):
            log.write("rtt")
        found = await log.wait(match(event="rtt", nth=4), 1, 10)
        assert (found.held, found.truncated) == (False, True)

    run(body())


# --- what the core says beside frames ----------------------------------------------------------------


def test_drops_pushes_and_round_trips_must_be_entries() -> None:
    log = journal()
    log.observe(1_000_000, Note("rtt", 1, 7, ALICE.user, ALICE.device, None, 12_345))
    log.observe(2_000_000, Note("copies.dropped.overflow", 2, None, BOB.user, BOB.device, "m1"))
    log.observe(2_000_000, Note("heartbeats.sent", 1, 7))
    log.observe(3_000_000, Push(BOB.user or "", BOB.device or "", "apns:1", 4))
    log.observe(4_000_000, ClearPush(BOB.user or "", BOB.device or ""))
    assert [
        {name: value for name, value in entry.items() if name not in ("n", "user", "device")} for entry in shown(log)
    ] == [
        {"t_ms": 1000, "event": "rtt", "connection": 7, "rtt_ms": 12.345},
        {
            "t_ms": 2000,
            "event": "drop",
            "what": "copies",
            "cause": "overflow",
            "count": 2,
            "message_id": "m1",
        },
        {"t_ms": 3000, "event": "push", "push_token": "apns:1", "pending": 4},
        {"t_ms": 4000, "event": "push_cleared"},
    ]


def test_listeners_must_hear_each_entry() -> None:
    log, heard = journal(), []
    log.listeners.append(lambda entry: heard.append(entry.n))
    log.write("rtt")
    log.write("rtt")
    assert heard == [1, 2]


def test_the_end_of_the_space_must_end_every_wait() -> None:
    async def body() -> None:
        log = written()
        waiting = asyncio.ensure_future(log.wait(match(type="PONG"), 1, 60))
        await asyncio.sleep(0)
        log.close()
        assert not (await waiting).held

    run(body())
