"""Same experiment and seed → same digest: in both fidelities, in fresh processes, whatever the hash seed.

On a difference the first diverging row is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.model.support import Outcome, run
from zentalk_sim.trace.digest import first_difference

EVENTFUL: dict[str, Any] = {
    "duration": "2m",
    "relay": {"nodes": 3, "balancer": "least_connections"},
    "population": {"devices": 12, "devices_per_user": 2, "networks": {"wifi": 2, "lte": 1, "3g": 1}},
    "workload": {"messages": {"rate_per_device": "20/min"}, "reads": {"probability": 0.5}},
    "faults": [
        {"at": "20s", "do": "crash_node", "nodes": 1, "for": "10s"},
        {"at": "40s", "do": "partition", "fraction": 0.4, "for": "20s"},
        {"at": "70s", "do": "reset_connections", "fraction": 0.5},
        {"at": "80s", "do": "stop_node", "node": 1, "for": "10s"},
    ],
}
SMALL: dict[str, dict[str, Any]] = {
    "chat": {},
    "eventful": EVENTFUL,
    "binary frames": {"workload": {"messages": {"size": {"kind": "constant", "value": "40KiB"}}}, "duration": "30s"},
    "three devices a user": {"population": {"devices": 9, "devices_per_user": 3, "networks": {"edge": 1}}},
    "confirmed by REST": {
        "client": {"ack_by": "rest"},
        "faults": [{"at": "20s", "do": "partition", "devices": 3, "for": "90s"}],
        "duration": "4m",
    },
    "short tokens": {"relay": {"token": {"lifetime": "90s", "refresh_window": "60s", "grace": "5s"}}, "duration": "5m"},
    "refused for their number": {"population": {"devices": 14, "nat_group_size": 14}},
    "clocks that are off": {
        "population": {"clock_skew": {"offset": {"kind": "uniform", "low": "1s", "high": "8m"}, "drift_ppm": 200}},
        "relay": {"nodes": 2, "clock_skew": {"offset": "3s", "drift_ppm": 50}},
        "duration": "3m",
    },
    "clocks not corrected": {
        "client": {"trust_server_time": False},
        "population": {"clock_skew": {"offset": "6m", "fraction": 0.5}},
    },
    "every kind of fault": {
        "duration": "5m",
        "relay": {"nodes": 3, "bus_loss": 0.1},
        "population": {"devices": 10, "networks": {"wifi": 1, "lan": 1}},
        "faults": [
            {"at": "10s", "do": "slow_node", "node": 0, "factor": 500, "for": "30s"},
            {"at": "20s", "do": "slow_node", "node": 0, "factor": 2, "for": "30s"},
            {"at": "30s", "do": "bus_outage", "for": "20s"},
            {"at": "40s", "do": "device_offline", "devices": 3, "for": "60s", "spread": "10s"},
            {"at": "45s", "do": "device_offline", "fraction": 0.4, "how": "orderly", "for": "30s"},
            {"at": "50s", "do": "partition", "fraction": 0.6, "for": "40s"},
            {"at": "70s", "do": "handover", "fraction": 0.5, "to": "lte"},
            {"at": "120s", "do": "rolling_deploy", "down": "3s", "gap": "10s"},
            {"at": "125s", "do": "crash_node", "node": 1, "for": "40s"},
            {"at": "200s", "do": "handover", "network": "wifi", "to": "edge"},
        ],
    },
    "a lively population": {
        "population": {"devices": 12, "devices_per_user": [3, 2, 1], "contact_graph": "heavy_tailed", "contacts": 3},
        "relay": {"nodes": 2},
        "workload": {
            "pattern": "bursty",
            "messages": {"rate_per_device": "10/min"},
            "typing": {"probability": 0.7},
            "presence": {"subscribe": "contacts", "set_every": "30s"},
            "foreground": {"on": "40s", "off": {"kind": "exponential", "mean": "20s"}},
            "reads": {"probability": 0.5},
        },
    },
    "a day of two minutes": {"workload": {"pattern": "diurnal", "diurnal": {"period": "2m", "peak_at": "1m"}}},
    "frames above the relay's limit": {
        "relay": {"frames": {"max_bytes": 600}},
        "workload": {"messages": {"size": {"kind": "uniform", "low": "50B", "high": "300B"}}},
    },
    "payloads above the relay's limit for text": {
        "relay": {"frames": {"max_text_payload_bytes": 330}},
        "workload": {"messages": {"size": {"kind": "uniform", "low": "50B", "high": "300B"}}},
    },
    "no handshake fits the relay's limit": {"relay": {"frames": {"max_text_payload_bytes": 200}}, "duration": "20s"},
    "no MAC, no seq": {"client": {"send_mac": False, "send_seq": False}},
}


WHOLE = {
    **EVENTFUL,
    "population": {**SMALL["a lively population"]["population"], "clock_skew": {"offset": "20s", "drift_ppm": 40}},
    "workload": SMALL["a lively population"]["workload"],
    "relay": SMALL["every kind of fault"]["relay"],
}
"""Of everything something, for fresh processes."""


def assert_same(one: Outcome, other: Outcome) -> None:
    """Equal digests; else the first row that differs."""
    for table in ("connections", "messages"):
        rows = [[tuple(row.values()) for row in getattr(outcome, table)] for outcome in (one, other)]
        names = list(getattr(one, table)[0]) if getattr(one, table) else []
        difference = first_difference(*rows, names)
        assert difference is None, f"first difference in {table}: {difference}"
    assert one.counts == other.counts
    assert one.results.digest == other.results.digest


@pytest.mark.parametrize("name", SMALL)
def test_frames_and_wire_must_have_the_same_digest(name: str) -> None:
    assert_same(run(**SMALL[name], fidelity="frames"), run(**SMALL[name], fidelity="wire"))


@pytest.mark.parametrize("name", ["eventful", "every kind of fault", "a lively population"])
def test_twice_in_one_process(name: str) -> None:
    assert_same(run(**SMALL[name]), run(**SMALL[name]))


def test_another_seed_is_another_run() -> None:
    assert run(**EVENTFUL, seed=1).results.digest != run(**EVENTFUL, seed=2).results.digest


SCRIPT = """
import json, sys
from tests.model.support import run
outcome = run(**json.loads(sys.stdin.read()))
print(json.dumps([outcome.results.digest, outcome.connections, outcome.messages, outcome.results.counts]))
"""


def in_a_fresh_process(hash_seed: str) -> list[Any]:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(WHOLE),
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def test_fresh_processes_with_other_hash_seeds_must_agree() -> None:
    digest, connections, messages, counts = in_a_fresh_process("0")
    other_digest, other_connections, other_messages, other_counts = in_a_fresh_process("4242")
    for name, rows, others in (
        ("connections", connections, other_connections),
        ("messages", messages, other_messages),
    ):
        difference = first_difference([tuple(r.values()) for r in rows], [tuple(r.values()) for r in others])
        assert difference is None, f"first difference in {name}: {difference}"
    assert counts == other_counts
    assert digest == other_digest


def test_a_run_with_other_settings_of_measurement_only_has_the_same_digest() -> None:
    assert_same(run(**EVENTFUL), run(**EVENTFUL, measure={"interval": "7s"}))


def waits(outcome: Outcome) -> dict[tuple[str, int], int]:
    """(device, attempt) → backoff before it."""
    ends = {(row["device"], row["attempt"]): row["end_us"] for row in outcome.connections}
    return {
        (row["device"], row["attempt"]): row["start_us"] - ends[row["device"], row["attempt"] - 1]
        for row in outcome.connections
        if row["attempt"] > 1
    }


def test_one_more_device_must_not_change_the_others_backoffs() -> None:
    quiet = {"messages": {"rate_per_device": "0/min"}}
    down = [{"at": "0s", "do": "stop_node", "node": 0}]
    few = waits(run(population={"devices": 5, "contacts": 0}, workload=quiet, faults=down))
    many = waits(run(population={"devices": 6, "contacts": 0}, workload=quiet, faults=down))
    assert few
    assert few.items() <= many.items()
    assert len(set(few.values())) == len(few)


def test_a_fault_added_must_not_change_the_draws_of_what_it_does_not_touch() -> None:
    """The first connections and their networks are the same, whatever happens a minute later."""
    calm, stormy = run(), run(faults=[{"at": "60s", "do": "reset_connections"}])
    first = [
        {row["device"]: (row["start_us"], row["auth_us"]) for row in outcome.connections if row["attempt"] == 1}
        for outcome in (calm, stormy)
    ]
    assert first[0] == first[1]
    sent = [
        [(row["sender"], row["recipient"], row["sent_us"]) for row in outcome.messages] for outcome in (calm, stormy)
    ]
    assert Counter(sent[0]) == Counter(sent[1])


@pytest.mark.parametrize("name", ["eventful", "a lively population"])
def test_results_must_not_hang_on_the_order_of_ties(name: str) -> None:
    """Random ties: devices that do not meet at one instant by design see the same, to the microsecond."""
    # One node: on the bus, events of one instant are a microsecond apart, in the order in which they were published.
    changes = {**SMALL[name], "relay": {"nodes": 1}} if name != "eventful" else SMALL[name]
    assert_same(run(**changes), run(**changes, random_ties=True))
