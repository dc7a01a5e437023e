"""The driver: order of inputs and timers, what a core that breaks does, commands, clocks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from mockrelay.clock import MovableClock, RealClock
from mockrelay.driver import Driver
from tests.mockrelay.live_support import config, connected, frozen, run, serving
from zentalk_sim.protocol.control import AddDevice, AddUser, IssueToken, Suspend
from zentalk_sim.protocol.effects import Refuse
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest


class Log:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def accept(self) -> None:
        self.said.append("accept")

    def refuse(self, refusal: Refuse) -> None:
        self.said.append(refusal.status)

    def send(self, payload: bytes, binary: bool) -> None:
        self.said.append(payload)

    def close(self, code: int, reason: str) -> None:
        self.said.append((code, reason))

    def abort(self, cause: str) -> None:
        self.said.append(cause)


def made(clock: MovableClock) -> tuple[Driver, UpgradeRequest]:
    """A driver with one user, and that user's upgrade request."""
    relay = Relay(config(), streams=Streams(1), store=MemoryStore())
    driver = Driver(relay, clock, asyncio.get_running_loop())
    address = driver.control(AddUser(bytes(32)))
    device = "0ad5bd67-171e-4c68-9866-76b209781ee0"
    driver.control(AddDevice(address, device))
    token = driver.control(IssueToken(address, device))[0]
    headers = {
        "host": "localhost",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "zentalk.v1",
    }
    return driver, UpgradeRequest("/ws/v1", {"token": token, "device_id": device}, headers, "127.0.0.1")


@pytest.mark.requirement("R-4.3")
def test_a_timer_must_run_when_the_clock_reaches_it() -> None:
    async def body() -> None:
        clock = frozen()
        driver, request = made(clock)
        sink = Log()
        driver.connect(sink, request)
        clock.advance(4_999_999)
        driver.clock_changed()
        assert len(sink.said) == 2
        clock.advance(1)
        driver.clock_changed()
        assert sink.said[2] == (1002, "auth_timeout")
        driver.stop()

    run(body())


@pytest.mark.requirement("R-4.3")
def test_bytes_read_late_must_count_as_arrived_in_time() -> None:
    """While the loop was busy the deadline passed; the answer had been waiting in the kernel."""

    async def body() -> None:
        clock = frozen()
        driver, request = made(clock)
        sink = Log()
        conn = driver.connect(sink, request)
        await asyncio.sleep(0)
        clock.advance(6_000_000)
        driver.receive_text(conn, b"{}")
        assert b"AUTH_FAILED" in sink.said[2], "the frame must be judged, not the time"
        assert sink.said[3][0] == 4000
        driver.stop()

    run(body())


@pytest.mark.requirement("R-13.1")
def test_all_inputs_of_a_turn_must_have_one_instant() -> None:
    async def body() -> None:
        clock = MovableClock()
        driver, request = made(clock)
        await asyncio.sleep(0)
        sink = Log()
        conn = driver.connect(sink, request)
        first = driver.relay.now_us
        clock.advance(1_000)
        driver.receive_text(conn, b"{}")
        assert driver.relay.now_us == first
        await asyncio.sleep(0)
        driver.disconnect(conn, "lost")
        assert driver.relay.now_us >= first + 1_000
        driver.stop()

    run(body())


@pytest.mark.requirement("R-12.2")
def test_a_core_that_raises_must_cost_that_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice, connected(relay, "bob") as bob:
            core, whole = relay.driver.relay, relay.driver.relay.receive_text

            def breaks_once(*args: Any) -> Any:
                vars(core)["receive_text"] = whole
                raise AssertionError("an invariant is broken")

            vars(core)["receive_text"] = breaks_once
            with caplog.at_level(logging.CRITICAL, "mockrelay"):
                await alice.message(bob.user)
                await alice.ws.wait_closed()
            assert (alice.ws.close_code, alice.ws.close_reason) == (1011, "internal_error")
            await bob.send("TYPING_START", {"conversation_id": "none"})
            assert (await bob.until("ERROR"))["payload"]["error_code"] == "NOT_FOUND"
            assert relay.driver.crashes == relay.driver.counters["relay.crashes"] == 1

    run(body())


@pytest.mark.requirement("R-12.2")
def test_the_log_of_a_crash_must_show_the_input_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        driver, _ = made(frozen())

        def breaks(*args: Any) -> Any:
            raise AssertionError("broken")

        vars(driver.relay)["handle_request"] = breaks
        answer = driver.request(Request("GET", "/api/messages", {}, "secret-token", b"secret-body", "127.0.0.1"))
        assert answer.status == 500
        assert answer.body["error_code"] == "INTERNAL_ERROR"
        driver.stop()

    with caplog.at_level(logging.ERROR, "mockrelay"):
        run(body())
    assert "GET /api/messages" in caplog.text
    assert "secret-" not in caplog.text


def test_a_command_that_names_nobody_must_raise_and_change_nothing() -> None:
    async def body() -> None:
        driver, _ = made(frozen())
        with pytest.raises(ProtocolError, match="no user"):
            driver.control(Suspend("0x" + "0" * 40))
        assert driver.control(AddUser(b"\x01" * 32)).startswith("0x")
        driver.stop()

    run(body())


def test_a_refused_upgrade_must_not_become_a_connection() -> None:
    async def body() -> None:
        driver, request = made(frozen())
        sink = Log()
        conn = driver.connect(sink, UpgradeRequest("/elsewhere", request.query, request.headers, request.ip))
        assert sink.said == [404]
        driver.disconnect(conn, "lost")
        assert "connections.lost.lost" not in driver.counters
        driver.stop()

    run(body())


# --- clocks ------------------------------------------------------------------------------------------


def test_the_real_clock_must_follow_steps_forward_and_pass_over_steps_back() -> None:
    wall, monotonic = [1_000_000_000], [0]
    clock = RealClock(lambda: wall[0], lambda: monotonic[0])
    assert clock.now_us() == 1_000_000
    monotonic[0] += 5_000
    wall[0] -= 900_000_000
    assert clock.now_us() == 1_000_005, "a step back is passed over, and time goes on"
    wall[0] = 3_000_000_000
    assert clock.now_us() == 3_000_000, "after a sleep the wall clock is followed"
    assert clock.delay_s(3_500_000) == 0.5
    assert clock.delay_s(0) == 0


def test_a_movable_clock_must_go_forward_only() -> None:
    wall, monotonic = [0], [0]

    def pass_us(us: int) -> None:
        wall[0] += us * 1000
        monotonic[0] += us * 1000

    clock = MovableClock(RealClock(lambda: wall[0], lambda: monotonic[0]))
    pass_us(100)
    assert clock.now_us() == 100
    clock.freeze()
    pass_us(100)
    assert (clock.now_us(), clock.real_us(), clock.delay_s(200)) == (100, 200, None)
    clock.advance(50)
    clock.set_scale(10)
    pass_us(7)
    assert clock.now_us() == 220
    assert clock.delay_s(1_220) == pytest.approx(0.0001)
    clock.freeze()
    clock.resume()
    assert clock.scale == 10
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    for factor in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="factor"):
            clock.set_scale(factor)
