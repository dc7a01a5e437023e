"""How a client comes back: backoff, what it does after which close code (R-11.2, R-11.3).

A trace taken at the relay shows a device's attempts as they arrive, not the attempts that never did and not what the
application asked for. So only waits after an end that the *relay* made are judged, and only from below; a device that
comes from another IP has changed networks and may retry at once; beyond ten failures the application has been asked.
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Recent, check
from zentalk_sim.checks.world import Conn, World
from zentalk_sim.protocol.config import BackoffConfig
from zentalk_sim.trace import events as ev

_STOP_US = 600_000_000
"""How long after a stopping close a new attempt with the same token counts as the client's own."""
_JITTER_SAMPLES = 10
"""Waits as a relay sees them, the network's delays in them, before they are said to be alike."""
_FEWEST_ALIKE = 3
"""Waits as the devices themselves tell them, exact to the microsecond."""
_ALIKE = 0.001
_ALIKE_OF_DEVICE = 0.000_02
"""How near waits must lie to one another, as a part of the jitter's range, to be all alike. Three that are drawn come
so near three times in a million; those of one device, of which a trace has many, once in a thousand million."""


def action_after(code: int) -> str:
    """What R-11.3 has a client do after a close: stop, token, cooldown or backoff; not asked of the core it judges."""
    if code in (1000, 1008, 1009):
        return "stop"
    if code < 4000:
        return "backoff"
    return {4001: "token", 4002: "cooldown"}.get(code, "stop")


def delay_us(settings: BackoffConfig, attempt: int) -> int:
    """R-11.2: the least wait before attempt 0, 1, … of a row, which doubles until the cap."""
    wait_ms = settings.base_ms
    for _ in range(attempt):
        if wait_ms >= settings.cap_ms:
            break
        wait_ms *= 2
    return min(wait_ms, settings.cap_ms) * 1000


class _Ending:
    """How a device's last connection, or attempt, ended."""

    __slots__ = (
        "action",
        "at_us",
        "by_relay",
        "code",
        "device",
        "event",
        "failures",
        "ip",
        "retry_us",
        "token",
        "tokens",
    )

    def __init__(
        self, event: Any, at_us: int, conn: Conn, code: int | None, failures: int, retry_us: int | None
    ) -> None:
        self.event = event
        self.at_us = at_us
        self.device = conn.device
        self.token = conn.token
        self.tokens = (conn.token, conn.key_token, conn.session_token)
        """All that the client held: the one it came with, and those of its session."""
        self.ip = conn.ip
        self.code = code
        self.by_relay = type(event) is not ev.Lost
        self.action = "backoff" if code is None else action_after(code)
        self.failures = failures
        self.retry_us = retry_us


class _Returning(Check):
    """Base: follows each device from the end of one connection to its next attempt."""

    def begin(self) -> None:
        self.endings: Recent[str, _Ending] = Recent(200_000)
        self.failures: Recent[str, int] = Recent(200_000)
        self.newest: Recent[str, int] = Recent(200_000)
        self.retry_us: dict[int, int] = {}
        self.left: Recent[str, str] = Recent(200_000)
        self.came: Recent[str, str] = Recent(200_000)

    def on_state(self, event: ev.State) -> None:
        """A simulation tells why a client left, and why it came: as it saw it."""
        if event.new.upper() in ("FAILED", "DISCONNECTED"):
            self.left[event.device] = event.cause
        elif event.new.upper() == "CONNECTING":
            self.came[event.device] = event.cause

    def saw(self, device: str, code: int | None) -> bool:
        """Whether a device that comes again does so of itself, and after a close that has reached it."""
        if not self.world.tells_states:
            return True
        by_itself = self.came.get(device) not in ("application", "network_changed")
        return by_itself and (self.left.get(device) or "").startswith(f"{code} ")

    def on_upgrade(self, event: ev.Upgrade) -> None:
        conn = self.world.conn(event.c)
        ending = self.endings.pop(conn.device)
        self.newest[conn.device] = event.c
        if ending is not None and not conn.faulted:
            self.returned(ending, event)

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        """The device comes again."""
        raise NotImplementedError

    def out_auth_success(self, event: ev.FrameOut) -> None:
        self.failures[self.world.conn(event.c).device] = 0

    def out_error(self, event: ev.FrameOut) -> None:
        retry_s = event.payload.details.get("retry_after")
        if event.payload.error_code == "RATE_LIMITED" and type(retry_s) is int and 0 <= retry_s < 2**31:
            self.retry_us[event.c] = retry_s * 1_000_000

    def on_close(self, event: ev.Close) -> None:
        self._ended(event, event.code)

    def on_abort(self, event: ev.Abort) -> None:
        self._ended(event, 1006)

    def on_refuse(self, event: ev.Refuse) -> None:
        self._ended(event, None)

    def on_lost(self, event: ev.Lost) -> None:
        if self.world.conn(event.c).state != "ended":
            self._ended(event, 1006)
        self.retry_us.pop(event.c, None)

    def _ended(self, event: Any, code: int | None) -> None:
        conn = self.world.conn(event.c)
        # A connection that its own device has replaced is not what the device waits for.
        if conn.state == "ended" or not conn.known or not conn.device or self.newest.get(conn.device) != event.c:
            return
        if conn.faulted:
            # What its client saw of the end is not known, nor what it counted.
            self.failures.pop(conn.device)
            return
        failures = self.failures.get(conn.device) or 0
        self.failures[conn.device] = failures + 1
        self.endings[conn.device] = _Ending(event, self.world.true_us, conn, code, failures, self.retry_us.get(event.c))


