"""What a run in real time shares with a simulated one: the population, its conduct, the recorder, the results.

The users of both draw from the same streams: who is on which network, who writes to whom, and the intervals between
what a device does are the same for the same seed. The clock and everything that does I/O is ``zentalk_sim.live``'s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from zentalk_sim.experiment import thresholds, writer
from zentalk_sim.experiment.metrics import BY_NAME
from zentalk_sim.experiment.runner import RunOutcome
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.model.clock import Clock, draw_clock
from zentalk_sim.model.faults_schedule import choose, reset_words, share_of
from zentalk_sim.model.line import TLS_RECORD_BYTES
from zentalk_sim.model.population import Member, Person, build_population, pick_weighted, roaming_ip
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.rest_line import KEEP_ALIVE_US, REQUEST_BYTES, RESPONSE_BYTES
from zentalk_sim.model.websocket import UPGRADE_REQUEST_BYTES, UPGRADE_RESPONSE_BYTES, on_the_wire
from zentalk_sim.model.workload import Conduct
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.ledgers import LEDGERS
from zentalk_sim.report.results import CheckResult, FaultSpan, Results, ThresholdResult, check_ledgers, write_run
from zentalk_sim.report.summary import summarise
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, TIMESERIES, TableWriter

__all__ = [
    "KEEP_ALIVE_US",
    "REQUEST_BYTES",
    "RESPONSE_BYTES",
    "TLS_RECORD_BYTES",
    "UPGRADE_REQUEST_BYTES",
    "UPGRADE_RESPONSE_BYTES",
    "Clock",
    "FaultSpan",
    "LiveRecorder",
    "Member",
    "Person",
    "choose",
    "conclude",
    "conduct_of",
    "draw_clock",
    "on_the_wire",
    "pick_weighted",
    "population",
    "reset_words",
    "roaming_ip",
    "share_of",
    "write",
]

RELAY_ONLY = ("copies.", "heartbeats.", "push.", "messages.delivered", "messages.read", "messages.failed_but_stored")
"""Counts, by their beginning, that a recorder holds from the start and only the relay can tell."""
OF_DEVICES = (
    *("messages.sent", "messages.acked", "messages.rejected", "messages.failed", "messages.unacked", "messages.shown"),
    *("messages.duplicate", "messages.resent", "messages.held_dropped", "connections.attempted"),
    *("connections.authenticated", "connections.closed.", "client.", "clients.gave_up", "frames.ignored"),
    *("acks.unknown", "receipts.", "typing.dropped", "sync."),
)
"""Counts, by their beginning, that the devices tell by themselves; of them those of RELAY_ONLY are none."""
SIMULATED_ONLY = ("connections.syn_dropped", "connections.slow_consumer", "connections.reading_paused")
"""Counts that no relay tells of itself."""
RELAY_METRICS = ("rtt_ms", "half_open_s", "queue_depth")
"""Metrics measured at the relay."""


def population(experiment: Experiment) -> list[Member]:
    """The devices of an experiment with real keys, in the order of their numbers; addresses are yet to be replaced."""
    return build_population(experiment, Streams(experiment.seed), Ed25519())


def conduct_of(experiment: Experiment, clock: Any, people: list[Person]) -> Conduct:
    """The conduct of all users; ``clock`` has ``now`` and ``call_at`` as a simulation's kernel has."""
    return Conduct(experiment.workload, clock, people, Streams(experiment.seed))


class LiveRecorder(Recorder):
    """A recorder for a relay that may tell nothing of what it does."""

    def presume_stored(self) -> None:
        """Take it that the relay holds what it acknowledged (R-6.2), where it does not tell itself."""
        self.presumes_stored = True

    def forget_relay(self) -> None:
        """Leave out what only a relay could tell, so that no count says 0 of what nobody counted."""
        self.counts = {name: count for name, count in self.counts.items() if not name.startswith(RELAY_ONLY)}
        self.metrics = {name: found for name, found in self.metrics.items() if name not in RELAY_METRICS}
        self.tells_relay = False

    tells_relay = True
    """What the relay counted is known."""

    def knows(self, name: str) -> bool:
        """Whether a count or metric that is not there is 0, rather than one that nobody counted."""
        if name in self.counts or name in self.metrics:
            return True
        if name in SIMULATED_ONLY:
            return False
        of_relay = name.startswith(RELAY_ONLY) or name in RELAY_METRICS
        of_devices = name.startswith(OF_DEVICES) or BY_NAME[name].kind == "distribution"
        return self.tells_relay or (of_devices and not of_relay)


def conclude(
    experiment: Experiment,
    recorder: LiveRecorder,
    *,
    start_us: int,
    lasted_us: int,
    wall_s: float,
    spans: Iterable[FaultSpan],
    assumptions: list[str],
    events: int,
) -> Results:
    """What a run in real time found. ``recorder`` is finished."""
    counts = dict(sorted(recorder.counts.items()))
    unknown = [total for total in LEDGERS if not recorder.knows(total)]
    faults = check_ledgers(counts, unknown)
    told = [*faults, *(f"the ledger of {total} is not known" for total in unknown)]
    if "requirements" in experiment.checks:
        remedy = "record it (`mockrelay serve --record F`), then `zsim check F`"
        assumptions = [*assumptions, f"`checks: [requirements]` judges simulations only; for a live relay {remedy}."]
    results = Results(
        name=experiment.name,
        seed=experiment.seed,
        start_us=start_us,
        simulated_us=lasted_us,
        description=experiment.description,
        question=experiment.question,
        expectation=experiment.expectation,
        experiment=writer.to_mapping(experiment),
        warm_up_us=experiment.warm_up_us,
        counts=counts,
        metrics=recorder.metrics,
        censored={name: count for name, count in recorder.censored.items() if name in recorder.metrics},
        checks=[CheckResult("ledgers", not faults, "; ".join(told) or None)],
        faults=list(spans),
        assumptions=assumptions,
        digest=recorder.digest.hexdigest(),
        wall_s=wall_s,
        events=events,
        source="live",
    )
    verdicts = thresholds.evaluate(experiment.thresholds, summarise(results)["metrics"], counts, recorder.knows)
    results.thresholds = [ThresholdResult(verdict.id, verdict.held, verdict.value) for verdict in verdicts]
    return results


def write(results: Results, folder: Path, tables: dict[str, TableWriter], *, plots: bool) -> RunOutcome:
    """Write the folder of a run whose tables stand in it already, closed."""
    write_run(
        results,
        folder,
        messages=tables[MESSAGES.name],
        connections=tables[CONNECTIONS.name],
        timeseries=tables[TIMESERIES.name],
        plots=plots,
        command=[Path(sys.argv[0]).name, *_without_secrets(sys.argv[1:])] if sys.argv else None,
    )
    failed = [threshold.id for threshold in results.thresholds if not threshold.held]
    return RunOutcome(folder, summarise(results), failed, results)


def _without_secrets(arguments: list[str]) -> list[str]:
    """A command's arguments with the admin token taken out, since a run folder is passed on."""
    found = list(arguments)
    for index, argument in enumerate(found):
        if argument == "--admin-token" and index + 1 < len(found):
            found[index + 1] = "…"
        elif argument.startswith("--admin-token="):
            found[index] = "--admin-token=…"
    return found


def with_address(member: Member, person: Person) -> Member:
    """A device whose user is known to the relay as ``person``."""
    return msgspec.structs.replace(member, person=person)
