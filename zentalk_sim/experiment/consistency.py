"""What types cannot say of an experiment: names that must exist, numbers that must fit each other."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from zentalk_sim.experiment import fault_schema, rule_reader
from zentalk_sim.experiment.distributions import TimeDistribution
from zentalk_sim.experiment.reader import Reader
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files.names import suggestion
from zentalk_sim.files.units import about_duration, format_duration, format_size
from zentalk_sim.network.profile import PROFILES, LinkProfile
from zentalk_sim.protocol.codec import BINARY_HEADER_BYTES
from zentalk_sim.protocol.config import FrameConfig
from zentalk_sim.protocol.frame_sizes import payload_size
from zentalk_sim.protocol.frames import MessageSend

MAX_DEVICES: Final = 10_000_000
MAX_STEPS: Final = 1_000_000
"""Steps of a time series."""
MAX_SKEW_US: Final = 3_650 * 86_400_000_000
"""No clock is off by more: ten years."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def settled(experiment: Experiment, links: dict[str, LinkProfile], reader: Reader) -> Experiment:
    """``experiment`` with every profile it uses written out, and the one of rate and interval that counts."""
    handovers = [fault.to for fault in experiment.faults if isinstance(fault, fault_schema.Handover)]
    used = {name: PROFILES[name] for name in (*experiment.population.networks, *handovers) if name in PROFILES}
    messages = experiment.workload.messages
    if messages.interval is not None and "workload.messages.rate_per_device_per_min" not in reader.places:
        # The default rate gives way to an interval; where both are written, `check` says so.
        messages = msgspec.structs.replace(messages, rate_per_device_per_min=None)
    workload = msgspec.structs.replace(experiment.workload, messages=messages)
    return msgspec.structs.replace(experiment, network={**used, **links}, workload=workload)


def check(experiment: Experiment, reader: Reader) -> None:
    """Note in ``reader`` what of ``experiment`` does not fit together, as far as its values were read."""
    known = reader.is_read
    if known("name") and not _NAME.fullmatch(experiment.name):
        message = (
            "`name` must be 1 to 64 letters, digits, `_`, `-` or `.`, the first a letter or digit: it names a folder"
        )
        reader.fault(reader.place("name"), message)
    if known("warm_up_us", "duration_us") and experiment.warm_up_us >= experiment.duration_us:
        total = about_duration(experiment.duration_us)
        reader.fault(reader.place("warm_up_us", "duration_us"), f"`warm_up` must be shorter than the duration, {total}")
    steps = experiment.measure.interval_us * MAX_STEPS
    if known("duration_us", "measure.interval_us") and experiment.duration_us > steps:
        message = f"`measure.interval` is too short: the time series would have more than {MAX_STEPS:,} steps"
        reader.fault(reader.place("measure.interval_us", "duration_us"), message)
    whole = "requirements" in experiment.checks and experiment.measure.trace == "sample"
    if whole and known("checks", "measure.trace"):
        message = "`checks: [requirements]` needs the whole trace: have `measure.trace` be full or none, not sample"
        reader.fault(reader.place("measure.trace", "checks"), message)
    for path, check_section in (
        ("", _check_population),
        ("relay.ingress.memory", _check_memory),
        ("client.backoff", _check_backoff),
        ("workload.messages", _check_messages),
        ("workload", _check_workload),
    ):
        if not path or known(path):
            check_section(experiment, reader)
    for number, fault in enumerate(experiment.faults):
        path = f"faults.{number}"
        if not known(path):
            continue
        if isinstance(fault, fault_schema.EventRule):
            population = experiment.population
            if not known("population.devices", "population.devices_per_user"):
                continue
            rule_reader.check(reader, fault.rule, path, users=population.users, devices=population.devices)
        else:
            _check_fault(experiment, reader, fault, path)
    _check_clocks(experiment, reader)