class Wait:
    """One wait of a backoff, from the event of the failure to that of the attempt."""

    __slots__ = ("attempt", "failed", "over")

    def __init__(self, attempt: int, failed: ev.State, over: ev.State) -> None:
        self.attempt = attempt
        self.failed = failed
        self.over = over

    def is_judged(self, settings: BackoffConfig) -> bool:
        """Whether R-11.2 says how long it must be."""
        return settings.policy == "spec" and self.attempt < settings.max_attempts


class Waits:
    """The waits of devices that tell their states, but those that application, token or cool-down explain."""

    def __init__(self) -> None:
        self.failed: Recent[str, tuple[int, Any]] = Recent(200_000)
        self.count: Recent[str, int] = Recent(200_000)
        """Device → waits since it was connected last; none where that is not known."""
        self.tokens: Recent[str, Any] = Recent(200_000)
        """Devices that wait for a token."""

    def on_state(self, event: ev.State) -> Wait | None:
        """Follow a device; the wait that is over with this event, if one is."""
        device = event.device
        if event.new.upper() == "CONNECTED":
            self.count[device] = 0
            self.failed.pop(device)
        elif event.new.upper() == "DISCONNECTED":
            # Who asks for a connection from there begins anew.
            self.count[device] = 0
            self.failed.pop(device)
        elif event.new.upper() == "FAILED":
            self._failed(event)
        elif event.new.upper() == "CONNECTING":
            found = self.failed.pop(device)
            waited_for_token = self.tokens.pop(device) is not None
            if event.cause == "application":
                # Whether that began a new row depends on what the application did before, which shows in no state.
                self.count.pop(device)
            elif event.cause == "backoff over":
                k = self.count.get(device)
                if k is not None and waited_for_token:
                    # Only where tokens had failed before is one waited with.
                    self.count[device] = k + 1
                elif found is not None:
                    return Wait(found[0], found[1], event)
        return None

    def _failed(self, event: ev.State) -> None:
        k = self.count.get(event.device)
        # A connection given up for another network is no failure.
        if k is None or event.cause == "network_changed":
            return
        # What a token or a cool-down is waited for is longer than a backoff.
        if event.cause.startswith(("4001", "refused with 401")):
            self.tokens[event.device] = event
        else:
            self.count[event.device] = k + 1
        if event.cause.startswith(("4001", "4002", "refused with 401")):
            self.failed.pop(event.device)
        else:
            self.failed[event.device] = (k, event)


def _backoff_applies(world: World, ending: _Ending, event: ev.Upgrade) -> bool:
    return (
        ending.action == "backoff"
        and ending.by_relay
        and not (isinstance(ending.event, ev.Refuse) and ending.event.status == 401)
        and ending.ip == event.ip
        and ending.failures < world.client.backoff.max_attempts
        and world.client.backoff.policy == "spec"
        # Where states are told, `client.state_backoff` sees exactly what is only guessed here.
        and not world.tells_states
    )


@check("client.backoff", "R-11.2")
class Backoff(_Returning):
    """After a loss or failure a client waits at least the base delay before it comes again."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if _backoff_applies(self.world, ending, event):
            waited, least = self.world.true_us - ending.at_us, delay_us(self.world.client.backoff, 0)
            self.judge(waited >= least, f"came again after {waited} µs, before {least} µs", ending.event, event)


@check("client.backoff_growth", "R-11.2")
class BackoffGrowth(_Returning):
    """The wait doubles with each failure in a row, and only AUTH_SUCCESS sets the count back."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        settings = self.world.client.backoff
        if not ending.failures or not _backoff_applies(self.world, ending, event):
            return
        waited, least = self.world.true_us - ending.at_us, delay_us(settings, ending.failures)
        # Less than the base delay is another check's.
        if waited >= delay_us(settings, 0):
            text = f"failure {ending.failures + 1} in a row: came again after {waited} µs, before {least} µs"
            self.judge(waited >= least, text, ending.event, event)


class _Spread:
    """Lowest and highest of some waits, how many they are, and the event of the last."""

    __slots__ = ("count", "event", "high", "low")

    def __init__(self, first: float) -> None:
        self.low = self.high = first
        self.count = 0
        self.event: Any = None

    def add(self, wait: float, event: Any) -> None:
        """One more."""
        self.low, self.high = min(self.low, wait), max(self.high, wait)
        self.count += 1
        self.event = event


