"""The resolved experiment: every key a file may hold, with its default, as frozen Structs in integer units.

A field's name ends in its unit (``for_us``, ``max_bytes``); in a file the unit is left off and stands in the
value (``for: 30s``), or the whole name takes a bare integer (``for_us: 30000000``). The docstring under a
field is its description in the JSON Schema. Nothing stands here that the model does not honour.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from zentalk_sim.experiment.fault_schema import EventRule, Fault
from zentalk_sim.experiment.sections import (
    ClockSkew,
    Count,
    Positive,
    PositiveUs,
    Probability,
    Rate,
    Section,
    Us,
)
from zentalk_sim.experiment.workload_schema import Workload
from zentalk_sim.faults.rules import Rule
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.protocol.config import ClientConfig, RelayConfig

# --- relay ---------------------------------------------------------------------------------------------------


class Costs(Section, frozen=True, kw_only=True):
    """CPU time a worker of a node spends; the defaults are in the range measured on one core of a small server."""

    tls_us: Us = 1_000
    """CPU time of a TLS 1.3 handshake with the WebSocket upgrade."""
    auth_us: Us = 500
    """CPU time of checking a token and an AUTH_RESPONSE signature."""
    frame_us: Us = 35
    """CPU time of reading and handling any other frame, or a REST request."""
    fan_out_us: Us = 8
    """CPU time of each further copy of a frame that goes to many connections, such as a change of presence."""


class Memory(Section, frozen=True, kw_only=True):
    """What a node's connections take of its memory: the series `memory_bytes`, and a bound on it."""

    limit_bytes: Positive | None = None
    """Above this a node refuses new connections with 503 and keeps those it has; null: it has room for all."""
    connection_bytes: Count = 16_384
    """Of a connection's socket in the kernel, its parser and its session, when idle."""
    tls_bytes: Count = 40_960
    """Of a connection's TLS: a record buffer of 17 KiB each way, as OpenSSL keeps them, and its state."""


class Ingress(Section, frozen=True, kw_only=True):
    """What a node takes in: a listen queue and CPU workers, so that a storm queues as it does in life."""

    enabled: bool = True
    """Off: connections and frames cost no time and never queue."""
    accept_backlog: Positive = 4_096
    """Connections a node holds that no worker has taken up; a SYN beyond is dropped, and retried by the client."""
    workers: Annotated[int, Meta(ge=1, le=1_024)] = 2
    """CPU workers of a node, each serving one piece of work at a time, first in, first out; at most 1 024."""
    costs: Costs = Costs()
    """CPU time per piece of work."""
    memory: Memory = Memory()
    """Memory of connections; what waits in their outboxes (R-12.4) counts with them."""


