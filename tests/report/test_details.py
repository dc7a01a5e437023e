"""Pictures of details agree with the metrics beside them, say whom they show, and can be told apart in grey."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.report.synthetic import SECOND, START_US, Storm, empty_run
from zentalk_sim.report import style
from zentalk_sim.report.detail_data import rank_of, read_device_states, read_timelines
from zentalk_sim.report.detail_plots import draw_states
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.results import FaultSpan, Results, write_run
from zentalk_sim.trace.tables import MESSAGES, TableWriter


def messages(folder: Path, copies: list[tuple[int, int | None]], warm_up_s: int) -> Results:
    """A run of copies (sent in s, latency in µs or never shown), in the given order."""
    results, tables = empty_run()
    results.warm_up_us = warm_up_s * SECOND
    table = tables["messages"] = TableWriter(MESSAGES, None)
    for number, (sent_s, latency_us) in enumerate(copies):
        sent = START_US + sent_s * SECOND
        shown = None if latency_us is None else sent + latency_us
        row = (f"{number:08x}", "alice", "bob", "web", 256, sent, sent, sent, shown, shown, None, "shown", "push", 0)
        table.append(row)
    write_run(results, folder, **tables, plots=False)
    return results


def test_single_messages_must_leave_out_the_warm_up(tmp_path: Path) -> None:
    results = messages(tmp_path, [(1, 13 * SECOND), (4, 12 * SECOND), (5, 300), (6, 200), (7, None)], warm_up_s=5)
    found = read_timelines(results, tmp_path)
    assert [(t.share, t.stages["shown_us"]) for t in found if t.share in (0.0, 1.0)] == [(0.0, 200)]
    assert {t.stages["shown_us"] for t in found} == {200, 300}


def test_nothing_is_drawn_of_a_run_that_is_all_warm_up(tmp_path: Path) -> None:
    assert read_timelines(messages(tmp_path, [(1, 300)], warm_up_s=9), tmp_path) == []


def test_a_place_of_the_picture_must_be_the_quantile_of_the_metric(tmp_path: Path) -> None:
    histogram = Histogram()
    copies: list[tuple[int, int | None]] = [(6, 100 * number) for number in range(1, 51)]
    results = messages(tmp_path, [*copies, *[(1, 10**7)] * 20], warm_up_s=5)
    for _, latency_us in copies:
        histogram.record(latency_us or 0)
    places = {t.share: t.stages["shown_us"] for t in read_timelines(results, tmp_path)}
    for share in (0.5, 0.9, 0.99):
        assert places[share] == pytest.approx(histogram.quantile(share), rel=0.004)


def test_ranks_are_exact() -> None:
    assert [rank_of(0.07, 100), rank_of(0.5, 5), rank_of(0.0, 5), rank_of(1.0, 5)] == [7, 3, 1, 5]


def test_in_a_whole_run_places_and_metrics_agree(storm: Storm, run_folder: Path) -> None:
    latency = storm.results.metrics["delivery_latency_ms"]
    # The made-up run's metrics are over all its messages.
    for timeline in read_timelines(replace(storm.results, warm_up_us=0), run_folder):
        assert timeline.stages["shown_us"] == pytest.approx(latency.quantile(timeline.share), rel=0.004)


def test_the_picture_of_one_device_names_it(storm: Storm, run_folder: Path) -> None:
    states = read_device_states(storm.results, run_folder)
    assert states is not None
    with style.house_style():
        axes = style.new_figure(style.SINGLE, storm.results).subplots()
        text = draw_states(axes, storm.results, states)
    assert text.startswith(f"The device with the most attempts, {states.device}: {states.attempts}, connected ")
    assert axes.get_title(loc="right") == states.device


def test_curves_must_differ_without_colour() -> None:
    assert len({dash for _, dash in style.LINES}) == len({colour for colour, _ in style.LINES}) == len(style.LINES) == 5


class TestManyFaults:
    """More faults than can be named above the axes have numbers, and a key below."""

    def figure(self, labels: list[str]) -> tuple[list[str], list[str]]:
        """The texts above the axes, and those of the figure, of a picture with these faults, a second apart."""
        results, _ = empty_run()
        results.simulated_us = 60 * SECOND
        instants = [START_US + number * SECOND for number in range(len(labels))]
        results.faults = [FaultSpan(label, at, at) for label, at in zip(labels, instants, strict=True)]
        with style.house_style():
            figure = style.new_figure(style.SINGLE, results)
            for axes in figure.subplots(1, 2):
                style.shade_faults(axes, results, style.time_axis(axes, results))
        return [text.get_text() for text in figure.axes[0].texts], [text.get_text() for text in figure.texts]

    def test_four_are_named(self) -> None:
        labels = ["crash", "reset", "partition", "crash again"]
        above, below = self.figure(labels)
        assert above == labels
        assert len(below) == 1

    def test_five_are_numbered_and_every_one_is_in_the_key(self) -> None:
        above, (_, key) = self.figure(["crash", "reset", "partition", "crash", "crash"])
        assert above == ["1", "2", "3", "4", "5"]
        assert key == "Faults: 1: crash; 2: reset; 3: partition; 4 to 5: crash"

    def test_what_has_no_room_is_in_the_report(self) -> None:
        above, (_, key) = self.figure([f"a fault with a long name, number {number}" for number in range(40)])
        assert len(key.splitlines()) == 3
        assert max(map(len, key.splitlines())) <= 130
        assert key.endswith(" … (all in the report)")
        assert above[0] == "1"