@check("client.backoff_jitter", "R-11.2", "should")
class BackoffJitter(_Returning):
    """The waits carry a jitter: those after equally many failures are not all alike, nor are all those of a device."""

    def begin(self) -> None:
        super().begin()
        self.waits = Waits()
        self.spread: dict[int, _Spread] = {}
        """Failures before → waits in µs, as a relay sees them."""
        self.told: dict[int, _Spread] = {}
        """The same as devices tell them: what was waited longer than the delay, as a part of the jitter's range."""
        self.of_device: Recent[str, _Spread] = Recent(20_000)

    def on_state(self, event: ev.State) -> None:
        super().on_state(event)
        wait, settings = self.waits.on_state(event), self.world.client.backoff
        if wait is None or not settings.jitter or not wait.is_judged(settings):
            return
        attempt, failed, over = wait.attempt, wait.failed, wait.over
        low = delay_us(settings, attempt)
        part = (over.t - failed.t - low) / (low * settings.jitter)
        if attempt not in self.told:
            self.told[attempt] = _Spread(part)
        self.told[attempt].add(part, over)
        own = self.of_device.get(event.device)
        if own is None:
            own = self.of_device[event.device] = _Spread(part)
        own.add(part, over)

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        settings = self.world.client.backoff
        if not _backoff_applies(self.world, ending, event) or not settings.jitter:
            return
        waited = self.world.true_us - ending.at_us
        if waited < delay_us(settings, ending.failures):
            return
        if ending.failures not in self.spread:
            self.spread[ending.failures] = _Spread(waited)
        self.spread[ending.failures].add(waited, event)

    def on_finish(self, _: None) -> None:
        settings = self.world.client.backoff
        for failures, of in sorted(self.spread.items()):
            if of.count >= _JITTER_SAMPLES:
                least = int(delay_us(settings, failures) * settings.jitter) // 10
                text = f"{of.count} waits after {failures + 1} failures differ by {of.high - of.low} µs only"
                self.judge(of.high - of.low >= least, text, of.event)
        for attempt, of in sorted(self.told.items()):
            self._judge(of, _ALIKE, f"before attempt {attempt}")
        for device, of in self.of_device.items():
            self._judge(of, _ALIKE_OF_DEVICE, f"of device {device}")

    def _judge(self, of: _Spread, alike: float, whose: str) -> None:
        if of.count >= _FEWEST_ALIKE:
            text = f"all {of.count} waits {whose} have the same {of.low:.6f} of the jitter's range"
            self.judge(of.high - of.low > alike, text, of.event)


@check("client.stop_on_close", "R-11.3")
class StopOnClose(_Returning):
    """After 1000, 1008, 1009, 4000, 4003 or 4004 a client does not come again by itself."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if ending.action != "stop" or not ending.by_relay or not self.saw(ending.device, ending.code):
            return
        again = self.world.true_us - ending.at_us <= _STOP_US and event.query.get("token") == ending.token
        self.judge(not again, f"came again after a close with {ending.code}", ending.event, event)

    def on_close(self, event: ev.Close) -> None:
        super().on_close(event)
        if action_after(event.code) == "stop" and self.world.conn(event.c).state != "ended":
            self.seen()


@check("client.wait_after_4002", "R-11.3")
class WaitAfter4002(_Returning):
    """After 4002 a client waits the retry_after of the last RATE_LIMITED, or 60 s, and then the backoff."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if ending.action != "cooldown" or not self.saw(ending.device, ending.code):
            return
        cooldown_us = self.world.client.rate_limited_cooldown_ms * 1000
        least = cooldown_us if ending.retry_us is None else ending.retry_us
        # The device goes by its own clock, which may drift by a hundredth at most.
        least -= least // 100
        waited = self.world.true_us - ending.at_us
        self.judge(waited >= least, f"came again after {waited} µs, before {least} µs", ending.event, event)


@check("client.token_after_4001", "R-11.3")
class TokenAfter4001(_Returning):
    """After 4001 a client comes again with another token than it came with, or had in its session."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if ending.action == "token" and self.saw(ending.device, ending.code):
            held = event.query.get("token") not in ending.tokens
            self.judge(held, "came again with a token that it had before", ending.event, event)


@check("client.state_backoff", "R-11.2")
class StateBackoff(Check):
    """In a simulation: each wait lies between the delay for its attempt and that delay plus the jitter."""

    def begin(self) -> None:
        self.waits = Waits()

    def on_state(self, event: ev.State) -> None:
        wait, settings = self.waits.on_state(event), self.world.client.backoff
        if wait is None or not wait.is_judged(settings):
            return
        low = delay_us(settings, wait.attempt)
        waited, high = wait.over.t - wait.failed.t, low + int(low * settings.jitter)
        # The device goes by its own clock, which may drift by a hundredth at most.
        held = low - low // 100 <= waited <= high + high // 100 + 1
        text = f"attempt {wait.attempt} after {waited} µs, not {low} to {high} µs"
        self.judge(held, text, wait.failed, wait.over)
