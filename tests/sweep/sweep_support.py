"""A sweep in small: ten devices for some seconds, reset once."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "duration": "20s",
    "population": {"devices": 10, "contacts": 3, "networks": {"lan": 1}},
    "workload": {"start": {"ramp": "1s"}, "messages": {"rate_per_device": "20/min"}},
    "faults": [{"at": "10s", "do": "reset_connections"}],
}

FILE = """
name: small
duration: 20s
population: {devices: 10, contacts: 3, networks: {lan: 1}}
workload: {start: {ramp: 1s}, messages: {rate_per_device: 20/min}}
faults: [{at: 10s, do: reset_connections}]
"""
