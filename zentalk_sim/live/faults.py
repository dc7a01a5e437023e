"""The experiment's faults in real time: what befalls devices and their network, and a relay that goes down.

The same devices are chosen as in the simulation, by the same streams. Networks are cut and reset on this side, in the
shaped links; a node that stops or crashes is restarted through the control API, and its host is played by the links,
which meanwhile refuse everything (the process is gone) or swallow it (the machine is). What cannot be done to a relay
from outside is refused before anything starts: ``refusals``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from zentalk_sim.experiment.fault_schema import (
    CrashNode,
    DeviceOffline,
    EventRule,
    Fault,
    Handover,
    Partition,
    ResetConnections,
    RestartNode,
    RollingDeploy,
    StopNode,
)
from zentalk_sim.experiment.real_time import LiveRecorder, Member, choose, reset_words, roaming_ip, share_of
from zentalk_sim.experiment.rule_names import names_in, settled
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.faults import to_builtins
from zentalk_sim.live.control import Control, ControlError
from zentalk_sim.network.path import Path
from zentalk_sim.protocol.streams import Stream

if TYPE_CHECKING:
    from zentalk_sim.live.participant import Participant
    from zentalk_sim.live.world import LiveWorld

DEVICE_FAULTS = (Partition, DeviceOffline, Handover, ResetConnections)
NODE_FAULTS = (CrashNode, StopNode, RestartNode, RollingDeploy)


def refusals(experiment: Experiment, *, has_control: bool) -> list[str]:
    """A sentence for each fault that a live relay cannot be given; none if all can."""
    found = []
    for number, fault in enumerate(experiment.faults):
        if isinstance(fault, EventRule):
            if not has_control:
                found.append(f"faults.{number}: a rule needs the relay's control API (--admin-token)")
            continue
        name = fault.__struct_config__.tag
        place = f"faults.{number}: `{name}`"
        node = getattr(fault, "node", None)
        if isinstance(fault, DEVICE_FAULTS):
            continue
        if not isinstance(fault, NODE_FAULTS):
            found.append(f"{place} cannot be done to a live relay from outside; take it out to run this --live")
        elif not has_control:
            found.append(f"{place} needs the relay's control API (--admin-token); without it the relay stays up")
        elif node not in (None, 0) or (isinstance(fault, CrashNode) and (fault.nodes or 1) > 1):
            found.append(f"{place}: a live relay is one node, number 0")
        elif isinstance(fault, CrashNode | StopNode) and fault.for_us is None:
            found.append(f"{place} needs `for`: a relay that never comes back leaves nothing to measure")
    return found


async def install_rules(experiment: Experiment, members: list[Member], control: Control) -> None:
    """Give a space the experiment's rules, in their order. Raises ControlError."""
    if experiment.rules:
        rules = settled(experiment.rules, *names_in(members))
        await control.call("POST", "/admin/rules", [to_builtins(rule) for rule in rules])


async def count_rules(experiment: Experiment, control: Control, recorder: LiveRecorder) -> list[str]:
    """Tell the recorder how often each rule has fired; those that never did, by comment or id. Raises ControlError."""
    quiet: list[str] = []
    if experiment.rules:
        for rule in await control.call("GET", "/admin/rules"):
            recorder.count(f"faults.fired.{rule['action']['do']}", rule["fired"])
            if not rule["fired"]:
                quiet.append(str(rule.get("comment") or rule["id"]))
    return quiet


