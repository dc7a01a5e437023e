"""A file is told all that is wrong with it at once, and nothing that only its other faults make look wrong."""

from __future__ import annotations

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.files.yaml import FileFaults


def faults(text: str) -> list[str]:
    with pytest.raises(FileFaults) as found:
        loader.from_text(text, "f.yaml")
    return [str(fault) for fault in found.value.faults]


def test_a_fault_of_one_value_must_hide_none_of_another() -> None:
    """Must be told together: what is no number, what is of a wrong type, and what does not fit the rest."""
    text = """\
duration: 10s
duration: 20s
relay: {bus_loss: .nan, store_latency: 1e400}
population: {devices: 5, tail_exponent: 99, networks: {wfi: 1}}
client: {backoff: {base: 60s, cap: 1s}}
faults:
  - {at: 1s, do: stop_node, node: 0, for: 0s}
  - {at: 1s, do: crash_node, node: 7}
  - {at: 30s, do: stop_node, node: 0}
  - {at: 1s, do: partition, devices: 6}
  - {match: {user: user-99999}, action: {do: drop}}
"""
    places = [fault.partition(" ")[0] + " " + fault.split("`")[1] for fault in faults(text)]
    assert places == [
        "f.yaml:1:1: name",
        "f.yaml:2:1: duration",
        "f.yaml:3:19: .nan",
        "f.yaml:3:40: 1e400",
        "f.yaml:4:41: population.tail_exponent",
        "f.yaml:4:56: population.networks",
        "f.yaml:5:20: client.backoff.base",
        "f.yaml:7:43: faults.0.for",
        "f.yaml:8:30: faults.1.node",
        "f.yaml:9:6: faults.2.at",
        "f.yaml:10:29: faults.3.devices",
        "f.yaml:11:14: faults.4.match.user",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "relay: {nodes: four}\nfaults: [{at: 1s, do: crash_node, node: 3}]",
        "relay: {nods: 4}\nfaults: [{at: 1s, do: crash_node, node: 3}]",
        "relay: 4\nfaults: [{at: 1s, do: bus_outage, for: 1s}]",
        "duration: .inf\nfaults: [{at: 9h, do: stop_node, node: 0}]",
        "duratoin: 10h\nfaults: [{at: 9h, do: stop_node, node: 0}]",
        "population: {devices: many}\nfaults: [{at: 1s, do: partition, devices: 900}]",
        "population: {networks: {wify: .nan}}\nfaults: [{at: 1s, do: partition, network: lte}]",
        "network: {mine: {like: nothing}}\npopulation: {networks: {mine: 1}}",
        "population: {devices: -1}\nfaults: [{match: {user: user-3}, action: {do: drop}}]",
    ],
)
def test_what_depends_on_a_value_at_fault_must_not_be_blamed(text: str) -> None:
    assert len(faults(f"name: x\n{text}\n")) == 1
