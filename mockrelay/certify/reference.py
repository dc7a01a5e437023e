"""The project's own client as a driveable app: what ``mockrelay certify`` is tested with.

``python -m mockrelay.certify.reference`` speaks the drive protocol (docs/certify.md) on stdin and stdout. Its clock
stands still and moves by ``advance``; with ``--real-clock`` it is the system's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zentalk_sim.live.device import Device, Transport, UnixClock
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    Acked,
    ClientEffect,
    Deliver,
    Failed,
    GaveUp,
    Identity,
    Rejected,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.streams import Streams

Json = dict[str, Any]
REPORTS: Final = ("shown", "failed", "rejected", "gave_up", "acked", "state")
_TURN_S: Final = 0.002
"""Real time between two timers of an advance, so that answers on their way arrive between them."""


async def _turn() -> None:
    await asyncio.sleep(_TURN_S)


class StillClock:
    """A clock in µs that moves only when told."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


class AppDevice(Device):
    """A device whose application may hand it a new token."""

    def renew_token(self, token: str) -> None:
        """A new connection token."""
        self.apply(self.client.renew_token(token, self._clock()))


class StillDevice(AppDevice):
    """A device whose timers run when its clock is advanced, each at its own instant."""

    def __init__(self, clock: StillClock, *args: Any, **more: Any) -> None:
        super().__init__(*args, clock=clock, **more)
        self._still = clock

    def _arm(self) -> None:
        due = self.client.next_timeout()
        if due is not None and due <= self._still.now_us and not self._stopped:
            asyncio.get_running_loop().call_soon(self._on_timer)

    async def advance(self, ms: int, turn: Callable[[], Awaitable[None]]) -> None:
        """Let time pass; ``turn`` lets answers on their way arrive between two timers."""
        end_us = self._still.now_us + ms * 1000
        while (due := self.client.next_timeout()) is not None and due <= end_us:
            self._still.now_us = max(self._still.now_us, due)
            self._on_timer()
            if self.client.state is not ClientState.CONNECTING:
                # An answer to an attempt must find the clock where the relay's stands already: at the end.
                await turn()
        self._still.now_us = end_us


