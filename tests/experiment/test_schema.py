"""The resolved experiment: defaults, what files mean, and the way back to a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.experiment import keys, loader, metrics, writer
from zentalk_sim.experiment.json_schema import json_schema
from zentalk_sim.experiment.schema import Experiment, RetryFailed
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.network.latency import Constant
from zentalk_sim.network.loss import Bernoulli
from zentalk_sim.network.profile import PROFILES
from zentalk_sim.protocol.config import ClientConfig, Limit, RelayConfig
from zentalk_sim.report.metrics import TITLES

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


def read(text: str) -> Experiment:
    return loader.from_text(f"name: x\n{text}\n", "f.yaml")


# --- defaults ------------------------------------------------------------------------------------------------


def test_every_default_is_the_specifications() -> None:
    experiment = read("")
    assert experiment.relay.protocol == RelayConfig()
    assert type(experiment.relay.protocol) is RelayConfig
    assert experiment.client == ClientConfig()
    assert experiment.seed == 1
    assert experiment.network == {"wifi": PROFILES["wifi"]}


def test_what_is_not_written_keeps_the_default_of_its_place() -> None:
    """A limit's burst stays the specification's where only its number is given."""
    experiment = read("relay: {limits: {send_message: {limit: 5}, connection_rate: {limit: 3}}}")
    assert experiment.relay.limits.send_message == Limit(limit=5, window_s=60, burst=10)
    assert experiment.relay.limits.connection_rate == Limit(limit=3, window_s=60, burst=None)


@pytest.mark.parametrize("heartbeat", ["interval: 45s", "interval: 45000ms", "interval_ms: 45000", "interval: 0.75m"])
def test_a_duration_is_written_with_a_unit_or_under_its_whole_name(heartbeat: str) -> None:
    assert read(f"relay: {{heartbeat: {{{heartbeat}}}}}").relay.heartbeat.interval_ms == 45_000


def test_a_time_of_zero_needs_no_unit() -> None:
    assert read("warm_up: 0\nfaults: [{at: 0, do: reset_connections}]").faults[0].at_us == 0


def test_numbers_may_be_whole_floats() -> None:
    assert read("population: {devices: 1e3}").population.devices == 1_000


def test_shares_may_be_percentages() -> None:
    experiment = read("workload: {reads: {probability: 12.5%}}\nnetwork: {wifi: {loss: 2%}}")
    assert experiment.workload.reads.probability == 0.125
    assert experiment.network["wifi"].loss == Bernoulli(0.02)


def test_a_bare_value_is_a_constant_distribution() -> None:
    experiment = read("workload: {messages: {size: 400B, interval: 2s}}\nnetwork: {wifi: {latency: 1.5ms}}")
    assert experiment.workload.messages.size.quantile(0.3) == 400
    assert experiment.workload.messages.rate_per_device_per_min is None
    assert experiment.workload.messages.gap == experiment.workload.messages.interval
    assert experiment.network["wifi"].latency == Constant(1.5)


def test_a_rate_becomes_exponential_gaps() -> None:
    gap = read("workload: {messages: {rate_per_device: 1/s}}").workload.messages.gap
    assert gap is not None
    draws = [gap.quantile((i + 0.5) / 10_000) for i in range(10_000)]
    assert abs(sum(draws) / len(draws) - 1_000_000) < 1_000
    assert read("workload: {messages: {rate_per_device: 0}}").workload.messages.gap is None


def test_users_and_devices() -> None:
    for text, devices, each, users in (
        ("users: 7", 7, 1, 7),
        ("users: 7, devices_per_user: 2", 14, 2, 7),
        ("users: 7, devices: 21", 21, 3, 7),
        ("devices: 10, devices_per_user: 3", 10, 3, 4),
        ("users: 4, devices: 10, devices_per_user: 3", 10, 3, 4),
    ):
        population = read(f"population: {{{text}}}").population
        assert (population.devices, population.devices_per_user, population.users) == (devices, each, users)


def test_on_failed_is_never_or_a_time() -> None:
    assert read("population: {on_failed: never}").population.on_failed == "never"
    assert read("population: {on_failed: {retry_after: 1m}}").population.on_failed == RetryFailed(
        retry_after_us=60_000_000
    )


def test_a_profile_starts_from_the_one_it_is_like() -> None:
    network = read("network:\n  mine: {like: train, rto_min: 1s}\n  other: {like: mine}\n  bare: {}").network
    assert network["mine"].latency == PROFILES["train"].latency
    assert network["mine"].rto_min_ms == 1_000
    assert network["other"].rto_min_ms == 1_000
    assert network["bare"] == type(PROFILES["train"])()


def test_a_mapping_in_python_reads_as_a_file_does() -> None:
    mapping = {"name": "x", "duration": "2m", "faults": [{"at": "1s", "do": "stop_node", "node": 0}]}
    assert loader.from_mapping(mapping) == read("duration: 2m\nfaults: [{at: 1s, do: stop_node, node: 0}]")
    with pytest.raises(FileFaults, match="experiment: unknown key `dration`; did you mean `duration`"):
        loader.from_mapping({"name": "x", "dration": "2m"})


# --- the way back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_resolved_experiment_loads_again_to_the_same(path: Path) -> None:
    experiment = loader.load(path)
    assert loader.from_text(writer.to_yaml(experiment)) == experiment
    assert loader.from_mapping(experiment.to_mapping()) == experiment


DURATION = st.integers(1, 10**12).map(lambda us: f"{us}us")
NETWORK = st.sampled_from(sorted(PROFILES))
SIZE = st.one_of(
    st.integers(1, 10_000).map(lambda n: {"kind": "constant", "value": f"{n}B"}),
    st.integers(1, 99).map(lambda n: {"kind": "uniform", "low": f"{n}B", "high": f"{n}kB"}),
    st.floats(0, 5).map(lambda sigma: {"kind": "lognormal", "median": "300B", "sigma": sigma}),
)
FAULT = st.one_of(
    st.fixed_dictionaries({"do": st.just("crash_node"), "at": st.just("1s"), "nodes": st.just(1), "for": DURATION}),
    st.fixed_dictionaries({"do": st.just("stop_node"), "at": st.just("1s"), "node": st.just(0)}),
    st.fixed_dictionaries(
        {
            "do": st.just("partition"),
            "at": st.just("1s"),
            "fraction": st.floats(0, 1, exclude_min=True),
            "direction": st.sampled_from(["up", "down", "both"]),
        }
    ),
)
LINK = st.fixed_dictionaries(
    {"like": NETWORK},
    optional={
        "loss": st.floats(0, 1),
        "latency": st.floats(0, 1000).map(lambda ms: {"dist": "constant", "delay_ms": ms}),
        "rto_min": st.integers(1, 900).map(lambda ms: f"{ms}ms"),
        "source": st.text(max_size=30),
    },
)
MAPPING = st.fixed_dictionaries(
    {"name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)},
    optional={
        "description": st.text(max_size=40),
        "seed": st.integers(0, (1 << 63) - 1),
        "duration": st.integers(2_000_000, 10**12).map(lambda us: f"{us}us"),
        "relay": st.fixed_dictionaries(
            {},
            optional={
                "nodes": st.integers(1, 9),
                "limits": st.just({"typing": "off"}),
                "heartbeat": DURATION.map(lambda _: {"background_interval": "45s"}),
                "ingress": st.booleans().map(lambda on: {"enabled": on}),
                "store_latency": DURATION,
            },
        ),
        "population": st.fixed_dictionaries(
            {"devices": st.integers(1, 10**6)},
            optional={
                "networks": st.dictionaries(NETWORK, st.floats(0.001, 1e9), min_size=1, max_size=3),
                "on_failed": st.just("never") | DURATION.map(lambda text: {"retry_after": text}),
            },
        ),
        "workload": st.fixed_dictionaries(
            {
                "messages": st.fixed_dictionaries(
                    {"size": SIZE}, optional={"rate_per_device_per_min": st.floats(0, 60_000)}
                )
            }
        ),
        "network": st.dictionaries(st.sampled_from(["wifi", "mine", "yours"]), LINK, max_size=2),
        "faults": st.lists(FAULT, max_size=3),
        "measure": st.just({"interval": "10s", "trace": "full"}),
        "thresholds": st.just({"rtt_ms": ["p99 < 5s", "count > 3"], "messages.failed": "= 0"}),
    },
)


@given(MAPPING)
def test_any_experiment_written_out_loads_again_to_the_same(mapping: dict[str, Any]) -> None:
    experiment = loader.from_mapping({"measure": {"interval": "10s"}, **mapping})
    assert loader.from_text(writer.to_yaml(experiment)) == experiment


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=4))
def test_no_value_anywhere_makes_the_loader_fail_otherwise(value: Any) -> None:
    for path in PLACES:
        tree = yaml.located({"name": "x"}, yaml.Origin("f.yaml"))
        try:
            loader.read(tree, options={path: ("option", value)})
        except FileFaults as error:
            assert error.faults


PLACES = (
    "name",
    "seed",
    "duration",
    "relay",
    "relay.limits",
    "relay.limits.typing",
    "relay.heartbeat.background_interval",
    "relay.upgrade.hosts",
    "population",
    "population.users",
    "population.networks",
    "population.networks.wifi",
    "population.on_failed",
    "network",
    "network.wifi",
    "network.wifi.latency",
    "network.wifi.loss",
    "network.mine.like",
    "network.mine.up",
    "workload.messages.size",
    "workload.messages.interval",
    "faults",
    "faults.do",
    "measure.interval",
    "thresholds",
    "thresholds.rtt_ms",
    "checks",
    "plots",
)


# --- the JSON Schema -----------------------------------------------------------------------------------------


class Checker:
    """As much of JSON Schema draft-07 as `json_schema` uses."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root

    def holds(self, schema: dict[str, Any], value: Any) -> bool:
        if "$ref" in schema:
            return self.holds(self.root["definitions"][schema["$ref"].rpartition("/")[2]], value)
        types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
        checks = [
            all(self.holds(part, value) for part in schema.get("allOf", ())),
            not schema.get("anyOf") or any(self.holds(part, value) for part in schema["anyOf"]),
            "enum" not in schema or value in schema["enum"],
            "const" not in schema or value == schema["const"],
        ]
        kind = schema.get("type")
        if kind in ("integer", "number"):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            checks.append(number and (kind == "number" or value == int(value)))
            checks.append(number and schema.get("minimum", value) <= value <= schema.get("maximum", value))
            checks.append(not number or value > schema.get("exclusiveMinimum", value - 1))
            checks.append(not number or value < schema.get("exclusiveMaximum", value + 1))
        elif kind is not None:
            checks.append(isinstance(value, types[kind]))
        if isinstance(value, str) and "pattern" in schema:
            checks.append(re.search(schema["pattern"], value) is not None)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            checks.append(all(self.holds(schema["items"], item) for item in value))
        if isinstance(value, dict) and kind == "object":
            checks.append(set(schema.get("required", ())) <= set(value))
            for key, child in value.items():
                inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
                checks.append(inner is True or (inner is not False and self.holds(inner, child)))
        return all(checks)


