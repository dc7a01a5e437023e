"""Which node a new connection goes to: round robin, least connections, or sticky by user.

The balancer works on layer 4. It learns of a dead node ``notice_us`` after its death; until then it still sends
connections there, which are refused or met with silence, and from then on to the others. It counts a connection from
the SYN that it sends to a node, as a director does, and not from the node's answer: devices that come back within one
round trip would otherwise all meet the same few nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

from zentalk_sim.model.calendar import Actor


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
        choices: dict[str, Callable[[Sequence[B], str], B]] = {
            "round_robin": self._round_robin,
            "least_connections": self._least_connections,
            "sticky": self._sticky,
        }
        if policy not in choices:
            raise ValueError(f"unknown balancer policy {policy!r}; there are {', '.join(choices)}")
        self._choose = choices[policy]
        self._nodes = nodes
        self._notice_us = notice_us
        self._turn = 0

    def believed_up(self, node: B, now_us: int) -> bool:
        """Whether it would send a connection there."""
        return node.dead_since_us is None or now_us - node.dead_since_us < self._notice_us

    def pick(self, user: str, now_us: int) -> B | None:
        """The node for a new connection of ``user``; None where the balancer knows of none alive."""
        alive = self._alive(now_us)
        return self._choose(alive, user) if alive else None

    def _alive(self, now_us: int) -> Sequence[B]:
        """The nodes that it believes up; nearly always all of them, which takes no list."""
        for node in self._nodes:
            if node.dead_since_us is not None:
                return [node for node in self._nodes if self.believed_up(node, now_us)]
        return self._nodes

    def _round_robin(self, alive: Sequence[B], user: str) -> B:
        self._turn += 1
        return alive[self._turn % len(alive)]

    def _least_connections(self, alive: Sequence[B], user: str) -> B:
        # A loop, since a storm asks once a connection, and of each node.
        least = alive[0]
        fewest = least.open_connections + least.opening_connections
        for node in alive:
            connections = node.open_connections + node.opening_connections
            if connections < fewest:
                least, fewest = node, connections
        return least

    def _sticky(self, alive: Sequence[B], user: str) -> B:
        """Rendezvous hashing: the loss of a node moves its own users only."""
        return max(alive, key=lambda node: blake2b(f"{user} {node.name}".encode(), digest_size=8).digest())
