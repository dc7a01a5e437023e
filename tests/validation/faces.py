"""The same small experiment on both faces: in the simulator, and in real time over loopback sockets.

The simulated run says who connects when and who sends what to whom when; the live run does the same at the same
offsets, with the same client cores, against a mock relay. Latency is added by a proxy from the same profile. The
simulator is told of no processing time at all, so what the live face takes longer is what real sockets, an
interpreter and a busy machine cost.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

from mockrelay.server import MockRelay, Options
from tests.validation.latency_proxy import LatencyProxy
from zentalk_sim.experiment import run
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.live.device import Device
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import ClientEffect, Deliver, Identity, StateChanged
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig, Limits, RelayConfig, UpgradeConfig
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.run import Run

US_PER_S = 1_000_000
DEVICES = 20
DURATION_S = 8.0
RESET_S = 4.0
SETTLED_S = 2.0
"""Messages of the first two seconds (devices connect) are left out, and those of the last two, which may not arrive."""
UNSETTLED_S = 2.0
PATIENCE_S = 60.0
"""How long a live run waits for what has not come by its end."""
LIVE_SEED = 1


def experiment(is_reset: bool) -> dict[str, Any]:
    """Twenty devices with two and a half messages a second each, on a slow link; with a reset of all or without."""
    return {
        "name": "two_faces_reset" if is_reset else "two_faces",
        "duration": f"{DURATION_S:g}s",
        "fidelity": "frames",
        "relay": {"ingress": {"enabled": False}, "store_latency": "0s", "limits": {"send_message": "off"}},
        "population": {"devices": DEVICES, "networks": {"slow": 1}, "contacts": 5},
        "network": {
            "slow": {
                "latency": {"dist": "lognormal", "median": "30ms", "sigma": 0.5, "min": "10ms"},
                "tls_round_trips": 0,
            }
        },
        "workload": {"start": {"ramp": "500ms"}, "messages": {"rate_per_device": "150/min"}},
        "faults": [{"at": f"{RESET_S:g}s", "do": "reset_connections"}] if is_reset else [],
        "plots": False,
    }


class Planned(NamedTuple):
    """A message as the simulated run had it: offset, numbers of the users, size."""

    at_s: float
    sender: int
    recipient: int
    size: int


@dataclass
class Outcome:
    """What a face showed: latency by message in ms, how each came, and how long devices were away."""

    planned: int = 0
    """Messages that count."""
    latencies_ms: list[float] = field(default_factory=list)
    fetched: int = 0
    away_s: list[float] = field(default_factory=list)
    """From a reset to AUTH_SUCCESS."""

    def merge(self, other: Outcome) -> None:
        """Add another seed's."""
        self.planned += other.planned
        self.latencies_ms += other.latencies_ms
        self.fetched += other.fetched
        self.away_s += other.away_s


def counts(at_s: float) -> bool:
    """Whether a message sent then is looked at."""
    return SETTLED_S <= at_s <= DURATION_S - UNSETTLED_S


# --- simulated -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def simulated_run(is_reset: bool, seed: int) -> Run:
    """The experiment in simulated time."""
    return run(experiment(is_reset), seed=seed)


def simulated(is_reset: bool, seeds: int) -> Outcome:
    """What the simulator says, over several seeds."""
    pooled = Outcome()
    for seed in range(LIVE_SEED, LIVE_SEED + seeds):
        pooled.merge(_simulated(simulated_run(is_reset, seed)))
    return pooled


def _simulated(found: Run) -> Outcome:
    outcome = Outcome()
    for row in found.messages.itertuples():
        if counts((row.sent_us - found.start_us) / US_PER_S):
            outcome.planned += 1
            if row.outcome == "shown":
                outcome.latencies_ms.append((row.shown_us - row.sent_us) / 1000)
                outcome.fetched += row.via == "fetch"
    for _, attempts in found.connections.groupby("device", sort=True):
        ordered = attempts.sort_values("start_us")
        authenticated = ordered[ordered["auth_us"].notna()]
        if len(authenticated) > 1:
            lost_us, back_us = authenticated["end_us"].iloc[0], authenticated["auth_us"].iloc[1]
            outcome.away_s.append(float(back_us - lost_us) / US_PER_S)
    return outcome


# --- live ------------------------------------------------------------------------------------------------------