SCHEMA = json_schema()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_schema_takes_what_the_loader_takes(path: Path) -> None:
    checker = Checker(SCHEMA)
    assert checker.holds(SCHEMA, yaml.load(path).plain())
    assert checker.holds(SCHEMA, loader.load(path).to_mapping())


@given(MAPPING)
def test_the_schema_takes_any_experiment_written_out(mapping: dict[str, Any]) -> None:
    experiment = loader.from_mapping({"measure": {"interval": "10s"}, **mapping})
    assert Checker(SCHEMA).holds(SCHEMA, experiment.to_mapping())


@pytest.mark.parametrize(
    "change",
    [
        {"durration": "5m"},
        {"duration": 5},
        {"duration": "5 weeks"},
        {"relay": {"nodes": 0}},
        {"relay": {"limits": {"typing": "of"}}},
        {"faults": [{"do": "crash_nod", "at": "1s"}]},
        {"thresholds": {"reconnect_time": "p99 < 5s"}},
        {"network": {"wifi": {"los": "2%"}}},
        {"workload": {"messages": {"size": {"kind": "constant"}}, "size": 3}},
    ],
)
def test_the_schema_underlines_what_the_loader_refuses(change: dict[str, Any]) -> None:
    assert not Checker(SCHEMA).holds(SCHEMA, {"name": "x", **change})


