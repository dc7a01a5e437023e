"""Runs an experiment in simulated time and writes its folder.

The tables are written as the run goes on. The wall clock is read for the progress line and the manifest only; nothing
that is digested or summarised knows of it.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from zentalk_sim.experiment import thresholds, writer
from zentalk_sim.experiment.doubts import doubts
from zentalk_sim.experiment.fault_schema import DeviceOffline, Handover
from zentalk_sim.experiment.identity import identity_bytes
from zentalk_sim.experiment.run_folder import prepare
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.sampler import Sampler
from zentalk_sim.model.tracer import Tracer, open_trace
from zentalk_sim.model.world import START_US, World
from zentalk_sim.network.loss import GilbertElliott
from zentalk_sim.network.profile import PROFILES, LinkProfile
from zentalk_sim.report.results import CheckResult, Results, ThresholdResult, check_ledgers, write_run
from zentalk_sim.report.summary import summarise
from zentalk_sim.trace.tables import CONNECTIONS, MESSAGES, SCHEMAS, TIMESERIES, TableWriter

if TYPE_CHECKING:
    from zentalk_sim.report.drawing import Drawers

PROGRESS_EVERY_S = 0.5
INTERRUPTED_ROWS = 20_000
"""Of each table, what a run that is interrupted writes of what was under way: it ends within a second."""


class RunOutcome(Struct, frozen=True):
    """A finished run: its folder, ``summary.json`` as a mapping, the ids of thresholds not kept, and all results.

    ``replaced``: the settings in which a run differed that was in this folder before.
    """

    folder: Path
    summary: dict[str, Any]
    failed_thresholds: list[str]
    results: Results
    replaced: list[str] = []


def default_folder(experiment: Experiment) -> Path:
    """``runs/NAME/SEED-HASH``; the hash is over the resolved experiment without its seed (`identity`)."""
    mapping = {key: value for key, value in writer.to_mapping(experiment).items() if key != "seed"}
    found = blake2b(identity_bytes(mapping), digest_size=4).hexdigest()
    return Path("runs") / experiment.name / f"{experiment.seed}-{found}"


def run_experiment(
    experiment: Experiment,
    *,
    out: Path | None = None,
    trace: str = "none",
    plots: bool = True,
    progress: bool = False,
    world_of: Callable[..., World] = World,
    drawers: Drawers | None = None,
) -> RunOutcome:
    """Run an experiment and write its folder (``out``, or ``default_folder``).

    ``trace`` is none, sample or full; ``progress`` keeps a line on stderr; ``world_of`` makes the world; ``drawers``
    help with the pictures. Raises OtherRun where the folder holds something else, OSError where it cannot be written.
    An interrupted run leaves its tables with what was found up to then, and no summary.
    """
    folder = out if out is not None else default_folder(experiment)
    replaced = prepare(folder, experiment)
    tables = {schema.name: TableWriter(schema, folder / schema.file_name) for schema in SCHEMAS}
    # Until the report is written: to walk the world that is over, and to free it, would take as long as the pictures.
    with _without_collector():
        with open_trace(folder / "trace.jsonl", trace) as tracer:
            try:
                results = simulate(experiment, tables, tracer=tracer, progress=progress, world_of=world_of)
            finally:
                for table in tables.values():
                    table.close()
        write_run(
            results,
            folder,
            messages=tables[MESSAGES.name],
            connections=tables[CONNECTIONS.name],
            timeseries=tables[TIMESERIES.name],
            plots=plots,
            drawers=drawers,
        )
    failed = [threshold.id for threshold in results.thresholds if not threshold.held]
    return RunOutcome(folder, summarise(results), failed, results, replaced)


def simulate(
    experiment: Experiment,
    tables: dict[str, TableWriter],
    *,
    tracer: Tracer | None = None,
    progress: bool = False,
    random_ties: bool = False,
    world_of: Callable[..., World] = World,
) -> Results:
    """Run an experiment into its tables; what it found. Raises ValueError for a sampled trace under `requirements`."""
    began_s = time.perf_counter()
    recorder = Recorder(
        tables[MESSAGES.name], tables[CONNECTIONS.name], tables[TIMESERIES.name], START_US + experiment.warm_up_us
    )
    requirements = None
    if "requirements" in experiment.checks:
        from zentalk_sim.experiment.requirements import Requirements

        requirements = Requirements(tracer)
        tracer = requirements.tracer
    with _without_collector():
        world = world_of(experiment, recorder, tracer=tracer, random_ties=random_ties)
        gc.freeze()
        try:
            _run(world, Progress(world, began_s) if progress else None)
        except BaseException:
            # The tables shall hold what was found so far, as much of it as is written in no time.
            world.finish(INTERRUPTED_ROWS)
            raise
        world.finish()
    results = _results(world, time.perf_counter() - began_s)
    if requirements is not None:
        results.checks += requirements.results()
    return results


@contextmanager
def _without_collector() -> Iterator[None]:
    """The cyclic collector would walk every device again and again; what a run makes is freed by reference counts."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _run(world: World, progress: Progress | None) -> None:
    """Run from sample to sample: a sample sees what has happened before its instant."""
    end_us = world.start_us + world.experiment.duration_us
    sampler = Sampler(world)
    at_us = world.start_us
    try:
        while at_us < end_us:
            sampler.take()
            at_us = min(at_us + world.experiment.measure.interval_us, end_us)
            if progress is None:
                world.kernel.run_until(at_us)
            else:
                progress.run_until(at_us)
        sampler.take()
    finally:
        if progress is not None:
            progress.clear()


