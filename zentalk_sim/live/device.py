"""A device in real time: the client core over a WebSocket and HTTP, on an asyncio event loop.

Its law: effects are applied in the order the core returned them; what a callback of the application does in
between waits until they are. One timer is armed, at the core's next deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from zentalk_sim.live.clock import UnixClock as UnixClock
from zentalk_sim.live.http import HttpError, request
from zentalk_sim.live.socket import LiveSocket, Owner, Socket
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

E = TypeVar("E")
_TOKEN_RETRY_S = 5.0


class Transport(Protocol):
    """A device's way to its relay."""

    def open(self, owner: Owner, query: str, closing_timeout_s: float) -> Socket:
        """A WebSocket to ``/ws/v1`` with this query, which reports to ``owner``."""
        ...

    async def request(self, target: str, method: str, bearer: str | None, body: bytes | None) -> tuple[int, bytes]:
        """One REST request; its status and body. Raises HttpError."""
        ...


class Direct:
    """Straight to the relay, over whatever network there is."""

    def __init__(self, ws_url: str, http_url: str, tls: ssl.SSLContext | None, origin: str | None) -> None:
        self.ws_url = ws_url
        self._http_url = http_url.rstrip("/")
        self._tls = tls
        self._origin = origin

    def open(self, owner: Owner, query: str, closing_timeout_s: float) -> Socket:
        """See Transport."""
        tls = self._tls if self.ws_url.startswith("wss:") else None
        url = f"{self.ws_url}?{query}"
        return LiveSocket(owner, url, tls=tls, origin=self._origin, closing_timeout_s=closing_timeout_s)

    async def request(self, target: str, method: str, bearer: str | None, body: bytes | None) -> tuple[int, bytes]:
        """See Transport."""
        return await request(self._http_url + target, method, bearer=bearer, body=body, tls=self._tls)


class Device:
    """Drives one client core. Use it as an asynchronous context manager, or call ``stop`` at the end."""

    def __init__(
        self,
        client: Client,
        ws_url: str,
        http_url: str,
        *,
        on_effect: Callable[[ClientEffect], None] | None = None,
        watch: Callable[[ClientEffect], None] | None = None,
        tls: ssl.SSLContext | None = None,
        origin: str | None = None,
        clock: Callable[[], int] | None = None,
        transport: Transport | None = None,
    ) -> None:
        """``ws_url`` ends in ``/ws/v1``; ``on_effect`` is told every effect for the application, in order.

        ``watch`` is told every effect of any kind, once it is applied. With a ``transport`` the URLs are not used.
        """
        self.client = client
        self.counters: dict[str, int] = {}
        self._transport: Transport = transport or Direct(ws_url, http_url, tls, origin)
        self._on_effect = on_effect
        self._watch = watch
        self._clock = clock or UnixClock()
        self._socket: Socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._effects: deque[ClientEffect] = deque()
        self._applying = False
        self._asks_token = False
        self._stopped = False
        self._waiters: list[tuple[Callable[[ClientEffect], bool], asyncio.Future[ClientEffect]]] = []

    # --- the application -----------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """The state of the connection."""
        return self.client.state

    def connect(self) -> None:
        """Connect, and reconnect whenever the connection is lost."""
        self.apply(self.client.connect(self._clock()))

    def close(self) -> None:
        """Close the connection."""
        self.apply(self.client.close(self._clock()))

    def send(self, to: str, ciphertext: bytes, message_type: MessageType = "text", **options: Any) -> str:
        """Send a message; its id. ``options``: ``conversation_id``, ``x3dh_header``."""
        effects = self.client.send(to, ciphertext, message_type, self._clock(), **options)
        message_id = self.client.last_id
        self.apply(effects)
        return message_id

    def mark_read(self, message_id: str) -> None:
        """The user has seen a message."""
        self.apply(self.client.mark_read(message_id, self._clock()))

    def start_typing(self, conversation_id: str) -> None:
        """The user types."""
        self.apply(self.client.start_typing(conversation_id, self._clock()))

    def stop_typing(self, conversation_id: str) -> None:
        """The user stopped typing."""
        self.apply(self.client.stop_typing(conversation_id, self._clock()))

    def set_presence(self, status: SettableStatus) -> None:
        """Set the user's presence."""
        self.apply(self.client.set_presence(status, self._clock()))

    def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to topics."""
        self.apply(self.client.subscribe(topics, self._clock()))

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Take subscriptions back."""
        self.apply(self.client.unsubscribe(topics, self._clock()))

    def foreground(self, is_foreground: bool) -> None:
        """The application went to the foreground or the background."""
        self.apply(self.client.foreground(is_foreground, self._clock()))

    def network_changed(self) -> None:
        """The network changed: the old connection is worth nothing."""
        self.apply(self.client.network_changed(self._clock()))

    def lose_connection(self) -> None:
        """Cut the connection as a broken network would, without a closing handshake (for tests)."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.abort()
            self.apply(self.client.closed(1006, self._clock()))

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

    def apply(self, effects: Effects) -> None:
        """Do what the client core asks, in order, and have its next timer stand."""
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
        if self._watch is not None:
            self._watch(effect)

    def _tell(self, effect: ClientEffect) -> None:
        if isinstance(effect, Count):
            self.counters[effect.name] = self.counters.get(effect.name, 0) + effect.count
        elif isinstance(effect, NeedToken) and not self._asks_token:
            self._asks_token = True
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
        self.apply(self.client.handle_timeout(self._clock()))

    # --- the socket ----------------------------------------------------------------------------------

    def _open(self, query: dict[str, str]) -> None:
        timeout_s = self.client.config.closing_timeout_ms / 1000
        self._socket = self._transport.open(self, urlencode(query), timeout_s)
        self._keep(self._socket.task)

    def socket_opened(self, socket: Socket) -> None:
        """See Owner."""
        self.apply(self.client.connected(self._clock()))

    def socket_refused(self, socket: Socket, status: int | None, retry_after_ms: int | None) -> None:
        """See Owner."""
        self._socket = None
        self.apply(self.client.connect_failed(self._clock(), status, retry_after_ms))

    def socket_data(self, socket: Socket, data: str | bytes) -> None:
        """See Owner."""
        self.apply(self.client.receive_data(data, self._clock()))

    def socket_closed(self, socket: Socket, code: int) -> None:
        """See Owner."""
        self._socket = None
        self.apply(self.client.closed(code, self._clock()))

    # --- requests ------------------------------------------------------------------------------------

    async def _fetch(self, fetch: Fetch) -> None:
        status, body = 0, b""
        with contextlib.suppress(HttpError):
            status, body = await self._transport.request(fetch.path, fetch.method, self.client.token, fetch.body)
        self.apply(self.client.receive_response(fetch.fetch, status, body, self._clock()))

    async def _new_token(self) -> None:
        """R-3.3: a new connection token for the identity; asked again every few seconds until there is one."""
        while True:
            body = self.client.token_request(self._clock())
            with contextlib.suppress(HttpError, msgspec.DecodeError):
                status, answer = await self._transport.request("/api/token", "POST", None, body)
                if status == 200:
                    self._asks_token = False
                    token = msgspec.json.decode(answer, type=_TokenAnswer).token
                    self.apply(self.client.renew_token(token, self._clock()))
                    return
            await asyncio.sleep(_TOKEN_RETRY_S)

    def _spawn(self, work: Any) -> None:
        self._keep(asyncio.get_running_loop().create_task(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


class _TokenAnswer(msgspec.Struct):
    token: str
