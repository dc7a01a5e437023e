"""The trace of a run: one JSON object a line, for all devices or for a sample of them.

A header line, then events: ``{"t": µs, "e": kind, "c": connection, "device": …}``. ``frame_up`` and ``frame_down``
stand at the instant of sending, by the client and by the relay; ``state`` is the client's, ``shown`` the application's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from zentalk_sim.experiment.schema import Experiment

SAMPLE_ONE_IN = 100
"""Of every so many devices one is in a sample: those whose number it divides, so that the first is always in it."""


class Tracer:
    """Writes the events of one run."""

    def __init__(self, file: BinaryIO, one_in: int) -> None:
        self._file = file
        self._one_in = one_in
        self._encode = msgspec.json.Encoder().encode

    def follows(self, device_index: int) -> bool:
        """Whether the events of a device are kept."""
        return device_index % self._one_in == 0

    def event(self, now_us: int, kind: str, conn: int | None, device_id: str, **more: Any) -> None:
        """Write an event."""
        self._file.write(self._encode({"t": now_us, "e": kind, "c": conn, "device": device_id, **more}) + b"\n")


@contextmanager
def open_trace(path: Path, extent: str, experiment: Experiment) -> Iterator[Tracer | None]:
    """The tracer of a run that writes to ``path``; None where ``extent`` is ``none``. An older file is removed."""
    if extent == "none":
        path.unlink(missing_ok=True)
        yield None
        return
    from zentalk_sim import __version__

    with path.open("wb") as file:
        header = {
            "zentalk_trace": 1,
            "name": experiment.name,
            "seed": experiment.seed,
            "extent": extent,
            "versions": {"zentalk-sim": __version__},
        }
        file.write(msgspec.json.encode(header) + b"\n")
        yield Tracer(file, 1 if extent == "full" else SAMPLE_ONE_IN)