def _results(world: World, wall_s: float) -> Results:
    experiment, recorder = world.experiment, world.recorder
    counts = dict(sorted(recorder.counts.items()))
    faults = check_ledgers(counts)
    results = Results(
        name=experiment.name,
        seed=experiment.seed,
        start_us=world.start_us,
        simulated_us=experiment.duration_us,
        description=experiment.description,
        question=experiment.question,
        expectation=experiment.expectation,
        experiment=writer.to_mapping(experiment),
        warm_up_us=experiment.warm_up_us,
        counts=counts,
        metrics=recorder.metrics,
        censored=recorder.censored,
        checks=[CheckResult("ledgers", not faults, "; ".join(faults) or None)],
        faults=world.faults.spans,
        assumptions=assumptions(experiment) + quiet_rules(world.rules.never_fired() if world.rules else []),
        digest=recorder.digest.hexdigest(),
        wall_s=wall_s,
        events=world.kernel.processed,
    )
    verdicts = thresholds.evaluate(experiment.thresholds, summarise(results)["metrics"], counts)
    results.thresholds = [ThresholdResult(verdict.id, verdict.held, verdict.value) for verdict in verdicts]
    return results


def assumptions(experiment: Experiment) -> list[str]:
    """What this run takes for granted beyond what its file says."""
    found = []
    if experiment.fidelity == "frames":
        found.append(
            "Signatures, tokens and MACs are modelled by keyed checksums; their CPU cost is `relay.ingress.costs`."
        )
    if not experiment.relay.ingress.enabled:
        found.append("Relay nodes take no CPU time and never queue.")
    if len(experiment.population.networks) == 1 and experiment.population.devices > 1:
        found.append("All devices are on one kind of network.")
    if experiment.population.clock_skew.is_true and experiment.relay.clock_skew.is_true:
        found.append("Device and node clocks agree and do not drift.")
    sleeps = any(isinstance(fault, DeviceOffline) for fault in experiment.faults) or experiment.workload.foreground
    if sleeps and not experiment.workload.push.wake_probability:
        found.append("A push notification wakes nobody: users come back in their own time.")
    found += _bursts(experiment)
    return found + doubts(experiment)


def _bursts(experiment: Experiment) -> list[str]:
    """A sentence about networks whose losses come in bursts counted in segments."""
    weights = experiment.population.networks
    names = [name for name, weight in weights.items() if weight]
    names += [fault.to for fault in experiment.faults if isinstance(fault, Handover)]
    bursty = [name for name in dict.fromkeys(names) if _is_bursty(experiment.network.get(name) or PROFILES[name])]
    if not bursty:
        return []
    return [
        f"On {' and '.join(bursty)} losses come in bursts counted in segments, not in time (Gilbert–Elliott, as "
        "netem's). Where little is sent, each retransmission is one step of a burst while its timer doubles: the "
        "slowest few frames may take many seconds, which a burst that passes with time would spare them."
    ]


def _is_bursty(profile: LinkProfile) -> bool:
    return any(isinstance(profile.way(up).loss, GilbertElliott) for up in (True, False))


def quiet_rules(rules: list[str]) -> list[str]:
    """A sentence about fault rules, by comment or number, that have not fired: they say nothing of the results."""
    return [f"Fault rules that never fired: {', '.join(rules)}."] if rules else []


class Progress:
    """One line on stderr: simulated time, speed, events, devices connected, time left."""

    def __init__(self, world: World, began_s: float) -> None:
        self._world = world
        self._began_s = began_s
        self._shown_s = began_s
        self._width = 0

    def run_until(self, at_us: int) -> None:
        """As Kernel.run_until, in steps short enough to show life."""
        kernel = self._world.kernel
        while kernel.now < at_us:
            kernel.run_until(min(at_us, kernel.now + 1_000_000))
            if time.perf_counter() - self._shown_s >= PROGRESS_EVERY_S:
                self._show()

    def _show(self) -> None:
        world = self._world
        self._shown_s = time.perf_counter()
        spent_s = self._shown_s - self._began_s
        done_s = (world.kernel.now - world.start_us) / 1e6
        total_s = world.experiment.duration_us / 1e6
        speed = done_s / spent_s
        line = (
            f"{done_s:,.0f} of {total_s:,.0f} s simulated · {speed:,.1f}x real time · "
            f"{world.kernel.processed:,} events · {world.connected:,} of {len(world.devices):,} devices connected · "
            f"about {(total_s - done_s) / speed:,.0f} s left"
        )
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
