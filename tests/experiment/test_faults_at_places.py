"""Every mistake in an experiment file is told with its line, its column and its remedy, all at once."""

from __future__ import annotations

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import FileFaults


def faults(text: str, *settings: str) -> list[str]:
    """The lines told of a file with that text, `name` being on line 1."""
    with pytest.raises(FileFaults) as caught:
        loader.read(yaml.parse(f"name: x\n{text}\n", "f.yaml"), settings)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        # Unknown keys, with the nearest right name or the section they belong in.
        ("durration: 5m", "f.yaml:2:1: unknown key `durration`; did you mean `duration`?"),
        (
            "relay: {heartbeat: {intervall: 3s}}",
            "f.yaml:2:21: unknown key `intervall` in `relay.heartbeat`; did you mean `interval`?",
        ),
        ("balancer: sticky", "f.yaml:2:1: unknown key `balancer`; it belongs in `relay`"),
        ("backoff: {}", "f.yaml:2:1: unknown key `backoff`; it belongs in `client`"),
        ("xyzzy: 1", "f.yaml:2:1: unknown key `xyzzy`"),
        (
            "client: {backoff: {initial: 1s}}",
            "f.yaml:2:20: unknown key `initial` in `client.backoff`; "
            "known: policy, base, cap, jitter, max_attempts, reset_at, base_ms, cap_ms",
        ),
        ("sweep: [1]", "f.yaml:2:8: `sweep` must be a mapping such as {seeds: 1-20"),
        ("sweep: {seed: 1-3}", "f.yaml:2:9: unknown key `seed` in `sweep`; did you mean `seeds`?"),
        ("sweep: {seeds: many}", "f.yaml:2:16: `sweep.seeds` must be a range such as 1-20"),
        ("sweep: {vary: {relay.nodes: 3}}", "f.yaml:2:29: `sweep.vary.relay.nodes` must be a list of values"),
        (
            "network: {wifi: {ecn: true}}",
            "f.yaml:2:18: `network.wifi.ecn` cannot be set: congestion marks are not modelled",
        ),
        # Numbers.
        ("relay: {nodes: 0}", "f.yaml:2:16: `relay.nodes` must be at least 1, and is 0"),
        ("relay: {nodes: 2.5}", "f.yaml:2:16: `relay.nodes` must be a whole number, not 2.5"),
        ("relay: {nodes: two}", "f.yaml:2:16: `relay.nodes` must be a whole number, not `two`"),
        ("relay: {nodes: true}", "f.yaml:2:16: `relay.nodes` must be a whole number, not true"),
        ("relay: {nodes: }", "f.yaml:2:15: `relay.nodes` must be a whole number, not empty"),
        ("relay: {nodes: [1]}", "f.yaml:2:16: `relay.nodes` must be a whole number, not a list"),
        ("population: {devices: 99999999999999999999}", "f.yaml:2:23: `population.devices` is too large"),
        ("population: {devices: 20000000}", "f.yaml:2:14: `population.devices` must be at most 10,000,000"),
        (
            "workload: {reads: {probability: 1.5}}",
            "f.yaml:2:33: `workload.reads.probability` must be at most 1, and is 1.5",
        ),
        (
            "workload: {messages: {rate_per_device: -2/min}}",
            "f.yaml:2:40: `workload.messages.rate_per_device`: `-2/min` is negative; a rate is 0 or more",
        ),
        (
            "workload: {messages: {rate_per_device_per_min: -2}}",
            "f.yaml:2:48: `workload.messages.rate_per_device_per_min` must not be negative, and is -2",
        ),
        (
            "workload: {messages: {rate_per_device: 2000/s}}",
            "f.yaml:2:23: `workload.messages.rate_per_device` must be at most 1000/s",
        ),
        ("seed: -1", "f.yaml:2:7: `seed` must not be negative, and is -1"),
        # Units.
        ("duration: 300", "f.yaml:2:11: `duration` is a duration and needs a unit, such as 30s"),
        ("duration: 5 fortnights", "f.yaml:2:11: `duration`: `fortnights` is no unit of time; use us, ms, s, m"),
        ("duration: 64KiB", "f.yaml:2:11: `duration`: `KiB` is no unit of time"),
        ("duration: -5m", "f.yaml:2:11: `duration`: `-5m` is negative; a duration is 0 or more"),
        ("duration: 0s", "f.yaml:2:11: `duration` must be at least 1us, and is 0s"),
        ("duration: soon", "f.yaml:2:11: `duration` must be a duration such as 30s, not `soon`"),
        (
            "relay: {token: {lifetime: 1500ms}}",
            "f.yaml:2:27: `relay.token.lifetime`: `1500ms` is finer than the 1s this setting counts in",
        ),
        ("relay: {frames: {max: 3s}}", "f.yaml:2:23: `relay.frames.max`: `s` is no unit of size"),
        ("relay: {heartbeat: {interval_ms: 30s}}", "f.yaml:2:34: `relay.heartbeat.interval_ms` must be a whole number"),
        (
            "relay: {heartbeat: {interval: 30s, interval_ms: 3}}",
            "f.yaml:2:36: `interval` and `interval_ms` say the same; keep one",
        ),
        ("relay: {heartbeat: {background_interval: 30}}", "f.yaml:2:42: `relay.heartbeat.background_interval` is a"),
        (
            "network: {wifi: {rate: 10}}",
            "f.yaml:2:24: `network.wifi.rate` is a bit rate and needs a unit, such as 10Mb",
        ),
        # Words.
        ("fidelity: frame", "f.yaml:2:11: `fidelity`: unknown value `frame`; did you mean `frames`?"),
        ("relay: {balancer: fair}", "f.yaml:2:19: `relay.balancer`: unknown value `fair`; known: least_connections,"),
        ("plots: on", "f.yaml:2:8: `plots` must be true or false, not `on`"),
        ("description: 12", "f.yaml:2:14: `description` must be a text, not `12`"),
        ("checks: [ledger]", "f.yaml:2:10: `checks.0`: unknown value `ledger`; did you mean `ledgers`?"),
        (
            "relay: {limits: {typing: of}}",
            "f.yaml:2:26: `relay.limits.typing` must be a mapping (key: value) or `off`, not `of`",
        ),
        ("population: {on_failed: retry}", "f.yaml:2:25: `population.on_failed` must be `never` or a mapping"),
        ("relay: 5", "f.yaml:2:8: `relay` must be a mapping (key: value), not `5`"),
        ("faults: {at: 3s}", "f.yaml:2:9: `faults` must be a list (- item), not a mapping"),
        # Names that must exist.
        (
            "population: {networks: {wify: 1}}",
            "f.yaml:2:25: `population.networks`: unknown link profile `wify`; did you mean `wifi`?",
        ),
        ("population: {networks: {wifi: 0}}", "f.yaml:2:14: `population.networks` needs a weight greater than 0"),
        ("population: {networks: {}}", "f.yaml:2:14: `population.networks` needs a weight greater than 0"),
        ("network: {mine: {like: lt}}", "f.yaml:2:24: `network.mine.like`: unknown profile `lt`; did you mean `lte`?"),
        ("network: {mine: 5}", "f.yaml:2:17: `network.mine` must be a mapping (key: value)"),
        ("network: 5", "f.yaml:2:10: `network` must be a mapping from a profile's name to its settings"),
        (
            "network: {wifi: {latency: {dist: norml}}}",
            "f.yaml:2:34: `network.wifi.latency.dist`: unknown value `norml`; did you mean `normal`?",
        ),
        ("network: {wifi: {latency: {min: 3ms}}}", "f.yaml:2:27: `network.wifi.latency` needs `dist`: one of constant"),
        ("network: {wifi: {latency: fast}}", "f.yaml:2:27: `network.wifi.latency` must be a duration such as 30s, or"),
        (
            "network: {wifi: {latency: {dist: uniform, min: 5ms, max: 3ms}}}",
            "f.yaml:2:27: `network.wifi.latency`: min_ms 5.0 is above max_ms 3.0",
        ),
        # Faults of the experiment.
        ("faults: [{do: crash_nod, at: 1s}]", "f.yaml:2:15: `faults.0.do`: unknown value `crash_nod`; did you mean"),
        ("faults: [{at: 1s}]", "f.yaml:2:10: `faults.0` needs `do`: one of crash_node, restart_node, stop_node,"),
        ("faults: [{do: stop_node, node: 0}]", "f.yaml:2:10: key `at` of `faults.0` is missing"),
        ("faults: [{do: stop_node, node: 0, at: 1s, fr: 2s}]", "f.yaml:2:43: unknown key `fr` in `faults.0`; did you"),
        (
            "faults: [{do: crash_node, node: 4, at: 1s}]",
            "f.yaml:2:27: `faults.0.node`: there is no node 4; the relay has 1, numbered from 0",
        ),
        ("faults: [{do: crash_node, at: 1s}]", "f.yaml:2:10: `faults.0`: say `node` (which) or `nodes` (how many)"),
        (
            "faults: [{do: device_offline, devices: 101, at: 1s}]",
            "f.yaml:2:31: `faults.0.devices`: the population has only 100",
        ),
        (
            "duration: 37942467us\nfaults: [{do: stop_node, node: 0, at: 1m}]",
            "f.yaml:3:35: `faults.0.at` must be before the end, 37.94s",
        ),
        (
            "client: {backoff: {base: 60s, cap: 1s}}",
            "f.yaml:2:20: `client.backoff.base`, 1m, is above its `cap`, 1s: the first wait would be cut short already",
        ),
        (
            "population: {tail_exponent: 1e308}",
            "f.yaml:2:29: `population.tail_exponent` must be at most 10, and is 1e+308",
        ),
        ("faults: [{do: crash_node, nodes: 2, at: 1s}]", "f.yaml:2:27: `faults.0.nodes`: the relay has only 1"),
        ("faults: [{do: stop_node, node: 0, at: 2h}]", "f.yaml:2:35: `faults.0.at` must be before the end, 1m"),
        ("faults: [{do: partition, at: 1s}]", "f.yaml:2:10: `faults.0`: say `devices` (how many), `network` (which)"),
        (
            "faults: [{do: partition, at: 1s, network: lte}]",
            "f.yaml:2:34: `faults.0.network`: no device is on `lte`; known: wifi",
        ),
        (
            "faults: [{do: reset_connections, at: 1s, fraction: 0}]",
            "f.yaml:2:52: `faults.0.fraction` must be greater than 0, and is 0",
        ),
        # What must fit together.
        ("warm_up: 2m", "f.yaml:2:1: `warm_up` must be shorter than the duration, 1m"),
        ("measure: {interval: 1us}", "f.yaml:2:11: `measure.interval` is too short: the time series would have more"),
        (
            "workload: {messages: {interval: 1s, rate_per_device: 1/min}}",
            "f.yaml:2:23: `workload.messages`: say `rate_per_device` or `interval`, not both",
        ),
        ("workload: {messages: {interval: 0}}", "f.yaml:2:23: `workload.messages.interval` must be longer than 0"),
        (
            "workload: {messages: {size: {kind: uniform, low: 9B, high: 5B}}}",
            "f.yaml:2:54: `workload.messages.size`: `high` is below `low`",
        ),
        ("workload: {messages: {size: 40}}", "f.yaml:2:29: `workload.messages.size` is a size and needs a unit"),
        (
            "faults: [{do: slow_store, at: 1s, latency: 500us}]",
            "f.yaml:2:35: `faults.0.latency` is shorter than `relay.store_latency`, 1ms: the store would be faster",
        ),
        (
            "relay: {ingress: {memory: {limit: 50kB}}}",
            "f.yaml:2:28: `relay.ingress.memory.limit` is less than one connection takes, 56KiB: none is taken",
        ),
        (
            "workload: {push: {delay: 3s}}",
            "f.yaml:2:12: `workload.push` says nothing while its `wake_probability` is 0",
        ),
        ("faults: [{do: store_outage, at: 1s, for: 0s}]", "f.yaml:2:42: `faults.0.for` must be at least 1us"),
        (
            "faults: [{do: bus_outage, at: 1s}]",
            "f.yaml:2:10: `faults.0`: there is no bus where the relay has one node",
        ),
        ("faults: [{do: handover, at: 1s, to: lte}]", "f.yaml:2:10: `faults.0`: say `devices` (how many), `network`"),
        (
            "faults: [{do: handover, at: 1s, fraction: 1.0, to: lt}]",
            "f.yaml:2:48: `faults.0.to`: unknown link profile `lt`; did you mean `lte`?",
        ),
        ("faults: [{do: handover, at: 1s, fraction: 1.0}]", "f.yaml:2:10: key `to` of `faults.0` is missing"),
        ("faults: [{do: device_offline, at: 1s}]", "f.yaml:2:10: `faults.0`: say `devices` (how many), `network`"),
        (
            "faults: [{do: slow_node, at: 1s, node: 3}]",
            "f.yaml:2:34: `faults.0.node`: there is no node 3; the relay has",
        ),
        (
            "faults: [{do: slow_node, at: 1s, node: 0, factor: 0.5}]",
            "f.yaml:2:51: `faults.0.factor` must be at least 1, and is 0.5",
        ),
        (
            "relay: {ingress: {enabled: false}}\nfaults: [{do: slow_node, at: 1s, node: 0}]",
            "f.yaml:3:10: `faults.0`: a node is slow in its CPU work, which costs no time where",
        ),
        # Policies, users, workload.
        (
            "client: {backoff: {policy: server_direct}}",
            "f.yaml:2:28: `client.backoff.policy`: unknown value `server_direct`; did you mean `server_directed`?",
        ),
        (
            "population: {devices_per_user: []}",
            "f.yaml:2:14: `population.devices_per_user` needs 1 to 20 weights, one of them greater than 0",
        ),
        ("population: {devices_per_user: [0, 0]}", "f.yaml:2:14: `population.devices_per_user` needs 1 to 20 weights"),
        (
            "population: {users: 3, devices_per_user: [1, 2]}",
            "f.yaml:2:14: `population.users` needs `devices_per_user` to be a number",
        ),
        (
            "population: {tail_exponent: 1.5}",
            "f.yaml:2:14: `population.tail_exponent` says nothing while `population.contact_graph` is uniform",
        ),
        (
            "population: {clock_skew: {offset: 9000d}}",
            "f.yaml:2:27: `population.clock_skew.offset` must stay below 3650d",
        ),
        (
            "workload: {burst: {mean_messages: 3}}",
            "f.yaml:2:12: `workload.burst` says nothing while `workload.pattern` is steady",
        ),
        (
            "workload: {presence: {set_every: 0}}",
            "f.yaml:2:23: `workload.presence.set_every` must be longer than 0",
        ),
        ("workload: {foreground: {on: 0}}", "f.yaml:2:25: `workload.foreground.on` must be longer than 0"),
        ("population: {users: 0}", "f.yaml:2:21: `population.users` must be a whole number of at least 1, not `0`"),
        (
            "population: {users: 10, devices: 100, devices_per_user: 3}",
            "f.yaml:2:14: 100 devices with 3 a user make 34 users, not 10; leave one out",
        ),
        # Thresholds.
        (
            "thresholds: {reconnect_time: [p99 < 5s]}",
            "f.yaml:2:14: unknown metric `reconnect_time` in `thresholds`; did",
        ),
        ("thresholds: {rtt_ms: [p98 < 5s]}", "f.yaml:2:23: `thresholds.rtt_ms`: unknown statistic `p98` of `rtt_ms`;"),
        ("thresholds: {rtt_ms: [p99 < 5]}", "f.yaml:2:23: `thresholds.rtt_ms`: `5` needs a unit of time, as in `p99 <"),
        ("thresholds: {rtt_ms: [5]}", "f.yaml:2:23: `thresholds.rtt_ms` must be a bound in quotes such as"),
        ("thresholds: [a]", "f.yaml:2:13: `thresholds` must be a mapping from metric to bounds such as"),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, fault: str) -> None:
    told = faults(text)
    assert len(told) == 1, told
    assert told[0].startswith(fault), told[0]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "durration: 5m\nrelay: {nodes: -3, heartbeat: {interval: 3}}\nfaults:\n  - {at: 1s, do: stop_node}\nplots: 1"
    assert faults(text, "seed=-4", "bad") == [
        "f.yaml:2:1: unknown key `durration`; did you mean `duration`?",
        "f.yaml:3:16: `relay.nodes` must be at least 1, and is -3",
        "f.yaml:3:42: `relay.heartbeat.interval` is a duration and needs a unit, such as 30s",
        "f.yaml:5:5: key `node` of `faults.0` is missing",
        "f.yaml:6:8: `plots` must be true or false, not `1`",
        "-S bad: must be path=value, such as -S population.devices=500",
        "-S seed=-4: `seed` must not be negative, and is -4",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.yaml:1:1: is empty; `zsim new NAME` writes a file to start from"),
        ("# only a comment\n", "f.yaml:1:1: is empty"),
        ("- a\n", "f.yaml:1:1: must be a mapping (key: value), as `zsim new NAME` writes it"),
        ("hello\n", "f.yaml:1:1: must be a mapping"),
        ("seed: 3\n", "f.yaml:1:1: key `name` is missing"),
        ("name: ../up\n", "f.yaml:1:1: `name` must be 1 to 64 letters, digits"),
        ("name: 5\n", "f.yaml:1:7: `name` must be a text, not `5`"),
    ],
)
def test_a_file_that_is_no_experiment_is_told_so(text: str, fault: str) -> None:
    with pytest.raises(FileFaults) as caught:
        loader.from_text(text, "f.yaml")
    assert str(caught.value).startswith(fault)
