"""Which node a new connection goes to: round robin, least connections, or sticky by user.

The balancer works on layer 4. It learns of a dead node ``notice_us`` after its death; until then it still sends
connections there, which are refused or met with silence, and from then on to the others. It counts a connection from
the SYN that it sends to a node, as a director does, and not from the node's answer: devices that come back within one
round trip would otherwise all meet the same few nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from zentalk_sim.model.calendar import Actor

POLICIES: Final = ("round_robin", "least_connections", "sticky")


class Backend(Actor):
    """What the balancer knows of a node; a class, and no protocol, so that compiled code reads it directly."""

    name: str
    dead_since_us: int | None
    """None while it takes connections; the distant past where it said that it would stop."""
    open_connections: int
    opening_connections: int
    """Those whose SYN it was sent and has not answered yet."""


B = TypeVar("B", bound=Backend)


class Balancer(Generic[B]):
    """Chooses among nodes in their fixed order, so that a tie always goes to the first."""

    def __init__(self, policy: str, nodes: Sequence[B], notice_us: int = 0) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown balancer policy {policy!r}; there are {', '.join(POLICIES)}")
        self._policy = policy
        self._nodes = list(nodes)
        self._notice_us = notice_us
        self._turn = 0

    def believed_up(self, node: B, now_us: int) -> bool:
        """Whether it would send a connection there."""
        dead_since_us = node.dead_since_us
        return dead_since_us is None or now_us - dead_since_us < self._notice_us

    def pick(self, user: str, now_us: int) -> B | None:
        """The node for a new connection of ``user``; None where the balancer knows of none alive."""
        if self._policy == "least_connections":
            return self._least_connections(now_us)
        alive = [node for node in self._nodes if self.believed_up(node, now_us)]
        if not alive:
            return None
        return self._sticky(alive, user) if self._policy == "sticky" else self._round_robin(alive)

    def _least_connections(self, now_us: int) -> B | None:
        # One loop, since a storm asks once a connection, and of each node.
        least: B | None = None
        fewest = 0
        for node in self._nodes:
            connections = node.open_connections + node.opening_connections
            if (least is None or connections < fewest) and self.believed_up(node, now_us):
                least, fewest = node, connections
        return least

    def _round_robin(self, alive: list[B]) -> B:
        self._turn += 1
        return alive[self._turn % len(alive)]

    def _sticky(self, alive: list[B], user: str) -> B:
        """Rendezvous hashing: the loss of a node moves its own users only."""
        return max(alive, key=lambda node: blake2b(f"{user} {node.name}".encode(), digest_size=8).digest())
