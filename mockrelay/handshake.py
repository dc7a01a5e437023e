"""The opening handshake of a WebSocket connection: its request, the space that it is for, and the answer.

Sources: RFC 6455 §4.2; R-3.1 (refusals). A rule for ``upgrade`` is asked once the request is read and before the core
is; what the core is not asked about, it never hears of.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from websockets.utils import accept_key

from mockrelay.driver import Driver
from mockrelay.fault_engine import FaultEngine, claims_of
from mockrelay.frame_reader import FrameReader
from mockrelay.gate import Gate, Socket
from mockrelay.http_faults import refusal_of
from mockrelay.journal import Journal, Party
from mockrelay.lobby import Lobby
from mockrelay.outlet import Outlet
from mockrelay.sink import Sink
from mockrelay.upgrade_request import Asked, NoUpgrade, no_upgrade, path_of, read_request, unreadable
from mockrelay.wire import http_date, http_response
from zentalk_sim.faults import Firing
from zentalk_sim.faults import verdicts as do
from zentalk_sim.protocol.effects import Refuse
from zentalk_sim.protocol.errors import INVALID_MESSAGE, NOT_FOUND, SERVICE_UNAVAILABLE
from zentalk_sim.protocol.upgrade import PATH, SUBPROTOCOL, UpgradeRequest, parse_target

MAX_HEAD_BYTES: Final = 65_536


class Endpoint(Protocol):
    """Where an upgrade's path leads: one relay with its journal and its faults."""

    @property
    def driver(self) -> Driver:
        """The relay."""
        ...

    @property
    def journal(self) -> Journal:
        """What is written down."""
        ...

    @property
    def faults(self) -> FaultEngine:
        """What goes wrong."""
        ...


Find = Callable[[str], "tuple[Endpoint, str] | None"]
"""Path → its relay and the path within it; None where there is none."""


