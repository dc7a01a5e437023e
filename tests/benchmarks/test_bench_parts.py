"""The parts of ``make bench`` at their smallest: each line names its unit and its baseline, and failures are told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kernel_vs_simpy, parts, relay_growth, relay_lines, results, storm_growth, storm_toys
from benchmarks.lines import BenchmarkError
from benchmarks.relay_load import LoadError
from benchmarks.relay_servers import Server, mock_relay, websockets_forwarder
from benchmarks.storm_toys import Shape
from benchmarks.storm_vs_toy import Costs
from zentalk_sim.compiled import CompiledForm


def ended(code: int, errors: str = "") -> Callable[..., subprocess.CompletedProcess[str]]:
    """What stands for ``subprocess.run``: a command that ends so."""
    return lambda command, **options: subprocess.CompletedProcess(command, code, "", errors)


def test_a_command_that_fails_is_no_start_up_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ended(3))
    with pytest.raises(BenchmarkError, match="ended with status 3"):
        parts.start_up()


def test_storms_are_measured_in_turns_with_their_toys() -> None:
    bare, time_outs, full = parts.storm((("reconnect_storm", 5),))
    assert len(bare.ours) == len(time_outs.ours) == len(full.ours) == parts.STORM_ROUNDS >= 2
    assert {made.unit for made in (bare, time_outs, full)} == {"us a device"}
    assert (bare.against, time_outs.against, full.against) == parts.TOYS


def test_a_storms_toys_wait_as_often_as_they_are_told() -> None:
    shape = Shape(devices=4, duration_s=600.0, attempts=1.5, heartbeats=2.0, messages=1.0)
    bare = storm_toys.run(shape).entries
    assert bare == 1.5 * 7 + 2.0 * 3 + 1.0 * 6
    # An answer's time-out and the condition of both come to the answer.
    assert storm_toys.run(shape._replace(time_outs=True)).entries == bare + 2.0 * 2
    steps = 1.5 * 6 + 2.0 * 2 + 1.0 * 5
    assert storm_toys.run(shape._replace(further=0.5)).entries == pytest.approx(bare + steps / 2, abs=1)


def test_a_storms_growth_is_kept_so_that_it_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.dumps(Costs(0.3, 0.1, 0.2, 0.15, 76.5, 90.0))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    monkeypatch.setattr(
        storm_growth,
        "provenance",
        lambda date: {"date": "2026-01-01", "commit": "c" * 40, "changed_since_commit": False},
    )
    monkeypatch.chdir(tmp_path)
    storm_growth.main(["1000"])
    row = capsys.readouterr().out.splitlines()[2]
    assert row == "| 1,000 | 0.3 | 300 | 76,500 | 3.9 | 90 | 100 (3.00×) | 200 (1.50×) | 150 (2.00×) |"
    _, kept = results.read(tmp_path / "runs" / "bench_storm_growth.json")
    assert {one.name for one in kept} == {"million, 1,000 devices"}
    assert [round(one.ratio, 3) for one in kept] == [3.0, 1.5, 2.0]


def test_a_storms_growth_wants_numbers() -> None:
    with pytest.raises(BenchmarkError, match="whole numbers of devices"):
        storm_growth.main(["many"])


def test_a_toy_that_fails_is_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ended(1))
    with pytest.raises(BenchmarkError, match="a storm's toy"):
        storm_toys.measure(Shape(1, 1.0, 1.0, 0.0, 0.0))


def test_the_compiled_simulator_is_measured_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[[[4.0, 2.0], [4.0, 1.0]], [[[30.0, 10.0, 12.0, 15.0], [30.0, 10.0, 12.0, 15.0]], [[9.0, 3.0, 6.0, 9.0]]]]"
    monkeypatch.delenv("ZSIM_COMPILED", raising=False)
    monkeypatch.setattr(CompiledForm, "is_built", lambda form: True)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 0, said, ""))
    frame, bare, time_outs, full, *larger = parts.compiled_simulator(10, ((20, 2), (30, 1)))
    assert (frame.name, frame.unit, frame.ratios) == ("a simulated frame, compiled", "us", (2.0, 4.0))
    assert (bare.name, bare.ratio) == ("million, 20 devices, compiled", 3.0)
    assert (time_outs.ratio, full.ratio) == (2.5, 2.0)
    assert {one.name for one in larger} == {"million, 30 devices, compiled"}
    assert [one.ratio for one in larger] == [3.0, 1.5, 1.0]
    monkeypatch.setenv("ZSIM_COMPILED", "0")
    assert parts.compiled_simulator() == []


def test_the_codec_names_its_baselines() -> None:
    made = parts.codec_against_json(count=200, rounds=2)
    assert [(one.unit, one.against) for one in made] == [("us", "json.loads, unchecked"), ("us", "json.dumps")]


@pytest.mark.parametrize("is_even", [False, True])
def test_the_kernel_and_stock_simpy_go_through_the_same_cycles(is_even: bool) -> None:
    found = kernel_vs_simpy.measure(50, is_even, rounds=2, cycles=2_000)
    callbacks, processes = kernel_vs_simpy.rows(50, found, is_even)
    assert found.queue.startswith(("queue in C", "queue in Python"))
    assert callbacks.name.startswith(f"kernel, {found.queue}, 50 callbacks")
    assert (callbacks.unit, processes.unit) == ("us a cycle", "us a cycle")
    assert (callbacks.against, processes.against) == ("stock SimPy's callbacks", "stock SimPy's processes")
    assert len(callbacks.ours) == len(processes.ours) == 2


def test_a_kernel_that_does_something_else_than_simpy_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ping = kernel_vs_simpy.OurCallbacks._ping

    def twice(self: kernel_vs_simpy.OurCallbacks, number: int) -> None:
        self.cycles += 1
        ping(self, number)

    monkeypatch.setattr(kernel_vs_simpy.OurCallbacks, "_ping", twice)
    with pytest.raises(BenchmarkError, match="the kernel and SimPy disagree"):
        kernel_vs_simpy.measure(50, rounds=1, cycles=500)


def test_a_kernel_run_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ended(1, "no memory"))
    with pytest.raises(BenchmarkError, match="kernel, 7 devices: no memory"):
        kernel_vs_simpy.lines((7,))


# --- the relay ---------------------------------------------------------------------------------------


def none_started(users: int) -> Any:
    raise AssertionError(users)


def test_each_form_of_the_relay_is_compared_with_each_forwarder_by_turns() -> None:
    order: list[str] = []
    values = {"relay": 6.0, "websockets": 3.0, "node ws": 2.0}
    starts = {name: (lambda users, name=name: name) for name in values}

    def measure(start: Any) -> dict[str, float]:
        order.append(start(0))
        return {"cost": values[start(0)]}

    part = relay_lines.Part(measure, 2, (("a message", "cost", "CPU us"),))
    made = list(relay_lines.part_lines(part, starts))  # type: ignore[arg-type]
    assert order == [*values, *values]
    assert [(one.name, one.unit, one.against, one.ratio) for one in made] == [
        ("relay, a message", "CPU us", "a bare forwarder on websockets", 2.0),
        ("relay, a message", "CPU us", "a bare forwarder on Node's ws", 3.0),
    ]
    assert made[0].ours == (6.0, 6.0)


def test_a_server_that_refuses_the_load_is_told() -> None:
    def measure(start: Any) -> dict[str, float]:
        raise LoadError("client 3 was refused")

    part = relay_lines.Part(measure, 1, (("a message", "cost", "CPU us"),))
    with pytest.raises(BenchmarkError, match="relay, a message: client 3 was refused"):
        list(relay_lines.part_lines(part, {"relay": none_started}))


def test_growth_measures_a_server_at_a_size_and_prints_markdown() -> None:
    found = {
        name: relay_growth.measure(start, 2, messages=40, rate_s=0.02, opened=4)
        for name, start in (("relay", mock_relay), ("websockets", websockets_forwarder))
    }
    head, _, ours, base = relay_growth.table({2: found})
    assert head.startswith("| connections | server | CPU a message, µs | messages/s | p50 at 1,000/s, ms |")
    assert ours.startswith("| 2 | relay | ")
    assert base.startswith("| 2 | websockets | ")
    assert len({text.count("|") for text in (head, ours, base)}) == 1
    # Of two connections nobody can say what memory one takes.
    assert ours.split(" | ")[-2] == "–"
    assert found["relay"]["messages_per_s"] > 0
    assert found["relay"]["connections_per_s"] > 0


def test_growth_keeps_the_bytes_of_many_connections() -> None:
    figures = dict.fromkeys(
        (
            *("cpu_us_per_message", "messages_per_s", "p50_ms", "p99_ms", "connections_per_s"),
            *("cpu_us_per_connection", "bytes_per_connection", "rss_mib"),
        ),
        100.0,
    )
    _, _, ours, base = relay_growth.table(
        {1_000: {"relay": {**figures, "bytes_per_connection": 50.0}, "websockets": figures}}
    )
    assert ours.split(" | ")[-2] == "50 (0.50×)"
    assert base.split(" | ")[-2] == "100"


def test_growth_keeps_lines_that_can_be_compared() -> None:
    costs = {"cpu_us_per_message": 40.0, "p50_ms": 0.2, "p99_ms": 1.0, "cpu_us_per_connection": 500.0}
    by_server = {
        "relay, compiled": {"rounds": [costs, {**costs, "cpu_us_per_message": 20.0}]},
        "websockets": {"rounds": [costs, costs]},
    }
    message, p50, p99, connection = relay_growth.lines({"1000": by_server})
    assert (message.name, message.unit) == ("relay, compiled, 1,000 connections, a message one to one", "CPU us")
    assert (message.ratio, message.ratios) == (0.75, (0.5, 1.0))
    assert {one.ratio for one in (p50, p99, connection)} == {1.0}


def test_growth_needs_open_files() -> None:
    with pytest.raises(BenchmarkError, match=r"10,000 connections need more open files than the 1,024 of `ulimit -Hn`"):
        relay_growth.grow((10_000,), 1_024)


@pytest.mark.parametrize("size", ["0", "3", "-2", "ten"])
def test_growth_refuses_a_size_that_has_no_pairs(size: str) -> None:
    with pytest.raises(BenchmarkError, match=r"usage: python -m benchmarks\.relay_growth"):
        relay_growth.main([size])


def test_growth_tells_of_a_server_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def dead(users: int) -> Iterator[Server]:
        raise RuntimeError("python ended before it was ready")
        yield

    monkeypatch.setattr(relay_growth, "servers", lambda: {"relay": dead})
    with pytest.raises(BenchmarkError, match="relay, 10 connections: python ended before it was ready"):
        relay_growth.grow((10,), 20_000)
