"""What can go wrong, as an experiment's list ``faults`` says it: at a stated time, ``do`` naming it, or by a rule."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from zentalk_sim.experiment.sections import Count, Positive, PositiveUs, Share, Us
from zentalk_sim.faults.rules import Rule


class _Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Something that happens at a stated time."""

    at_us: Us
    """When, from the start of the experiment."""


# --- nodes ---------------------------------------------------------------------------------------------------


class CrashNode(_Fault, frozen=True, kw_only=True, tag="crash_node"):
    """A node dies: its connections and the effects not yet applied are lost. Say `node` or `nodes`."""

    node: Count | None = None
    """Which node, from 0."""
    nodes: Positive | None = None
    """How many nodes, chosen by the seed, in place of `node`."""
    host: Literal["dead", "alive"] = "dead"
    """dead: the machine is gone, its connections go silent; alive: the process died, and its host resets them."""
    for_us: PositiveUs | None = None
    """The node starts again after this time; null: it stays dead."""


class RestartNode(_Fault, frozen=True, kw_only=True, tag="restart_node"):
    """A dead or stopped node starts at once; one that is up crashes and starts at once."""

    node: Count
    """Which node, from 0."""


class StopNode(_Fault, frozen=True, kw_only=True, tag="stop_node"):
    """An orderly stop: every connection is closed with 1001 (R-12.1)."""

    node: Count
    """Which node, from 0."""
    for_us: PositiveUs | None = None
    """The node starts again after this time; null: it stays down."""


class RollingDeploy(_Fault, frozen=True, kw_only=True, tag="rolling_deploy"):
    """Every node in turn is stopped in an orderly way (1001, R-12.1), started again, and given time before the next."""

    down_us: PositiveUs = 5_000_000
    """From a node's stop to its start; it takes connections `relay.restart_time` later."""
    gap_us: Us = 30_000_000
    """From a node's taking connections again to the next one's stop."""


class SlowNode(_Fault, frozen=True, kw_only=True, tag="slow_node"):
    """A node's CPU work takes longer, as with a noisy neighbour; what is under way is not changed."""

    node: Count
    """Which node, from 0."""
    factor: Annotated[float, Meta(ge=1, le=10_000)] = 10.0
    """How many times as long a piece of work takes."""
    for_us: PositiveUs | None = None
    """The node has its speed back after this time; null: never."""


class BusOutage(_Fault, frozen=True, kw_only=True, tag="bus_outage"):
    """The bus between the nodes loses every event published meanwhile (R-12.5)."""

    for_us: PositiveUs | None = None
    """It works again after this time; null: never."""


class StoreOutage(_Fault, frozen=True, kw_only=True, tag="store_outage"):
    """The shared store is away: upgrades and REST get 503, messages and receipts SERVICE_UNAVAILABLE (R-12.2)."""

    for_us: PositiveUs | None = None
    """It is back after this time, with all that it held; null: never."""


class SlowStore(_Fault, frozen=True, kw_only=True, tag="slow_store"):
    """Every commit to the shared store takes longer, so all effects of every node go out later, in their order."""

    latency_us: Us = 250_000
    """What a commit takes meanwhile, in place of `relay.store_latency`; of several faults the longest counts."""
    for_us: PositiveUs | None = None
    """It has its own latency back after this time; null: never."""


# --- devices and the network ---------------------------------------------------------------------------------


class _DeviceFault(_Fault, frozen=True, kw_only=True):
    """Something that befalls some devices. Say one of `devices`, `network`, `fraction`."""

    devices: Positive | None = None
    """How many devices, chosen by the seed (all where there are fewer)."""
    network: str | None = None
    """All devices that began on this network."""
    fraction: Share | None = None
    """A share of all devices, chosen by the seed."""


class Partition(_DeviceFault, frozen=True, kw_only=True, tag="partition"):
    """Nothing gets through between some devices and the relay. Say one of `devices`, `network`, `fraction`."""

    direction: Literal["both", "up", "down"] = "both"
    """What is cut: both ways, from the devices (up) or to them (down)."""
    for_us: PositiveUs | None = None
    """The path heals after this time; null: never."""


class DeviceOffline(_DeviceFault, frozen=True, kw_only=True, tag="device_offline"):
    """Devices sleep or are switched off: their users do nothing until they are back and connect anew."""

    how: Literal["silent", "orderly"] = "silent"
    """silent: the radio is gone, and the relay finds out by its heartbeat; orderly: the application closes first."""
    for_us: PositiveUs | None = None
    """They are back after this time; null: never."""
    spread_us: Us = 0
    """They are back at instants uniform over this time from then on, each at its own."""


class Handover(_DeviceFault, frozen=True, kw_only=True, tag="handover"):
    """Devices change to another network and IP address: the old path dies, the client connects at once (R-11.2)."""

    to: str
    """The link profile they change to."""


class ResetConnections(_Fault, frozen=True, kw_only=True, tag="reset_connections"):
    """Open connections are reset (TCP RST) on both sides, as by a middlebox."""

    fraction: Share = 1.0
    """The share of open connections, chosen by the seed."""


# --- rules ---------------------------------------------------------------------------------------------------


class EventRule(Struct, frozen=True, tag_field="do", tag="rule"):
    """A rule of the mock relay's language: what must match of an upgrade, frame or REST call, and what is then done.

    In a file it is ``{match, action, times?, comment?}`` as in `docs/faults.md`; the tag is never written.
    """

    rule: Rule


DeviceFault: TypeAlias = Partition | DeviceOffline | Handover
Fault: TypeAlias = (
    CrashNode
    | RestartNode
    | StopNode
    | RollingDeploy
    | SlowNode
    | BusOutage
    | StoreOutage
    | SlowStore
    | Partition
    | DeviceOffline
    | Handover
    | ResetConnections
)
