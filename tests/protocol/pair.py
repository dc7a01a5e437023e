"""A relay and its clients, core to core, on one clock: the Pair owns time and latency and jumps to the next wake-up.

Frames, closes and REST answers travel as bytes, each way in order and after ``latency_us``. A line can be cut
(both ends learn of it) or go silent (neither does). What applications are told is kept in ``Phone.told``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec

from zentalk_sim.protocol import client_effects as ce
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.codec import encode, encode_text, with_seq
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, IssueToken
from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled
from zentalk_sim.protocol.effects import Abort, Accept, Close, Effect, Note, Refuse, Respond, Send, SendMany
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import PATH, UpgradeRequest, parse_target

START_US = 1_704_067_200_000_000
HEADERS = {
    "host": "relay.zentalk.network",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "zentalk.v1",
}


class Pair:
    """One relay, any number of phones."""

    def __init__(
        self,
        relay_config: RelayConfig | None = None,
        client_config: ClientConfig | None = None,
        *,
        latency_us: int = 20_000,
        wire: bool = True,
        seed: int = 1,
    ) -> None:
        self.now = START_US
        self.latency_us = latency_us
        self.wire = wire
        self.client_config = client_config or ClientConfig()
        self.crypto: Crypto = Ed25519() if wire else Modelled()
        self.streams = Streams(seed)
        self.relay = Relay(
            relay_config or RelayConfig(), streams=Streams(f"relay {seed}"), store=MemoryStore(), crypto=self.crypto
        )
        self.relay_up = True
        self.notes: dict[str, int] = {}
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._conns: dict[int, Phone] = {}
        self._requests: dict[int, tuple[Phone, int]] = {}
        self._next_id = 0
        self.phones: list[Phone] = []

    def phone(self, name: str) -> Phone:
        """A registered user's only device."""
        secret = self.streams.fresh(f"secret/{name}").bytes(32)
        device_id = self.streams.fresh(f"device/{name}").uuid4()
        address = self.control(AddUser(self.crypto.public_key(secret)))
        self.control(AddDevice(address, device_id, name, "mobile"))
        token = self.control(IssueToken(address, device_id))[0]
        client = Client(
            self.client_config,
            ce.Identity(address, secret, device_id, token),
            streams=self.streams,
            crypto=self.crypto,
            name=name,
            wire=self.wire,
        )
        made = Phone(self, name, address, device_id, client)
        self.phones.append(made)
        return made

    def control(self, command: Any) -> Any:
        self.apply(self.relay.control(command, self.now))
        return self.relay.result

    # --- time

    def later(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call one latency from now; what was sent first arrives first."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + self.latency_us, self._order, function, arguments))

    def run(self, seconds: float) -> None:
        """Let time pass, jumping from wake-up to wake-up: arrivals before timers at one instant (R-13.1)."""
        until = self.now + round(seconds * 1_000_000)
        while True:
            due = [(at, 1, i) for i, phone in enumerate(self.phones) if (at := phone.client.next_timeout()) is not None]
            if self.relay_up and (at := self.relay.next_timeout()) is not None:
                due.append((at, 1, -1))
            if self._queue:
                due.append((self._queue[0][0], 0, -1))
            if not due or min(due)[0] > until:
                break
            at, kind, index = min(due)
            self.now = max(self.now, at)
            if kind == 0:
                _, _, function, arguments = heapq.heappop(self._queue)
                function(*arguments)
            elif index < 0:
                self.apply(self.relay.handle_timeout(self.now))
            else:
                self.phones[index].apply(self.phones[index].client.handle_timeout(self.now))
        self.now = until

    # --- the relay's side

    def upgrade(self, phone: Phone, conn: int, query: dict[str, str]) -> None:
        if not self.relay_up:
            self.later(phone.refused, conn, None)
            return
        self._conns[conn] = phone
        self.apply(self.relay.connect(conn, UpgradeRequest(PATH, query, HEADERS, "203.0.113.7"), self.now))

    def receive(self, conn: int, data: Any) -> None:
        if conn not in self._conns:
            return
        if isinstance(data, str | bytes):
            self.apply(self.relay.receive_data(conn, data, self.now))
        else:
            self.apply(self.relay.receive_frame(conn, data, self.now))

    def lost(self, conn: int, cause: str) -> None:
        if self._conns.pop(conn, None) is not None:
            self.apply(self.relay.disconnect(conn, cause, self.now))

    def request(self, phone: Phone, fetch: int, method: str, target: str, body: bytes | None) -> None:
        self._next_id += 1
        self._requests[self._next_id] = (phone, fetch)
        path, query = parse_target(target)
        request = Request(method, path, query, phone.client.token, body, "203.0.113.7")
        self.apply(self.relay.handle_request(self._next_id, request, self.now))

    def new_conn(self) -> int:
        self._next_id += 1
        return self._next_id

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Accept():
                    self.later(self._conns[effect.conn].opened, effect.conn)
                case Refuse():
                    self.later(self._conns.pop(effect.conn).refused, effect.conn, effect.status)
                case Send():
                    data = encode(effect.frame) if self.wire else effect.frame
                    self._down(effect.conn, data)
                case SendMany():
                    for conn, seq in effect.targets:
                        frame = msgspec.structs.replace(effect.frame, seq=seq)
                        body = with_seq(encode_text(effect.frame), seq).decode()
                        assert body == encode(frame)
                        self._down(conn, body if self.wire else frame)
                case Close():
                    phone = self._conns[effect.conn]
                    self.lost(effect.conn, "closed")
                    self.later(phone.closed, effect.conn, effect.code)
                case Abort():
                    phone = self._conns[effect.conn]
                    self.lost(effect.conn, effect.cause)
                    self.later(phone.closed, effect.conn, 1006)
                case Respond():
                    phone, fetch = self._requests.pop(effect.request)
                    body: Any = msgspec.json.encode(effect.body) if effect.body is not None else b""
                    self.later(phone.answered, fetch, effect.status, body if self.wire else effect.body)
                case Note():
                    self.notes[effect.name] = self.notes.get(effect.name, 0) + effect.count

    def _down(self, conn: int, data: Any) -> None:
        phone = self._conns.get(conn)
        if phone is not None and not phone.silent:
            self.later(phone.receive, conn, data)

    def crash(self) -> None:
        """The relay's process dies: its connections are reset, its store stays."""
        self.relay_up = False
        for conn, phone in list(self._conns.items()):
            del self._conns[conn]
            self.later(phone.closed, conn, 1006)

    def restart(self) -> None:
        """A new process on the same store."""
        from zentalk_sim.protocol.control import NodeLost

        old = self.relay
        self.relay = Relay(
            old.config, streams=Streams("relay again", 2), store=old.store, crypto=self.crypto, node=old.name
        )
        self.relay_up = True
        self.control(NodeLost(old.name))


class Phone:
    """A client core and what its application was told."""

    def __init__(self, pair: Pair, name: str, address: str, device_id: str, client: Client) -> None:
        self.pair = pair
        self.name = name
        self.address = address
        self.device_id = device_id
        self.client = client
        self.told: list[ce.ClientEffect] = []
        self.sent: list[Any] = []
        """Frames in the order they went out."""
        self.attempts_us: list[int] = []
        self.conn: int | None = None
        self.silent = False
        """Nothing passes either way, and nobody is told."""

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in self.told if isinstance(effect, kind)]

    def do(self, name: str, *arguments: Any, **named: Any) -> None:
        """Call the client's input of that name, now."""
        self.apply(getattr(self.client, name)(*arguments, self.pair.now, **named))

    def message(self, to: Phone, text: bytes = b"hello") -> str:
        self.do("send", to.address, text, "text")
        return self.client.last_id

    def cut(self) -> None:
        """The connection breaks, and both ends learn of it."""
        conn = self.conn
        assert conn is not None
        self.conn = None
        self.pair.lost(conn, "reset")
        self.do("closed", 1006)

    # --- arrivals

    def opened(self, conn: int) -> None:
        if conn == self.conn:
            self.do("connected")

    def refused(self, conn: int, status: int | None) -> None:
        if conn == self.conn:
            self.conn = None
            self.apply(self.client.connect_failed(self.pair.now, status))

    def receive(self, conn: int, data: Any) -> None:
        if conn == self.conn and not self.silent:
            self.do("receive_data" if isinstance(data, str | bytes) else "receive_frame", data)

    def closed(self, conn: int, code: int) -> None:
        if conn == self.conn:
            self.conn = None
            self.do("closed", code)

    def answered(self, fetch: int, status: int, body: Any) -> None:
        self.do("receive_response", fetch, status, body)

    def apply(self, effects: list[ce.ClientEffect]) -> None:
        pair = self.pair
        for effect in effects:
            match effect:
                case ce.Connect():
                    self.conn = pair.new_conn()
                    self.silent = False
                    self.attempts_us.append(pair.now)
                    pair.later(pair.upgrade, self, self.conn, effect.query)
                case ce.SendFrame():
                    self.sent.append(effect.frame)
                    if not self.silent:
                        pair.later(pair.receive, self.conn, encode(effect.frame) if pair.wire else effect.frame)
                case ce.CloseSocket():
                    conn, self.conn = self.conn, None
                    pair.later(pair.lost, conn, "closed")
                    self.do("closed", effect.code)
                case ce.AbortSocket():
                    conn, self.conn = self.conn, None
                    pair.later(pair.lost, conn, "aborted")
                case ce.Fetch():
                    pair.later(pair.request, self, effect.fetch, effect.method, effect.path, effect.body)
                case _:
                    self.told.append(effect)