def _check_population(experiment: Experiment, reader: Reader) -> None:
    population, known = experiment.population, reader.is_read
    if population.devices > MAX_DEVICES:
        reader.fault(reader.place("population.devices"), f"`population.devices` must be at most {MAX_DEVICES:,}")
    each = population.devices_per_user
    is_weighted = not isinstance(each, int) and known("population.devices_per_user")
    if is_weighted and not isinstance(each, int) and not (0 < len(each) <= 20 and any(each)):
        message = "`population.devices_per_user` needs 1 to 20 weights, one of them greater than 0"
        reader.fault(reader.place("population.devices_per_user"), message)
    default_tail = type(population)().tail_exponent
    is_uniform = population.contact_graph == "uniform" and known("population.contact_graph")
    if is_uniform and population.tail_exponent != default_tail:
        message = "`population.tail_exponent` says nothing while `population.contact_graph` is uniform"
        reader.fault(reader.place("population.tail_exponent"), message)
    profiles = {**PROFILES, **experiment.network}
    for name in population.networks if known("network", "population.networks") else ():
        if name not in profiles:
            message = f"`population.networks`: unknown link profile `{name}`{suggestion(name, profiles)}"
            reader.fault(reader.place(f"population.networks.{name}"), message)
    if known("population.networks") and not sum(population.networks.values()):
        reader.fault(reader.place("population.networks"), "`population.networks` needs a weight greater than 0")


def _check_memory(experiment: Experiment, reader: Reader) -> None:
    memory = experiment.relay.ingress.memory
    each = memory.connection_bytes + memory.tls_bytes
    if memory.limit_bytes is not None and memory.limit_bytes < each:
        message = f"`relay.ingress.memory.limit` is less than one connection takes, {format_size(each)}: none is taken"
        reader.fault(reader.place("relay.ingress.memory.limit_bytes"), message)


def _check_backoff(experiment: Experiment, reader: Reader) -> None:
    backoff = experiment.client.backoff
    if backoff.base_ms > backoff.cap_ms:
        base, cap = (format_duration(ms * 1000) for ms in (backoff.base_ms, backoff.cap_ms))
        message = f"`client.backoff.base`, {base}, is above its `cap`, {cap}: the first wait would be cut short already"
        reader.fault(reader.place("client.backoff.base_ms", "client.backoff.cap_ms"), message)


def _check_clocks(experiment: Experiment, reader: Reader) -> None:
    for path, skew in (
        ("relay.clock_skew", experiment.relay.clock_skew),
        ("population.clock_skew", experiment.population.clock_skew),
    ):
        if reader.is_read(path) and skew.offset.quantile(0.999_999) > MAX_SKEW_US:
            reader.fault(
                reader.place(f"{path}.offset"), f"`{path}.offset` must stay below {MAX_SKEW_US // 86_400_000_000}d"
            )


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
    largest, most = messages.size.largest_bytes, most_ciphertext_bytes()
    if largest > most:
        frame = format_size(FrameConfig().max_bytes)
        message = (
            f"`{path}.size` reaches {format_size(largest)}, which no client can send: a frame holds {frame} "
            f"(`frames.max_bytes`, R-1.6), and so a ciphertext of at most {most:,} bytes"
        )
        reader.fault(reader.place(f"{path}.size", path), message)