def test_every_key_of_the_schema_is_described() -> None:
    def visit(node: Any, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for i, child in enumerate(node) for found in visit(child, f"{path}/{i}")]
        if not isinstance(node, dict):
            return []
        named = node.get("properties", {})
        bare = [f"{path}/{key}" for key, child in named.items() if len(child.get("description", "")) < 8]
        return bare + [found for key, child in node.items() for found in visit(child, f"{path}/{key}")]

    assert visit(SCHEMA, "") == []
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_schema_beside_the_experiments_is_the_current_one() -> None:
    """Renew it with `zsim schema > experiments/experiment.schema.json`."""
    stored = json.loads((ROOT / "experiments" / "experiment.schema.json").read_text(encoding="utf-8"))
    assert stored == SCHEMA


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_says_what_it_asks(path: Path) -> None:
    experiment = loader.load(path)
    assert experiment.name == path.stem
    assert experiment.question.endswith("?")
    assert experiment.expectation
    assert experiment.thresholds
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=experiment.schema.json\n")


# --- names ---------------------------------------------------------------------------------------------------


def test_no_two_fields_of_a_section_have_the_same_key() -> None:
    seen: set[type] = set()

    def visit(kind: msgspec.inspect.Type) -> None:
        for part in (*getattr(kind, "types", ()), getattr(kind, "item_type", None), getattr(kind, "value_type", None)):
            if part is not None:
                visit(part)
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls not in seen:
            seen.add(kind.cls)
            names = [keys.key_of(field.name) for field in kind.fields]
            assert len(set(names)) == len(names), kind.cls
            for field in kind.fields:
                visit(field.type)

    visit(loader.experiment_type())
    assert len(seen) > 40


def test_every_metric_of_the_catalogue_has_a_title_in_reports() -> None:
    assert {metric.name.partition(".")[0] for metric in metrics.DISTRIBUTIONS} == set(TITLES)


def test_the_catalogue_has_every_count_of_the_ledgers() -> None:
    from zentalk_sim.report.ledgers import LEDGERS

    for total, parts in LEDGERS.items():
        assert {total, *parts} <= set(metrics.BY_NAME)
