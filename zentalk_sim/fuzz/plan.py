"""What a trial does: an experiment as a file would say it, acts beside it, and how long peace may take to come.

A plan is plain data, so that a capsule can hold it and a shrinker can take parts away. `draw` makes one from a seed.
Swarm testing (Groce et al., ISSTA 2012): every group of knobs and every family of faults is either in a trial or not,
by the toss of a coin, since what is always there hides what shows only without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from zentalk_sim.fuzz import acts_drawn, faults_drawn, rules_drawn
from zentalk_sim.protocol.streams import Stream, Streams

T = TypeVar("T")

PEACE_S: Final = 900
"""Simulated time within which a trial must have converged once its faults are over."""


class Plan(Struct, forbid_unknown_fields=True):
    """A trial: ``experiment`` has the keys of an experiment file; ``acts`` are what no such file can say."""

    experiment: dict[str, Any]
    acts: list[dict[str, Any]]
    peace_s: int = PEACE_S


class Dice:
    """Draws by name of purpose from one stream, so that a plan is a function of its seed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self._stream.uniform() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of these, all equally likely."""
        return options[self._stream.between(0, len(options) - 1)]

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._stream.between(low, high)


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    dice = Dice(Streams(seed).fresh("fuzz/plan"))
    duration_s = dice.pick((40, 60, 90, 120, 180, 240))
    users = dice.between(2, 6)
    most_each = dice.between(1, 3)
    devices = min(12, sum(dice.between(1, most_each) for _ in range(users)))
    nodes = dice.pick((1, 1, 2, 3))
    relay: dict[str, Any] = {"nodes": nodes, "restart_time": f"{dice.pick((100, 500, 2000))}ms"}
    client: dict[str, Any] = {}
    slow = dice.chance(0.25)
    population: dict[str, Any] = {
        "devices": devices,
        "devices_per_user": [1] * most_each,
        "networks": dict.fromkeys((dice.pick(_SLOW if slow else _QUICK), dice.pick(_QUICK)), 1),
        "contacts": dice.pick((1, 2, 10)),
    }
    _cluster(dice, relay, nodes)
    for knob in (_heartbeat, _mailbox, _limits, _tokens, _integrity, _resume, _presence_times):
        if dice.chance(0.4):
            knob(dice, relay, client, slow)
    for own in (_queue, _backoff, _fetching):
        if dice.chance(0.4):
            own(dice, client)
    if dice.chance(0.25):
        _clocks(dice, relay, population, client)
    experiment: dict[str, Any] = {
        "name": f"fuzz-{seed}",
        "seed": seed,
        "duration": f"{duration_s}s",
        "fidelity": "wire" if dice.chance(0.1) else "frames",
        "relay": relay,
        "population": population,
        "client": client,
        "workload": _workload(dice, devices, duration_s),
        "measure": {"interval": "60s"},
    }
    left_out = () if nodes > 1 else ("bus_outage",)
    if "ingress" in relay and not relay["ingress"].get("enabled", True):
        left_out = (*left_out, "slow_node")
    experiment["faults"] = faults_drawn.draw(dice, duration_s, nodes, devices, left_out)
    acts = acts_drawn.draw(dice, duration_s, nodes, users, devices)
    # From a stream of their own, so that what else a seed draws does not depend on them.
    more = Dice(Streams(seed).fresh("fuzz/dismissals"))
    acts += acts_drawn.draw_dismissals(more, duration_s, users, devices)
    if more.chance(0.25):
        acts += acts_drawn.draw_exceptions(more, duration_s, users)
        experiment["workload"]["typing"] = {"probability": 1.0, "duration": "5s"}
    if more.chance(0.25):
        acts.append(acts_drawn.draw_flood(more, duration_s, nodes))
        if more.chance(0.6):
            # A burst above the limit, so that the window is what binds, within seconds and not a minute.
            limit = more.pick(({"limit": 5, "window": "6s", "burst": 10}, {"limit": 3, "window": "4s", "burst": 9}))
            relay["limits"] = {**relay.get("limits", {}), "send_message": limit}
    _background(Dice(Streams(seed).fresh("fuzz/background")), relay, client, experiment["workload"])
    experiment["faults"] += rules_drawn.draw(Dice(Streams(seed).fresh("fuzz/rules")), devices)
    return Plan(experiment, sorted(acts, key=lambda act: int(act["at_ms"])))


_QUICK: Final = ("ideal", "lan", "fibre", "wifi", "lte")
_SLOW: Final = ("3g", "edge", "satellite", "train")


def _cluster(dice: Dice, relay: dict[str, Any], nodes: int) -> None:
    if dice.chance(0.5):
        relay["store_latency"] = f"{dice.pick((0, 1, 20, 300))}ms"
    if dice.chance(0.2):
        relay["ingress"] = {"enabled": False}
    elif dice.chance(0.2):
        relay["ingress"] = {"workers": 1, "costs": {"frame": f"{dice.pick((1, 5, 20))}ms"}}
    if nodes > 1:
        relay["balancer"] = dice.pick(("round_robin", "least_connections", "sticky"))
        relay["bus_latency"] = f"{dice.pick((0, 1, 50, 2000))}ms"
        relay["failure_detection"] = f"{dice.pick((1, 10, 30))}s"
        if dice.chance(0.4):
            relay["bus_loss"] = dice.pick((0.05, 0.3, 1.0))


def _heartbeat(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    interval_s = dice.pick((5, 10, 30, 60))
    # On a slow network a client needs longer to be heard: a time-out below that would end every connection for ever.
    timeout_s = dice.pick((5, 10, 15) if slow else (2, 5, 10))
    missed = dice.pick((1, 2, 3))
    relay["heartbeat"] = {"interval": f"{interval_s}s", "pong_timeout": f"{timeout_s}s", "max_missed": missed}
    client["silence_timeout"] = f"{3 * (interval_s + timeout_s)}s"


def _background(dice: Dice, relay: dict[str, Any], client: dict[str, Any], workload: dict[str, Any]) -> None:
    """R-8.3, with users who turn away; a client's patience must outlast the slower PINGs."""
    if not dice.chance(0.1):
        return
    background_s = dice.pick((3, 20, 90))
    relay["heartbeat"] = {**relay.get("heartbeat", {}), "background_interval": f"{background_s}s"}
    patience_s = int(str(client.get("silence_timeout", "120s")).removesuffix("s"))
    client["silence_timeout"] = f"{max(patience_s, 3 * background_s + 30)}s"
    workload["presence"] = {"subscribe": "contacts", "set_every": {"kind": "exponential", "mean": "10s"}}


