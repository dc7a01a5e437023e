"""A device in real time: the client core over a WebSocket and HTTP, on an asyncio event loop.

Its law: effects are applied in the order the core returned them; what a callback of the application does in
between waits until they are. One timer is armed, at the core's next deadline.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from zentalk_sim.live.http import HttpError, request
from zentalk_sim.live.socket import LiveSocket
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    AbortSocket,
    ClientEffect,
    CloseSocket,
    Connect,
    Count,
    Effects,
    Fetch,
    NeedToken,
    SendFrame,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.frames import MessageType, SettableStatus
from zentalk_sim.protocol.identity import token_signed_data

E = TypeVar("E")
_TOKEN_RETRY_S = 5.0


class UnixClock:
    """Unix time in µs that never goes back, as the client core wants it."""

    def __init__(self) -> None:
        self._last_us = 0

    def __call__(self) -> int:
        self._last_us = max(self._last_us, time.time_ns() // 1000)
        return self._last_us


class Device:
    """Drives one client core. Use it as an asynchronous context manager, or call ``stop`` at the end."""

    def __init__(
        self,
        client: Client,
        ws_url: str,
        http_url: str,
        *,
        on_effect: Callable[[ClientEffect], None] | None = None,
        tls: ssl.SSLContext | None = None,
        origin: str | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """``ws_url`` ends in ``/ws/v1``; ``on_effect`` is told every effect for the application, in order."""
        self.client = client
        self.counters: dict[str, int] = {}
        self._ws_url = ws_url
        self._http_url = http_url.rstrip("/")
        self._on_effect = on_effect
        self._tls = tls
        self._origin = origin
        self._clock = clock or UnixClock()
        self._socket: LiveSocket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._effects: deque[ClientEffect] = deque()
        self._applying = False
        self._stopped = False
        self._waiters: list[tuple[Callable[[ClientEffect], bool], asyncio.Future[ClientEffect]]] = []

    # --- the application -----------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """The state of the connection."""
        return self.client.state

    def connect(self) -> None:
        """Connect, and reconnect whenever the connection is lost."""
        self._do(self.client.connect(self._clock()))

    def close(self) -> None:
        """Close the connection."""
        self._do(self.client.close(self._clock()))

    def send(self, to: str, ciphertext: bytes, message_type: MessageType = "text", **options: Any) -> str:
        """Send a message; its id. ``options``: ``conversation_id``, ``x3dh_header``."""
        effects = self.client.send(to, ciphertext, message_type, self._clock(), **options)
        message_id = self.client.last_id
        self._do(effects)
        return message_id

    def mark_read(self, message_id: str) -> None:
        """The user has seen a message."""
        self._do(self.client.mark_read(message_id, self._clock()))

    def start_typing(self, conversation_id: str) -> None:
        """The user types."""
        self._do(self.client.start_typing(conversation_id, self._clock()))

    def stop_typing(self, conversation_id: str) -> None:
        """The user stopped typing."""
        self._do(self.client.stop_typing(conversation_id, self._clock()))

    def set_presence(self, status: SettableStatus) -> None:
        """Set the user's presence."""
        self._do(self.client.set_presence(status, self._clock()))

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics."""
        self._do(self.client.subscribe(topics, self._clock()))

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Take subscriptions back."""
        self._do(self.client.unsubscribe(topics, self._clock()))

    def foreground(self, is_foreground: bool) -> None:
        """The application went to the foreground or the background."""
        self._do(self.client.foreground(is_foreground, self._clock()))

    def network_changed(self) -> None:
        """The network changed: the old connection is worth nothing."""
        self._do(self.client.network_changed(self._clock()))

    def lose_connection(self) -> None:
        """Cut the connection as a broken network would, without a closing handshake (for tests)."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.abort()
            self._do(self.client.closed(1006, self._clock()))

    async def wait_for(
        self, kind: type[E], matches: Callable[[E], bool] | None = None, *, timeout_s: float = 10.0
    ) -> E:
        """The next effect of a kind for which ``matches`` holds. Raises TimeoutError.

        Ask before causing it: effects of before the call are not looked at.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def wanted(effect: ClientEffect) -> bool:
            return isinstance(effect, kind) and (matches is None or matches(effect))

        entry = (wanted, future)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_s):
                found: E = await future
                return found
        finally:
            self._waiters.remove(entry)

    async def wait_for_state(self, state: ClientState, *, timeout_s: float = 10.0) -> None:
        """Return once the connection is in this state. Raises TimeoutError."""
        if self.state is not state:
            await self.wait_for(StateChanged, lambda change: change.new is state, timeout_s=timeout_s)

    async def stop(self) -> None:
        """Drop whatever is open, without a handshake, and wait for its end."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.abort()
            self._socket = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Device:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    # --- effects -------------------------------------------------------------------------------------

    def _do(self, effects: Effects) -> None:
        self._effects.extend(effects)
        if self._applying:
            return
        self._applying = True
        try:
            while self._effects:
                self._apply(self._effects.popleft())
        finally:
            self._applying = False
        self._arm()

    def _apply(self, effect: ClientEffect) -> None:
        if self._stopped:
            return
        if isinstance(effect, SendFrame):
            if self._socket is not None:
                self._socket.send(codec.encode(effect.frame))
        elif isinstance(effect, Connect):
            self._open(effect.query)
        elif isinstance(effect, CloseSocket):
            if self._socket is not None:
                self._socket.close(effect.code, effect.reason)
        elif isinstance(effect, AbortSocket):
            socket, self._socket = self._socket, None
            if socket is not None:
                socket.abort()
        elif isinstance(effect, Fetch):
            self._spawn(self._fetch(effect))
        else:
            self._tell(effect)

    def _tell(self, effect: ClientEffect) -> None:
        if isinstance(effect, Count):
            self.counters[effect.name] = self.counters.get(effect.name, 0) + effect.count
        elif isinstance(effect, NeedToken):
            self._spawn(self._new_token())
        for wanted, future in list(self._waiters):
            if not future.done() and wanted(effect):
                future.set_result(effect)
        if self._on_effect is not None:
            self._on_effect(effect)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.client.next_timeout()
        if due is not None and not self._stopped:
            delay_s = max(0, due - self._clock()) / 1_000_000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._do(self.client.handle_timeout(self._clock()))

    # --- the socket ----------------------------------------------------------------------------------

    def _open(self, query: dict[str, str]) -> None:
        self._socket = LiveSocket(
            self,
            f"{self._ws_url}?{urlencode(query)}",
            tls=self._tls if self._ws_url.startswith("wss:") else None,
            origin=self._origin,
            closing_timeout_s=self.client.config.closing_timeout_ms / 1000,
        )
        self._keep(self._socket.task)

    def socket_opened(self, socket: LiveSocket) -> None:
        """See Owner."""
        self._do(self.client.connected(self._clock()))

    def socket_refused(self, socket: LiveSocket, status: int | None) -> None:
        """See Owner."""
        self._socket = None
        self._do(self.client.connect_failed(self._clock(), status))

    def socket_data(self, socket: LiveSocket, data: str | bytes) -> None:
        """See Owner."""
        self._do(self.client.receive_data(data, self._clock()))

    def socket_closed(self, socket: LiveSocket, code: int) -> None:
        """See Owner."""
        self._socket = None
        self._do(self.client.closed(code, self._clock()))

    # --- requests ------------------------------------------------------------------------------------

    async def _fetch(self, fetch: Fetch) -> None:
        status, body = 0, b""
        with contextlib.suppress(HttpError):
            status, body = await request(
                self._http_url + fetch.path, fetch.method, bearer=self.client.token, body=fetch.body, tls=self._tls
            )
        self._do(self.client.receive_response(fetch.fetch, status, body, self._clock()))

    async def _new_token(self) -> None:
        """R-3.3: a new connection token for the identity; asked again every few seconds until there is one."""
        identity, crypto = self.client.identity, self.client.crypto
        while True:
            timestamp = self._clock() // 1000
            signature = crypto.sign(identity.identity_secret, token_signed_data(identity.device_id, timestamp))
            body = {
                "identity_key": base64.b64encode(crypto.public_key(identity.identity_secret)).decode(),
                "device_id": identity.device_id,
                "timestamp": timestamp,
                "signature": base64.b64encode(signature).decode(),
            }
            with contextlib.suppress(HttpError, msgspec.DecodeError):
                status, answer = await request(
                    f"{self._http_url}/api/token", "POST", body=msgspec.json.encode(body), tls=self._tls
                )
                if status == 200:
                    token = msgspec.json.decode(answer, type=_TokenAnswer).token
                    self._do(self.client.renew_token(token, self._clock()))
                    return
            await asyncio.sleep(_TOKEN_RETRY_S)

    def _spawn(self, work: Any) -> None:
        self._keep(asyncio.get_running_loop().create_task(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


class _TokenAnswer(msgspec.Struct):
    token: str
