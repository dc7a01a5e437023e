"""Measures a live relay with two clients of its own: how long each step of connecting takes, and each message.

One thing at a time, so that latencies are those of an idle relay; at the end, where the relay's limits can be lifted,
many messages at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from zentalk_sim.experiment.calibrate import Measurements
from zentalk_sim.live.clock import RealTime
from zentalk_sim.live.control import Control
from zentalk_sim.live.device import Device, Direct
from zentalk_sim.live.socket import LiveSocket
from zentalk_sim.live.users import GivenUser, UsersError
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Acked, ClientEffect, Deliver, Failed, Identity, StateChanged
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig, QueueConfig
from zentalk_sim.protocol.streams import Streams

WAIT_S = 20.0
CIPHERTEXT = bytes(256)
WINDOW = 64
_PACE_S = 1.1
"""Between two messages where the relay's limit of 60 a minute holds (R-10.1), beyond its burst."""
_BURST = 8
_LIFTED = {"limits": dict.fromkeys(("send_message", "read_receipt", "connection_rate", "auth_attempts"), "off")}


class CalibrateError(Exception):
    """A relay that cannot be measured; the text says at what point."""


class _Probe:
    """One client that keeps when things happened to it."""

    def __init__(self, time: RealTime, user: GivenUser, ws_url: str, http_url: str) -> None:
        from base64 import b64decode

        self._time = time
        identity = Identity(user.address.lower(), b64decode(user.identity_secret), user.device_id, user.token)
        config = ClientConfig(queue=QueueConfig(max_messages=5_000, max_unacked=5_000, drain_interval_ms=1))
        client = Client(config, identity, streams=Streams(f"calibrate {time.start_us}"), name=user.device_id)
        self.address = identity.address
        self.device = Device(
            client, "", "", watch=self._watch, clock=time.real_us, transport=_Kept(ws_url, http_url, self)
        )
        self.sockets: list[LiveSocket] = []
        self.authenticated_us = 0
        self.acked_us: dict[str, int] = {}
        self.shown_us: dict[str, int] = {}
        self.failed: list[str] = []
        self.on_shown: Callable[[], None] | None = None

    def _watch(self, effect: ClientEffect) -> None:
        now = self._time.real_us()
        if isinstance(effect, StateChanged) and effect.new is ClientState.CONNECTED:
            self.authenticated_us = now
        elif isinstance(effect, Acked):
            self.acked_us[effect.message_id] = now
        elif isinstance(effect, Failed):
            self.failed.append(effect.error_code)
        elif isinstance(effect, Deliver):
            self.shown_us[effect.message_id] = now
        if self.on_shown is not None and isinstance(effect, Deliver | Acked | Failed):
            self.on_shown()

    async def connect(self) -> None:
        """Connect. Raises CalibrateError."""
        self.device.connect()
        try:
            await self.device.wait_for_state(ClientState.CONNECTED, timeout_s=WAIT_S)
        except TimeoutError:
            raise CalibrateError(f"no AUTH_SUCCESS within {WAIT_S:g} s; are URL and users right?") from None

    async def close(self) -> None:
        """Close, in order."""
        self.device.close()
        await self.device.wait_for_state(ClientState.DISCONNECTED, timeout_s=WAIT_S)


class _Kept(Direct):
    """A transport that keeps its sockets, whose stages are looked at."""

    def __init__(self, ws_url: str, http_url: str, probe: _Probe) -> None:
        super().__init__(ws_url, http_url, None, None)
        self._probe = probe

    def open(self, owner: Any, query: str, closing_timeout_s: float) -> Any:
        """See Transport."""
        socket = super().open(owner, query, closing_timeout_s)
        assert isinstance(socket, LiveSocket)
        self._probe.sockets.append(socket)
        return socket


async def measure(
    ws_url: str,
    http_url: str,
    *,
    admin_token: str | None,
    users: list[GivenUser] | None,
    samples: int,
    burst: int,
    shown: Callable[[str], None],
) -> Measurements:
    """Measure. Raises CalibrateError, ControlError, UsersError."""
    control: Control | None = None
    space: dict[str, Any] = {}
    try:
        given = list(users or [])
        reached_ws, reached_http = ws_url, http_url
        if admin_token is not None:
            control = Control(http_url, admin_token)
            space = await control.space(_LIFTED, [{"name": "one"}, {"name": "other"}], 1, 600.0)
            reached_ws, reached_http = space["ws_url"], space["http_url"]
            given = [
                GivenUser(user["address"], user["identity_secret"], user["device_id"], user["token"])
                for user in space["users"]
            ]
        if len(given) < 2:
            raise UsersError(f"calibrating takes two users, not {len(given)}")
        return await _measure(ws_url, reached_ws, reached_http, given, samples, burst if control else 0, shown)
    finally:
        if control is not None and space:
            await control.call("DELETE", f"/admin/spaces/{space['id']}")