def _mailbox(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    box: dict[str, Any] = {}
    if dice.chance(0.7):
        box["max_copies"] = dice.pick((1, 2, 5, 20))
    if dice.chance(0.4):
        box["retention"] = f"{dice.pick((20, 60, 300))}s"
    if dice.chance(0.3):
        box["max_notices"] = dice.pick((1, 3))
    if dice.chance(0.5):
        box["look_interval"] = f"{dice.pick((1, 5, 120))}s"
    relay["mailbox"] = box
    if dice.chance(0.3):
        relay["dedup"] = {"window": f"{dice.pick((10, 60))}s", "bloom_capacity": dice.pick((1, 100))}


def _limits(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    limits: dict[str, Any] = {}
    for name in ("send_message", "read_receipt", "presence", "subscribe", "typing"):
        if dice.chance(0.4):
            limits[name] = dice.pick(
                (
                    "off",
                    {"limit": 1, "window": "3s", "burst": 1},
                    {"limit": 5, "window": "10s", "burst": 1},
                    {"limit": 20, "window": "10s", "burst": 40},
                )
            )
    if dice.chance(0.3):
        limits["connection_rate"] = dice.pick(("off", {"limit": 2, "window": "20s"}))
    if dice.chance(0.2):
        limits["auth_attempts"] = "off"
    relay["limits"] = limits


def _tokens(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    lifetime_s = dice.pick((60, 150, 600))
    relay["token"] = {
        "lifetime": f"{lifetime_s}s",
        "refresh_window": f"{dice.pick((10, lifetime_s // 2, lifetime_s))}s",
        "grace": f"{dice.pick((0, 5, 60))}s",
    }
    client["token_refresh"] = dice.pick(("uniform_first_hour", "window_opens", "never"))
    client["refresh_retry"] = f"{dice.pick((5, 60))}s"


def _integrity(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    relay["integrity"] = dice.pick(("verify", "require"))
    client["send_mac"] = relay["integrity"] == "require" or dice.chance(0.5)
    client["send_seq"] = dice.chance(0.7)


def _resume(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    relay["resume"] = {"window": f"{dice.pick((0, 2, 20))}s"}


def _presence_times(dice: Dice, relay: dict[str, Any], client: dict[str, Any], slow: bool) -> None:
    relay["presence"] = {"away_after": f"{dice.pick((1, 10, 60))}s"}
    relay["typing"] = {"timeout": f"{dice.pick((1, 5))}s"}


def _queue(dice: Dice, client: dict[str, Any]) -> None:
    client["queue"] = {
        "max_messages": dice.pick((1, 5, 100)),
        "drain_interval": f"{dice.pick((0, 100, 1000))}ms",
        "max_unacked": dice.pick((1, 3, 100)),
        "ack_timeout": f"{dice.pick((2, 10))}s",
        "max_retries": dice.pick((0, 1, 5)),
        "max_receipts": dice.pick((1, 10, 1000)),
    }


def _backoff(dice: Dice, client: dict[str, Any]) -> None:
    client["backoff"] = {
        "policy": dice.pick(("spec", "spec", "equal", "full", "decorrelated")),
        "base": f"{dice.pick((100, 1000))}ms",
        "cap": f"{dice.pick((1, 5, 30))}s",
        "max_attempts": dice.pick((1, 3, 10)),
    }


def _fetching(dice: Dice, client: dict[str, Any]) -> None:
    client["fetch_page"] = dice.pick((1, 2, 100))
    client["ack_by"] = dice.pick(("frame", "rest"))
    client["fetch_timeout"] = f"{dice.pick((3, 30))}s"


def _clocks(dice: Dice, relay: dict[str, Any], population: dict[str, Any], client: dict[str, Any]) -> None:
    if dice.chance(0.7):
        offset = dice.pick(("3s", "20m", "400d"))
        population["clock_skew"] = {"offset": offset, "drift_ppm": dice.pick((0, 200)), "fraction": 0.7}
    # A token must outlive what its nodes' clocks differ by.
    if dice.chance(0.5) and "token" not in relay:
        relay["clock_skew"] = {"offset": dice.pick(("200ms", "3s", "30s")), "drift_ppm": dice.pick((0, 200))}


_MOST_MESSAGES: Final = 400
"""In a trial, so that many trials can be had: what shows only under load is not what is looked for here."""


def _workload(dice: Dice, devices: int, duration_s: int) -> dict[str, Any]:
    most_a_minute = _MOST_MESSAGES * 60 // (devices * duration_s)
    rate = min(dice.pick((2, 6, 20, 60)), max(1, most_a_minute))
    work: dict[str, Any] = {
        "start": {"ramp": f"{dice.pick((0, 1, 10))}s"},
        "messages": {"rate_per_device": f"{rate}/min"},
        "reads": {"probability": dice.pick((0.0, 0.5, 1.0)), "delay": f"{dice.pick((0, 1, 10))}s"},
    }
    if dice.chance(0.3):
        work["messages"]["size"] = {"kind": "uniform", "low": "1B", "high": dice.pick(("1KiB", "20KiB"))}
    if dice.chance(0.2):
        work["pattern"] = "bursty"
        work["burst"] = {"mean_messages": dice.pick((3, 15)), "gap": f"{dice.pick((0, 100))}ms"}
    if dice.chance(0.4):
        work["typing"] = {"probability": 0.7, "duration": "5s"}
    if dice.chance(0.4):
        work["presence"] = {"subscribe": "contacts"}
        if dice.chance(0.6):
            work["presence"]["set_every"] = {"kind": "exponential", "mean": "20s"}
    if dice.chance(0.2):
        work["foreground"] = {
            "on": {"kind": "exponential", "mean": "20s"},
            "off": {"kind": "exponential", "mean": "10s"},
        }
    return work
