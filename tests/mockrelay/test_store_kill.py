"""R-6.2, R-12.1: a relay killed at any instant loses no message it acknowledged, and no app shows one twice."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from mockrelay.server import MockUser
from mockrelay.store import SqliteStore
from tests.mockrelay.live_support import Peer, message
from zentalk_sim.live.device import Device
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Acked, ClientEffect, Deliver, Failed, Identity, Rejected
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig, QueueConfig
from zentalk_sim.protocol.streams import Streams

KILLS = 4
PATIENCE_S = 60.0
SETTINGS = ClientConfig(
    backoff=BackoffConfig(base_ms=20, cap_ms=100, max_attempts=1_000),
    queue=QueueConfig(drain_interval_ms=1, ack_timeout_ms=1_000, max_retries=60),
)

SERVED = """
users: [alice, bob, carol, dave]
config:
  # So that there is load.
  limits: {send_message: "off", read_receipt: "off", connection_rate: "off", auth_attempts: "off"}
"""


class Killable:
    """The relay's process, on the same database and the same ports at each start."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.settings = database.with_name("settings.yaml")
        self.settings.write_text(SERVED)
        self.ports = ("0", "0")
        self.start_message: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        port, http_port = self.ports
        command = [
            *(sys.executable, "-m", "mockrelay", "serve", "--json", "--config", str(self.settings)),
            *("--store", f"sqlite:{self.database}", "--port", port, "--http-port", http_port),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = await asyncio.get_running_loop().run_in_executor(None, self.process.stdout.readline)
        self.start_message = json.loads(line)
        self.ports = (
            str(urlsplit(self.start_message["ws_url"]).port),
            str(urlsplit(self.start_message["http_url"]).port),
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def users(self) -> list[MockUser]:
        return [
            MockUser(
                user["name"],
                user["address"],
                b64decode(user["identity_key"]),
                b64decode(user["identity_secret"]),
                user["device_id"],
                user["token"],
            )
            for user in self.start_message["users"]
        ]


class App:
    """An app on the client core: what was acknowledged to it, and what it showed."""

    def __init__(self, relay: Killable, user: MockUser) -> None:
        identity = Identity(user.address, user.identity_secret, user.device_id, user.token)
        self.user = user
        self.acked: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.shown: Counter[tuple[str, str]] = Counter()
        self.lost: list[ClientEffect] = []
        client = Client(SETTINGS, identity, streams=Streams(user.name))
        urls = (relay.start_message["ws_url"], relay.start_message["http_url"])
        self.device = Device(client, *urls, on_effect=self._on_effect)

    def _on_effect(self, effect: ClientEffect) -> None:
        if isinstance(effect, Acked):
            self.acked[effect.message_id] += 1
            self.statuses[effect.status] += 1
        elif isinstance(effect, Deliver):
            self.shown[effect.sender, effect.message_id] += 1
        elif isinstance(effect, Failed | Rejected):
            self.lost.append(effect)


async def under_load(relay: Killable, apps: list[App], seed: int) -> dict[str, tuple[str, str]]:
    """Everybody writes to everybody while the relay is killed and started; message id → (sender, recipient)."""
    draw = random.Random(seed)
    sent: dict[str, tuple[str, str]] = {}
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            for app in apps:
                if app.device.state is ClientState.CONNECTED:
                    other = draw.choice([peer for peer in apps if peer is not app])
                    message_id = app.device.send(other.user.address, draw.randbytes(draw.choice((20, 300, 15_000))))
                    sent[message_id] = (app.user.address, other.user.address)
            await asyncio.sleep(0.002)

    writing = asyncio.create_task(write())
    for _ in range(KILLS):
        for app in apps:
            await app.device.wait_for_state(ClientState.CONNECTED, timeout_s=PATIENCE_S)
        before = sum(app.acked.total() for app in apps)
        while sum(app.acked.total() for app in apps) < before + 20:
            await asyncio.sleep(0.005)
        await asyncio.sleep(draw.uniform(0, 0.3))
        relay.kill()
        await relay.start()
    done.set()
    await writing
    return sent


@pytest.mark.requirement("R-6.2")
@pytest.mark.requirement("R-12.1")
def test_a_relay_killed_at_any_instant_must_lose_no_acknowledged_message(tmp_path: Path) -> None:
    seed = 20_261_123
    relay = Killable(tmp_path / "relay.db")

    async def body() -> None:
        await relay.start()
        apps = [App(relay, user) for user in relay.users()]
        try:
            for app in apps:
                app.device.connect()
            sent = await under_load(relay, apps, seed)
            end_s = time.monotonic() + PATIENCE_S
            while not all(app.device.client.state is ClientState.CONNECTED for app in apps) or missing(apps, sent):
                assert time.monotonic() < end_s, f"seed {seed}: acknowledged and never shown: {missing(apps, sent)}"
                await asyncio.sleep(0.02)
        finally:
            for app in apps:
                await app.device.stop()
        acked = sum(len(app.acked) for app in apps)
        assert acked >= 20 * KILLS
        assert not [effect for app in apps for effect in app.lost]
        assert {count for app in apps for count in app.shown.values()} == {1}, "an app showed a message twice"
        assert {key[1] for app in apps for key in app.shown} <= set(sent), "a message nobody sent"

    def missing(apps: list[App], sent: dict[str, tuple[str, str]]) -> list[str]:
        shown = {app.user.address: app.shown for app in apps}
        return [
            message_id
            for app in apps
            for message_id in app.acked
            if (sent[message_id][0], message_id) not in shown[sent[message_id][1]]
        ]

    try:
        asyncio.run(body())
    finally:
        relay.kill()
    store = SqliteStore(str(relay.database))
    assert store.counters.boot == KILLS + 1
    assert len(store.messages) == store.counters.accepted
    store.close()


@pytest.mark.requirement("R-5.6")
def test_an_id_must_be_known_again_after_the_relay_was_killed(tmp_path: Path) -> None:
    relay = Killable(tmp_path / "relay.db")

    async def send(frame_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        alice = relay.users()[0]
        url = f"{relay.start_message['ws_url']}?token={alice.token}&device_id={alice.device_id}"
        async with connect(url, proxy=None, subprotocols=["zentalk.v1"], close_timeout=0.2) as ws:  # type: ignore[list-item]
            peer = Peer(alice, ws)
            await peer.authenticate()
            await peer.send("MESSAGE_SEND", payload, id=frame_id)
            while True:
                frame = await peer.next()
                if frame["type"] in ("MESSAGE_ACK", "ERROR"):
                    found: dict[str, Any] = frame["payload"]
                    return found
                assert frame["type"] in ("SYNC_REQUIRED", "PING"), frame

    async def body() -> None:
        await relay.start()
        alice, bob = relay.users()[:2]
        frame_id = "3f2b8c1e-6a57-4c0e-9f5b-2d7a9e1c4b60"
        payload = message(bob)
        first = await send(frame_id, payload)
        assert first["status"] == "queued"
        relay.kill()
        await relay.start()
        assert relay.users()[0].identity_secret == alice.identity_secret, "the named users stay who they were"
        again = await send(frame_id, payload)
        assert again == {**first, "status": "duplicate"}
        other = await send(frame_id, message(bob, b"another text"))
        assert (other["error_code"], other["details"]["reason"]) == ("INVALID_MESSAGE", "duplicate_id")
        reused = await send("00000000-0000-4000-8000-000000000001", {**message(bob), "nonce": payload["nonce"]})
        assert reused["details"]["reason"] == "nonce_reused"

    try:
        asyncio.run(body())
    finally:
        relay.kill()
