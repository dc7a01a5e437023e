"""Makes a failing plan smaller: fewer faults, acts, devices and knobs, and a shorter time, as long as it fails alike.

Delta debugging (Zeller and Hildebrandt, TSE 2002) over the lists of faults, acts and a rogue's moves, then one knob
after another back to its default. Every step is a trial, so the budget is counted in trials.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.fuzz.plan import Plan
from zentalk_sim.fuzz.trial import Outcome, run

BUDGET: Final = 120
"""Trials a shrinking may take."""

_KEPT: Final = frozenset({"name", "seed", "duration", "population", "faults", "measure"})


class Shrinker:
    """Shrinks one plan. ``plan`` and ``outcome`` are the smallest found so far; ``trials`` were run."""

    def __init__(
        self, plan: Plan, outcome: Outcome, *, budget: int = BUDGET, run: Callable[[Plan], Outcome] = run
    ) -> None:
        assert outcome.failure is not None
        self.plan = plan
        self.outcome = outcome
        self.trials = 0
        self._id = outcome.failure.id
        self._budget = budget
        self._run = run

    def _fails(self, plan: Plan) -> bool:
        """Whether a plan fails as the first one did; if so it is kept."""
        if self.trials >= self._budget:
            return False
        self.trials += 1
        try:
            outcome = self._run(plan)
        except FileFaults:
            # What was taken away was needed for the rest to make sense.
            return False
        if outcome.failure is None or outcome.failure.id != self._id:
            return False
        self.plan, self.outcome = plan, outcome
        return True

    def shrink(self) -> None:
        """Until nothing more goes, or the budget is spent."""
        before = -1
        while self.trials < self._budget and before != self.trials:
            before = self.trials
            smaller = self._once()
            if not smaller:
                return

    def _once(self) -> bool:
        start = self.plan
        self._shorter()
        self._list("acts")
        self._list("faults")
        self._moves()
        self._rules()
        self._devices()
        self._knobs()
        return self.plan is not start

    def _changed(self, change: Callable[[Plan], None]) -> bool:
        plan = Plan(copy.deepcopy(self.plan.experiment), copy.deepcopy(self.plan.acts), self.plan.peace_s)
        change(plan)
        return self._fails(plan)

    # --- parts ---------------------------------------------------------------------------------------

    def _shorter(self) -> None:
        """End the active time soon after the failure, or halve it."""
        assert self.outcome.failure is not None
        duration_s = int(str(self.plan.experiment["duration"]).removesuffix("s"))
        failed_s = self.outcome.simulated_us // 1_000_000
        for wanted in (failed_s + 1, duration_s // 2, duration_s * 3 // 4):
            if 5 <= wanted < duration_s and self._changed(lambda plan, to=wanted: _end_at(plan, to)):  # type: ignore[misc]
                return

    def _items(self, plan: Plan, name: str) -> list[Any]:
        found: list[Any] = plan.acts if name == "acts" else plan.experiment.setdefault("faults", [])
        return found

    def _list(self, name: str) -> None:
        """Take away ever smaller parts of a list."""
        size = len(self._items(self.plan, name))
        part = size
        while part >= 1 and self.trials < self._budget:
            at = 0
            while at < len(self._items(self.plan, name)):

                def without(plan: Plan, at: int = at, part: int = part) -> None:
                    del self._items(plan, name)[at : at + part]

                if not self._changed(without):
                    at += part
            part //= 2

    def _moves(self) -> None:
        for number, act in enumerate(self.plan.acts):
            if act["do"] != "rogue":
                continue
            part = len(act["moves"]) // 2
            while part >= 1 and self.trials < self._budget:
                at = 0
                while at < len(self.plan.acts[number]["moves"]):

                    def without(plan: Plan, at: int = at, part: int = part, number: int = number) -> None:
                        del plan.acts[number]["moves"][at : at + part]

                    if not self._changed(without):
                        at += part
                part //= 2

    def _rules(self) -> None:
        """Each rule strikes once only, and no device in particular."""
        for number, rule in enumerate(self._items(self.plan, "faults")):
            if "match" not in rule:
                continue
            if rule.get("times", 0) != 1:
                self._changed(lambda plan, at=number: self._items(plan, "faults")[at].update(times=1))  # type: ignore[misc]
            for part in ("device", "probability", "after_ms", "every"):
                if part in rule["match"]:

                    def without(plan: Plan, at: int = number, part: str = part) -> None:
                        del self._items(plan, "faults")[at]["match"][part]

                    self._changed(without)

    def _devices(self) -> None:
        devices = self.plan.experiment["population"]["devices"]
        for wanted in (2, devices // 2, devices - 1):
            if 2 <= wanted < self.plan.experiment["population"]["devices"]:
                self._changed(lambda plan, to=wanted: plan.experiment["population"].update(devices=to))  # type: ignore[misc]

    def _knobs(self) -> None:
        """Whole sections back to their defaults, then what is in those that stay."""
        for section in [name for name in self.plan.experiment if name not in _KEPT]:
            if self._changed(lambda plan, name=section: plan.experiment.pop(name)):  # type: ignore[misc]
                continue
            value = self.plan.experiment[section]
            for key in list(value) if isinstance(value, dict) else ():
                if self._changed(lambda plan, name=section, key=key: plan.experiment[name].pop(key)):  # type: ignore[misc]
                    continue
                inner = value[key]
                for last in list(inner) if isinstance(inner, dict) else ():

                    def without(plan: Plan, name: str = section, key: str = key, last: str = last) -> None:
                        del plan.experiment[name][key][last]

                    self._changed(without)


def _end_at(plan: Plan, duration_s: int) -> None:
    """Cut a plan's active time; what would begin later goes."""
    plan.experiment["duration"] = f"{duration_s}s"
    faults = plan.experiment.get("faults", [])
    # A rule has no instant of its own: it goes, if it goes, with its list.
    plan.experiment["faults"] = [
        fault for fault in faults if "at" not in fault or int(fault["at"].removesuffix("ms")) < duration_s * 1000
    ]
    plan.acts[:] = [act for act in plan.acts if act["at_ms"] < duration_s * 1000]
