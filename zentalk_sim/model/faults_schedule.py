"""The experiment's timed faults, each a SimPy process: it waits for its instant, acts, and takes it back in time.

Faults may overlap: a node stays down until every fault that took it down has ended (or it is restarted by name), a
device stays cut off while any partition holds it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from zentalk_sim.experiment.fault_schema import (
    BusOutage,
    CrashNode,
    DeviceFault,
    DeviceOffline,
    Fault,
    Handover,
    Partition,
    ResetConnections,
    RestartNode,
    RollingDeploy,
    SlowNode,
    SlowStore,
    StopNode,
    StoreOutage,
)
from zentalk_sim.files.units import format_duration
from zentalk_sim.model.device import Device
from zentalk_sim.model.relay_node import DEAD, REFUSING, RelayNode
from zentalk_sim.protocol.streams import Stream
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.report.results import FaultSpan

if TYPE_CHECKING:
    from zentalk_sim.model.world import World

Script = Generator[Any, Any, None]


def choose(stream: Stream, total: int, count: int) -> list[int]:
    """``count`` different numbers below ``total``, chosen uniformly, in rising order; all where there are fewer."""
    if count >= total:
        return list(range(total))
    chosen: dict[int, None] = {}
    for top in range(total - count, total):
        found = stream.between(0, top)
        chosen[top if found in chosen else found] = None
    return sorted(chosen)


def share_of(fraction: float, total: int) -> int:
    """How many of ``total`` a fraction above 0 is: at least one where there is any."""
    return max(1, round(fraction * total)) if total else 0


def reset_words(count: int, total: int) -> str:
    """What pictures call a reset of ``count`` of the ``total`` connections that were open."""
    if count == total:
        return "connections reset" if total else "connections reset (none was open)"
    return f"{count:,} of {total:,} connections reset"


class FaultSchedule:
    """Runs the faults of an experiment against a world. ``spans`` is what pictures show of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._down: dict[int, dict[int, None]] = {}
        """Node → the faults that hold it down."""
        self._store_outages = 0
        """Faults that keep the store away."""
        self._store_latencies: dict[int, int] = {}
        """Faults that make it slow → the latency they give it."""
        self.spans: list[FaultSpan] = []

    def begin(self) -> None:
        """Have every fault wait for its instant."""
        world = self._world
        for number, fault in enumerate(world.experiment.timed_faults):
            world.kernel.process(self._run(number, fault))

    def _run(self, number: int, fault: Fault) -> Script:
        world = self._world
        stream = world.streams.fresh(f"fault/{number}")
        yield world.kernel.timeout(fault.at_us)
        match fault:
            case CrashNode():
                state = DEAD if fault.host == "dead" else REFUSING
                yield from self._take_down(number, fault, self._nodes(fault, stream), state)
            case StopNode():
                yield from self._take_down(number, fault, [world.nodes[fault.node]], REFUSING)
            case RestartNode():
                yield from self._restart(fault)
            case RollingDeploy():
                yield from self._deploy(number, fault)
            case SlowNode():
                yield from self._slow(number, fault)
            case BusOutage():
                yield from self._bus_outage(fault)
            case StoreOutage():
                yield from self._store_outage(fault)
            case SlowStore():
                yield from self._slow_store(number, fault)
            case Partition():
                yield from self._partition(fault, stream)
            case DeviceOffline():
                yield from self._offline(number, fault, stream)
            case Handover():
                self._hand_over(fault, stream)
            case ResetConnections():
                self._reset(fault, stream)

    def _span(self, label: str, for_us: int | None) -> None:
        now = self._world.kernel.now
        self.spans.append(FaultSpan(label, now, None if for_us is None else now + for_us))

    # --- nodes ---------------------------------------------------------------------------------------

    def _nodes(self, fault: CrashNode, stream: Stream) -> list[RelayNode]:
        nodes = self._world.nodes
        if fault.node is not None:
            return [nodes[fault.node]]
        return [nodes[index] for index in choose(stream, len(nodes), fault.nodes or 1)]

    def _take_down(self, number: int, fault: CrashNode | StopNode, nodes: list[RelayNode], state: str) -> Script:
        world = self._world
        verb = "stopped" if isinstance(fault, StopNode) else "crashed"
        self._span(f"{', '.join(node.name for node in nodes)} {verb}", fault.for_us)
        for node in nodes:
            self._down.setdefault(node.index, {})[number] = None
            if isinstance(fault, StopNode):
                node.stop()
            else:
                node.halt(state)
            world.kernel.process(self._tell_of_death(node))
        if fault.for_us is None:
            return
        yield world.kernel.timeout(fault.for_us)
        coming = []
        for node in nodes:
            holders = self._down.get(node.index, {})
            # A restart by name in the meantime has ended this fault already.
            if holders.pop(number, number) is None and not holders:
                coming.append(node)
        yield from self._start(coming)

    def _restart(self, fault: RestartNode) -> Script:
        node = self._world.nodes[fault.node]
        self._span(f"{node.name} restarted", 0)
        self._down.pop(node.index, None)
        node.halt(DEAD)
        yield from self._start([node])

    def _start(self, nodes: list[RelayNode]) -> Script:
        """The hosts answer at once, the nodes take connections after their restart time."""
        epochs = [node.begin_start() for node in nodes]
        yield self._world.kernel.timeout(self._world.experiment.relay.restart_time_us)
        for node, epoch in zip(nodes, epochs, strict=True):
            if node.epoch == epoch and not self._down.get(node.index):
                node.start()

    def _tell_of_death(self, node: RelayNode) -> Script:
        """The other nodes notice after the failure detection's time, if the node is not back by then."""
        epoch = node.epoch
        yield self._world.kernel.timeout(self._world.experiment.relay.failure_detection_us)
        if not node.up and node.epoch == epoch:
            for other in self._world.nodes:
                if other is not node:
                    other.lost(node.name)

    def _deploy(self, number: int, fault: RollingDeploy) -> Script:
        """One node after another; a node that another fault holds down meanwhile stays down until that one ends."""
        world = self._world
        restart_us = world.experiment.relay.restart_time_us
        nodes = world.nodes
        self._span("rolling deploy", len(nodes) * (fault.down_us + restart_us) + (len(nodes) - 1) * fault.gap_us)
        for turn, node in enumerate(nodes):
            if turn:
                yield world.kernel.timeout(fault.gap_us)
            self._down.setdefault(node.index, {})[number] = None
            node.stop()
            world.kernel.process(self._tell_of_death(node))
            yield world.kernel.timeout(fault.down_us)
            holders = self._down.get(node.index, {})
            if holders.pop(number, number) is None and not holders:
                yield from self._start([node])
            else:
                yield world.kernel.timeout(restart_us)

    def _slow(self, number: int, fault: SlowNode) -> Script:
        node = self._world.nodes[fault.node]
        self._span(f"{node.name} {fault.factor:g} times slower", fault.for_us)
        node.slow_down(number, fault.factor)
        if fault.for_us is not None:
            yield self._world.kernel.timeout(fault.for_us)
            node.speed_up(number)

    def _bus_outage(self, fault: BusOutage) -> Script:
        bus = self._world.bus
        self._span("bus outage", fault.for_us)
        bus.outages += 1
        if fault.for_us is not None:
            yield self._world.kernel.timeout(fault.for_us)
            bus.outages -= 1

    # --- the store -----------------------------------------------------------------------------------

    def _store_outage(self, fault: StoreOutage) -> Script:
        """The nodes share one store object, and the core of each answers for a store that is away."""
        store = self._world.store
        self._span("store outage", fault.for_us)
        self._store_outages += 1
        store.available = False
        if fault.for_us is not None:
            yield self._world.kernel.timeout(fault.for_us)
            self._store_outages -= 1
            store.available = not self._store_outages

    def _slow_store(self, number: int, fault: SlowStore) -> Script:
        self._span(f"commits take {format_duration(fault.latency_us)}", fault.for_us)
        self._store_latencies[number] = fault.latency_us
        self._set_store_latency()
        if fault.for_us is not None:
            yield self._world.kernel.timeout(fault.for_us)
            del self._store_latencies[number]
            self._set_store_latency()

    def _set_store_latency(self) -> None:
        own_us = self._world.experiment.relay.store_latency_us
        for node in self._world.nodes:
            node.store_latency_us = max(self._store_latencies.values(), default=own_us)

    # --- devices and the network ---------------------------------------------------------------------

    def _partition(self, fault: Partition, stream: Stream) -> Script:
        devices = self._devices(fault, stream)
        way = "" if fault.direction == "both" else f" ({fault.direction})"
        self._span(f"partition, {self._who(fault, devices)}{way}", fault.for_us)
        cut = [(device, device.cut(fault.direction)) for device in devices]
        if fault.for_us is None:
            return
        yield self._world.kernel.timeout(fault.for_us)
        for device, path in cut:
            device.heal(fault.direction, path)

    def _offline(self, number: int, fault: DeviceOffline, stream: Stream) -> Script:
        kernel = self._world.kernel
        devices = self._devices(fault, stream)
        self._span(f"offline, {self._who(fault, devices)}", fault.for_us)
        for device in devices:
            device.go_offline(number, fault.how == "silent")
        if fault.for_us is None:
            return
        yield kernel.timeout(fault.for_us)
        for device in devices:
            wait_us = stream.between(0, fault.spread_us) if fault.spread_us else 0
            kernel.call_at(kernel.now + wait_us, device.come_back, number)

    def _hand_over(self, fault: Handover, stream: Stream) -> None:
        devices = self._devices(fault, stream)
        self._span(f"handover to {fault.to}, {self._who(fault, devices)}", 0)
        profile = self._world.profile(fault.to)
        for device in devices:
            device.hand_over(profile)

    def _who(self, fault: DeviceFault, devices: list[Device]) -> str:
        return fault.network or (
            "all devices" if len(devices) == len(self._world.devices) else f"{len(devices)} devices"
        )

    def _devices(self, fault: DeviceFault, stream: Stream) -> list[Device]:
        devices = self._world.devices
        if fault.network is not None:
            return [device for device in devices if device.member.network == fault.network]
        if fault.fraction is not None:
            count = max(1, round(fault.fraction * len(devices))) if devices else 0
        else:
            count = fault.devices or len(devices)
        return [devices[index] for index in choose(stream, len(devices), count)]

    def _reset(self, fault: ResetConnections, stream: Stream) -> None:
        found = [device.socket for device in self._world.devices if device.socket is not None]
        sockets = [socket for socket in found if not socket.over and socket.tcp_us != NEVER]
        chosen = choose(stream, len(sockets), share_of(fault.fraction, len(sockets)))
        self._span(reset_words(len(chosen), len(sockets)), 0)
        for index in chosen:
            sockets[index].reset_both()
