"""The stage of the simulator: a node of a simulated world, reached over its links by puppets instead of devices.

A puppet stands where the world expects a device: it has a path, a profile and an address, opens the same WebSockets
and sends what the body says, as bytes. The links have no latency, so that a line settles within the instant, and
the instants of bodies are exact.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
from stage import Actor, Line, Refused, Stage

from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.rest_line import RestLine
from zentalk_sim.model.websocket import HEADERS, WebSocket
from zentalk_sim.model.world import START_US, World
from zentalk_sim.network.path import Path
from zentalk_sim.protocol.config import ClientConfig, RelayConfig
from zentalk_sim.protocol.effects import Refuse
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

IP = "203.0.113.9"


class Puppet:
    """What the model asks of a device, told to a line."""

    def __init__(self, stage: SimulatorStage, address: str, device_id: str) -> None:
        self.world = stage.world
        self.path = Path()
        self.profile = stage.world.profile("ideal")
        self.needs_size = False
        self.tracer = None
        self.ip = IP
        self.member = SimpleNamespace(ip=IP, device_id=device_id, person=SimpleNamespace(address=address))
        self.client = SimpleNamespace(config=ClientConfig())
        self.line: SimulatorLine | None = None

    def network_stream(self) -> Any:
        return Streams("puppets").fresh("network")

    def stalled(self, line: Any) -> None:
        raise AssertionError("a puppet's path is never blocked")

    def socket_opened(self, socket: PuppetSocket) -> None:
        pass

    def socket_failed(self, socket: PuppetSocket, cause: str, status: int | None) -> None:
        pass

    def socket_closed(self, socket: PuppetSocket, code: int) -> None:
        assert self.line is not None
        if self.line.close_code is None:
            self.line.close_code = code
            self.line.closed_us = self.world.kernel.now
            self.line.close_reason = socket.reason

    def frame_arrived(self, socket: PuppetSocket, data: str | bytes) -> None:
        assert self.line is not None
        self.line.took(data)


class PuppetSocket(WebSocket):
    """A WebSocket whose upgrade and frames are the body's own."""

    __slots__ = ("headers", "path", "query", "reason")

    def _upgrade(self) -> None:
        assert self.node is not None
        ip = self.device.member.ip
        self.node.connect(self, UpgradeRequest(self.path, self.query, {**HEADERS, **self.headers}, ip))

    def close_down(self, code: int, reason: str) -> None:
        self.reason = reason
        super().close_down(code, reason)

    def put(self, data: str | bytes) -> None:
        self.up(len(data), self._frame_at_node, data)


class SimulatorLine(Line):
    """A socket of the simulated world."""

    stage: SimulatorStage
    socket: PuppetSocket

    def __init__(self, actor: Actor, device_id: str) -> None:
        super().__init__(actor, device_id)
        self.came_us: list[int] = []
        """The instant of each of ``frames``."""
        self.closed_us: int | None = None

    def took(self, data: str | bytes) -> None:
        super().took(data)
        self.came_us.append(self.stage.kernel.now)

    def clear(self) -> None:
        super().clear()
        self.came_us.clear()

    def write(self, data: str | bytes) -> None:
        self.socket.put(data)

    def settle(self) -> None:
        self.stage.settle()

    def wait_close(self) -> None:
        self.stage.settle()

    def hang_up(self, code: int | None = 1000) -> None:
        self.stage.settle()
        self.close_code = 1006 if code is None else code
        if code is None:
            self.socket.abandon()
        else:
            self.socket.close_up(code)
        self.stage.settle()


class SimulatorStage(Stage):
    """One node, no population."""

    def __init__(self, config: RelayConfig) -> None:
        super().__init__(config)
        base = from_mapping({"name": "conformance", "duration": "1h", "fidelity": "wire", "population": {"devices": 1}})
        replace = msgspec.structs.replace
        relay = replace(
            base.relay,
            store_latency_us=0,
            bus_latency_us=0,
            ingress=replace(base.relay.ingress, enabled=False),
            **{name: getattr(config, name) for name in RelayConfig.__struct_fields__},
        )
        # A world without a population: the only people are the body's.
        experiment = replace(base, relay=relay, population=replace(base.population, devices=0))
        self.world = World(
            experiment, Recorder(*(TableWriter(schema, None) for schema in SCHEMAS), measured_from_us=START_US)
        )
        self.kernel = self.world.kernel
        self.node = self.world.nodes[0]
        self.node._handlers[Refuse] = self._refused
        self._by_conn: dict[int, SimulatorLine] = {}

    def _refused(self, effect: Refuse) -> None:
        """Keep the error's body, which the model's devices have no use for."""
        self._by_conn[effect.conn].refused = Refused(effect.status, effect.error_code, effect.message)
        self.node._refuse(effect)

    def now_ms(self) -> int:
        return self.kernel.now // 1000

    def advance(self, seconds: float) -> None:
        self.settle()
        self.kernel.run_until(self.kernel.now + round(seconds * 1_000_000))
        self.settle()

    def settle(self) -> None:
        # All that is under way arrives within this instant; the clock goes on by one microsecond.
        self.kernel.run_until(self.kernel.now + 1)

    def control(self, command: Any) -> Any:
        relay = self.node.relay
        assert relay is not None
        self.settle()
        self.node._take(relay.control(command, self.kernel.now))
        return relay.result

    def open_line(
        self, actor: Actor, device_id: str, query: dict[str, str], headers: dict[str, str], path: str
    ) -> Line:
        puppet = Puppet(self, actor.address, device_id)
        line = puppet.line = SimulatorLine(actor, device_id)
        socket = line.socket = PuppetSocket(puppet, 1, query)  # type: ignore[arg-type]
        socket.query, socket.headers, socket.path, socket.reason = query, headers, path, ""
        self._by_conn[socket.conn] = line
        socket.open()
        self.settle()
        return line

    def request(self, method: str, target: str, bearer: str | None, body: bytes | None) -> tuple[int, Any]:
        self.settle()
        answers: list[tuple[int, Any]] = []
        line = RestLine(Puppet(self, "", ""))  # type: ignore[arg-type]
        line.open()
        line.request(method, target, bearer, body, lambda status, data: answers.append((status, data)))
        self.settle()
        ((status, data),) = answers
        return status, json.loads(data) if data else None

    def count(self, name: str) -> int:
        return self.world.recorder.counts[name]

    def close(self) -> None:
        """Nothing stands."""
