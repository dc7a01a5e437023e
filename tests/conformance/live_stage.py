"""The stage of real sockets: ``mockrelay`` in a thread of its own, its clock frozen and moved by the body.

Lines are plain ``websockets`` clients, REST goes over HTTP. Nothing here waits for time to pass: a line settles
by a WebSocket ping, whose pong comes after everything that the relay had to say before.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from stage import Actor, Line, Refused, Stage
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mockrelay.clock import MovableClock
from mockrelay.server import MockRelay, Options
from zentalk_sim.protocol.config import RelayConfig

T = TypeVar("T")
TIMEOUT_S = 20.0


class LiveLine(Line):
    """A ``websockets`` client."""

    socket: ClientConnection | None = None

    def write(self, data: str | bytes) -> None:
        assert self.socket is not None
        before, self.stage.last_written = self.stage.last_written, self
        if before is not None and before is not self:
            before.settle()
        try:
            self.socket.send(data)
        except ConnectionClosed as error:
            self._closed(error)

    def settle(self) -> None:
        if self.socket is None or self.close_code is not None:
            return
        try:
            pong = self.socket.ping()
        except ConnectionClosed as error:
            self._drain()
            self._closed(error)
            return
        pong.wait(TIMEOUT_S)
        self._drain()

    def _drain(self) -> None:
        assert self.socket is not None
        while True:
            try:
                self.took(self.socket.recv(timeout=0))
            except TimeoutError:
                return
            except ConnectionClosed as error:
                self._closed(error)
                return

    def wait_close(self) -> None:
        while self.close_code is None:
            assert self.socket is not None
            try:
                self.took(self.socket.recv(timeout=TIMEOUT_S))
            except ConnectionClosed as error:
                self._closed(error)

    def hang_up(self, code: int | None = 1000) -> None:
        assert self.socket is not None
        self.settle()
        if code is None:
            self.socket.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close_socket()
            self.close_code = 1006
        else:
            self.socket.close(code)
            self.close_code = code
        self.stage.wait_until_gone(self.device_id)  # type: ignore[attr-defined]

    def _closed(self, error: ConnectionClosed) -> None:
        if self.close_code is None:
            self.close_code = error.rcvd.code if error.rcvd else 1006
            self.close_reason = error.rcvd.reason if error.rcvd else ""


class LiveStage(Stage):
    """A mock relay on two free ports of the loopback interface."""

    def __init__(self, config: RelayConfig) -> None:
        super().__init__(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mockrelay", daemon=True)
        self._thread.start()
        self.clock = MovableClock(scale=0)
        # Begin on a whole second, as tokens count in seconds and bodies ask for exact instants.
        self.clock.advance(-self.clock.now_us() % 1_000_000)
        self.relay = self._run(self._start(config))
        self._sockets = ExitStack()
        self._http = httpx.Client(base_url=self.relay.http_url, timeout=TIMEOUT_S)

    async def _start(self, config: RelayConfig) -> MockRelay:
        relay = MockRelay(Options(config=config, port=0, http_port=0, seed=1, clock=self.clock))
        await relay.start()
        return relay

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._run(call())

    def now_ms(self) -> int:
        return self.clock.now_us() // 1000

    def advance(self, seconds: float) -> None:
        self.settle()
        self._call(lambda: self._advance(round(seconds * 1_000_000)))

    def _advance(self, span_us: int) -> None:
        driver = self.relay.driver
        until = self.clock.now_us() + span_us
        while (due := driver.relay.next_timeout()) is not None and due <= until:
            self.clock.advance(max(0, due - self.clock.now_us()))
            driver.clock_changed()
        self.clock.advance(until - self.clock.now_us())
        driver.clock_changed()

    def control(self, command: Any) -> Any:
        return self._call(lambda: self.relay.driver.control(command))

    def wait_until_gone(self, device_id: str) -> None:
        """Until the relay has seen that a device's connection is over."""

        async def gone() -> None:
            conns = self.relay.driver.relay.connections
            while any(conn.device_id == device_id for conn in conns.values()):
                await asyncio.sleep(0.001)

        self._run(asyncio.wait_for(gone(), TIMEOUT_S))

    def open_line(
        self, actor: Actor, device_id: str, query: dict[str, str], headers: dict[str, str], path: str
    ) -> Line:
        line = LiveLine(actor, device_id)
        more = dict(headers)
        host = more.pop("host", "relay.zentalk.network")
        ends = urlsplit(self.relay.ws_url)
        try:
            opening = connect(
                f"ws://{host}{path}?{urlencode(query)}",
                sock=socket.create_connection((ends.hostname or "", ends.port or 0)),
                origin=more.pop("origin", None),  # type: ignore[arg-type]
                subprotocols=[more.pop("sec-websocket-protocol", "zentalk.v1")],  # type: ignore[list-item]
                additional_headers=more,
                compression=None,
                max_size=None,
                max_queue=None,
                ping_interval=None,
                open_timeout=TIMEOUT_S,
            )
            line.socket = self._sockets.enter_context(opening)
        except InvalidStatus as error:
            body = json.loads(error.response.body or b"{}")
            line.refused = Refused(error.response.status_code, body.get("error_code", ""), body.get("message", ""))
        return line

    def request(self, method: str, target: str, bearer: str | None, body: bytes | None) -> tuple[int, Any]:
        self.settle()
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._http.request(method, target, headers=headers, content=body)
        return answer.status_code, answer.json() if answer.content else None

    def count(self, name: str) -> int:
        self.settle()
        return self._call(lambda: self.relay.driver.counters.get(name, 0))

    def close(self) -> None:
        self._sockets.close()
        self._http.close()
        self._run(self.relay.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        self._loop.close()
