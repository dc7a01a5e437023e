"""The fuzzer itself: plans, trials, shrinking, capsules, swarms, and the command."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.fuzz.planted import planted
from zentalk_sim.cli import zsim
from zentalk_sim.cli.errors import run as run_command
from zentalk_sim.fuzz import capsule as capsules
from zentalk_sim.fuzz.plan import Plan, draw
from zentalk_sim.fuzz.rules_drawn import FAMILIES
from zentalk_sim.fuzz.shrink import Shrinker
from zentalk_sim.fuzz.situations import NAMES, Situations
from zentalk_sim.fuzz.swarm import fuzz
from zentalk_sim.fuzz.trial import Failure, Outcome, Trial, run

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
SMALL = Plan(
    {
        "name": "small",
        "seed": 7,
        "duration": "20s",
        "population": {"devices": 3, "networks": {"lan": 1}},
        "workload": {"start": {"ramp": "1s"}, "messages": {"rate_per_device": "30/min"}},
        "faults": [{"at": "10000ms", "do": "reset_connections", "fraction": 1.0}],
    },
    [],
)


def test_a_plan_must_be_a_function_of_its_seed() -> None:
    assert msgspec.to_builtins(draw(3)) == msgspec.to_builtins(draw(3))
    assert msgspec.to_builtins(draw(3)) != msgspec.to_builtins(draw(4))


def test_plans_must_be_valid_experiments_and_differ_in_what_they_hold() -> None:
    from zentalk_sim.experiment.loader import from_mapping

    kinds: set[str] = set()
    rules: set[tuple[str, str]] = set()
    without_rules = 0
    for seed in range(1, 90):
        plan = draw(seed)
        from_mapping(plan.experiment, source=f"seed {seed}")
        timed = [fault for fault in plan.experiment["faults"] if "do" in fault]
        ruled = [fault for fault in plan.experiment["faults"] if "match" in fault]
        kinds |= {fault["do"] for fault in timed} | {act["do"] for act in plan.acts}
        rules |= {(rule["match"]["event"], rule["action"]["do"]) for rule in ruled}
        without_rules += not ruled
    assert len(kinds) == 20, sorted(kinds)
    assert rules <= set(FAMILIES)
    assert len(rules) >= 30, sorted(set(FAMILIES) - rules)
    assert 55 <= without_rules <= 75


def test_a_trial_must_be_the_same_twice() -> None:
    one, other = run(SMALL), run(SMALL)
    assert one == other
    assert one.failure is None
    assert one.frames > 50
    assert one.situations["a session was resumed"] == 3


def test_a_core_that_raises_is_a_failure_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from zentalk_sim.protocol import heartbeat, mailbox

    def broken(*_: object) -> None:
        raise AssertionError("no such mailbox")

    monkeypatch.setattr(mailbox, "push_new", broken)
    assert heartbeat is not None
    failure = run(SMALL).failure
    assert failure is not None
    assert failure.id == "crash.test_fuzz.broken"
    assert "no such mailbox" in failure.message
    assert "messages.py" in failure.traceback


def test_a_world_that_never_converges_is_a_failure_of_liveness() -> None:
    endless = msgspec.json.decode(msgspec.json.encode(SMALL), type=Plan)
    endless.experiment["faults"] = [{"at": "10000ms", "do": "device_offline", "devices": 1}]
    endless.peace_s = 60
    failure = run(endless).failure
    assert failure is not None
    assert failure.id == "liveness.connected"
    assert "not within 60 s" in failure.message


def test_a_cool_down_longer_than_peace_must_not_pass_for_a_world_that_never_converges() -> None:
    """R-11.3: the last RATE_LIMITED, here of a limit by the hour, says how long a 4002 has a client wait."""
    plan = msgspec.json.decode(msgspec.json.encode(SMALL), type=Plan)
    plan.experiment["relay"] = {"token": {"lifetime": "60s", "refresh_window": "60s"}}
    plan.experiment["client"] = {"token_refresh": "window_opens", "refresh_retry": "5s"}
    plan.acts.append({"at_ms": 8_000, "do": "close", "device": 0, "code": 4002})
    trial = Trial(plan)
    outcome = trial.run()
    assert outcome.failure is None, outcome.failure
    client = trial.world.devices[0].client
    assert client._rate_limited_us is None
    assert client.attempts >= 2


def test_the_checks_must_find_the_same_in_a_kept_trace(tmp_path: Path) -> None:
    from zentalk_sim.checks import run_file

    trial = Trial(SMALL, trace=tmp_path / "trace.jsonl")
    trial.run()
    kept = run_file(tmp_path / "trace.jsonl")
    assert kept.results == trial.engine.report().results
    assert kept.passed_over == {}


def test_a_failure_must_shrink_to_what_it_needs() -> None:
    plan = msgspec.json.decode(msgspec.json.encode(SMALL), type=Plan)
    plan.experiment["client"] = {"fetch_page": 3, "queue": {"max_messages": 5}}
    plan.experiment["faults"] *= 3
    plan.acts.append(
        {"at_ms": 2_000, "do": "rogue", "node": 0, "gap_ms": 100, "moves": ["send", "burst", "wait", "wait"]}
    )
    plan.acts.append({"at_ms": 3_000, "do": "invisible", "device": 1})
    with planted("content mixed up"):
        outcome = run(plan)
        shrinker = Shrinker(plan, outcome, budget=40)
        shrinker.shrink()
    assert outcome.failure is not None
    assert shrinker.outcome.failure is not None
    assert shrinker.outcome.failure.id == outcome.failure.id
    assert shrinker.trials <= 40
    before, after = (len(msgspec.json.encode(p)) for p in (plan, shrinker.plan))
    assert after < before * 0.6
    assert shrinker.plan.acts == []
    assert shrinker.plan.experiment["faults"] == []
    assert "client" not in shrinker.plan.experiment


def _ruled(rule: Mapping[str, object], seed: int = 7) -> Plan:
    plan = msgspec.json.decode(msgspec.json.encode(SMALL), type=Plan)
    plan.experiment["seed"] = seed
    plan.experiment["faults"] = [dict(rule)]
    return plan


def test_rules_must_be_taken_out_as_peace_begins_and_what_they_did_be_made_good_for() -> None:
    """Every message pushed is lost: none is confirmed until the rule is gone, and the next connection brings all."""
    rule = {"match": {"event": "frame_out", "type": "MESSAGE_NEW"}, "action": {"do": "drop"}, "comment": "all lost"}
    trial = Trial(_ruled(rule))
    outcome = trial.run()
    assert outcome.failure is None, outcome.failure
    assert outcome.converged_us is not None
    (listed,) = trial.rules
    assert listed["fired"] > 3
    assert outcome.situations["a rule struck: drop at frame_out"] == listed["fired"]
    told = [text for _, text in outcome.timeline if text.startswith("all lost: drop (out, connection ")]
    assert len(told) == listed["fired"]
    assert trial.world.rules is not None
    assert len(trial.world.rules.rules) == 0


def test_checks_of_the_relay_must_go_on_behind_a_rule() -> None:
    """A rule that spoils what clients send: the relay's answers to it are judged, the clients' frames are not."""
    rule = {"match": {"event": "frame_in", "type": "MESSAGE_SEND"}, "action": {"do": "corrupt", "kind": "bad_json"}}
    trial = Trial(_ruled({**rule, "times": 6}))
    outcome = trial.run()
    assert outcome.failure is None, outcome.failure
    assert outcome.situations["a frame was refused on a connection that a rule had struck"] == 6
    results = {result.id: result for result in trial.engine.report().results}
    assert results["client.well_formed"].broken == 0
    assert results["relay.error_fields"].verdict == "held"


def test_a_rule_must_shrink_to_one_strike_or_go() -> None:
    rule = {
        "match": {"event": "frame_out", "type": "PING", "device": "device-0", "every": 3, "probability": 0.5},
        "action": {"do": "delay", "ms": 5},
        "times": 20,
    }
    plan = _ruled(rule)

    def run_with(plan: Plan) -> Outcome:
        """Fails as long as there is a rule."""
        has_rule = any("match" in fault for fault in plan.experiment["faults"])
        failure = Failure("relay.order", "", "", "", 0) if has_rule else None
        return Outcome(failure, {}, 0, 15_000_000, None, ())

    shrinker = Shrinker(plan, run_with(plan), run=run_with)
    shrinker.shrink()
    (left,) = shrinker.plan.experiment["faults"]
    assert left == {**rule, "match": {"event": "frame_out", "type": "PING"}, "times": 1}
    assert int(shrinker.plan.experiment["duration"].removesuffix("s")) < 10


def test_a_swarm_must_keep_its_failures_as_capsules_that_replay(tmp_path: Path) -> None:
    with planted("content mixed up"):
        tally = fuzz(iter([2]), tmp_path / "capsules", clock=time.monotonic, budget=10)
        (found,) = tally.found
        capsule = capsules.read(Path(found.path))
        assert capsule.broken.check == found.failure.id == "relay.content"
        assert capsule.broken.evidence
        assert capsule.replay == f"zsim fuzz --replay {found.path}"
        result = CliRunner().invoke(zsim, ["fuzz", "--replay", found.path], standalone_mode=False)
        assert "fails as before: relay.content (R-6.1)" in result.output
        assert run_command(zsim, ["fuzz", "--replay", found.path], "zsim") == 99
    assert run_command(zsim, ["fuzz", "--replay", found.path], "zsim") == 0


def test_an_interrupted_swarm_must_keep_what_it_found(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    tally = fuzz(itertools.count(7), tmp_path, clock=time.monotonic, told=interrupt)
    assert tally.interrupted
    assert tally.seeds == 1


def test_a_swarm_ends_when_its_time_is_over(tmp_path: Path) -> None:
    clock = itertools.count(0, 10)
    tally = fuzz(itertools.count(7), tmp_path, for_s=25, clock=lambda: next(clock))
    assert tally.seeds == 1
    assert tally.seeds_per_hour > 0
    assert set(tally.as_data()["situations"]) == set(NAMES)


def test_a_situation_without_a_name_is_refused() -> None:
    with pytest.raises(KeyError):
        Situations().reached("something else")
    assert len(NAMES) == len(set(NAMES)) >= 20


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seeds", "x"], "write 1-1000"),
        (["--seeds", "9-1"], "runs backwards; write 1-9"),
        (["--for", "soon"], "soon"),
        (["--trace", "f"], "--trace belongs to --replay"),
        (["--replay", "missing.json"], "missing.json"),
    ],
)
def test_bad_usage_is_told(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(zsim, ["fuzz", *arguments], "zsim") == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("data", ["", "[]", "{", '{"zentalk_capsule": 1}', "\x00" * 50])
def test_a_file_that_is_no_capsule_is_told(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "capsule.json"
    path.write_text(data)
    assert run_command(zsim, ["fuzz", "--replay", str(path)], "zsim") == 2
    assert f"{path}: not a capsule" in capsys.readouterr().err


def test_a_capsule_whose_plan_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(CORPUS[0].read_text())
    path = tmp_path / "capsule.json"
    for change in ({"acts": [{"do": "dance", "at_ms": 1}]}, {"experiment": {"nmae": "x"}}, {"acts": [{}]}):
        path.write_text(json.dumps({**data, "plan": {**data["plan"], **change}}))
        assert run_command(zsim, ["fuzz", "--replay", str(path)], "zsim") == 2
        assert capsys.readouterr().err


def test_the_command_tells_what_it_found(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(zsim, ["fuzz", "--seeds", "7", "--capsules", str(tmp_path), "--json"], standalone_mode=False)
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["seeds"], data["failures"], data["interrupted"]) == (1, [], False)
    result = runner.invoke(zsim, ["fuzz", "--seeds", "7", "--capsules", str(tmp_path)], standalone_mode=False)
    assert "1 trials" in result.stdout
    assert "situations reached" in result.stdout
    assert "never: " in result.stdout


@pytest.mark.parametrize("path", CORPUS, ids=[path.stem for path in CORPUS])
def test_what_failed_once_must_not_fail_again(path: Path) -> None:
    outcome = run(capsules.read(path).plan)
    assert outcome.failure is None, outcome.failure
