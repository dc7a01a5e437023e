"""PING, PONG and silence (R-8)."""

from __future__ import annotations

from functools import partial

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage


def _pongs(stage: Stage, count: int) -> bool:
    return len(stage.frames("PONG")) >= count


@case("PONG echoes the PING's timestamp", "R-8.1", checks=("client.pong", "client.pong_in_time"))
async def echoes(stage: Stage) -> None:
    """Three PINGs, 30 s of the relay's time apart, are each answered by a PONG with the PING's timestamp."""
    await stage.online()
    for number in (1, 2, 3):
        await stage.relay_time(30_000, "wait")
        ping = stage.require(stage.frames("PING", "out")[number - 1 :], "the relay sent no PING")[0]
        stamp = ping["frame"]["payload"]["timestamp"]
        found = await stage.wait(partial(_pongs, stage, number))
        stage.require(found, f"PING {number} was not answered by a PONG")
        echoed = stage.frames("PONG")[number - 1]["frame"]["payload"].get("timestamp")
        stage.judge(echoed == stamp, f"PONG echoes {echoed}, PING {number} has {stamp}")


@case("Several PINGs at once", "R-8.1", ignores=("client.pong",))
async def burst(stage: Stage) -> None:
    """Five PINGs come in one instant, with timestamps of their own. Each is answered, in their order."""
    await stage.online()
    stamps = [stage.now_ms + number for number in range(5)]
    after = stage.last_n
    for stamp in stamps:
        stage.say("PING", timestamp=stamp)
    await stage.wait(lambda: len(stage.frames("PONG", after=after)) >= 5)
    echoed = [e["frame"]["payload"].get("timestamp") for e in stage.frames("PONG", after=after)]
    stage.judge(echoed == stamps, f"{len(echoed)} PONGs, or in another order, for five PINGs")


@case("A PING with members of tomorrow", "R-1.3")
async def tomorrow(stage: Stage) -> None:
    """A PING with rtt_ms and a member that nobody knows is answered as any other."""
    await stage.online()
    stage.raw(stage.frame("PING", {"timestamp": stage.now_ms, "rtt_ms": 12.5, "mood": {"sunny": True}}, colour="blue"))
    stage.judge(await stage.wait(lambda: stage.frames("PONG")), "the PING was not answered")


@case("The relay falls silent", "R-8.3", ends=True, takes_s=125)
async def half_open(stage: Stage) -> None:
    """
    The connection stands and nothing passes any more. After 120 s without a word the app takes it for lost, and comes
    again after the backoff.
    """
    await stage.online()
    conn = stage.require(stage.connection(), "the app is not connected")
    since_ms = stage.now_ms
    stage.space.faults.gates[conn].blackhole()
    known = len(stage.attempts())
    await stage.pass_time(110_000)
    text = "the app gave up before 120 s were over"
    stage.judge(len(stage.attempts()) == known, text, "close", otherwise="non_strict")
    slack_ms = 0 if stage.virtual else stage.settings.slack_ms
    rest_ms = since_ms + 122_500 + slack_ms - stage.now_ms
    await stage.pass_until(lambda: len(stage.attempts()) > known, rest_ms, 4_000)
    found = await stage.wait(lambda: len(stage.attempts()) > known)
    stage.require(found, "after 120 s of silence the app still waits", "close")
    await stage.authenticated(2)
    stage.judge(True, "", "close")


@case("Any frame breaks the silence", "R-8.3", takes_s=130)
async def any_frame(stage: Stage) -> None:
    """For four minutes the relay sends its heartbeat and nothing else. The app stays connected."""
    await stage.online()
    await stage.pass_time(240_000)
    stage.judge(stage.connection() is not None and not stage.ends(), "the app left a connection that was alive")