def most_ciphertext_bytes() -> int:
    """The largest ciphertext that a simulated client can send: the rest of a frame, Base64 taking 4 bytes for 3."""
    empty = MessageSend(to="0x" + "0" * 40, ciphertext=b"", nonce=bytes(12), message_type="text")
    return 3 * ((FrameConfig().max_bytes - BINARY_HEADER_BYTES - payload_size(empty)) // 4)


def _check_workload(experiment: Experiment, reader: Reader) -> None:
    workload = experiment.workload
    for pattern in ("diurnal", "bursty"):
        section = "burst" if pattern == "bursty" else pattern
        changed = getattr(workload, section) != getattr(type(workload)(), section)
        if changed and workload.pattern != pattern:
            message = f"`workload.{section}` says nothing while `workload.pattern` is {workload.pattern}"
            reader.fault(reader.place(f"workload.{section}"), message)
    if not workload.push.wake_probability and workload.push != type(workload.push)():
        message = "`workload.push` says nothing while its `wake_probability` is 0"
        reader.fault(reader.place("workload.push"), message)
    times: list[tuple[str, TimeDistribution]] = []
    if workload.presence.set_every is not None:
        times.append(("workload.presence.set_every", workload.presence.set_every))
    if workload.foreground is not None:
        times += [
            ("workload.foreground.on", workload.foreground.on),
            ("workload.foreground.off", workload.foreground.off),
        ]
    for path, distribution in times:
        if distribution.quantile(0.5) < 1:
            reader.fault(reader.place(path), f"`{path}` must be longer than 0")


def _check_fault(experiment: Experiment, reader: Reader, fault: fault_schema.Fault, path: str) -> None:
    known = reader.is_read
    if known("duration_us") and fault.at_us >= experiment.duration_us:
        total = about_duration(experiment.duration_us)
        reader.fault(reader.place(f"{path}.at_us"), f"`{path}.at` must be before the end, {total}")
    nodes = experiment.relay.nodes
    node = getattr(fault, "node", None)
    if node is not None and node >= nodes and known("relay.nodes"):
        message = f"`{path}.node`: there is no node {node}; the relay has {nodes}, numbered from 0"
        reader.fault(reader.place(f"{path}.node"), message)
    if isinstance(fault, fault_schema.CrashNode):
        if (fault.node is None) == (fault.nodes is None):
            reader.fault(reader.place(path), f"`{path}`: say `node` (which) or `nodes` (how many), one of the two")
        if fault.nodes is not None and fault.nodes > nodes and known("relay.nodes"):
            reader.fault(reader.place(f"{path}.nodes"), f"`{path}.nodes`: the relay has only {nodes}")
    idle = not experiment.relay.ingress.enabled and known("relay.ingress")
    if isinstance(fault, fault_schema.SlowNode) and idle:
        message = (
            f"`{path}`: a node is slow in its CPU work, which costs no time where `relay.ingress.enabled` is false"
        )
        reader.fault(reader.place(path), message)
    store_us = experiment.relay.store_latency_us if known("relay.store_latency_us") else 0
    if isinstance(fault, fault_schema.SlowStore) and fault.latency_us < store_us:
        own = format_duration(store_us)
        message = f"`{path}.latency` is shorter than `relay.store_latency`, {own}: the store would be faster"
        reader.fault(reader.place(f"{path}.latency_us", path), message)
    if isinstance(fault, fault_schema.BusOutage) and nodes == 1 and known("relay.nodes"):
        reader.fault(reader.place(path), f"`{path}`: there is no bus where the relay has one node")
    if isinstance(fault, fault_schema.DeviceFault):
        _check_device_fault(experiment, reader, fault, path)


def _check_device_fault(experiment: Experiment, reader: Reader, fault: fault_schema.DeviceFault, path: str) -> None:
    said = sum(value is not None for value in (fault.devices, fault.network, fault.fraction))
    if said != 1:
        message = f"`{path}`: say `devices` (how many), `network` (which) or `fraction`, one of the three"
        reader.fault(reader.place(path), message)
    devices = experiment.population.devices
    known = reader.is_read
    if fault.devices is not None and fault.devices > devices and known("population.devices"):
        reader.fault(reader.place(f"{path}.devices"), f"`{path}.devices`: the population has only {devices:,}")
    networks_known = known("population.networks")
    if networks_known and fault.network is not None and fault.network not in experiment.population.networks:
        end = suggestion(fault.network, experiment.population.networks)
        message = f"`{path}.network`: no device is on `{fault.network}`{end}"
        reader.fault(reader.place(f"{path}.network"), message)
    profiles = {**PROFILES, **experiment.network}
    if isinstance(fault, fault_schema.Handover) and fault.to not in profiles and known("network"):
        message = f"`{path}.to`: unknown link profile `{fault.to}`{suggestion(fault.to, profiles)}"
        reader.fault(reader.place(f"{path}.to"), message)
