"""What a sweep varies: seeds, axes, and the `sweep` section of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import sweep
from zentalk_sim.experiment.sweep_grid import (
    Axis,
    combinations,
    format_seeds,
    merged,
    parse_axis,
    parse_seeds,
    split_values,
    take_section,
)
from zentalk_sim.files import yaml
from zentalk_sim.files.yaml import Fault, FileFaults


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1-4", [1, 2, 3, 4]), ("7", [7]), ("1,2,7-9", [1, 2, 7, 8, 9]), ("9,3", [9, 3]), (" 1 - 2 ", [1, 2])],
)
def test_seeds_are_ranges_and_lists(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds
    assert parse_seeds(format_seeds(seeds)) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no seeds"),
        ("a-b", "names no seeds"),
        ("-3", "names no seeds"),
        ("5-2", "smaller seed first"),
        ("1-3,2", "seed 2 twice"),
        ("1-99999999999", "more than 100,000 seeds"),
        (f"{1 << 63}", "a seed is at most"),
    ],
)
def test_bad_seeds_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_seeds(text)


def test_commas_inside_brackets_braces_and_quotes_belong_to_the_value() -> None:
    assert split_values("{wifi: 1, lte: 2},{lan: 1}") == ["{wifi: 1, lte: 2}", "{lan: 1}"]
    assert split_values("[1,2],[3,[4,5]]") == ["[1,2]", "[3,[4,5]]"]
    assert split_values("'a,b',\"c,d\"") == ["'a,b'", '"c,d"']
    assert split_values("1,2,") == ["1", "2", ""]


def test_an_axis_has_its_values_as_texts_and_as_data() -> None:
    axis = parse_axis("relay.nodes=2, 4")
    assert axis == Axis("relay.nodes", ("2", "4"), (2, 4))
    assert axis.varies
    assert parse_axis("relay.heartbeat.interval=30s").varies is False
    assert parse_axis("population.networks={lan: 1},{lte: 1}").values == ("{lan: 1}", "{lte: 1}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("relay.nodes", "must be path=value"),
        ("=3", "must be path=value"),
        ("relay..nodes=3", "must be path=value"),
        ("relay.nodes=2,2", "`2` stands twice"),
        ("relay.nodes=2,,4", "is empty"),
        ("seed=1,2", "given by --seeds"),
        ("name=a,b", "names the sweep's folder and cannot vary; change it in the file"),
        ("sweep.seeds=1,2", "`sweep` itself cannot vary"),
        ("relay.nodes=[1", "the value cannot be read"),
    ],
)
def test_bad_axes_are_told(text: str, message: str) -> None:
    with pytest.raises(FileFaults, match=message):
        parse_axis(text)


def test_the_last_axis_varies_fastest() -> None:
    axes = [parse_axis("a=1,2"), parse_axis("b=x,y,z")]
    assert combinations(axes) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert combinations([]) == [()]


def test_the_command_takes_the_place_of_the_file() -> None:
    section = take_section(yaml.parse("sweep: {seeds: 1-3, vary: {relay.nodes: [1, 2], warm_up: [0s, 5s]}}", "f"))
    assert section.seeds == "1-3"
    faults: list[Fault] = []
    found = merged(section.axes, [parse_axis("relay.nodes=4")], faults)
    assert [(axis.path, axis.texts) for axis in found] == [("relay.nodes", ("4",)), ("warm_up", ("0s", "5s"))]
    assert faults == []
    merged([], [parse_axis("a=1"), parse_axis("a=2")], faults)
    assert [str(fault) for fault in faults] == [
        "-S a: is given twice; say all its values in one -S, with commas between"
    ]


def test_every_fault_of_the_sweep_section_is_told_with_its_place() -> None:
    tree = yaml.parse("sweep:\n  sedes: 1\n  seeds: 5-1\n  vary: {a: 3, seed: [1, 2]}\n", "f.yaml")
    with pytest.raises(FileFaults) as found:
        take_section(tree)
    told = str(found.value)
    assert "f.yaml:2:3: unknown key `sedes` in `sweep`; did you mean `seeds`?" in told
    assert "f.yaml:3:10: `sweep.seeds` must be a range" in told
    assert "`sweep.vary.a` must be a list" in told
    assert "given by --seeds" in told


def test_a_fault_of_a_value_is_told_where_the_file_has_it_whichever_command_asks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from zentalk_sim.cli import errors, zsim

    path = tmp_path / "f.yaml"
    path.write_text(
        "name: f\nduration: 9s\nsweep:\n  seeds: 1-2\n  vary:\n    nope.x: [3, 4]\n    relay.nodes: [2, none]\n"
        "    relay..nodes: [1]\n"
    )
    told = (
        f"{path}:6:5: unknown key `nope`\n"
        f"{path}:7:22: `relay.nodes` must be a whole number, not `none`\n"
        f"{path}:8:5: the path must be keys with dots between, such as population.devices\n"
    )
    for command in ("sweep", "validate"):
        assert errors.run(zsim, [command, str(path)], "zsim") == 2
        assert capfd.readouterr().err == told
    with pytest.raises(FileFaults, match=r"^vary nope\.x: unknown key `nope`$"):
        sweep.plan(SMALL, seeds="1", vary={"nope.x": [3, 4]})


@pytest.mark.parametrize("command", ["sweep", "validate", "run"])
def test_every_fault_of_file_and_sweep_must_be_told_at_once_whichever_command_asks(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from zentalk_sim.cli import errors, zsim

    path = tmp_path / "w.yaml"
    path.write_text("name: w\nwrokload: 1\nsweep: {seeds: x, vary: {relay.nodes: 3}}\npopulation: {devices: -1}\n")
    assert errors.run(zsim, [command, str(path)], "zsim") == 2
    told = capfd.readouterr().err.splitlines()
    assert [line.removeprefix(f"{path}:")[:4] for line in told] == ["2:1:", "3:16", "3:39", "4:23"]


def test_what_a_sweep_varies_must_be_told_with_the_other_faults_of_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from zentalk_sim.cli import errors, zsim

    path = tmp_path / "w.yaml"
    path.write_text("name: w\nwrokload: 1\nsweep: {seeds: 1-2, vary: {relay.nods: [3, 4], name: [a, b]}}\n")
    for command in ("sweep", "validate"):
        assert errors.run(zsim, [command, str(path)], "zsim") == 2
        told = capfd.readouterr().err
        assert sorted(told.splitlines()) == [
            f"{path}:2:1: unknown key `wrokload`; did you mean `workload`?",
            f"{path}:3:28: unknown key `nods` in `relay`; did you mean `nodes`?",
            f"{path}:3:48: `name` names the sweep's folder and cannot vary; change it in the file",
        ]


def test_every_fault_of_the_options_must_be_told_at_once() -> None:
    def told(**asked: Any) -> list[str]:
        with pytest.raises(FileFaults) as found:
            sweep.plan(SMALL, **asked)
        return str(found.value).splitlines()

    lines = told(seeds="a", settings=["relay.nodes=x", "foo=1,2", "=3", "warm_up=1s", "warm_up=2s"], vary={"b": 3})
    assert [line.partition(": ")[0] for line in lines] == [
        "-S =3",
        "vary b",
        "-S warm_up",
        "--seeds",
        "-S foo=1",
        "-S relay.nodes=x",
        "-S foo=2",
    ]
    lines = told(seeds="1-60000", settings=["relay.nodes=1,2", "foo=1"])
    assert lines == ["sweep: has 120,000 cells; at most 100,000 are run at once", "-S foo=1: unknown key `foo`"]


def test_a_file_that_sweeps_users_does_not_keep_its_devices() -> None:
    laid = sweep.plan({**SMALL, "sweep": {"seeds": 1, "vary": {"population.users": [3, 4]}}})
    assert [experiment.population.devices for experiment in laid.experiments] == [3, 4]


@pytest.mark.parametrize(
    ("seeds", "expected"), [([1, 2], [1, 2]), (range(1, 3), [1, 2]), (3, [3]), ("1-2", [1, 2]), ((4, 2), [4, 2])]
)
def test_seeds_of_a_call_may_be_numbers(seeds: Any, expected: list[int]) -> None:
    assert sweep.plan(SMALL, seeds=seeds).seeds == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": [1.5]}, "--seeds: `1.5` names no seeds"),
        ({"seeds": []}, "--seeds: `` names no seeds"),
        ({"seeds": [1, 1]}, "--seeds: `1,1` names seed 1 twice"),
        ({"seeds": -3}, "--seeds: `-3` names no seeds"),
        ({"vary": {"relay.nodes": 3}}, r"vary relay.nodes: must be a list of values, such as \[3\]"),
        ({"vary": {"client.backoff.policy": "spec"}}, r"must be a list of values, such as \['spec'\]"),
        ({"vary": {"relay.nodes": []}}, "vary relay.nodes: has no values"),
        ({"vary": {"relay.nodes": [1j]}}, "`1j` is no plain value"),
        ({"workers": -1}, "workers: must be a number of processes, or 0 to run in this one, not -1"),
    ],
)
def test_a_call_that_cannot_be_taken_is_told_why(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FileFaults, match=message):
        sweep.run(SMALL, **{"seeds": "1", "workers": 0, **arguments})


def test_two_texts_of_one_value_are_refused_where_no_combination_tells_them_apart() -> None:
    expected = (
        "^-S duration=20s,30s,20000ms: `20s` and `20000ms` are the same value; it would give the same runs twice$"
    )
    with pytest.raises(FileFaults, match=expected):
        sweep.plan(SMALL, seeds="1", settings=["relay.nodes=1,2", "duration=20s,30s,20000ms"])
    with pytest.raises(FileFaults, match=r"^experiment: `1` and `0x1` are the same value"):
        sweep.plan({**SMALL, "sweep": {"seeds": 1, "vary": {"relay.nodes": [1, "0x1"]}}})


def test_a_plan_has_every_combination_with_every_seed() -> None:
    laid = sweep.plan(SMALL, seeds="1-3", settings=["relay.nodes=1,2", "population.devices=4,6", "warm_up=1s"])
    assert len(laid.cells) == 12
    assert len({cell.key for cell in laid.cells}) == 12
    assert laid.parameters[1] == {"relay.nodes": 1, "population.devices": 6}
    assert [experiment.relay.nodes for experiment in laid.experiments] == [1, 1, 2, 2]
    assert all(experiment.warm_up_us == 1_000_000 for experiment in laid.experiments)
    assert laid.mapping(laid.cells[-1])["seed"] == 3


def test_the_file_may_say_its_sweep() -> None:
    laid = sweep.plan({**SMALL, "sweep": {"seeds": "4-5", "vary": {"relay.nodes": [1, 2]}}})
    assert laid.seeds == [4, 5]
    assert len(laid.cells) == 4
    assert "sweep" not in laid.source


def test_every_fault_of_every_combination_is_told_before_anything_runs() -> None:
    with pytest.raises(FileFaults) as found:
        sweep.plan(SMALL, seeds="1-2", settings=["relay.nodes=1,none", "population.devises=3,4"])
    told = str(found.value)
    assert "-S relay.nodes=none: `relay.nodes` must be" in told
    assert "did you mean `devices`?" in told
    with pytest.raises(FileFaults, match="say which seeds to run"):
        sweep.plan(SMALL)
    with pytest.raises(FileFaults, match="at most 100,000"):
        sweep.plan(SMALL, seeds="1-60000", settings=["relay.nodes=1,2"])


def test_more_seeds_or_values_are_the_same_sweep_and_another_experiment_is_not() -> None:
    folder = sweep.plan(SMALL, seeds="1-2", settings=["relay.nodes=1,2"]).folder
    assert folder.parts[:2] == ("runs", "small")
    assert sweep.plan(SMALL, seeds="1-9", settings=["relay.nodes=1,2,3"]).folder == folder
    assert sweep.plan(SMALL, seeds="1-2", settings=["relay.nodes=1,2", "warm_up=1s"]).folder != folder
    assert sweep.plan({**SMALL, "duration": "30s"}, seeds="1-2", settings=["relay.nodes=1,2"]).folder != folder
