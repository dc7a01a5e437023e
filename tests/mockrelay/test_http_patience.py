"""The HTTP port's patience with a request, by a clock of its own: heads, bodies that trickle, bodies on a slow line."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mockrelay.http.patience import PatientH11, patient
from mockrelay.lobby import Lobby

TIMEOUT_S = 10.0
BYTES_PER_S = 1_000
HEAD = b"POST /api/v1/upload-media HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


class Timer:
    def __init__(self, at_s: float, run: Callable[[], object]) -> None:
        self.at_s, self.run, self.is_cancelled = at_s, run, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Task:
    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        pass


class Loop:
    """As much of an event loop as the protocol asks for; its applications never answer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._timers: list[Timer] = []

    def call_later(self, delay_s: float, run: Callable[[], object]) -> Timer:
        timer = Timer(self.now_s + delay_s, run)
        self._timers.append(timer)
        return timer

    def create_task(self, task: Coroutine[Any, Any, None], **_more: Any) -> Task:
        task.close()
        return Task()

    def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [timer for timer in self._timers if timer.at_s <= end_s and not timer.is_cancelled]:
            timer = min(due, key=lambda timer: timer.at_s)
            self._timers.remove(timer)
            self.now_s = timer.at_s
            timer.run()
        self.now_s = end_s


class Transport:
    """A connection as the protocol sees it."""

    is_aborted = is_paused = False

    def get_extra_info(self, name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    close = abort


class Line:
    """A client's connection: what it sends, and whether it still stands."""

    def __init__(self) -> None:
        self.loop, self.transport, self.counted = Loop(), Transport(), list[str]()
        lobby = Lobby(timeout_s=TIMEOUT_S)
        lobby.count = self.counted.append
        config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)
        config.loaded_app, config.encoded_headers = None, []
        made: Any = patient(lobby, BYTES_PER_S)
        self.protocol: PatientH11 = made(config, ServerState(), {}, self.loop)
        self.protocol.connection_made(self.transport)

    def send(self, data: bytes, wait_s: float = 0.0) -> None:
        self.protocol.data_received(data)
        self.loop.advance(wait_s)

    @property
    def stands(self) -> bool:
        return not self.transport.is_aborted


@pytest.fixture
def line() -> Iterator[Line]:
    found = Line()
    yield found
    found.protocol.connection_lost(None)
    found.loop.advance(10 * TIMEOUT_S)
    assert len(found.counted) <= 1, "a connection that is gone waits for nothing"


def test_a_head_that_trickles_must_end_in_time(line: Line) -> None:
    for byte in HEAD[:9]:
        line.send(bytes([byte]), 1.0)
    assert line.stands
    line.send(HEAD[9:10], 1.0)
    assert not line.stands
    assert line.counted == ["http.timeout"]


def test_a_body_that_trickles_must_end_in_time(line: Line) -> None:
    """A byte a second is no reason to wait on."""
    line.send(HEAD)
    for _ in range(9):
        line.send(b"x", 1.0)
    assert line.stands
    line.send(b"x", 1.0)
    assert not line.stands
    assert line.counted == ["http.timeout"]


def test_a_body_on_a_slow_line_must_be_waited_for_at_the_least_rate(line: Line) -> None:
    line.send(HEAD)
    for _ in range(20):
        line.send(b"x" * BYTES_PER_S, 1.0)
    line.send(b"x" * BYTES_PER_S)
    assert line.stands
    line.loop.advance(10.0)
    assert not line.stands, "and when it then ceases, for one span more"


def test_a_whole_request_must_not_be_timed(line: Line) -> None:
    """However long its answer takes."""
    line.send(HEAD.replace(b"1000000", b"4") + b"{}")
    line.send(b"  ", 1_000.0)
    assert line.stands
    assert line.counted == []


def test_nothing_must_be_wanted_while_the_relay_does_not_read(line: Line) -> None:
    line.send(HEAD)
    line.send(b"x" * 100_000, 100.0)
    assert line.transport.is_paused
    assert line.stands
    line.protocol.flow.resume_reading()
    line.loop.advance(TIMEOUT_S)
    assert not line.stands