async def _measure(
    ws_url: str,
    reached_ws: str,
    reached_http: str,
    users: list[GivenUser],
    samples: int,
    burst: int,
    shown: Callable[[str], None],
) -> Measurements:
    time = RealTime(asyncio.get_running_loop())
    found = Measurements(
        ws_url=ws_url, tcp_us=[], tls_us=[], upgrade_us=[], auth_us=[], ping_us=[], ack_us=[], delivery_us=[]
    )
    one, other = (_Probe(time, user, reached_ws, reached_http) for user in users[:2])
    try:
        shown("connecting")
        for number in range(samples + 1):
            began_s = asyncio.get_running_loop().time()
            await one.connect()
            if number:
                # The first, on which everything is looked up and loaded, is left out.
                _stages(found, one, time, began_s)
            if number < samples:
                await one.close()
        await other.connect()
        shown("round trips")
        for _ in range(samples):
            found.ping_us.append(round(await one.sockets[-1].ping() * 1_000_000))
        shown("messages")
        await _messages(found, one, other, time, samples, paced=not burst)
        if burst:
            shown("throughput")
            await _burst(found, one, other, time, burst)
    except TimeoutError:
        raise CalibrateError(f"the relay did not answer within {WAIT_S:g} s") from None
    finally:
        await one.device.stop()
        await other.device.stop()
    return found


def _stages(found: Measurements, probe: _Probe, time: RealTime, began_s: float) -> None:
    socket = probe.sockets[-1]
    if socket.tcp_s is None or socket.upgraded_s is None:
        raise CalibrateError("the connection was lost while it was measured")
    ready_s = socket.tcp_s if socket.tls_s is None else socket.tls_s
    found.tcp_us.append(round((socket.tcp_s - began_s) * 1_000_000))
    if socket.tls_s is not None:
        found.tls_us.append(round((socket.tls_s - socket.tcp_s) * 1_000_000))
    found.upgrade_us.append(round((socket.upgraded_s - ready_s) * 1_000_000))
    found.auth_us.append(round((time.loop_s(probe.authenticated_us) - socket.upgraded_s) * 1_000_000))


async def _messages(
    found: Measurements, one: _Probe, other: _Probe, time: RealTime, samples: int, *, paced: bool
) -> None:
    """One message at a time, each awaited at both ends."""
    for number in range(samples):
        if paced and number >= _BURST:
            await asyncio.sleep(_PACE_S)
        sent_us = time.real_us()
        message_id = one.device.send(other.address, CIPHERTEXT)
        await _until(one, other, lambda mid=message_id: mid in one.acked_us and mid in other.shown_us)  # type: ignore[misc]
        found.ack_us.append(one.acked_us[message_id] - sent_us)
        found.delivery_us.append(other.shown_us[message_id] - sent_us)


async def _burst(found: Measurements, one: _Probe, other: _Probe, time: RealTime, count: int) -> None:
    """As many as ``WINDOW`` under way at once."""
    began_us = time.real_us()
    sent: list[str] = []
    before = len(other.shown_us)

    def refill() -> None:
        while len(sent) < count and len(sent) - (len(other.shown_us) - before) < WINDOW:
            sent.append(one.device.send(other.address, CIPHERTEXT))

    refill()
    while len(other.shown_us) - before < count:
        at = len(other.shown_us)
        await _until(one, other, lambda at=at: len(other.shown_us) > at)  # type: ignore[misc]
        refill()
    found.burst_messages = count
    found.burst_us = time.real_us() - began_us


async def _until(one: _Probe, other: _Probe, holds: Callable[[], bool]) -> None:
    """Wait for something. Raises TimeoutError, or CalibrateError where a message was refused."""
    done = asyncio.Event()
    for probe in (one, other):
        probe.on_shown = done.set
    async with asyncio.timeout(WAIT_S):
        while not holds():
            if one.failed:
                raise CalibrateError(f"the relay refused a message: {one.failed[0]}")
            done.clear()
            await done.wait()
