"""``/admin/clock``: a day in a second, heartbeats in the span, and apps whose own clock did not move (R-13.2)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mockrelay.clock import ClockTimers, MovableClock, RealClock
from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import Peer, connected, frozen, run, serving
from zentalk_sim.trace.replay import replay_file

DAY_MS = 86_400_000


def kinds(peer: Peer) -> list[str]:
    return [frame["type"] for frame in peer.seen]


async def settled(peer: Peer) -> None:
    """Read all that the relay had sent: a pong comes after it, and what came before then waits to be read."""
    await (await peer.ws.ping())
    while True:
        reading = asyncio.ensure_future(peer.next())
        for _ in range(10):
            await asyncio.sleep(0)
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])
            return


def test_the_clock_must_tell_its_time_mode_and_scale() -> None:
    async def body() -> None:
        async with serving() as relay, controlling(relay) as admin:
            found = await admin.get("/clock")
            assert (found["mode"], found["scale"]) == ("real", 1)
            frozen_at = await admin.post("/clock", {"action": "freeze"})
            assert (frozen_at["mode"], frozen_at["scale"]) == ("frozen", 0)
            assert (await admin.get("/clock"))["now_ms"] == frozen_at["now_ms"]
            moved = await admin.post("/clock", {"action": "advance", "ms": 5000})
            assert moved["now_ms"] == frozen_at["now_ms"] + 5000
            scaled = await admin.post("/clock", {"action": "scale", "factor": 60})
            assert (scaled["mode"], scaled["scale"]) == ("scaled", 60)
            await admin.post("/clock", {"action": "freeze"})
            assert (await admin.post("/clock", {"action": "resume"}))["scale"] == 60

    run(body())


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"action": "advance", "ms": -1}, "ms"),
        ({"action": "advance"}, "ms"),
        ({"action": "advance", "ms": 1.5}, "ms"),
        ({"action": "advance", "ms": 1, "hearbeat": "skip"}, "hearbeat"),
        ({"action": "advance", "ms": 1, "heartbeat": "stop"}, "heartbeat"),
        ({"action": "advanse", "ms": 1}, "action"),
        ({"action": "scale", "factor": 0}, "factor"),
        ({"action": "scale"}, "factor"),
        ({"action": "freeze", "ms": 1}, "ms"),
        ({}, "action"),
        ([], "action"),
    ],
)
def test_a_clock_must_move_forward_only_and_a_bad_move_be_refused(asked: Any, field: str) -> None:
    async def body() -> None:
        async with serving(clock=frozen()) as relay, controlling(relay) as admin:
            before = await admin.get("/clock")
            assert (await admin.post("/clock", asked, 400))["details"]["field"] == field
            assert await admin.get("/clock") == before

    run(body())


@pytest.mark.requirement("R-13.2", "R-9.2", "R-9.1")
def test_a_day_must_pass_at_once_with_warning_and_expiry_in_their_order() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, controlling(relay) as admin:
            async with connected(relay, "alice") as peer:
                begin_ms = (await admin.get("/clock"))["now_ms"]
                await admin.post("/clock", {"action": "advance", "ms": DAY_MS + 1000})
                await settled(peer)
                assert kinds(peer)[2:] == ["TOKEN_EXPIRING"], "no PING may be sent in the span"
                warned_ms = peer.seen[2]["timestamp"] - begin_ms
                assert abs(warned_ms - (DAY_MS - 7_200_000)) <= 1000, "at its own instant, not at the span's end"
                await peer.send("PRESENCE_SET", {"status": "online"})
                expiring = await peer.until("TOKEN_EXPIRING")
                assert expiring["payload"]["seconds_remaining"] == 0
                await admin.post("/clock", {"action": "advance", "ms": 300_000})
                await peer.send("PRESENCE_SET", {"status": "away"})
                await peer.ws.wait_closed()
                assert peer.ws.close_code == 4001
            assert relay.driver.counters["heartbeats.skipped"] >= 2880
            times = [(e["t_ms"] - begin_ms) for e in await admin.get("/journal") if e.get("type") == "TOKEN_EXPIRING"]
            assert times[0] == warned_ms, "the journal shows the instant too"

    run(body())


@pytest.mark.requirement("R-13.2", "R-8.1")
def test_with_wait_each_ping_must_be_sent_and_answered_at_its_instant() -> None:
    async def body() -> None:
        relay = serving("alice", clock=frozen())
        async with relay, controlling(relay) as admin, connected(relay, "alice") as peer:

            async def answering() -> None:
                while True:
                    ping = await peer.until("PING")
                    stamp = ping["payload"]["timestamp"]
                    await peer.send("PONG", {"timestamp": stamp, "client_time": stamp})

            answers = asyncio.ensure_future(answering())
            await admin.post("/clock", {"action": "advance", "ms": 90_000, "heartbeat": "wait"})
            answers.cancel()
            sent = [frame["payload"]["timestamp"] for frame in peer.seen if frame["type"] == "PING"]
            assert [at - sent[0] for at in sent] == [0, 30_000, 60_000]
            assert relay.driver.counters.get("heartbeats.missed", 0) == 0
            assert (await admin.get("/connections"))[0]["rtt_ms"] == 0

    run(body())


@pytest.mark.requirement("R-13.2", "R-1.4", "R-4.2")
def test_an_app_whose_own_clock_did_not_move_must_still_get_through() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, controlling(relay) as admin:
            await admin.post("/clock", {"action": "advance", "ms": 3_600_000})
            async with connected(relay, "alice") as alice:
                await alice.message(relay.users[1])
                assert (await alice.until("MESSAGE_ACK"))["payload"]["status"] == "queued"

    run(body())


def test_a_scaled_clock_must_run_the_heartbeat_at_its_pace() -> None:
    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as admin, connected(relay, "alice") as peer:
            await admin.post("/clock", {"action": "scale", "factor": 1000})
            # Of real time a PING is 30 s away.
            async with asyncio.timeout(25):
                await peer.until("PING")

    run(body())


@pytest.mark.requirement("R-13.2")
def test_advances_asked_for_at_the_same_time_must_follow_each_other() -> None:
    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, controlling(relay) as admin, connected(relay, "alice"):
            begin_ms = (await admin.get("/clock"))["now_ms"]
            moves = [admin.post("/clock", {"action": "advance", "ms": DAY_MS // 4}) for _ in range(4)]
            ends = sorted([move["now_ms"] for move in await asyncio.gather(*moves)])
            assert ends[-1] == begin_ms + DAY_MS

    run(body())


@pytest.mark.requirement("R-13.2")
def test_a_recording_across_an_advance_must_replay_exactly(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"

    async def body() -> None:
        relay = serving("alice", clock=frozen(), record=str(path))
        async with relay, controlling(relay) as admin, connected(relay, "alice") as peer:
            await admin.post("/clock", {"action": "advance", "ms": DAY_MS})
            await admin.post("/clock", {"action": "advance", "ms": 31_000, "heartbeat": "wait"})
            await settled(peer)
            assert "PING" in kinds(peer)

    run(body())
    result = replay_file(path)
    assert result.first_difference is None
    assert result.events > 100
    commands = [json.loads(line)["command"] for line in path.read_text().splitlines() if '"e":"control"' in line]
    assert "AdvanceClock" in [command["command"] for command in commands]


# --- the clock's parts --------------------------------------------------------------------------------


class Hands:
    """Clocks set by the test."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def ns(self) -> int:
        return self.us * 1000


