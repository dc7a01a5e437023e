"""The trace of a run: one JSON object a line, for all devices or for a sample of them.

``full``: all that the relay cores hear and say, as a recording has it (docs/recordings.md), and between that what
only a simulation knows: ``state`` is a client's, ``shown`` an application's. Where nodes are several, or their clocks
off, ``turn`` says which node the next lines are of, and the true time.

``sample``: of some devices ``frame_up`` and ``frame_down``, at the instant of sending, ``state`` and ``shown``:
``{"t": µs, "e": kind, "c": connection, "device": …}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.trace.recording import Direction, Wire, wire_line
from zentalk_sim.trace.tape import Tape, full_header, turn_line

if TYPE_CHECKING:
    from zentalk_sim.model.relay_node import RelayNode
    from zentalk_sim.protocol.relay import Relay
    from zentalk_sim.protocol.store import MemoryStore

SAMPLE_ONE_IN = 100
"""Of every so many devices one is in a sample: those whose number it divides, so that the first is always in it."""


class Tracer:
    """Writes the events of one run; ``write`` takes whole lines."""

    def __init__(self, write: Callable[[bytes], Any], *, full: bool) -> None:
        self._write = write
        self.full = full
        """All that the relay cores hear and say is kept, so that frames need no lines of their own."""
        self._encode = msgspec.json.Encoder().encode
        self._one_in = 1 if full else SAMPLE_ONE_IN
        self._turn = ("", 0)
        self._tell_turns = False
        self._tell_times = False

    def tell(self, other: Callable[[bytes], Any]) -> None:
        """Have ``other`` take every line as well; before ``begin``."""
        write = self._write

        def both(data: bytes) -> None:
            write(data)
            other(data)

        self._write = both

    def begin(self, experiment: Experiment, store: MemoryStore, start_us: int) -> None:
        """Write the header, once the world stands."""
        from zentalk_sim import __version__

        if not self.full:
            header = {
                "zentalk_trace": 1,
                "name": experiment.name,
                "seed": experiment.seed,
                "boot": 0,
                "extent": "sample",
                "config": experiment.relay.protocol,
                "snapshot": "",
                "versions": {"zentalk-sim": __version__},
                "started": start_us,
            }
            self._write(self._encode(header) + b"\n")
            return
        relay = experiment.relay
        self._tell_times = not relay.clock_skew.is_true
        self._tell_turns = relay.nodes > 1 or self._tell_times
        self._write(
            full_header(
                experiment.name,
                experiment.seed,
                relay.protocol,
                experiment.client,
                modelled=experiment.fidelity == "frames",
                nodes=relay.nodes,
                version=__version__,
                started=start_us,
                skewed=self._tell_times,
                store=store,
            )
        )

    def tape(self, relay: Relay, node: RelayNode) -> Relay:
        """A node's core, on tape where all is kept."""
        if not self.full:
            return relay

        return Tape(relay, partial(self._write_of, node))  # type: ignore[return-value]

    def _write_of(self, node: RelayNode, lines: bytes) -> None:
        """Write lines of a node."""
        if self._tell_turns:
            turn = (node.name, node.kernel.now if self._tell_times else 0)
            if turn != self._turn:
                self._turn = turn
                self._write(turn_line(node.kernel.now, node.name))
        self._write(lines)

    def wire(
        self,
        node: RelayNode,
        conn: int,
        direction: Direction,
        rule: str,
        did: str,
        core: bytes | None,
        wire: bytes | None,
        binary: bool,
    ) -> None:
        """Write, of a full trace, what a fault rule made of a frame, as a recording has it."""
        self._write_of(node, wire_line(Wire.of_frame(node.now(), conn, direction, rule, did, core, wire, binary)))

    def follows(self, device_index: int) -> bool:
        """Whether the events of a device are kept."""
        return device_index % self._one_in == 0

    def event(self, now_us: int, kind: str, conn: int | None, device_id: str, **more: Any) -> None:
        """Write an event."""
        self._write(self._encode({"t": now_us, "e": kind, "c": conn, "device": device_id, **more}) + b"\n")


@contextmanager
def open_trace(path: Path, extent: str) -> Iterator[Tracer | None]:
    """The tracer of a run that writes to ``path``; None where ``extent`` is ``none``. An older file is removed."""
    if extent == "none":
        path.unlink(missing_ok=True)
        yield None
        return
    with path.open("wb") as file:
        yield Tracer(file.write, full=extent == "full")
