"""The states of a simulated client, which its trace tells (R-11.1)."""

from __future__ import annotations

from typing import Final

from zentalk_sim.checks.client_living import APPLICATION_KILLED
from zentalk_sim.checks.registry import Check, Mark, Recent, check, mark
from zentalk_sim.trace import events as ev

_EDGES: Final = {
    "DISCONNECTED": ("CONNECTING",),
    "CONNECTING": ("AUTHENTICATING", "FAILED"),
    "AUTHENTICATING": ("CONNECTED", "FAILED", "DISCONNECTED", "CLOSING"),
    "CONNECTED": ("FAILED", "DISCONNECTED", "CLOSING"),
    "CLOSING": ("DISCONNECTED",),
    "FAILED": ("CONNECTING",),
}
"""The diagram's, and those of R-11.1; written down here, not asked of the core."""


@check("client.state_edges", "R-11.1")
class StateEdges(Check):
    """In a simulation: a client goes from state to state along the edges there are, each from where it stood."""

    def begin(self) -> None:
        self.stands: Recent[str, tuple[str, Mark]] = Recent(200_000)

    def on_state(self, event: ev.State) -> None:
        before = self.stands.get(event.device)
        self.stands[event.device] = (event.new, mark(event))
        if event.cause == APPLICATION_KILLED:
            return
        if before is not None and before[0] != event.old:
            self.broken(f"left {event.old}, and stood in {before[0]}", before[1], event)
        else:
            self.judge(event.new in _EDGES.get(event.old, ()), f"from {event.old} to {event.new}", event)