class ReferenceApp:
    """Answers requests, and reports events through ``report``."""

    def __init__(self, report: Callable[[Json], None], *, real_clock: bool = False, seed: bytes | None = None) -> None:
        self._report = report
        self._real_clock = real_clock
        self._seed = os.urandom(32) if seed is None else seed
        self.device: AppDevice | None = None
        self.transport: Callable[[str, str], Transport] | None = None
        """Makes, of the relay's URLs, another way to it than straight over the network."""
        self.turn: Callable[[], Awaitable[None]] = _turn
        """Returns when answers on their way have had the time to arrive."""

    # --- what a variant may change --------------------------------------------------------------------

    config = ClientConfig()

    def make_client(self, identity: Identity, streams: Streams) -> Client:
        """The client core."""
        return Client(self.config, identity, streams=streams, name="app")

    # --- requests ------------------------------------------------------------------------------------

    async def handle(self, request: Json) -> Json:
        """One answer to one request."""
        handler = getattr(self, f"do_{request.get('action')}", None)
        if handler is None or (request.get("action") == "advance" and self._real_clock):
            return {"unsupported": f"no action {request.get('action')}"}
        if self.device is None and request["action"] not in ("hello", "connect", "reset"):
            return {"error": "not yet: connect comes first"}
        try:
            done = await handler(request)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"done": done if done is not None else True}

    async def do_hello(self, request: Json) -> Json:
        """Who this is, and what it reports."""
        clock = "real" if self._real_clock else "virtual"
        return {"name": "zentalk-sim reference client", "clock": clock, "reports": list(REPORTS)}

    async def do_connect(self, request: Json) -> None:
        """Connect; the first time with an identity and the place of the relay."""
        if self.device is None:
            self.device = self._make_device(request)
        self.device.connect()

    def _make_device(self, request: Json) -> AppDevice:
        who = request["identity"]
        identity = Identity(who["address"], base64.b64decode(who["identity_secret"]), who["device_id"], who["token"])
        client = self.make_client(identity, Streams(self._seed))
        tls = ssl.create_default_context(cafile=request.get("ca_file")) if request["ws_url"][:4] == "wss:" else None
        urls = (request["ws_url"], request["http_url"])
        more: Json = {"on_effect": self._on_effect, "tls": tls}
        if self.transport is not None:
            more["transport"] = self.transport(*urls)
        if self._real_clock:
            return AppDevice(client, *urls, clock=UnixClock(), **more)
        return StillDevice(StillClock(request["now_ms"] * 1000), client, *urls, **more)

    @property
    def connected_device(self) -> AppDevice:
        """The device; there is one once the first ``connect`` was asked."""
        assert self.device is not None
        return self.device

    async def do_close(self, request: Json) -> None:
        """Close the connection, or end the attempts."""
        self.connected_device.close()

    async def do_send(self, request: Json) -> Json:
        """Send a message."""
        ciphertext = base64.b64decode(request["ciphertext"])
        return {"message_id": self.connected_device.send(request["to"], ciphertext, request["message_type"])}

    async def do_mark_read(self, request: Json) -> None:
        """The user has seen a message."""
        self.connected_device.mark_read(request["message_id"])

    async def do_typing(self, request: Json) -> None:
        """The user presses a key."""
        self.connected_device.start_typing(request["conversation_id"])

    async def do_presence(self, request: Json) -> None:
        """Set the presence."""
        self.connected_device.set_presence(request["status"])

    async def do_subscribe(self, request: Json) -> None:
        """Subscribe to topics."""
        self.connected_device.subscribe(request["topics"])

    async def do_foreground(self, request: Json) -> None:
        """To the foreground."""
        self.connected_device.foreground(True)

    async def do_background(self, request: Json) -> None:
        """To the background."""
        self.connected_device.foreground(False)

    async def do_network_changed(self, request: Json) -> None:
        """Another network."""
        self.connected_device.network_changed()

    async def do_renew_token(self, request: Json) -> None:
        """A new connection token."""
        self.connected_device.renew_token(request["token"])

    async def do_advance(self, request: Json) -> None:
        """Let time pass."""
        if isinstance(self.device, StillDevice):
            await self.device.advance(request["ms"], self.turn)

    async def do_reset(self, request: Json) -> None:
        """Forget everything, for the next case."""
        await self.stop()
        self.device = None
        self._seed = os.urandom(32)

    async def stop(self) -> None:
        """The end, without a farewell."""
        if self.device is not None:
            await self.device.stop()

    # --- events --------------------------------------------------------------------------------------

    def _on_effect(self, effect: ClientEffect) -> None:
        if isinstance(effect, Deliver):
            self._report({"event": "shown", "message_id": effect.message_id})
        elif isinstance(effect, Acked):
            self._report({"event": "acked", "message_id": effect.message_id})
        elif isinstance(effect, Failed):
            self._report({"event": "failed", "message_id": effect.message_id, "error_code": effect.error_code})
        elif isinstance(effect, Rejected):
            self._report({"event": "rejected", "message_id": effect.message_id, "reason": effect.reason})
        elif isinstance(effect, GaveUp):
            self._report({"event": "gave_up", "attempts": effect.attempts})
        elif isinstance(effect, StateChanged):
            self._report({"event": "state", "state": effect.new.name.lower(), "cause": effect.cause})


def _say(message: Json) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve(app: ReferenceApp, answer: Callable[[Json], None] = _say) -> None:
    """Answer requests from stdin until its end."""
    reader = asyncio.StreamReader(limit=16 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            request = json.loads(line)
        except ValueError as error:
            answer({"error": f"not JSON: {error}"})
            continue
        answer({"id": request.get("id"), **await app.handle(request)})
    await app.stop()


if __name__ == "__main__":
    asyncio.run(serve(ReferenceApp(_say, real_clock="--real-clock" in sys.argv[1:])))
