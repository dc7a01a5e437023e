"""A whole mock relay in one event loop: core, WebSocket port, HTTP port, users, recording, orderly stop.

``async with MockRelay(Options(port=0, http_port=0)) as relay: …`` is all that an embedding test needs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, cast

import uvicorn
from msgspec import Struct

from mockrelay.addresses import names_of
from mockrelay.bounds import Bounds
from mockrelay.clock import MovableClock
from mockrelay.driver import Driver
from mockrelay.http.app import application
from mockrelay.http.inspector_routes import inspector_url
from mockrelay.http.patience import patient
from mockrelay.http.unreadable import MAX_HEAD_BYTES
from mockrelay.lobby import Lobby
from mockrelay.spaces import Space, Spaces
from mockrelay.tls import DevelopmentTls, server_context
from mockrelay.websocket import Connection
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.upgrade import host_admitted, host_name

STOP_TIMEOUT_S: Final = 0.7
"""How long an orderly stop waits for the peers' closing handshakes."""
_HTTP_STOP_TIMEOUT_S: Final = 0.5
_ABORT_TIMEOUT_S: Final = 0.2
_BACKLOG: Final = 1024


class PortInUse(Exception):
    """A port that cannot be bound; ``option`` is the setting that chose it."""

    def __init__(self, option: str, host: str, port: int, reason: str) -> None:
        super().__init__(f"{option}: cannot listen on {host} port {port}: {reason}")
        self.option = option


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a mock relay is set up. Ports of 0 pick free ones."""

    config: RelayConfig = field(default_factory=RelayConfig)
    host: str = "127.0.0.1"
    port: int = 8765
    http_port: int = 8766
    users: tuple[str, ...] = ()
    seed: int | None = None
    """None draws 32 bytes from the system."""
    record: str | None = None
    admin_token: str | None = None
    """None makes one up."""
    tls: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    ca_dir: str | None = None
    """Where the development authority is kept; None: one of its own, gone when the relay stops."""
    clock: MovableClock = field(default_factory=MovableClock)
    store: str = "memory"
    """``memory`` or ``sqlite:PATH``."""
    bounds: Bounds = field(default_factory=Bounds)
    rules: tuple[Any, ...] = ()
    """Fault rules as ``POST /admin/rules`` takes them."""


class MockUser(Struct, frozen=True):
    """A user of the relay with what a client needs to connect as one."""

    name: str
    address: str
    identity_key: bytes
    identity_secret: bytes
    """The 32-byte Ed25519 seed."""
    device_id: str
    token: str


class _Uvicorn(uvicorn.Server):
    """Uvicorn within a program that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket. Raises PortInUse."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PortInUse("--host", host, port, getattr(error, "strerror", None) or "no such host") from None
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except (OSError, OverflowError) as error:
        sock.close()
        if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            option = "--host"
        raise PortInUse(option, host, port, getattr(error, "strerror", None) or str(error)) from None
    return sock


