"""A REST connection at whose node fault rules strike: before a worker or the relay core has seen the request."""

from __future__ import annotations

from zentalk_sim.faults import verdicts as do
from zentalk_sim.faults.http_answers import refusal_of
from zentalk_sim.model.rest_line import TOKEN_PATH, RestLine
from zentalk_sim.model.ruled_socket import RuledSocket
from zentalk_sim.protocol.rest_types import Request


class RuledRestLine(RestLine):
    """The REST connection of a world that has rules."""

    __slots__ = ()

    def _at_node(self, number: int, request: Request) -> None:
        rules = self.device.world.rules
        assert rules is not None
        firing = rules.at_rest(self, request)
        refusal = None if firing is None else refusal_of(firing)
        if firing is None or isinstance(firing.verdict, do.Pass):
            super()._at_node(number, request)
            return
        socket = self.device.socket
        if isinstance(socket, RuledSocket) and not socket.over:
            # What the client hears over REST is then not what the relay says: the trace tells it of its connection.
            rules.note_wire(socket, "in", firing, None, None)
        if refusal is not None:
            self.respond(number, refusal.status, refusal.body)
        elif isinstance(firing.verdict, do.Delay):
            self.kernel.call_at(self.kernel.now + firing.verdict.ms * 1000, self._go_on, number, request)
        elif isinstance(firing.verdict, do.Abort):
            self.gone("fault")
            self.reset_down("aborted")
        elif request.path == TOKEN_PATH:
            # What is stalled is never answered: a client's own time-out ends it, and an application's likewise.
            patience_us = self.device.client.config.fetch_timeout_ms * 1000
            self.kernel.timer_at(self.kernel.now + patience_us, self._give_up, number)

    def _give_up(self, number: int) -> None:
        if number in self._waiting:
            self.abandon()

    def _go_on(self, number: int, request: Request) -> None:
        if self.node is not None and self.node.epoch == self.epoch:
            super()._at_node(number, request)
