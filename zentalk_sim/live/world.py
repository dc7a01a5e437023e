"""The world of a run in real time: devices over real sockets, their users' conduct, faults, and samples.

The same experiment, the same draws and the same recorder as in the simulation; what differs is where the bytes go.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial

from zentalk_sim.experiment.real_time import LiveRecorder, Member, Person, conduct_of
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.live.clock import RealTime
from zentalk_sim.live.control import Control
from zentalk_sim.live.faults import LiveFaults
from zentalk_sim.live.participant import Participant
from zentalk_sim.live.shaping import UNSHAPED, DeviceLink
from zentalk_sim.network.profile import PROFILES, LinkProfile
from zentalk_sim.protocol.streams import Stream, Streams

_CAUSES = ("errors.", "client.errors.", "rate_limited.", "connections.refused.", "copies.dropped.")
Sample = tuple[int, str, str | None, float]


class LiveWorld:
    """Everything of one run, once its users are known to the relay. Make it on a running loop."""

    def __init__(
        self,
        experiment: Experiment,
        members: list[Member],
        tokens: dict[str, str],
        recorder_of: Callable[[int], LiveRecorder],
        *,
        ws_url: str,
        http_url: str,
        control: Control | None,
        shaped: bool,
        forwarded: bool,
        tls: ssl.SSLContext | None,
    ) -> None:
        """``tokens``: device → token. ``recorder_of`` makes the recorder for a run that begins at an instant."""
        self.experiment = experiment
        self.control = control
        self.shaped = shaped
        self.streams = Streams(experiment.seed)
        self.time = RealTime(asyncio.get_running_loop())
        self.recorder = recorder_of(self.time.start_us)
        self.connected = 0
        self.authenticated = 0
        self.samples: list[Sample] = []
        people: dict[int, Person] = {}
        for member in members:
            people.setdefault(member.person.index, member.person)
        self.conduct = conduct_of(experiment, self.time, list(people.values()))
        self.faults = LiveFaults(self)
        self.devices: list[Participant] = []
        self._links: dict[int, int] = {}
        for member in members:
            link = DeviceLink(
                self.time,
                ws_url,
                http_url,
                self.profile(member.network),
                partial(self._link_stream, member.index),
                ip=member.ip if forwarded else None,
                tls=tls,
            )
            self.devices.append(Participant(self, member, tokens[member.device_id], link))
        self._attempts = 0
        self._sampled_us = self.time.start_us
        self._causes: dict[str, int] = {}

    def profile(self, network: str) -> LinkProfile:
        """The link profile of that name, or what there is where networks are not shaped."""
        return (self.experiment.network.get(network) or PROFILES[network]) if self.shaped else UNSHAPED

    def _link_stream(self, index: int) -> Stream:
        """The stream of a new connection's network, as the simulation has it."""
        count = self._links[index] = self._links.get(index, 0) + 1
        return self.streams.fresh(f"device/{index}/link/{count}")

    async def run(self, shown: Callable[[LiveWorld], None] | None) -> None:
        """Run until the experiment's end. Raises what a callback raised; may be cancelled at any time."""
        done = asyncio.Event()
        self.time.on_failure(done.set)
        self.faults.begin()
        for device in self.devices:
            self.conduct.begin(device)  # type: ignore[arg-type]
        end_us = self.time.start_us + self.experiment.duration_us
        self.time.call_at(end_us, done.set)
        sampling = asyncio.get_running_loop().create_task(self._sample(shown))
        try:
            await done.wait()
        finally:
            sampling.cancel()
        if self.time.failure is not None:
            raise self.time.failure

    async def _sample(self, shown: Callable[[LiveWorld], None] | None) -> None:
        step_us = self.experiment.measure.interval_us
        at_us = self.time.start_us
        while True:
            self.take_sample(at_us)
            if shown is not None:
                shown(self)
            at_us += step_us
            await asyncio.sleep(max(0, at_us - self.time.real_us()) / 1_000_000)

    def take_sample(self, now: int) -> None:
        """Add a row for each series known on this side; rates are over the step that ends here."""
        self.samples.append((now, "devices.connected", None, float(self.connected)))
        step_us = now - self._sampled_us
        if step_us > 0:
            counts = self.recorder.counts
            attempts = counts["connections.attempted"]
            rate = (attempts - self._attempts) * 1_000_000 / step_us
            self.samples.append((now, "connections.attempted_per_s", None, rate))
            for name, count in counts.items():
                if name.startswith(_CAUSES) and count != self._causes.get(name, 0):
                    grown = (count - self._causes.get(name, 0)) * 1_000_000 / step_us
                    self.samples.append((now, f"{name}_per_s", None, grown))
                    self._causes[name] = count
            self._attempts = attempts
        self._sampled_us = now

    def end(self) -> list[int]:
        """Close the rows of what is under way; since when each device that is cut off has been so."""
        for device in self.devices:
            device.end_attempt(None, None)
        return [device.lost_us for device in self.devices if device.lost_us is not None]

    async def stop(self) -> None:
        """Let go of everything."""
        await self.faults.stop()
        for device in self.devices:
            await device.device.stop()
            await device.link.stop()
