"""The upgrade request, and attempts that fail before there is a connection (R-3.1, R-11.1, R-11.2)."""

from __future__ import annotations

from functools import partial

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage
from zentalk_sim.protocol.upgrade import is_uuid


def _acks(stage: Stage, count: int) -> bool:
    return len(stage.frames("MESSAGE_ACK", "out")) >= count


@case("The upgrade request", "R-3.1", checks=("client.upgrade_form",))
async def upgrade_request(stage: Stage) -> None:
    """
    The app asks for /ws/v1 with sub-protocol zentalk.v1 and the query token, device_id (a UUID) and
    protocol_version=1, and is answered with 101.
    """
    await stage.connect()
    attempt = stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")[0]
    stage.judge(attempt.get("status") == 101, f"the relay answered {attempt.get('status')}, not 101")
    await stage.authenticated()
    conn = next(iter(stage.space.driver.relay.connections.values()))
    stage.judge(is_uuid(conn.device_id) and conn.device_id == stage.device_id, "device_id is not the identity's")


@case("One connection, not several", "R-11.1")
async def one_connection(stage: Stage) -> None:
    """An app that is asked to connect twice has one connection: it makes one attempt."""
    await stage.online()
    await stage.connect()
    await stage.pass_time(1500)
    count = len(stage.attempts())
    stage.judge(count == 1, f"{count} attempts were made for one connection")


@case("The relay is overloaded: 503", "R-11.2", ends=True)
async def refused_503(stage: Stage) -> None:
    """An upgrade refused with 503 is a failure: the app waits 1 to 1.1 s and tries again."""
    stage.rule({"event": "upgrade"}, "refuse", times=1, status=503)
    await stage.connect()
    stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")
    await stage.comes_again(1000, 1100)
    await stage.authenticated()


@case("The connection breaks during the upgrade", "R-11.2", ends=True)
async def reset_at_upgrade(stage: Stage) -> None:
    """A TCP connection reset in the place of the 101 is a failure: the app waits 1 to 1.1 s and tries again."""
    stage.rule({"event": "upgrade"}, "abort", times=1)
    await stage.connect()
    stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")
    await stage.comes_again(1000, 1100)
    await stage.authenticated()


@case("The upgrade is never answered", "R-11.1", ends=True, takes_s=13)
async def stalled_upgrade(stage: Stage) -> None:
    """CONNECTING becomes FAILED after 10 s; the app tries again after the backoff, 11 to 11.1 s after it began."""
    stage.rule({"event": "upgrade"}, "stall", times=1)
    await stage.connect()
    stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")
    # In real time the app began to count before the relay saw its request.
    await stage.comes_again(11_000 if stage.virtual else 10_000, 11_100, what="no answer for 10 s")
    await stage.authenticated()


@case("A slow upgrade is waited for", "R-11.1", takes_s=6)
async def slow_upgrade(stage: Stage) -> None:
    """An upgrade that is answered after 4 s is not given up: the app makes one attempt and authenticates."""
    stage.rule({"event": "upgrade"}, "delay", times=1, ms=4000)
    await stage.connect()
    stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")
    await stage.pass_time(4100)
    await stage.authenticated()
    count = len(stage.attempts())
    stage.judge(count == 1, f"{count} attempts were made where one was about to be answered")


@case("A resumed session", "R-3.4", ends=True, checks=("client.resume_once", "client.seq"))
async def resumes(stage: Stage) -> None:
    """
    After a loss the app presents the resume_token of AUTH_SUCCESS, each once, and its seq goes on where the
    session's was. To begin a new session in its place is allowed.
    """
    await stage.online()
    for round_number in (1, 2):
        await stage.send(f"before loss {round_number}")
        await stage.wait(partial(_acks, stage, round_number))
        stage.end(None)
        await stage.ended(round_number)
        await stage.comes_again(1000, 1100)
        await stage.authenticated(round_number + 1)
    resumed = [e["frame"]["payload"]["resumed"] for e in stage.frames("AUTH_SUCCESS", "out")][1:]
    stage.judge(all(resumed), "no resume_token was presented: a new session began", otherwise="non_strict")
