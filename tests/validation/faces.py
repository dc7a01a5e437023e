"""The same small experiment on both faces: in the simulator, and in real time over loopback sockets.

The live run is ``zsim run --live``'s: the same users by the same draws, the same client cores, a mock relay, and the
experiment's link laid over the loopback interface. The simulator is told of no processing time at all, so what the
live face takes longer is what real sockets, an interpreter and a busy machine cost.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pandas import factorize

from mockrelay.server import MockRelay
from tests.live.jump_loop import jumping
from tests.live.relay_thread import TOKEN, served
from zentalk_sim.experiment import run
from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.live.run import Target, run_live
from zentalk_sim.report.run import Run, load

US_PER_S = 1_000_000
DEVICES = 20
DURATION_S = 8.0
RESET_S = 4.0
SETTLED_S = 2.0
"""Messages of the first two seconds (devices connect) are left out, and those of the last two, which may not arrive."""
UNSETTLED_S = 2.0
PATIENCE_S = 4.0
"""How much longer than the simulated run a live one lasts, for what a busy machine holds up."""
LIVE_SEED = 1


def experiment(is_reset: bool, duration_s: float = DURATION_S) -> dict[str, Any]:
    """Twenty devices with two and a half messages a second each, on a slow link; with a reset of all or without."""
    return {
        "name": "two_faces_reset" if is_reset else "two_faces",
        "duration": f"{duration_s:g}s",
        "fidelity": "frames",
        "relay": {"ingress": {"enabled": False}, "store_latency": "0s", "limits": {"send_message": "off"}},
        "population": {"devices": DEVICES, "networks": {"slow": 1}, "contacts": 5},
        "network": {
            "slow": {
                "latency": {"dist": "lognormal", "median": "30ms", "sigma": 0.5, "min": "10ms"},
                "tls_round_trips": 0,
            }
        },
        "workload": {"start": {"ramp": "500ms"}, "messages": {"rate_per_device": "150/min"}},
        "faults": [{"at": f"{RESET_S:g}s", "do": "reset_connections"}] if is_reset else [],
        "plots": False,
    }


@dataclass
class Outcome:
    """What a face showed: latency by message in ms, how each came, and how long devices were away."""

    planned: int = 0
    """Messages that count."""
    latencies_ms: list[float] = field(default_factory=list)
    fetched: int = 0
    away_s: list[float] = field(default_factory=list)
    """From a reset to AUTH_SUCCESS."""
    shown: int = 0
    """Copies that a row of the table tells to be shown, whenever they were sent."""
    showings: int = 0
    """How often an application showed a message: as often, if each is shown once."""
    targets: list[tuple[int, ...]] = field(default_factory=list)
    """For each sender whom it sends to, message for message; its contacts are numbered as they come."""

    def merge(self, other: Outcome) -> None:
        """Add another seed's."""
        self.planned += other.planned
        self.latencies_ms += other.latencies_ms
        self.fetched += other.fetched
        self.away_s += other.away_s
        self.targets += other.targets


def counts(at_s: float) -> bool:
    """Whether a message sent then is looked at."""
    return SETTLED_S <= at_s <= DURATION_S - UNSETTLED_S


# --- simulated -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def simulated_run(is_reset: bool, seed: int) -> Run:
    """The experiment in simulated time."""
    return run(experiment(is_reset), seed=seed)


def simulated(is_reset: bool, seeds: int) -> Outcome:
    """What the simulator says, over several seeds."""
    pooled = Outcome()
    for seed in range(LIVE_SEED, LIVE_SEED + seeds):
        pooled.merge(outcome_of(simulated_run(is_reset, seed)))
    return pooled


def outcome_of(found: Run) -> Outcome:
    """What a run of either face shows."""
    outcome = Outcome()
    outcome.shown = int(found.messages["shown_us"].notna().sum())
    outcome.showings = found.summary["counts"]["messages.shown"]
    for row in found.messages.itertuples():
        if counts((row.sent_us - found.start_us) / US_PER_S):
            outcome.planned += 1
            if row.outcome == "shown":
                outcome.latencies_ms.append((row.shown_us - row.sent_us) / 1000)
                outcome.fetched += row.via == "fetch"
    by_sender = found.messages.sort_values("sent_us", kind="stable").groupby("sender", sort=False)["recipient"]
    outcome.targets = sorted(tuple(factorize(recipients)[0].tolist()) for _, recipients in by_sender)
    for _, attempts in found.connections.groupby("device", sort=True):
        ordered = attempts.sort_values("start_us")
        authenticated = ordered[ordered["auth_us"].notna()]
        if len(authenticated) > 1:
            lost_us, back_us = authenticated["end_us"].iloc[0], authenticated["auth_us"].iloc[1]
            outcome.away_s.append(float(back_us - lost_us) / US_PER_S)
    return outcome


# --- live ------------------------------------------------------------------------------------------------------


def live(is_reset: bool) -> Outcome:
    """The experiment in real time; takes its duration and a little more."""
    with served() as relay:
        return _played(experiment(is_reset, DURATION_S + PATIENCE_S), relay)


def live_at_once(is_reset: bool) -> Outcome:
    """The experiment over the same sockets, in a time that jumps from one thing to be done to the next."""
    with jumping() as (relay, on_loop):
        return _played(experiment(is_reset), relay, on_loop=on_loop)


def _played(settings: dict[str, Any], relay: MockRelay, **more: Any) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        target = Target(ws_url=relay.ws_url, http_url=relay.http_url, admin_token=TOKEN)
        run_live(from_mapping(settings), target, out=Path(folder), plots=False, progress=False, **more)
        found = load(folder)
        assert isinstance(found, Run)
        return outcome_of(found)


def live_both() -> tuple[Outcome, Outcome]:
    """The experiment without a reset and with one, side by side: as long as one of them."""
    with ThreadPoolExecutor(2) as threads:
        steady, reset = threads.map(live, (False, True))
    return steady, reset