def _reachable(host: str) -> str:
    """The host as it stands in a URL; a wildcard address is reached by loopback."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


class MockRelay:
    """A relay that serves; use it as an asynchronous context manager."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.admin_token = options.admin_token or secrets.token_urlsafe(24)
        self.users: list[MockUser] = []
        self.shutdown_asked = asyncio.Event()
        """Set by ``POST /admin/shutdown``."""
        self.development_tls: DevelopmentTls | None = None
        bounds = options.bounds
        self._lobby = Lobby(bounds.handshakes, bounds.handshake_timeout_ms / 1000)
        self._http_lobby = Lobby(bounds.handshakes, bounds.handshake_timeout_ms / 1000)
        self._connections: dict[Connection, None] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._server: asyncio.Server | None = None
        self._http: _Uvicorn | None = None
        self._http_task: asyncio.Task[None] | None = None
        self._stopping = False

    # --- life ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve.

        Raises PortInUse, TlsError, StoreError, RuleFaults, or OSError where the recording cannot be written.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        options = self.options
        tls = self._tls_context()
        self.default = Space(
            options.config, seed=options.seed, clock=options.clock, store=options.store, bounds=options.bounds
        )
        self._lobby.count = self._http_lobby.count = self.default.driver.count
        self.default.keep_rules(list(options.rules))
        with contextlib.ExitStack() as sockets:
            ws_socket = sockets.enter_context(listen(options.host, options.port, "--port"))
            http_socket = sockets.enter_context(listen(options.host, options.http_port, "--http-port"))
            scheme, http_scheme = ("wss", "https") if tls else ("ws", "http")
            name = _reachable(options.host)
            ws_base = f"{scheme}://{name}:{ws_socket.getsockname()[1]}"
            http_base = f"{http_scheme}://{name}:{http_socket.getsockname()[1]}"
            self.spaces = Spaces(self.default, ws_base, http_base)
            self.ws_url, self.http_url = self.default.ws_url, self.default.http_url
            for user in options.users:
                self.add_user(user)
            if options.record is not None:
                self.default.record(options.record)
            await self._start_http(http_socket, tls)
            self._server = await self.driver.loop.create_server(
                # A protocol by what it can do, see Outlet.
                cast(Callable[[], asyncio.Protocol], self._connection),
                sock=ws_socket,
                ssl=tls,
                ssl_handshake_timeout=self._lobby.timeout_s if tls else None,
            )
            sockets.pop_all()

    async def _start_http(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        app = application(
            self.spaces,
            self.admin_token,
            lambda space: not self._stopping and space.driver.away is None,
            self.shutdown_asked.set,
        )
        config = uvicorn.Config(
            app,
            http=patient(self._http_lobby, self.options.bounds.body_bytes_per_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        # Above, only whole seconds are foreseen; an orderly stop shall take less than one.
        config.timeout_graceful_shutdown = _HTTP_STOP_TIMEOUT_S  # type: ignore[assignment]
        config.load()
        config.ssl = tls
        self._http = _Uvicorn(config)
        self._http_task = asyncio.create_task(self._http.serve(sockets=[sock]))
        while not self._http.started and not self._http_task.done():
            await asyncio.sleep(0)
        if self._http_task.done():
            await self._http_task

    def _tls_context(self) -> ssl.SSLContext | None:
        options = self.options
        if not options.tls:
            return None
        if options.tls_cert and options.tls_key:
            return server_context(options.tls_cert, options.tls_key)
        upgrade = options.config.upgrade
        self.development_tls = DevelopmentTls(
            lambda: names_of(options.host, [host_name(host) for host in upgrade.hosts]),
            options.ca_dir,
            is_admitted=lambda name: host_admitted(name, upgrade),
        )
        return self.development_tls.context

    async def stop(self) -> None:
        """An orderly stop: 1001 to every connection (R-12.1), then the end, within a second."""
        if self._stopping:
            return
        self._stopping = True
        if self._http is not None:
            self._http.should_exit = True
        if hasattr(self, "spaces"):
            self.spaces.close()
        if self._server is not None:
            await self._stop_connections(self._server)
        if self._http_task is not None:
            await self._http_task
        if hasattr(self, "default"):
            self.default.close()
        if self.development_tls is not None:
            self.development_tls.close()

    async def _stop_connections(self, server: asyncio.Server) -> None:
        server.close()
        self.default.say_goodbye()
        for connection in list(self._connections):
            connection.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone.wait(), STOP_TIMEOUT_S)
        for connection in list(self._connections):
            connection.abort("stopped")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), _ABORT_TIMEOUT_S)

    async def __aenter__(self) -> MockRelay:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _connection(self) -> Connection:
        # Counted once its transport is there: after a TLS handshake that fails neither its begin nor its end is told.
        return Connection(self.spaces.find_path, self._began, self._ended, self._lobby)

    def _began(self, connection: Connection) -> None:
        self._connections[connection] = None
        self._all_gone.clear()
        if self._stopping:
            connection.stop()

    def _ended(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._all_gone.set()

    # --- users ---------------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The driver of the default space."""
        return self.default.driver

    def add_user(self, name: str) -> MockUser:
        """A user with one ``web`` device and a token; keys and device follow from the seed and the name."""
        person = self.default.add_person(name, is_initial=True)
        assert person.identity_secret is not None
        device_id, token = next(iter(person.tokens.items()))
        user = MockUser(name, person.address, person.identity_key, person.identity_secret, device_id, token)
        self.users.append(user)
        return user

    def url_of(self, user: MockUser) -> str:
        """A WebSocket URL that connects as this user."""
        return f"{self.ws_url}?token={user.token}&device_id={user.device_id}&protocol_version=1"

    def start_message(self) -> dict[str, Any]:
        """What ``serve --json`` prints."""
        return {
            "ws_url": self.ws_url,
            "http_url": self.http_url,
            "inspector_url": inspector_url(self.http_url, self.admin_token),
            "admin_token": self.admin_token,
            **({} if self.development_tls is None else {"ca_file": self.development_tls.cert_file}),
            "users": [
                {
                    "name": user.name,
                    "address": user.address,
                    "identity_key": base64.b64encode(user.identity_key).decode(),
                    "identity_secret": base64.b64encode(user.identity_secret).decode(),
                    "device_id": user.device_id,
                    "token": user.token,
                }
                for user in self.users
            ],
        }
