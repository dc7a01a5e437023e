"""Does a plan's acts to a running world: an operator's, an application's, and a node's death at a named point."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from zentalk_sim.checks.client_living import APPLICATION_KILLED
from zentalk_sim.fuzz.rogue import Rogue
from zentalk_sim.model.device import Device
from zentalk_sim.model.relay_node import DEAD, RelayNode
from zentalk_sim.model.tracer import Tracer
from zentalk_sim.model.world import World
from zentalk_sim.protocol import control
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_state import OPEN, ClientState
from zentalk_sim.protocol.connection import Connection
from zentalk_sim.protocol.effects import Effect, Note
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.frames import Frame

_RETRY_US = 500_000
"""How soon an operator tries again who finds no node up."""


class Acts:
    """The acts of one trial; ``begin`` has each wait for its instant."""

    def __init__(self, world: World, tracer: Tracer, acts: list[dict[str, Any]], end_us: int) -> None:
        self._world = world
        self._tracer = tracer
        self._acts = acts
        self._end_us = end_us
        self._waiting: list[control.Command] = []
        self.removed: dict[str, None] = {}
        """Devices that an operator removed."""
        self.killed_with_unacked = 0
        """Applications killed while messages of theirs had no answer."""
        self.rogues: list[Rogue] = []
        self.done: list[tuple[int, str]] = []
        """What was done, and when."""

    def begin(self) -> None:
        """Have every act wait for its instant."""
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "crash_at": self._crash_at,
            "suspend": self._suspend,
            "remove_device": self._remove_device,
            "settings": self._settings,
            "close": self._close,
            "app_restart": self._app_restart,
            "invisible": self._invisible,
            "rogue": self._rogue,
        }
        for act in self._acts:
            handler = handlers.get(act["do"])
            if handler is None:
                raise ValueError(f"unknown act {act['do']!r}; there are {', '.join(handlers)}")
            at_us = self._world.start_us + act["at_ms"] * 1000
            if at_us < self._end_us:
                self._world.kernel.call_at(at_us, self._do, handler, act)

    def _do(self, handler: Callable[[dict[str, Any]], None], act: dict[str, Any]) -> None:
        told = ", ".join(f"{key} {value}" for key, value in act.items() if key not in ("at_ms", "do", "moves"))
        self.done.append((self._world.kernel.now, f"{act['do']} {told}".rstrip()))
        handler(act)

    def _until_us(self, act: dict[str, Any]) -> int:
        """When an act is taken back: at the end of the active time at the latest."""
        now, for_ms = self._world.kernel.now, int(act["for_ms"])
        return max(now + 1, min(now + for_ms * 1000, self._end_us))

    def _device(self, act: dict[str, Any]) -> Device:
        devices = self._world.devices
        number: int = act["device"]
        return devices[number % len(devices)]

    def _address(self, number: int) -> str:
        people = list(dict.fromkeys(device.member.person.address for device in self._world.devices))
        return people[number % len(people)]

    # --- operators -----------------------------------------------------------------------------------

    def _command(self, command: control.Command) -> None:
        """Give a command to the first node that is up, or to the first that comes up, each in its turn."""
        self._waiting.append(command)
        if len(self._waiting) == 1:
            self._operate()

    def _operate(self) -> None:
        node = next((node for node in self._world.nodes if node.relay is not None), None)
        if node is None:
            self._world.kernel.call_at(self._world.kernel.now + _RETRY_US, self._operate)
            return
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            # A device that is not registered any more, say: the operator is told so, and that is all.
            with suppress(ProtocolError):
                node.command(command)

    def _suspend(self, act: dict[str, Any]) -> None:
        address = self._address(act["user"])
        self._command(control.Suspend(address))
        self._world.kernel.call_at(self._until_us(act), self._command, control.Suspend(address, False))

    def _remove_device(self, act: dict[str, Any]) -> None:
        member = self._device(act).member
        self.removed[member.device_id] = None
        self._command(control.RemoveDevice(member.person.address, member.device_id))

    def _settings(self, act: dict[str, Any]) -> None:
        settings = dict(act["settings"])
        if "typing_disabled_for" in settings:
            settings["typing_disabled_for"] = [self._address(user) for user in settings["typing_disabled_for"]]
        self._command(control.ChangeSettings(self._address(act["user"]), settings))

    def _close(self, act: dict[str, Any]) -> None:
        member = self._device(act).member
        place = self._world.store.connected(member.person.address).get(member.device_id)
        for node in self._world.nodes:
            if place is not None and node.name == place.node and node.relay is not None:
                # The store may not yet have heard that this connection is gone.
                with suppress(ProtocolError):
                    node.command(control.CloseConn(place.conn, act["code"], "operator"))

    # --- applications --------------------------------------------------------------------------------

    def _invisible(self, act: dict[str, Any]) -> None:
        device = self._device(act)
        if not device.offline:
            device.apply(device.client.set_presence("invisible", device.now()))

    def _app_restart(self, act: dict[str, Any]) -> None:
        """The application is killed; what it had kept is there when it starts again."""
        device, world = self._device(act), self._world
        if device.offline:
            return
        old = device.client
        kept = old.snapshot()
        self.killed_with_unacked += old.unacked > 0
        fresh = Client(
            old.config, old.identity, streams=world.streams, crypto=world.crypto, name=old.name, wire=world.wire
        )
        fresh.restore(kept)
        now = world.kernel.now
        if old.state is ClientState.CONNECTED:
            if device.severed:
                device.severed = False
            else:
                world.connected -= 1
            device.lost_us = now
        if old.state in OPEN or old.state is ClientState.CONNECTING:
            device.end_attempt(now, "application killed")
        if device.socket is not None:
            device.socket.abandon()
            device.socket = None
        if device.rest is not None:
            device.rest.abandon()
            device.rest = None
        states = {"old": old.state.value, "new": "DISCONNECTED", "cause": APPLICATION_KILLED}
        self._tracer.event(now, "state", None, device.member.device_id, **states)
        device.client = fresh
        world.kernel.call_at(self._until_us(act), device.connect)

    # --- nodes ---------------------------------------------------------------------------------------

    def _crash_at(self, act: dict[str, Any]) -> None:
        node = self._world.nodes[act["node"] % len(self._world.nodes)]
        if node.relay is not None:
            node.relay = Fuse(node.relay, self, node, act)

    def died(self, node: RelayNode, act: dict[str, Any]) -> None:
        """A fuse has blown: the others notice in time, and the node comes back."""
        world = self._world
        self.done.append((world.kernel.now, f"{node.name} died {act['point']}"))
        epoch = node.epoch
        back_us = max(self._until_us(act), world.kernel.now + 1)
        world.kernel.call_at(world.kernel.now + world.experiment.relay.failure_detection_us, self._noticed, node, epoch)
        world.kernel.call_at(back_us, node.begin_start)
        world.kernel.call_at(back_us + world.experiment.relay.restart_time_us, node.start)

    def _noticed(self, node: RelayNode, epoch: int) -> None:
        if not node.up and node.epoch == epoch:
            for other in self._world.nodes:
                if other is not node:
                    other.lost(node.name)

    def _rogue(self, act: dict[str, Any]) -> None:
        rogue = Rogue(self._world, self._tracer, len(self.rogues), act)
        self.rogues.append(rogue)
        rogue.begin()


class Fuse:
    """A core that dies at the next MESSAGE_SEND it takes, at a named point of its commit."""

    def __init__(self, relay: Any, acts: Acts, node: RelayNode, act: dict[str, Any]) -> None:
        self._relay = relay
        relay.hand_over_frames(False)
        self._acts = acts
        self._node = node
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    def receive_frame(self, conn: int, frame: Frame, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        if frame.type != "MESSAGE_SEND":
            taken: list[Effect] = self._relay.receive_frame(conn, frame, now, real_us)
            return taken
        return self._die(lambda: self._relay.receive_frame(conn, frame, now, real_us))

    def receive_frame_on(self, conn: Connection, frame: Frame, now: int) -> list[Effect]:
        """See Relay."""
        return self.receive_frame(conn.id, frame, now)

    def receive_data(self, conn: int, data: str | bytes, now: int, real_us: int | None = None) -> list[Effect]:
        """See Relay."""
        if isinstance(data, str) and '"MESSAGE_SEND"' not in data[:200]:
            taken: list[Effect] = self._relay.receive_data(conn, data, now, real_us)
            return taken
        return self._die(lambda: self._relay.receive_data(conn, data, now, real_us))

    def _die(self, take: Callable[[], list[Effect]]) -> list[Effect]:
        """What the store keeps of the input, and what of its effects still goes out."""
        node, point = self._node, self._act["point"]
        node.relay = self._relay
        effects = [] if point == "before_commit" else take()
        notes: list[Effect] = [effect for effect in effects if type(effect) is Note]
        outgoing = [effect for effect in effects if type(effect) is not Note]
        if point == "amid_effects":
            node.apply_now(outgoing[: (len(outgoing) + 1) // 2])
        node.halt(DEAD)
        self._acts.died(node, self._act)
        return notes
