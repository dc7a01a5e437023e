"""What types cannot say of an experiment: names that must exist, numbers that must fit each other."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from zentalk_sim.experiment import schema
from zentalk_sim.experiment.reader import Reader
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.units import format_duration
from zentalk_sim.network.profile import PROFILES, LinkProfile

MAX_DEVICES: Final = 10_000_000
MAX_STEPS: Final = 1_000_000
"""Steps of a time series."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def settled(experiment: Experiment, links: dict[str, LinkProfile], reader: Reader) -> Experiment:
    """``experiment`` with every profile it uses written out, and the one of rate and interval that counts."""
    used = {name: PROFILES[name] for name in experiment.population.networks if name in PROFILES}
    messages = experiment.workload.messages
    if messages.interval is not None and "workload.messages.rate_per_device_per_min" not in reader.places:
        # The default rate gives way to an interval; where both are written, `check` says so.
        messages = msgspec.structs.replace(messages, rate_per_device_per_min=None)
    workload = msgspec.structs.replace(experiment.workload, messages=messages)
    return msgspec.structs.replace(experiment, network={**used, **links}, workload=workload)


def check(experiment: Experiment, reader: Reader) -> None:
    """Note in ``reader`` what of ``experiment`` does not fit together."""
    if not _NAME.fullmatch(experiment.name):
        message = (
            "`name` must be 1 to 64 letters, digits, `_`, `-` or `.`, the first a letter or digit: it names a folder"
        )
        reader.fault(reader.place("name"), message)
    if experiment.warm_up_us >= experiment.duration_us:
        total = format_duration(experiment.duration_us)
        reader.fault(reader.place("warm_up_us", "duration_us"), f"`warm_up` must be shorter than the duration, {total}")
    if experiment.duration_us > experiment.measure.interval_us * MAX_STEPS:
        message = f"`measure.interval` is too short: the time series would have more than {MAX_STEPS:,} steps"
        reader.fault(reader.place("measure.interval_us", "duration_us"), message)
    _check_population(experiment, reader)
    _check_messages(experiment, reader)
    for number, fault in enumerate(experiment.faults):
        _check_fault(experiment, reader, fault, f"faults.{number}")
    _check_unmodelled(experiment, reader)


def _check_population(experiment: Experiment, reader: Reader) -> None:
    population = experiment.population
    if population.devices > MAX_DEVICES:
        reader.fault(reader.place("population.devices"), f"`population.devices` must be at most {MAX_DEVICES:,}")
    known = {**PROFILES, **experiment.network}
    for name in population.networks:
        if name not in known:
            message = f"`population.networks`: unknown link profile `{name}`{suggestion(name, known)}"
            reader.fault(reader.place(f"population.networks.{name}"), message)
    if not sum(population.networks.values()):
        reader.fault(reader.place("population.networks"), "`population.networks` needs a weight greater than 0")


def _check_messages(experiment: Experiment, reader: Reader) -> None:
    path = "workload.messages"
    messages = experiment.workload.messages
    both = messages.interval is not None and f"{path}.rate_per_device_per_min" in reader.places
    if both and messages.rate_per_device_per_min is not None:
        reader.fault(reader.place(f"{path}.interval"), f"`{path}`: say `rate_per_device` or `interval`, not both")
    if messages.interval is not None and messages.interval.quantile(0.5) < 1:
        reader.fault(reader.place(f"{path}.interval"), f"`{path}.interval` must be longer than 0")
    if messages.rate_per_device_per_min is not None and messages.rate_per_device_per_min > 60_000:
        reader.fault(
            reader.place(f"{path}.rate_per_device_per_min"), f"`{path}.rate_per_device` must be at most 1000/s"
        )


def _check_fault(experiment: Experiment, reader: Reader, fault: schema.Fault, path: str) -> None:
    if fault.at_us >= experiment.duration_us:
        total = format_duration(experiment.duration_us)
        reader.fault(reader.place(f"{path}.at_us"), f"`{path}.at` must be before the end, {total}")
    nodes = experiment.relay.nodes
    node = getattr(fault, "node", None)
    if node is not None and node >= nodes:
        message = f"`{path}.node`: there is no node {node}; the relay has {nodes}, numbered from 0"
        reader.fault(reader.place(f"{path}.node"), message)
    if isinstance(fault, schema.CrashNode):
        if (fault.node is None) == (fault.nodes is None):
            reader.fault(reader.place(path), f"`{path}`: say `node` (which) or `nodes` (how many), one of the two")
        if fault.nodes is not None and fault.nodes > nodes:
            reader.fault(reader.place(f"{path}.nodes"), f"`{path}.nodes`: the relay has only {nodes}")
    if isinstance(fault, schema.Partition):
        said = sum(value is not None for value in (fault.devices, fault.network, fault.fraction))
        if said != 1:
            message = f"`{path}`: say `devices` (how many), `network` (which) or `fraction`, one of the three"
            reader.fault(reader.place(path), message)
        if fault.network is not None and fault.network not in experiment.population.networks:
            end = suggestion(fault.network, experiment.population.networks)
            message = f"`{path}.network`: no device is on `{fault.network}`{end}"
            reader.fault(reader.place(f"{path}.network"), message)


_UNMODELLED: Final[dict[str, str]] = {
    "relay.outbox": "bounded outboxes belong to a live relay's sockets and are not simulated",
}
"""Settings of the protocol's configuration that a simulated run would not honour → why."""


def _check_unmodelled(experiment: Experiment, reader: Reader) -> None:
    for path, why in _UNMODELLED.items():
        section: object = experiment
        for part in path.split("."):
            section = getattr(section, part)
        if path in reader.places and section != type(section)():
            reader.fault(reader.place(path), f"`{path}` cannot be set: {why}")
