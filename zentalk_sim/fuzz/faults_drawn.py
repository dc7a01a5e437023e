"""The faults of a plan: each family in or out by a coin, a few of each, all over before the trial's active time is.

What an experiment's ``faults:`` can say stands there, so that a capsule's fault is everybody's fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zentalk_sim.fuzz.plan import Dice

FAMILIES: Final = (
    "crash_node",
    "stop_node",
    "restart_node",
    "rolling_deploy",
    "slow_node",
    "bus_outage",
    "store_outage",
    "slow_store",
    "partition",
    "device_offline",
    "handover",
    "reset_connections",
)

_BEARABLE: Final = 10
"""How many times slower a node may get while another fault slows it, too."""


def draw(dice: Dice, duration_s: int, nodes: int, devices: int, left_out: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The faults of a trial that is active for ``duration_s``, in the order of their instants."""
    found: list[dict[str, Any]] = []
    for family in FAMILIES:
        if dice.chance(0.25) and family not in left_out:
            count = dice.pick((1, 1, 2, 3))
            found.extend(_one(dice, family, duration_s, nodes, devices) for _ in range(count))
    found.sort(key=lambda fault: int(fault["at"].removesuffix("ms")))
    _tame(found)
    return found


def _tame(found: list[dict[str, Any]]) -> None:
    """Of the faults that slow a node one alone is extreme: together they would multiply, and what is under way keeps
    its pace, so that one frame's work would outlast all peace."""
    extreme: dict[int, None] = {}
    for fault in found:
        if fault["do"] == "slow_node" and fault["factor"] > _BEARABLE:
            if fault["node"] in extreme:
                fault["factor"] = _BEARABLE
            extreme[fault["node"]] = None


def _one(dice: Dice, family: str, duration_s: int, nodes: int, devices: int) -> dict[str, Any]:
    at_ms = dice.between(0, duration_s * 800)
    left_ms = duration_s * 1000 - at_ms
    lasts = f"{min(left_ms, dice.pick((50, 1_000, 5_000, 15_000, 40_000, 130_000)))}ms"
    fault: dict[str, Any] = {"at": f"{at_ms}ms", "do": family}
    node = dice.between(0, nodes - 1)
    match family:
        case "crash_node":
            fault |= {"node": node, "host": dice.pick(("dead", "alive")), "for": lasts}
        case "stop_node":
            fault |= {"node": node, "for": lasts}
        case "restart_node":
            fault |= {"node": node}
        case "rolling_deploy":
            fault |= {"down": f"{dice.pick((100, 2_000))}ms", "gap": f"{dice.pick((0, 3_000))}ms"}
        case "slow_node":
            fault |= {"node": node, "factor": dice.pick((10, 1_000)), "for": lasts}
        case "bus_outage" | "store_outage":
            fault |= {"for": lasts}
        case "slow_store":
            fault |= {"latency": f"{dice.pick((300, 1_000, 6_000))}ms", "for": lasts}
        case "partition":
            which = dice.pick(("both", "up", "down"))
            fault |= {"direction": which, "devices": dice.between(1, devices), "for": lasts}
        case "device_offline":
            fault |= {"how": dice.pick(("silent", "orderly")), "devices": dice.between(1, devices), "for": lasts}
        case "handover":
            fault |= {"devices": dice.between(1, devices), "to": dice.pick(("wifi", "lte", "lan"))}
        case _:
            fault |= {"fraction": dice.pick((0.3, 1.0))}
    return fault