def test_a_clock_must_be_the_real_time_until_it_is_moved() -> None:
    hands = Hands()
    clock = MovableClock(RealClock(hands.ns, hands.ns))
    hands.us += 5
    assert (clock.now_us(), clock.real_us()) == (hands.us, None)
    clock.advance(10)
    assert (clock.now_us(), clock.real_us(), clock.mode) == (hands.us + 10, hands.us, "real")
    clock.advance_to(hands.us)
    assert clock.now_us() == hands.us + 10, "an instant that is past is passed over"


def test_timers_of_the_clock_must_run_in_order_as_it_is_moved() -> None:
    async def body() -> None:
        clock = frozen()
        timers = ClockTimers(clock, asyncio.get_running_loop())
        begin = clock.now_us()
        ran: list[str] = []
        timers.call_at(begin + 20, lambda: ran.append("late"))
        timers.call_at(begin + 10, lambda: ran.append("early"))
        timers.call_at(begin + 20, lambda: ran.append("later"))
        cancelled = timers.call_at(begin + 5, lambda: ran.append("never"))
        timers.cancel(cancelled)
        assert timers.next_us() == begin + 10
        clock.advance(19)
        timers.clock_changed()
        assert ran == ["early"]
        clock.advance(1)
        timers.clock_changed()
        assert ran == ["early", "late", "later"]
        assert (len(timers), timers.next_us()) == (0, None)

    run(body())


def test_timers_must_run_by_themselves_while_the_clock_runs() -> None:
    async def body() -> None:
        clock = MovableClock(scale=1000)
        timers = ClockTimers(clock, asyncio.get_running_loop())
        done = asyncio.Event()
        timers.call_at(clock.now_us() + 1_000_000, done.set)
        await done.wait()
        timers.call_at(clock.now_us() + 1_000_000, done.set)
        timers.stop()
        assert len(timers) == 0

    run(body())