class LiveFaults:
    """Runs the faults of an experiment against a live world. ``spans``: label, start, end in µs of Unix time."""

    def __init__(self, world: LiveWorld) -> None:
        self._world = world
        self._down = 0
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.spans: list[tuple[str, int, int | None]] = []

    def begin(self) -> None:
        """Have every fault wait for its instant."""
        time = self._world.time
        for number, fault in enumerate(self._world.experiment.timed_faults):
            stream = self._world.streams.fresh(f"fault/{number}")
            time.call_at(time.start_us + fault.at_us, self._strike, fault, stream)

    async def stop(self) -> None:
        """Let go of what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _strike(self, fault: Fault, stream: Stream) -> None:
        match fault:
            case Partition():
                self._partition(fault, stream)
            case DeviceOffline():
                self._offline(fault, stream)
            case Handover():
                self._hand_over(fault, stream)
            case ResetConnections():
                self._reset(fault, stream)
            case RestartNode():
                self._span("relay restarted", 0)
                self._spawn(self._restart)
            case StopNode():
                self._span("relay stopped", fault.for_us)
                self._spawn(lambda: self._stopped(fault.for_us or 0))
            case RollingDeploy():
                self._span("rolling deploy", fault.down_us)
                self._spawn(lambda: self._stopped(fault.down_us))
            case CrashNode():
                self._span("relay crashed", fault.for_us)
                self._spawn(lambda: self._crashed(fault))
            case _:
                raise AssertionError(f"{fault!r} was not refused")

    def _span(self, label: str, for_us: int | None) -> None:
        now = self._world.time.real_us()
        self.spans.append((label, now, None if for_us is None else now + for_us))

    # --- the relay -----------------------------------------------------------------------------------

    def _spawn(self, work: Callable[[], object]) -> None:
        async def watched() -> None:
            try:
                await work()  # type: ignore[misc]
            except ControlError as error:
                self._world.time.fail(error)

        task = asyncio.get_running_loop().create_task(watched())
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _restart(self) -> None:
        control = self._world.control
        assert control is not None
        await control.call("POST", "/admin/restart")

    async def _stopped(self, for_us: int) -> None:
        """1001 to all; then the host refuses until the relay is back."""
        self._refuse(True)
        try:
            await self._restart()
            await asyncio.sleep(for_us / 1_000_000)
        finally:
            self._refuse(False)

    def _refuse(self, is_refusing: bool) -> None:
        """Connections are refused as long as any fault has the relay down."""
        self._down += 1 if is_refusing else -1
        for device in self._world.devices:
            device.link.refuses = self._down > 0

    async def _crashed(self, fault: CrashNode) -> None:
        """The host refuses, or falls silent; the relay that comes back has its store and no connections."""
        links = [device.link for device in self._world.devices]
        for_s = (fault.for_us or 0) / 1_000_000
        for device in self._world.devices:
            device.relay_died()
        if fault.host == "alive":
            self._refuse(True)
            for link in links:
                link.reset_all()
            await asyncio.sleep(for_s)
            self._refuse(False)
            return
        cut = [(link, link.cut("both")) for link in links]
        await asyncio.sleep(for_s)
        # What the silent connections were is gone with the machine: its successor knows none of them.
        for link in links:
            link.forget()
        await self._restart()
        for link, path in cut:
            link.heal("both", path)

    # --- devices and the network ---------------------------------------------------------------------

    def _partition(self, fault: Partition, stream: Stream) -> None:
        devices = self._devices(fault, stream)
        way = "" if fault.direction == "both" else f" ({fault.direction})"
        self._span(f"partition, {self._who(fault.network, devices)}{way}", fault.for_us)
        cut = [(device, device.link.cut(fault.direction)) for device in devices]
        if fault.for_us is not None:
            time = self._world.time
            time.call_at(time.now + fault.for_us, self._heal, fault, cut)

    @staticmethod
    def _heal(fault: Partition, cut: list[tuple[Participant, Path]]) -> None:
        for device, path in cut:
            device.link.heal(fault.direction, path)

    def _offline(self, fault: DeviceOffline, stream: Stream) -> None:
        devices = self._devices(fault, stream)
        self._span(f"offline, {self._who(fault.network, devices)}", fault.for_us)
        gone = [(device, device.go_offline(fault.how == "silent")) for device in devices]
        if fault.for_us is None:
            return
        time = self._world.time
        for device, path in gone:
            wait_us = stream.between(0, fault.spread_us) if fault.spread_us else 0
            time.call_at(time.now + fault.for_us + wait_us, device.come_back, path)

    def _hand_over(self, fault: Handover, stream: Stream) -> None:
        devices = self._devices(fault, stream)
        self._span(f"handover to {fault.to}, {self._who(fault.network, devices)}", 0)
        profile = self._world.profile(fault.to)
        for device in devices:
            device.hand_over(profile, roaming_ip(device.member.index))

    def _reset(self, fault: ResetConnections, stream: Stream) -> None:
        links = [device.link for device in self._world.devices]
        links = [link for link in links if link.socket is not None and link.socket.is_open]
        chosen = choose(stream, len(links), share_of(fault.fraction, len(links)))
        self._span(reset_words(len(chosen), len(links)), 0)
        for index in chosen:
            links[index].reset()

    def _who(self, network: str | None, devices: list[Participant]) -> str:
        everyone = len(devices) == len(self._world.devices)
        return network or ("all devices" if everyone else f"{len(devices)} devices")

    def _devices(self, fault: Partition | DeviceOffline | Handover, stream: Stream) -> list[Participant]:
        devices = self._world.devices
        if fault.network is not None:
            return [device for device in devices if device.member.network == fault.network]
        if fault.fraction is not None:
            count = max(1, round(fault.fraction * len(devices))) if devices else 0
        else:
            count = fault.devices or len(devices)
        return [devices[index] for index in choose(stream, len(devices), count)]
