"""How a client comes back: backoff, what it does after which close code (R-11.2, R-11.3).

A trace taken at the relay shows a device's attempts as they arrive, not the attempts that never did and not what the
application asked for. So only waits after an end that the *relay* made are judged, and only from below; a device that
comes from another IP has changed networks and may retry at once; beyond ten failures the application has been asked.
"""

from __future__ import annotations

from typing import Any

from zentalk_sim.checks.registry import Check, Recent, check
from zentalk_sim.checks.world import Conn, World
from zentalk_sim.protocol.backoff import exponential_us
from zentalk_sim.protocol.close_policy import close_action
from zentalk_sim.trace import events as ev

_STOP_US = 600_000_000
"""How long after a stopping close a new attempt with the same token counts as the client's own."""
_JITTER_SAMPLES = 10


class _Ending:
    """How a device's last connection, or attempt, ended."""

    __slots__ = ("action", "at_us", "by_relay", "code", "device", "event", "failures", "ip", "retry_us", "token")

    def __init__(
        self, event: Any, at_us: int, conn: Conn, code: int | None, failures: int, retry_us: int | None
    ) -> None:
        self.event = event
        self.at_us = at_us
        self.device = conn.device
        self.token = conn.token
        self.ip = conn.ip
        self.code = code
        self.by_relay = type(event) is not ev.Lost
        self.action = "backoff" if code is None else close_action(code)
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
            waited, least = self.world.true_us - ending.at_us, exponential_us(self.world.client.backoff, 0)
            self.judge(waited >= least, f"came again after {waited} µs, before {least} µs", ending.event, event)


@check("client.backoff_growth", "R-11.2")
class BackoffGrowth(_Returning):
    """The wait doubles with each failure in a row, and only AUTH_SUCCESS sets the count back."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        settings = self.world.client.backoff
        if not ending.failures or not _backoff_applies(self.world, ending, event):
            return
        waited, least = self.world.true_us - ending.at_us, exponential_us(settings, ending.failures)
        # Less than the base delay is another check's.
        if waited >= exponential_us(settings, 0):
            text = f"failure {ending.failures + 1} in a row: came again after {waited} µs, before {least} µs"
            self.judge(waited >= least, text, ending.event, event)


@check("client.backoff_jitter", "R-11.2", "should")
class BackoffJitter(_Returning):
    """The waits carry a jitter: those after equally many failures are not all alike."""

    def begin(self) -> None:
        super().begin()
        self.spread: dict[int, list[Any]] = {}

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        settings = self.world.client.backoff
        if not _backoff_applies(self.world, ending, event) or not settings.jitter:
            return
        waited, d_us = self.world.true_us - ending.at_us, exponential_us(settings, ending.failures)
        if waited < d_us:
            return
        # Lowest, highest, how many, and the last attempt.
        entry = self.spread.setdefault(ending.failures, [waited, waited, 0, event])
        entry[:] = [min(entry[0], waited), max(entry[1], waited), entry[2] + 1, event]

    def on_finish(self, _: None) -> None:
        settings = self.world.client.backoff
        for failures, (low, high, count, event) in sorted(self.spread.items()):
            if count >= _JITTER_SAMPLES:
                least = int(exponential_us(settings, failures) * settings.jitter) // 10
                text = f"{count} waits after {failures + 1} failures differ by {high - low} µs only"
                self.judge(high - low >= least, text, event)


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
        if close_action(event.code) == "stop" and self.world.conn(event.c).state != "ended":
            self.seen()


@check("client.wait_after_4002", "R-11.3")
class WaitAfter4002(_Returning):
    """After 4002 a client waits the retry_after of the last RATE_LIMITED, or 60 s, and then the backoff."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if ending.action != "cooldown" or not self.saw(ending.device, ending.code):
            return
        cooldown_us = self.world.client.rate_limited_cooldown_ms * 1000
        least = cooldown_us if ending.retry_us is None else ending.retry_us
        waited = self.world.true_us - ending.at_us
        self.judge(waited >= least, f"came again after {waited} µs, before {least} µs", ending.event, event)


@check("client.token_after_4001", "R-11.3")
class TokenAfter4001(_Returning):
    """After 4001 a client comes again with another token."""

    def returned(self, ending: _Ending, event: ev.Upgrade) -> None:
        if ending.action == "token" and self.saw(ending.device, ending.code):
            self.judge(event.query.get("token") != ending.token, "came again with the same token", ending.event, event)


@check("client.state_backoff", "R-11.2")
class StateBackoff(Check):
    """In a simulation: each wait lies between the delay for its attempt and that delay plus the jitter."""

    def begin(self) -> None:
        self.failed: Recent[str, tuple[int, Any]] = Recent(200_000)
        self.count: Recent[str, int] = Recent(200_000)
        """Device → waits since it was connected last; none where that is not known."""
        self.tokens: Recent[str, Any] = Recent(200_000)
        """Devices that wait for a token."""

    def on_state(self, event: ev.State) -> None:
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
                    self._judge(found[0], found[1], event)

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

    def _judge(self, k: int, failed: ev.State, event: ev.State) -> None:
        settings = self.world.client.backoff
        if settings.policy != "spec" or k >= settings.max_attempts:
            return
        low = exponential_us(settings, k)
        waited, high = event.t - failed.t, low + int(low * settings.jitter)
        # The device goes by its own clock, which may drift by a hundredth at most.
        held = low - low // 100 <= waited <= high + high // 100 + 1
        self.judge(held, f"attempt {k} after {waited} µs, not {low} to {high} µs", failed, event)
