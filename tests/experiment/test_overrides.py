"""``-S path=value``: what it sets, what it displaces, and what is said of a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.experiment.fault_schema import StopNode
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.protocol.config import Limit

FILE = """
name: x
relay: {heartbeat: {interval: 20s}, limits: {typing: off}}
population: {users: 10, devices: 30}
workload: {messages: {size: 400B}}
faults: [{at: 3s, do: stop_node, node: 0, for: 5s}]
thresholds: {messages.failed: ["== 0"]}
"""


def read(*settings: str, text: str = FILE, **options: Any) -> Experiment:
    return loader.read(yaml.parse(text, "f.yaml"), settings, **options)


def test_a_setting_changes_one_key() -> None:
    experiment = read("relay.nodes=3", "duration=2h", "faults.0.for=9s")
    assert experiment.relay.nodes == 3
    assert experiment.duration_us == 7_200_000_000
    assert experiment.faults == (StopNode(at_us=3_000_000, node=0, for_us=9_000_000),)


def test_the_raw_name_displaces_the_friendly_one() -> None:
    assert read("relay.heartbeat.interval_ms=5000").relay.heartbeat.interval_ms == 5_000
    assert read("relay.heartbeat.interval=7s").relay.heartbeat.interval_ms == 7_000


def test_the_last_of_several_settings_counts() -> None:
    assert read("seed=3", "seed=4").seed == 4


def test_devices_set_the_size_of_any_experiment() -> None:
    """The devices per user that the file had remain."""
    population = read("population.devices=6").population
    assert (population.devices, population.devices_per_user, population.users) == (6, 3, 2)


def test_users_set_the_size_too() -> None:
    population = read("population.users=2").population
    assert (population.devices, population.devices_per_user, population.users) == (6, 3, 2)


def test_a_place_that_had_a_word_takes_a_mapping() -> None:
    experiment = read("relay.limits.typing.limit=4", "workload.messages.size={kind: uniform, low: 1B, high: 2B}")
    assert experiment.relay.limits.typing == Limit(limit=4, window_s=3, burst=1)
    assert experiment.workload.messages.size.quantile(0.99) == 2


def test_a_thresholds_name_may_have_dots() -> None:
    experiment = read("thresholds.messages.failed=< 5", "thresholds.rtt_ms=[p50 < 1s]")
    assert [bound.id for bound in experiment.thresholds] == ["messages.failed: < 5", "rtt_ms: p50 < 1s"]


def test_a_built_in_profile_is_changed_in_one_key() -> None:
    experiment = read("network.wifi.max_retries=3")
    assert experiment.network["wifi"].max_retries == 3
    assert experiment.network["wifi"].rate_bit_per_s == read().network["wifi"].rate_bit_per_s
    assert experiment.network["wifi"].source.startswith("Like wifi, changed. ")


def test_an_options_value_is_told_as_the_option() -> None:
    assert read(options={"seed": ("--seed 9", 9)}).seed == 9
    with pytest.raises(FileFaults) as caught:
        read(options={"seed": ("--seed -9", -9)})
    assert str(caught.value) == "--seed -9: `seed` must not be negative, and is -9"


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("seed", "-S seed: must be path=value, such as -S population.devices=500"),
        ("=5", "-S =5: the path before `=` must be keys with dots between, such as population.devices"),
        ("a..b=5", "-S a..b=5: the path before `=` must be keys with dots between"),
        ("relay.node=5", "-S relay.node=5: unknown key `node` in `relay`; did you mean `nodes`?"),
        ("nodes=5", "-S nodes=5: unknown key `nodes`; it belongs in `relay`"),
        ("relay.nodes=", "-S relay.nodes=: `relay.nodes` must be a whole number, not empty"),
        ("relay.nodes=-5", "-S relay.nodes=-5: `relay.nodes` must be at least 1, and is -5"),
        ("duration=5", "-S duration=5: `duration` is a duration and needs a unit, such as 30s"),
        ("faults.3.for=5s", "-S faults.3.for=5s: `faults` is a list of 1; name an item by its number from 0"),
        ("faults.x=5s", "-S faults.x=5s: `faults` is a list of 1; name an item by its number from 0"),
        ("faults.0.node=7", "-S faults.0.node=7: `faults.0.node`: there is no node 7; the relay has 1"),
        ("seed=[", "-S seed=[: the value cannot be read: is no YAML"),
        ("thresholds.rtt=p50 < 1s", "-S thresholds.rtt=p50 < 1s: unknown metric `rtt` in `thresholds`; did you mean"),
    ],
)
def test_a_wrong_setting_is_told_as_the_user_wrote_it(setting: str, fault: str) -> None:
    with pytest.raises(FileFaults) as caught:
        read(setting)
    assert str(caught.value).startswith(fault)
    assert len(caught.value.faults) == 1