class Handshake(Outlet, Sink, Socket):
    """A connection up to its upgrade's answer."""

    __slots__ = (
        "_asked",
        "_conn",
        "_driver",
        "_early",
        "_faults",
        "_find",
        "_firing",
        "_gate",
        "_head",
        "_journal",
        "_key",
        "_lobby",
        "_noted",
        "_offers_ours",
        "_opened",
        "_reader",
        "_stalled",
        "conn",
    )

    _reader: FrameReader
    _driver: Driver
    _faults: FaultEngine
    _journal: Journal
    _gate: Gate

    def __init__(self, find: Find, lobby: Lobby) -> None:
        super().__init__()
        self._find = find
        self._lobby = lobby
        self._head = bytearray()
        self._early = bytearray()
        """What came behind the head before the upgrade was answered."""
        self._key = ""
        self._offers_ours = False
        """The client offers our sub-protocol: what it did not offer may not be chosen (RFC 6455 §4.2.2)."""
        self._asked = False
        """The request is whole; what comes now are frames."""
        self._opened = False
        """It was answered with 101."""
        self._conn = 0
        """The driver's id, from when the request was read; 0 before."""
        self.conn: int | None = None
        """The driver's id, once the upgrade was accepted and until the core was told of the end."""
        self._firing: Firing | None = None
        """The rule that let the upgrade pass."""
        self._stalled = False
        """A rule wants the upgrade not answered, or not yet."""
        self._noted = False
        """The upgrade is in the journal."""

    # --- what a Sink and a gate's Socket have besides --------------------------------------------------

    @abstractmethod
    def accept(self) -> None:
        """See Sink."""

    @abstractmethod
    def send(self, payload: bytes, binary: bool) -> None:
        """See Sink."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """See Sink."""

    @abstractmethod
    def abort(self, cause: str) -> None:
        """See Sink."""

    @abstractmethod
    def transmit(self, opcode: int, payload: bytes) -> None:
        """See Socket."""

    @abstractmethod
    def trickle(self, data: bytes) -> None:
        """See Socket."""

    @abstractmethod
    def tell_core(self, cause: str) -> None:
        """See Socket."""

    @abstractmethod
    def fall_silent(self) -> None:
        """See Socket."""

    # --- the request ---------------------------------------------------------------------------------

    def _receive_head(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD_BYTES:
                self._answer(431, INVALID_MESSAGE, f"the request's headers exceed {MAX_HEAD_BYTES} bytes")
            return
        # Only the head goes in: the parser would take frames sent along with it as if the upgrade had been answered.
        head, self._early = bytes(self._head[: end + 4]), self._head[end + 4 :]
        self._head = bytearray()
        self._lobby.leave(self)
        self._asked = True
        self._read_request(head)

    def _read_request(self, head: bytes) -> None:
        """Read the request, and find the relay that it is for."""
        target = path_of(head)
        path, query = parse_target(target)
        found = self._find(path)
        endpoint, path = found if found is not None else (None, path)
        max_size = endpoint.driver.relay.config.frames.max_bytes if endpoint is not None else 0
        self._reader = FrameReader(max_size)
        request = read_request(head)
        if request is None:
            self._say_no(unreadable(head))
        elif endpoint is None:
            self._answer(404, NOT_FOUND, f"no relay at {path[:100]}: its space was deleted, or never was")
        else:
            if request.path != target:
                # The library reads bytes beyond ASCII as it sees fit.
                query = parse_target(request.path)[1]
            self._upgrade(endpoint, path, query, request)

    def _upgrade(self, endpoint: Endpoint, path: str, query: dict[str, str], request: Asked) -> None:
        headers = request.headers
        refused = no_upgrade(request) if path == PATH else None
        if refused is not None:
            self._say_no(refused)
            return
        self._key = headers.get("sec-websocket-key", "").strip()
        offered = headers.get("sec-websocket-protocol", "").split(",")
        self._offers_ours = SUBPROTOCOL in [name.strip() for name in offered]
        assert self._transport is not None
        peer = self._transport.get_extra_info("peername")
        ip = peer[0] if isinstance(peer, tuple) else ""
        self._driver = endpoint.driver
        self._cork = self._driver.cork
        self._cork.open()
        self._bound_outbox(self._driver.relay.config.outbox)
        self._conn = self._driver.new_connection_id()
        user, device = claims_of(query.get("token"))
        self._faults, self._journal = endpoint.faults, endpoint.journal
        self._gate = Gate(self, self._driver, self._journal, self._faults, Party(self._conn, user, device))
        asked = UpgradeRequest(path, query, headers, ip)
        firing = self._faults.at_upgrade(self._gate.party)
        if firing is None or isinstance(firing.verdict, do.Pass):
            self._ask_core(asked, firing)
        else:
            self._misbehave(asked, firing)

    def _has_gate(self) -> bool:
        return self._conn != 0

    def _ask_core(self, request: UpgradeRequest, firing: Firing | None = None) -> None:
        """Hand the upgrade to the core, which answers by ``accept`` or ``refuse``."""
        if self._transport is None or self._finishing:
            return
        self._stalled = False
        self._faults.held.pop(self._gate, None)
        self._firing = firing
        self._driver.connect(self, request, self._conn)

    def _misbehave(self, request: UpgradeRequest, firing: Firing) -> None:
        """Carry a rule's verdict out on the upgrade."""
        verdict = firing.verdict
        answer = refusal_of(firing)
        self._note_upgrade(None if answer is None else answer.status, firing)
        if answer is not None:
            self._answer(answer.status, answer.error_code, answer.message, answer.headers, answer.details)
            return
        self._cancel_deadline()
        self._stalled = True
        self._faults.held[self._gate] = None
        if isinstance(verdict, do.Delay):
            at_us = self._faults.now_us + verdict.ms * 1000
            self._faults.timers.call_at(at_us, partial(self._ask_core, request))
        elif isinstance(verdict, do.Abort):
            self.abort("fault")
        elif isinstance(verdict, do.Blackhole):
            self.fall_silent()

    def _note_upgrade(self, status: int | None, firing: Firing | None = None) -> None:
        if not self._noted:
            self._noted = True
            facts = None if status is None else {"status": status}
            self._journal.write("upgrade", self._gate.party, firing=firing, facts=facts)

    # --- the answer ----------------------------------------------------------------------------------

    def _switch_protocols(self) -> None:
        """101 with the sub-protocol and no extensions."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            f"Date: {http_date()}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(self._key)}",
        ]
        if self._offers_ours:
            lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
        self._opened = True
        self._write("\r\n".join(lines).encode() + b"\r\n\r\n")
        self._note_upgrade(101, self._firing)

    def refuse(self, refusal: Refuse) -> None:
        """See Sink."""
        headers = {}
        if refusal.retry_after_s is not None:
            headers["Retry-After"] = str(refusal.retry_after_s)
        if refusal.status == 400:
            headers["Sec-WebSocket-Version"] = "13"
        self._note_upgrade(refusal.status, self._firing)
        self._answer(refusal.status, refusal.error_code, refusal.message, headers)

    def stop(self) -> None:
        """The relay stops: a request that is not answered yet gets 503; the core closes the others."""
        if self._silent or self._stalled:
            self._reset("stopped")
        elif not self._opened and not self._finishing:
            self._answer(503, SERVICE_UNAVAILABLE, "the relay is stopping", {"Retry-After": "5"})

    def _handshake_timed_out(self) -> None:
        self._lobby.leave(self)
        self._lobby.count("upgrades.timeout")
        self._answer(408, INVALID_MESSAGE, f"no upgrade request within {self._lobby.timeout_s:g} s")

    def turn_out(self) -> None:
        """See ``lobby.Guest``."""
        self._reset("crowded_out")

    def _say_no(self, no: NoUpgrade) -> None:
        self._answer(no.status, no.error_code, no.message, no.headers)

    def _answer(
        self,
        status: int,
        error_code: str,
        message: str,
        headers: dict[str, str] | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        """Answer the request with an error, then end."""
        body: dict[str, object] = {"error_code": error_code, "message": message}
        if details:
            body["details"] = details
        self._write(http_response(status, body, headers or {}))
        self._linger()
