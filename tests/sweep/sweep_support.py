"""A sweep in small: ten devices for some seconds, reset once; and an engine that can be stopped."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from zentalk_sim.experiment.sweep_engines import Outcome, Task, in_process

SMALL: dict[str, Any] = {
    "name": "small",
    "duration": "20s",
    "population": {"devices": 10, "contacts": 3, "networks": {"lan": 1}},
    "workload": {"start": {"ramp": "1s"}, "messages": {"rate_per_device": "20/min"}},
    "faults": [{"at": "10s", "do": "reset_connections"}],
}

FILE = """
name: small
duration: 20s
population: {devices: 10, contacts: 3, networks: {lan: 1}}
workload: {start: {ramp: 1s}, messages: {rate_per_device: 20/min}}
faults: [{at: 10s, do: reset_connections}]
"""

AXES = ["population.devices=4,6", "relay.nodes=1,2"]


class Counting:
    """An engine that runs in this process and counts what it is given."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.ran = 0
        self.stop_after = stop_after

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for outcome in in_process(tasks):
            if self.ran == self.stop_after:
                raise KeyboardInterrupt
            self.ran += 1
            yield outcome
