"""What ``make bench`` keeps and prints, and what ``compare`` says of two runs of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import compare, results
from benchmarks.lines import HEAD, BenchmarkError, Line, in_turns, line

NOON = datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)
SURE = [(2.0, 1.0), (2.2, 1.0), (2.1, 1.0), (2.1, 1.0)]


def of(rounds: list[tuple[float, float]], name: str = "a frame") -> Line:
    return line(name, "us", rounds, "a timeout")


def times(rounds: list[tuple[float, float]], factor: float) -> list[tuple[float, float]]:
    return [(ours * factor, baseline) for ours, baseline in rounds]


# --- a line ------------------------------------------------------------------------------------------


def test_a_line_compares_medians_and_keeps_the_range_of_its_rounds() -> None:
    made = of([(2.0, 1.0), (9.0, 3.0), (3.0, 2.0)])
    assert made.ratio == 1.5
    assert made.ratios == (1.5, 3.0)
    assert "1.50  1.50-3.00" in made.row()
    assert made.row().endswith("a timeout")


def test_a_line_of_one_round_says_once() -> None:
    assert of([(2.0, 1.0)]).row().split() == ["a", "frame", "2.00", "1.00", "us", "2.00", "once", "a", "timeout"]


def test_rounds_go_by_turns() -> None:
    order: list[str] = []

    def taken(name: str, value: float) -> float:
        order.append(name)
        return value

    assert in_turns(lambda: taken("ours", 2.0), lambda: taken("baseline", 1.0), 2) == [(2.0, 1.0), (2.0, 1.0)]
    assert order == ["ours", "baseline", "ours", "baseline"]


@pytest.mark.parametrize("rounds", [[], [(1.0, 0.0)], [(-1.0, 1.0)]])
def test_a_line_without_a_ratio_is_an_error(rounds: list[tuple[float, float]]) -> None:
    with pytest.raises(BenchmarkError, match="a frame: "):
        of(rounds)


# --- what is kept ------------------------------------------------------------------------------------


def test_a_file_says_on_what_its_figures_were_taken() -> None:
    machine = results.provenance(NOON)
    assert machine["date"] == "2026-01-02T12:00:05Z"
    assert machine["cores"] >= 1
    assert machine["switch"].startswith("ZSIM_COMPILED=")
    assert set(machine["compiled"]) == {"simulator", "queue", "relay"}
    assert machine["libraries"]["simpy"][0].isdigit()
    assert all(machine[key] for key in ("commit", "cpu", "python", "system"))


def test_each_run_has_a_file_of_its_own_and_the_newest_has_its_name(tmp_path: Path) -> None:
    machine = {**results.provenance(NOON), "commit": "0123456789abcdef", "changed_since_commit": False}
    first = results.keep("bench", {"machine": machine, "lines": [of(SURE).record()]}, tmp_path)
    later = {**machine, "date": "2026-01-03T12:00:05Z", "changed_since_commit": True}
    second = results.keep("bench", {"machine": later, "lines": [of(SURE).record()]}, tmp_path)
    assert first.name == "bench-20260102T120005Z-0123456789.json"
    assert second.name == "bench-20260103T120005Z-0123456789-changed.json"
    assert (tmp_path / "bench.json").read_bytes() == second.read_bytes() != first.read_bytes()
    assert results.read(first) == (machine, [of(SURE)])


def test_a_run_keeps_every_round_of_every_line_with_its_unit_and_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run((lambda: [of(SURE)],), tmp_path) == 0
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert kept["failed"] == []
    (entry,) = kept["lines"]
    assert (entry["name"], entry["unit"], entry["against"]) == ("a frame", "us", "a timeout")
    assert entry["rounds"] == {"ours": [2.0, 2.2, 2.1, 2.1], "baseline": [1.0] * 4}
    assert entry["ratios"] == [2.0, 2.2]
    assert entry["ratio"] == entry["ours"] / entry["baseline"] == 2.1
    said = capsys.readouterr().out
    assert said.splitlines()[0] == HEAD
    assert f"kept in {next(tmp_path.glob('bench-*.json'))}" in said


def test_a_part_that_fails_is_told_and_kept_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> list[Line]:
        raise BenchmarkError("the sweep with --workers 2 ended with status 1")

    assert bench.run((failing, lambda: [of(SURE)]), tmp_path) == 1
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert kept["failed"] == ["the sweep with --workers 2 ended with status 1"]
    assert [entry["name"] for entry in kept["lines"]] == ["a frame"]
    assert "failed: the sweep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "has no lines to compare"),
        ("{}", "has no lines to compare"),
        ('{"machine": {}, "lines": [{"name": "x"}]}', "has no lines to compare"),
    ],
)
def test_another_file_is_a_clear_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BenchmarkError, match=said):
        results.read(tmp_path / "x.json")


def test_a_file_of_before_rounds_were_kept_is_read_as_measured_once(tmp_path: Path) -> None:
    entry = {"name": "a frame", "unit": "us", "ours": 3.0, "baseline": 2.0, "against": "a timeout", "ratio": 1.5}
    (tmp_path / "old.json").write_text(json.dumps({"machine": {"python": "3.11.2"}, "lines": [entry]}))
    assert results.read(tmp_path / "old.json") == ({"python": "3.11.2"}, [of([(3.0, 2.0)])])


# --- two runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (SURE, times(SURE, 1.5), "dearer"),
        (SURE, times(SURE, 0.5), "cheaper"),
        # Ranges that overlap say nothing, however far the medians are apart.
        (SURE, [(2.15, 1.0), (9.0, 1.0), (9.0, 1.0), (9.0, 1.0)], "no difference"),
        # Ranges apart by less than a tenth may be another layout of memory.
        ([(2.0, 1.0)] * 5, [(2.1, 1.0)] * 5, "no difference"),
        # Two rounds lie on one side of two others by chance once in three times.
        (SURE[:2], times(SURE[:2], 1.2), "no difference"),
        (SURE[:2], times(SURE[:2], 1.4), "dearer"),
        (SURE[:1], times(SURE[:1], 1.2), "no difference (once)"),
        (SURE, times(SURE[:1], 1.4), "dearer (once)"),
    ],
)
def test_a_verdict_respects_the_spread(
    old: list[tuple[float, float]], new: list[tuple[float, float]], word: str
) -> None:
    assert compare.judge(of(old), of(new)).word == word


def test_a_slower_machine_is_no_difference() -> None:
    slower = of([(ours * 3, baseline * 3) for ours, baseline in SURE])
    verdict = compare.judge(of(SURE), slower)
    assert verdict.ratio_of_ratios == pytest.approx(1.0)
    assert verdict.word == "no difference"


def kept_run(folder: Path, name: str, lines: list[Line], **changes: Any) -> str:
    machine = {**results.provenance(NOON), "commit": "0123456789", **changes}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, "lines": [made.record() for made in lines]}))
    return str(path)


def test_compare_prints_what_differs_and_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = kept_run(tmp_path, "old", [of(SURE), of(SURE, "gone")], cpu="A")
    new = kept_run(tmp_path, "new", [of(times(SURE, 0.5)), of(SURE, "come")], cpu="B")
    assert bench.main(["compare", old, new]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "cpu: A -> B"
    (told,) = [text for text in said if text.startswith("a frame")]
    assert " ".join(told.split()[2:]) == "2.10 2.00-2.20 1.05 1.00-1.10 0.50 cheaper; against a timeout"
    assert said[-2:] == ["only in the old run: gone, against a timeout", "only in the new run: come, against a timeout"]


def test_compare_takes_the_newest_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    kept_run(tmp_path / "runs", "bench", [of(SURE)])
    assert bench.main(["compare", kept_run(tmp_path, "old", [of(SURE)])]) == 0
    assert "1.00  no difference; against a timeout" in capsys.readouterr().out


def test_compare_of_no_file_and_an_unknown_command_are_clear_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["compare", str(tmp_path / "no.json")]) == 1
    assert f"error: {tmp_path / 'no.json'} cannot be read: No such file" in capsys.readouterr().err
    assert bench.main(["comparison"]) == 2
    assert "usage: python -m benchmarks" in capsys.readouterr().err


def test_help_names_the_comparison_and_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--help"]) == 0
    assert "python -m benchmarks compare OLD [NEW]" in capsys.readouterr().out