def plan(found: Run) -> tuple[list[float], list[Planned]]:
    """When each device first connects, and every message in order, by a simulated run; users in order of address."""
    first = found.connections.groupby("device", sort=True)["start_us"].min()
    starts = [float(at - found.start_us) / US_PER_S for at in first]
    rows = found.messages.sort_values("sent_us", kind="stable")
    users = {address: i for i, address in enumerate(sorted({*rows["sender"], *rows["recipient"]}))}
    return starts, [
        Planned(float(row.sent_us - found.start_us) / US_PER_S, users[row.sender], users[row.recipient], int(row.bytes))
        for row in rows.itertuples()
    ]


class LiveRun:
    """Twenty devices in one event loop with the relay and the proxies."""

    def __init__(self, is_reset: bool) -> None:
        self._is_reset = is_reset
        self._starts, self._planned = plan(simulated_run(is_reset, LIVE_SEED))
        self._counted = sum(counts(message.at_s) for message in self._planned)
        self._outcome = Outcome()
        self._sent_s: dict[str, float] = {}
        self._lost_s: dict[int, float] = {}
        self._all_shown = asyncio.Event()
        self.shown: dict[str, int] = {}
        """Message → how often it was shown; once, if all is well."""

    async def run(self) -> Outcome:
        """Play the experiment; takes its duration in real time, longer where the machine is slow.

        Raises TimeoutError where a message does not come at all.
        """
        loop = asyncio.get_running_loop()
        config = RelayConfig(
            limits=Limits(send_message="off", connections_per_ip="off", auth_attempts="off"),
            upgrade=UpgradeConfig(profile="dev"),
        )
        names = tuple(f"user{i}" for i in range(DEVICES))
        profile = from_mapping(experiment(self._is_reset)).network["slow"]
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(
                MockRelay(Options(config=config, port=0, http_port=0, users=names, seed=LIVE_SEED))
            )
            sockets = await stack.enter_async_context(LatencyProxy(relay.ws_url, profile, "sockets"))
            requests = await stack.enter_async_context(LatencyProxy(relay.http_url, profile, "requests"))
            devices = []
            for i, user in enumerate(relay.users):
                identity = Identity(user.address, user.identity_secret, user.device_id, user.token)
                client = Client(ClientConfig(), identity, streams=Streams(f"live {i}"), name=f"device/{i}")
                device = Device(client, sockets.url, requests.url, on_effect=partial(self._effect, i))
                devices.append(await stack.enter_async_context(device))
            began_s = loop.time()
            for device, start_s in zip(devices, self._starts, strict=True):
                loop.call_at(began_s + start_s, device.connect)
            for message in self._planned:
                address = relay.users[message.recipient].address
                loop.call_at(began_s + message.at_s, self._send, devices[message.sender], address, message)
            if self._is_reset:
                loop.call_at(began_s + RESET_S, sockets.reset_all)
                loop.call_at(began_s + RESET_S, requests.reset_all)
            await asyncio.sleep(DURATION_S)
            async with asyncio.timeout(PATIENCE_S):
                await self._all_shown.wait()
        return self._outcome

    def _send(self, device: Device, address: str, message: Planned) -> None:
        message_id = device.send(address, bytes(message.size))
        if counts(message.at_s):
            self._outcome.planned += 1
            self._sent_s[message_id] = asyncio.get_running_loop().time()

    def _effect(self, i: int, effect: ClientEffect) -> None:
        now_s = asyncio.get_running_loop().time()
        if isinstance(effect, Deliver):
            self.shown[effect.message_id] = self.shown.get(effect.message_id, 0) + 1
            sent_s = self._sent_s.get(effect.message_id)
            if sent_s is not None:
                self._outcome.latencies_ms.append((now_s - sent_s) * 1000)
                self._outcome.fetched += effect.via == "fetch"
                if len(self._outcome.latencies_ms) == self._counted:
                    self._all_shown.set()
        elif isinstance(effect, StateChanged):
            if effect.old is ClientState.CONNECTED:
                self._lost_s[i] = now_s
            elif effect.new is ClientState.CONNECTED and i in self._lost_s:
                self._outcome.away_s.append(now_s - self._lost_s.pop(i))


async def live_both() -> tuple[tuple[Outcome, LiveRun], tuple[Outcome, LiveRun]]:
    """The experiment without a reset and with one, side by side: as long as one of them."""
    steady, reset = LiveRun(False), LiveRun(True)
    first, second = await asyncio.gather(steady.run(), reset.run())
    return (first, steady), (second, reset)
