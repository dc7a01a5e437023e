"""The conformance stages with fault rules: the same bodies, before a simulated node and before a mock relay."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from live_stage import TIMEOUT_S, LiveStage
from simulator_stage import Puppet, SimulatorLine, SimulatorStage
from stage import Actor, Line, Refused

from zentalk_sim.faults import parse_rules
from zentalk_sim.model.rule_engine import RuleEngine
from zentalk_sim.model.ruled_rest_line import RuledRestLine
from zentalk_sim.model.ruled_socket import RuledSocket
from zentalk_sim.model.websocket import HEADERS
from zentalk_sim.protocol.upgrade import UpgradeRequest


class PuppetWithRules(Puppet):
    """As a puppet, and it notices an upgrade that a rule refuses."""

    socket = None
    """Its lines are its own: no WebSocket stands beside its REST calls."""

    def socket_failed(self, socket: Any, cause: str, status: int | None) -> None:
        assert self.line is not None
        if self.line.refused is None:
            self.line.refused = Refused(status or 0, cause, "")


class RuledPuppetSocket(RuledSocket):
    """A ruled WebSocket whose upgrade and frames are the body's own."""

    __slots__ = ("asked", "reason")

    def _ask_core(self) -> None:
        assert self.node is not None
        path, query, headers = self.asked
        self.node.connect(self, UpgradeRequest(path, query, {**HEADERS, **headers}, self.device.member.ip))

    def close_down(self, code: int, reason: str) -> None:
        self.reason = reason
        super().close_down(code, reason)

    def put(self, data: str | bytes) -> None:
        self.up(len(data), self._frame_at_node, data)


class RuledSimulatorStage(SimulatorStage):
    """One simulated node with rules."""

    def rules(self, raw: list[dict[str, Any]]) -> None:
        self.world.rules = RuleEngine(self.world, parse_rules(raw))

    def open_line(
        self, actor: Actor, device_id: str, query: dict[str, str], headers: dict[str, str], path: str
    ) -> Line:
        puppet = PuppetWithRules(self, actor.address, device_id)
        line = puppet.line = SimulatorLine(actor, device_id)
        socket = RuledPuppetSocket(puppet, 1, query)  # type: ignore[arg-type]
        socket.asked, socket.reason = (path, query, headers), ""
        line.socket = socket  # type: ignore[assignment]
        self._by_conn[socket.conn] = line
        socket.open()
        self.settle()
        return line

    def request(self, method: str, target: str, bearer: str | None, body: bytes | None) -> tuple[int, Any]:
        self.settle()
        answers: list[tuple[int, Any]] = []
        line = RuledRestLine(PuppetWithRules(self, "", ""))  # type: ignore[arg-type]
        line.open()
        line.request(method, target, bearer, body, lambda status, data: answers.append((status, data)))
        self.settle()
        ((status, data),) = answers
        return status, json.loads(data) if data else None


class RuledLiveStage(LiveStage):
    """A mock relay with rules."""

    def rules(self, raw: list[dict[str, Any]]) -> None:
        self._call(lambda: self.relay.spaces.default.faults.add_rules(raw))

    def advance(self, seconds: float) -> None:
        self._run(asyncio.wait_for(self.relay.spaces.default.advance(round(seconds * 1_000_000)), TIMEOUT_S))


RuledStage = RuledSimulatorStage | RuledLiveStage
