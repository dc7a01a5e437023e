"""The stage of the bare core: no wire at all. It tells whether a body's failure lies in the core or in a face."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
from stage import Actor, Line, Refused, Stage

from zentalk_sim.protocol.codec import encode, encode_text, with_seq
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.effects import Abort, Close, Effect, Note, Refuse, Respond, Send, SendMany
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import UpgradeRequest, parse_target

START_US = 1_704_067_200_000_000
UPGRADE_HEADERS = {
    "host": "relay.zentalk.network",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "zentalk.v1",
}


class CoreLine(Line):
    """A line whose bytes reach the relay at once."""

    stage: CoreStage

    def __init__(self, actor: Actor, device_id: str, conn: int) -> None:
        super().__init__(actor, device_id)
        self.conn = conn

    def write(self, data: str | bytes) -> None:
        stage = self.stage
        stage.apply(stage.relay.receive_data(self.conn, data, stage.now_us))

    def settle(self) -> None:
        pass

    def wait_close(self) -> None:
        pass

    def hang_up(self, code: int | None = 1000) -> None:
        self.close_code = 1006 if code is None else code
        self.stage.apply(self.stage.relay.disconnect(self.conn, "closed", self.stage.now_us))


class CoreStage(Stage):
    """A relay called directly."""

    def __init__(self, config: RelayConfig) -> None:
        super().__init__(config)
        self.now_us = START_US
        self.relay = Relay(config, streams=Streams("core stage"), store=MemoryStore())
        self._by_conn: dict[int, CoreLine] = {}
        self._answer: Respond | None = None
        self._counts: Counter[str] = Counter()

    def now_ms(self) -> int:
        return self.now_us // 1000

    def advance(self, seconds: float) -> None:
        until = self.now_us + round(seconds * 1_000_000)
        while (at := self.relay.next_timeout()) is not None and at <= until:
            self.now_us = at
            self.apply(self.relay.handle_timeout(at))
        self.now_us = until

    def control(self, command: Any) -> Any:
        self.apply(self.relay.control(command, self.now_us))
        return self.relay.result

    def open_line(
        self, actor: Actor, device_id: str, query: dict[str, str], headers: dict[str, str], path: str
    ) -> Line:
        line = CoreLine(actor, device_id, len(self._by_conn) + 1)
        self._by_conn[line.conn] = line
        request = UpgradeRequest(path, query, {**UPGRADE_HEADERS, **headers}, "203.0.113.9")
        self.apply(self.relay.connect(line.conn, request, self.now_us))
        return line

    def request(self, method: str, target: str, bearer: str | None, body: bytes | None) -> tuple[int, Any]:
        path, query = parse_target(target)
        self.apply(self.relay.handle_request(1, Request(method, path, query, bearer, body, "203.0.113.9"), self.now_us))
        answer, self._answer = self._answer, None
        assert answer is not None
        return answer.status, None if answer.body is None else json.loads(msgspec.json.encode(answer.body))

    def count(self, name: str) -> int:
        return self._counts[name]

    def close(self) -> None:
        """Nothing stands."""

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Refuse():
                    line = self._by_conn[effect.conn]
                    line.refused = Refused(effect.status, effect.error_code, effect.message)
                case Send():
                    self._by_conn[effect.conn].took(encode(effect.frame))
                case SendMany():
                    for conn, seq in effect.targets:
                        self._by_conn[conn].took(with_seq(encode_text(effect.frame), seq).decode())
                case Close():
                    line = self._by_conn[effect.conn]
                    line.close_code, line.close_reason = effect.code, effect.reason
                    self.relay.disconnect(effect.conn, "closed", self.now_us)
                case Abort():
                    line = self._by_conn[effect.conn]
                    line.close_code = 1006
                    self.relay.disconnect(effect.conn, "aborted", self.now_us)
                case Respond():
                    self._answer = effect
                case Note():
                    self._counts[effect.name] += effect.count