class Cluster(RelayConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay cluster, and beside it every setting of the relay's protocol (R-numbers in `docs/`)."""

    nodes: Annotated[int, Meta(ge=1, le=1_024)] = 1
    """Relay nodes, numbered from 0; at most 1 024, since each tells all others of what it took in."""
    balancer: Literal["round_robin", "least_connections", "sticky"] = "round_robin"
    """How a new connection finds its node; sticky: by user, as long as that node is up."""
    ingress: Ingress = Ingress()
    """Accept queue and CPU of each node."""
    store_latency_us: Us = 1_000
    """Time from a node's decision to its commit in the shared store, before its effects go out."""
    bus_latency_us: Us = 500
    """Time of an event from node to node."""
    bus_loss: Probability = 0.0
    """Share of the bus's events that are lost; each connection's mailbox is looked at again anyway (R-12.5)."""
    failure_detection_us: Us = 10_000_000
    """How long the balancer and the other nodes take to notice that a node is dead; until then connections go there."""
    restart_time_us: Us = 2_000_000
    """From a node's start to its first accepted connection."""
    clock_skew: ClockSkew = ClockSkew()
    """How far the nodes' clocks are off."""

    @property
    def protocol(self) -> RelayConfig:
        """The settings the relay core takes."""
        return RelayConfig(**{name: getattr(self, name) for name in RelayConfig.__struct_fields__})


# --- population ----------------------------------------------------------------------------------------------


class RetryFailed(Section, frozen=True, kw_only=True):
    """A device that gave up is asked by its application to connect again."""

    retry_after_us: PositiveUs
    """How long after giving up the application asks again."""


class Population(Section, frozen=True, kw_only=True):
    """Who takes part. Users 0, 1, … have ``devices_per_user`` devices each, the last one what remains."""

    devices: Positive = 100
    """Devices in all: this sets the size of an experiment."""
    devices_per_user: Annotated[int, Meta(ge=1, le=20)] | tuple[Rate, ...] = 1
    """Devices of each user; a list: the weights of users with 1, 2, 3, … devices, drawn for each user."""
    networks: dict[str, Rate] = field(default_factory=lambda: {"wifi": 1.0})
    """Link profile → weight: what share of the devices is on which network."""
    contacts: Count = 10
    """Users each user writes to (all others where there are fewer); with a heavy tail, their mean."""
    contact_graph: Literal["uniform", "heavy_tailed"] = "uniform"
    """uniform: as many contacts each, anyone; heavy_tailed: a few users write to, and hear from, very many."""
    tail_exponent: Annotated[float, Meta(gt=1, le=10)] = 2.0
    """Pareto exponent of how popular and how sociable users are, where the graph is heavy-tailed; smaller: heavier."""
    nat_group_size: Positive = 1
    """Devices that share one IP address."""
    on_failed: Literal["never"] | RetryFailed = "never"
    """Whether a device that gave up after its last attempt (R-11.2) tries again."""
    clock_skew: ClockSkew = ClockSkew()
    """How far the devices' clocks are off."""

    @property
    def users(self) -> int | None:
        """Users in all; None where the number of their devices is drawn."""
        each = self.devices_per_user
        return -(-self.devices // each) if isinstance(each, int) else None


# --- results -------------------------------------------------------------------------------------------------


class Measure(Section, frozen=True, kw_only=True):
    """What is recorded."""

    interval_us: PositiveUs = 1_000_000
    """Step of the time series."""
    trace: Literal["none", "sample", "full"] = "none"
    """Whether events are written to `trace.jsonl`: of no device, of a sample of the devices, or of all."""


class Threshold(Section, frozen=True, kw_only=True):
    """A bound that a result must keep: ``statistic`` of ``metric``, in the metric's unit, ``operator`` ``value``."""

    metric: str
    statistic: str
    """`value` for a count, else one of `STATISTICS`."""
    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    value: float
    text: str
    """As written, such as ``p99 < 5s``."""

    @property
    def id(self) -> str:
        return f"{self.metric}: {self.text}"


CheckName: TypeAlias = Literal["ledgers", "requirements"]


class Experiment(Section, frozen=True, kw_only=True):
    """All that a run is determined by."""

    name: str
    """Short name, used for the run folder: letters, digits, `_`, `-` and `.`."""
    description: str = ""
    """What is simulated, in a sentence or two."""
    question: str = ""
    """The question this experiment answers."""
    expectation: str = ""
    """The answer expected before running it."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    """Determines every random draw; another seed is another run of the same experiment."""
    duration_us: PositiveUs = 60_000_000
    """Simulated time."""
    warm_up_us: Us = 0
    """What begins in this first stretch is left out of the metrics (not of the counts)."""
    fidelity: Literal["frames", "wire"] = "frames"
    """frames: frame objects travel, signatures are modelled; wire: real bytes and real cryptography. Same results."""
    relay: Cluster = Cluster()
    """The relay nodes and their protocol settings."""
    population: Population = Population()
    """Users, devices, and what networks they are on."""
    client: ClientConfig = ClientConfig()
    """Settings of every device's client."""
    workload: Workload = Workload()
    """What the users do."""
    network: dict[str, LinkProfile] = field(default_factory=dict)
    """Link profiles by name; a built-in name is changed by what is given, a new one may start `like` another."""
    faults: tuple[Fault | EventRule, ...] = ()
    """What goes wrong, and when: faults with a time, and rules for what is met at the relay's edge."""
    measure: Measure = Measure()
    """What is recorded."""
    thresholds: tuple[Threshold, ...] = ()
    """Metric or count → bounds such as `p99 < 5s`; a run that breaks one ends with exit code 99."""
    checks: tuple[CheckName, ...] = ("ledgers",)
    """ledgers: every message and copy is accounted for; requirements: all that `zsim check` looks for in a trace."""
    plots: bool = True
    """Whether pictures are drawn."""

    @property
    def timed_faults(self) -> tuple[Fault, ...]:
        """The faults that strike at a stated time, in their order."""
        return tuple(fault for fault in self.faults if not isinstance(fault, EventRule))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The fault rules, in the order in which they are tried."""
        return tuple(fault.rule for fault in self.faults if isinstance(fault, EventRule))

    def to_mapping(self) -> dict[str, Any]:
        """This experiment as a file would say it, every key written out; it loads to an equal Experiment."""
        from zentalk_sim.experiment.writer import to_mapping

        return to_mapping(self)
