"""A connection's way out: what the driver asks of a transport."""

from __future__ import annotations

from typing import Protocol

from zentalk_sim.protocol.effects import Refuse


class Sink(Protocol):
    """A connection's way out: what the driver asks of a transport."""

    __slots__ = ()

    def accept(self) -> None:
        """Answer the upgrade with 101."""
        ...

    def refuse(self, refusal: Refuse) -> None:
        """Answer the upgrade with an error and end."""
        ...

    def send(self, payload: bytes, binary: bool) -> None:
        """Queue one message."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Flush and run the closing handshake."""
        ...

    def abort(self, cause: str) -> None:
        """Drop the transport."""
        ...
