"""The waits between attempts (R-11.2)."""

from __future__ import annotations

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage

_DELAYS_MS = (1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000)
_FINE_MS = 8
_FINE_STEPS = 25
"""Where the clocks are moved, the jitter is looked for in so fine steps, from 995 ms on."""


async def _first_attempt(stage: Stage) -> None:
    await stage.connect()
    stage.require(await stage.wait(stage.attempts), "no upgrade request came to the relay")
    await stage.settle()


async def _waits(stage: Stage, delays_ms: tuple[int, ...]) -> None:
    for number, delay_ms in enumerate(delays_ms, 1):
        what = f"failure {number} in a row"
        await stage.comes_again(delay_ms, delay_ms + delay_ms // 10, what=what)
        await stage.settle()


@case("The first waits", "R-11.2", ends=True, takes_s=8)
async def first_waits(stage: Stage) -> None:
    """Every upgrade is refused with 503. The app waits 1, 2 and 4 s, each with a jitter of at most a tenth."""
    stage.rule({"event": "upgrade"}, "refuse", status=503)
    await _first_attempt(stage)
    await _waits(stage, _DELAYS_MS[:3])


@case("Up to the longest wait, and then no more", "R-11.2", ends=True, takes_s=200)
async def all_waits(stage: Stage) -> None:
    """
    Every upgrade is refused. The app waits 1, 2, 4, 8, 16 and then 30 s, each with a jitter of at most a tenth; after
    ten failures in a row it tells its user and makes no attempt until it is asked to.
    """
    stage.rule({"event": "upgrade"}, "refuse", status=503)
    await _first_attempt(stage)
    await _waits(stage, _DELAYS_MS)
    await stage.must_report("gave_up", None, "ten attempts failed in a row")
    await stage.stays_away(120_000)
    stage.clear_rules()
    await stage.connect()
    await stage.authenticated()


@case(
    "An open socket is no success",
    "R-11.2",
    ends=True,
    takes_s=8,
    checks=("client.backoff", "client.backoff_growth"),
)
async def open_is_no_success(stage: Stage) -> None:
    """
    Every upgrade is answered with 101, and closed with 1011 before AUTH_SUCCESS. The waits grow all the same: 1, 2 and
    4 s. The count goes back at AUTH_SUCCESS, not when the socket opens.
    """
    stage.close_opened_with = 1011
    await stage.connect()
    stage.require(await stage.wait(stage.ends), "no connection came to the relay")
    await stage.settle()
    for number, delay_ms in enumerate(_DELAYS_MS[:3], 1):
        await stage.comes_again(delay_ms, delay_ms + delay_ms // 10, what=f"failure {number} in a row")
        await stage.ended(number + 1)


@case("AUTH_SUCCESS sets the count back", "R-11.2", ends=True, takes_s=6)
async def success_resets(stage: Stage) -> None:
    """Two upgrades are refused, the third succeeds; then the connection is lost. The app waits 1 s again, not 4."""
    stage.rule({"event": "upgrade"}, "refuse", times=2, status=503)
    await _first_attempt(stage)
    await _waits(stage, _DELAYS_MS[:2])
    await stage.authenticated()
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100, what="after a success")
    await stage.authenticated(2)


async def _next_attempt(stage: Stage, known: int) -> bool:
    """Wait for the attempt behind the known ones, finely where the clocks are moved."""
    for _ in range(_FINE_STEPS if stage.virtual else 0):
        if len(stage.attempts()) > known:
            return True
        await stage.pass_finely(_FINE_MS)
    return bool(await stage.wait(lambda: len(stage.attempts()) > known))


@case("The waits carry a jitter", "R-11.2", ends=True, takes_s=13, checks=("client.backoff_jitter",))
async def jitter(stage: Stage) -> None:
    """
    Ten times the connection is lost after AUTH_SUCCESS. The ten waits lie between 1 and 1.1 s and are not all alike, so
    that many apps do not come at one instant.
    """
    await stage.online()
    waits = []
    for number in range(1, 11):
        stage.end(None)
        await stage.ended(number)
        lost_ms = stage.ends()[-1]["t_ms"]
        if stage.virtual:
            await stage.pass_time(995)
        found = await _next_attempt(stage, number)
        stage.require(found, f"loss {number}: the app did not come again within 3 s", "close")
        waits.append(stage.attempts()[-1]["t_ms"] - lost_ms)
        await stage.authenticated(number + 1)
    spread = max(waits) - min(waits)
    text = f"ten waits of {min(waits)} to {max(waits)} ms differ by {spread} ms only"
    stage.judge(spread >= 10, text, "close", otherwise="non_strict")


@case("Another network: at once", "R-11.2", ends=True, needs=("network_changed",))
async def network(stage: Stage) -> None:
    """In the midst of a backoff of 4 s the network changes. The app tries again at once."""
    stage.rule({"event": "upgrade"}, "refuse", times=3, status=503)
    await _first_attempt(stage)
    await _waits(stage, _DELAYS_MS[:2])
    await stage.act("network_changed")
    found = await stage.wait(lambda: len(stage.attempts()) >= 4, stage.at_once_s)
    stage.judge(found, "the network changed, and the app went on waiting", "close")


@case("connect() does not wait", "R-11.1", ends=True)
async def connect_at_once(stage: Stage) -> None:
    """In the midst of a backoff of 4 s the application asks for the connection. The app tries at once."""
    stage.rule({"event": "upgrade"}, "refuse", times=3, status=503)
    await _first_attempt(stage)
    await _waits(stage, _DELAYS_MS[:2])
    await stage.connect()
    found = await stage.wait(lambda: len(stage.attempts()) >= 4, stage.at_once_s)
    stage.judge(found, "the application asked to connect, and the app went on waiting", "close")
