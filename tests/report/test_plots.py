"""What the pictures show is what the tables hold; whatever the run, a picture comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.synthetic import SECOND, START_US, Storm, empty_run
from zentalk_sim.report.drawing import Picture
from zentalk_sim.report.histogram import Histogram
from zentalk_sim.report.plot_data import causes, cdf, read_attempts, read_series, thin
from zentalk_sim.report.plots import draw_all
from zentalk_sim.report.results import FaultSpan, Results, write_run
from zentalk_sim.trace.tables import CONNECTIONS, TIMESERIES, TableWriter


def write(
    folder: Path, results: Results, samples: list[tuple[int, str | None, float]], attempts: list[tuple[int, bool]]
) -> None:
    """A run of the given samples of connected devices (s, node, value) and attempts (µs, authenticated)."""
    _, tables = empty_run()
    tables["timeseries"] = TableWriter(TIMESERIES, None)
    for at_s, node, value in samples:
        tables["timeseries"].append((START_US + at_s * SECOND, "devices.connected", node, value))
        tables["timeseries"].append((START_US + at_s * SECOND, "queue.depth", node, 77.0))
    tables["connections"] = TableWriter(CONNECTIONS, None)
    for at_us, good in attempts:
        auth = START_US + at_us + 1 if good else None
        tables["connections"].append(
            ("alice/web", "0", 1, START_US + at_us, None, None, None, auth, None, None, None, False)
        )
    write_run(results, folder, **tables, plots=False)


def test_nodes_are_added_up_where_no_sample_stands_for_all(tmp_path: Path) -> None:
    results, _ = empty_run()
    write(tmp_path, results, [(0, "1", 5), (0, "0", 7), (1, "0", 6), (2, "1", 4)], [])
    series = read_series(results, tmp_path, "devices.connected")
    assert (series.at_s[""], series.values[""]) == ([0, 1, 2], [12, 11, 10])
    assert (series.at_s["0"], series.values["0"]) == ([0, 1], [7, 6])


def test_a_sample_of_the_whole_is_taken_as_it_is(tmp_path: Path) -> None:
    results, _ = empty_run()
    write(tmp_path, results, [(0, None, 9), (0, "0", 7), (1, "", 8)], [])
    assert read_series(results, tmp_path, "devices.connected").values == {"": [9, 8], "0": [7]}


def test_attempts_are_counted_in_the_second_they_begin(tmp_path: Path) -> None:
    results, _ = empty_run()
    write(
        tmp_path, results, [], [(0, True), (999_999, False), (1_000_000, True), (9_999_999, True), (10_000_000, False)]
    )
    attempts = read_attempts(results, tmp_path)
    assert attempts.width_s == 1
    assert attempts.authenticated == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert attempts.others == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1], "the run's last instant belongs to its last second"


@pytest.mark.parametrize(("hours", "width_s"), [(0.16, 1), (1, 10), (24, 300), (10_000, 60_000)])
def test_long_runs_have_wider_bins(hours: float, width_s: int, tmp_path: Path) -> None:
    results, _ = empty_run()
    results.simulated_us = int(hours * 3600) * SECOND
    write(tmp_path, results, [], [(0, True)])
    attempts = read_attempts(results, tmp_path)
    assert attempts.width_s == width_s
    assert len(attempts.authenticated) <= 600


def test_a_distribution_counts_the_censored() -> None:
    histogram = Histogram()
    for value in (1000, 1000, 3000):
        histogram.record(value)
    x, y = cdf(histogram, 1000, censored=1)
    assert x == pytest.approx([1, 3], rel=0.01)
    assert y == [50, 75], "one of four never came to its end"


def test_causes_leave_out_what_is_normal_and_what_is_zero() -> None:
    counts = {
        "connections.closed.1000": 5,
        "connections.closed.1006": 2,
        "copies.dropped.overflow": 1,
        "messages.sent": 9,
    }
    counts |= {"copies.dropped.expired": 0, "errors.RATE_LIMITED": 3, "clients.gave_up": 4, "connections.attempted": 9}
    counts |= {"connections.authenticated": 8, "connections.connect_timeout": 1}
    assert [(c.label, c.count) for c in causes(counts)] == [
        ("error: RATE_LIMITED", 3),
        ("copy dropped: overflow", 1),
        ("device gave up connecting", 4),
        ("connection: connect timeout", 1),
        ("connection closed: 1006 (without a close)", 2),
    ]


def test_a_fact_must_be_counted_once_in_a_family() -> None:
    counts = {"rate_limited.send_message": 5, "rate_limited.typing": 2, "errors.RATE_LIMITED": 8}
    counts |= {"rate_limited.connections_per_ip": 3, "messages.failed": 4, "messages.failed_but_stored": 4}
    counts |= {"connections.slow_consumer": 6, "connections.lost.slow_consumer": 6, "connections.closed.1006": 6}
    counts |= {"messages.rejected": 9, "messages.rejected.queue_full": 2, "messages.rejected.too_large": 7}
    assert [(c.family, c.label, c.count) for c in causes(counts)] == [
        ("messages", "message rejected (too large for a frame)", 7),
        ("messages", "rate-limited: send message", 5),
        ("messages", "message given up, yet stored", 4),
        ("messages", "message rejected (queue full)", 2),
        ("messages", "rate-limited: typing", 2),
        ("messages", "error: RATE_LIMITED", 1),
        ("connections", "rate-limited: connections per ip", 3),
        ("closes", "connection closed: 1006 (without a close)", 6),
        ("losses", "connection lost: slow consumer", 6),
    ], "the end of a connection is a fact for its device and one for the relay, each in a group of its own"


def test_an_older_run_that_does_not_tell_reasons_must_not_be_given_one() -> None:
    assert [c.label for c in causes({"messages.rejected": 9})] == ["message rejected by its client"]


def test_limits_of_connecting_are_told_among_the_connections() -> None:
    counts = {"rate_limited.connections_per_ip": 3, "rate_limited.auth_attempts": 2, "rate_limited.send_message": 1}
    assert [(c.family, c.label) for c in causes(counts)] == [
        ("messages", "rate-limited: send message"),
        ("connections", "rate-limited: connections per ip"),
        ("connections", "rate-limited: auth attempts"),
    ]


def sampled(folder: Path, samples: list[tuple[int, str, str | None, float]], **experiment: object) -> list[Picture]:
    """The pictures of a run with these samples (s, metric, node, value) and nothing else."""
    results, tables = empty_run()
    results.experiment = experiment
    tables["timeseries"] = TableWriter(TIMESERIES, None)
    for at_s, metric, node, value in samples:
        tables["timeseries"].append((START_US + at_s * SECOND, metric, node, value))
    write_run(results, folder, **tables, plots=False)
    return draw_all(results, folder)


@pytest.mark.usefixtures("unsaved")
def test_memory_is_drawn_only_against_a_limit(tmp_path: Path) -> None:
    samples = [(second, "memory_bytes", node, second * 2.0**20) for second in range(5) for node in ("0", "1")]
    assert "memory" not in {picture.name for picture in sampled(tmp_path, samples)}
    relay = {"ingress": {"memory": {"limit": "8MiB"}}}
    texts = {picture.name: picture.text for picture in sampled(tmp_path, samples, relay=relay)}
    assert texts["memory"] == "Memory of connections: at most 4 MiB on a node, 50 % of its limit."


@pytest.mark.usefixtures("unsaved")
def test_the_overview_must_show_what_there_is_in_the_place_of_what_there_is_not(tmp_path: Path) -> None:
    samples = [(second, "copies.pending", None, 100.0 * second) for second in range(5)]
    overview, *others = sampled(tmp_path, samples)
    assert "Copies waiting in mailboxes: at most 400, 400 at the end." in overview.text
    assert "Delivery latency: no value." not in overview.text
    assert {"reconnect_time", "delivery_latency"} <= {picture.name for picture in others}, "each says it has no data"


@pytest.mark.usefixtures("unsaved")
@pytest.mark.parametrize(("hours", "unit"), [(0.1, "second"), (3, "minute"), (700, "hour")])
def test_attempts_are_told_by_a_unit_that_fits_the_bins(hours: float, unit: str, tmp_path: Path) -> None:
    results, _ = empty_run()
    results.simulated_us = int(hours * 3600) * SECOND
    write(tmp_path, results, [], [(0, True)] * 3)
    texts = {picture.name: picture.text for picture in draw_all(results, tmp_path)}
    assert f" a {unit}, 0 s after the start." in texts["connection_attempts"]


@pytest.mark.usefixtures("unsaved")
def test_a_latency_of_weeks_is_told_in_days(tmp_path: Path) -> None:
    results, tables = empty_run()
    results.metrics["delivery_latency_ms"] = Histogram()
    for value_us in (20_000, 9 * 86_400 * SECOND):
        results.metrics["delivery_latency_ms"].record(value_us)
    write_run(results, tmp_path, **tables, plots=False)
    texts = {picture.name: picture.text for picture in draw_all(results, tmp_path)}
    assert "p50 20.03 ms, p90 9.01 d" in texts["delivery_latency"] or "p90 9 d" in texts["delivery_latency"]


def test_a_thinned_line_keeps_its_peaks() -> None:
    x = [float(i) for i in range(100_000)]
    y = [1.0] * 100_000
    y[54_321], y[77_777] = 9.0, -3.0
    thinned = thin(x, y)
    assert len(thinned[0]) <= 2000
    assert (54_321.0, 9.0) in zip(*thinned, strict=True)
    assert (77_777.0, -3.0) in zip(*thinned, strict=True)
    assert thinned[0] == sorted(thinned[0])
    assert thin(x[:5], y[:5]) == (x[:5], y[:5])


def test_a_picture_tells_the_same_in_words(drawn: tuple[Path, list[Picture]], storm: Storm) -> None:
    pictures = {picture.name: picture.text for picture in drawn[1]}
    count = storm.results.counts["connections.attempted"]
    assert pictures["connected_devices"] == "Connected devices: at most 120, 120 at the end."
    assert pictures["connection_attempts"].startswith(f"Connection attempts: {count}, at most ")
    assert pictures["reconnect_time"].startswith("Reconnect time: 40 values, p50 ")
    assert "rate-limited: send message: 41" in pictures["causes"]
    assert pictures["connected_devices"] in pictures["overview"]


def test_a_caption_names_run_seed_and_digest(run_folder: Path, storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    from zentalk_sim.report import style

    figure = style.new_figure(style.SINGLE, storm.results)
    assert [text.get_text() for text in figure.texts] == [f"storm · seed 7 · digest {storm.results.digest[:12]}"]


HARD = {
    "one value each": Results(name="one", seed=1, start_us=START_US, simulated_us=SECOND, digest="d" * 64),
    "no time at all": Results(name="none", seed=1, start_us=START_US, simulated_us=0),
    "letters no font has, and signs of mathematics": Results(
        name="漢字 \U0001f600 $\\frac{x}$ \n_^{", seed=2**63 - 1, start_us=START_US, simulated_us=20_000 * SECOND
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_a_picture_must_come_out_of_any_run(case: str, tmp_path: Path) -> None:
    results = HARD[case]
    for name in ("reconnect_time_s", "delivery_latency_ms"):
        results.metrics[name] = Histogram()
        results.metrics[name].record(0)
    results.censored["delivery_latency_ms"] = 5
    results.counts = {"copies.dropped.$x$": 1}
    results.faults = [
        FaultSpan("a fault with quite a long $name$ that goes on and on" * 3, START_US + i * 1000, end)
        for i, end in enumerate([None, START_US, START_US + 2**50, START_US + 10, None, START_US + 7])
    ]
    write(tmp_path, results, [(0, "0", 0)], [(0, False)])
    pictures = draw_all(results, tmp_path)
    assert [picture.name for picture in pictures][-1] == "causes"
    for picture in pictures:
        assert picture.svg.read_bytes().startswith(b"<?xml")
        assert picture.svg.with_suffix(".png").stat().st_size > 5000


def test_drawing_leaves_the_readers_matplotlib_alone(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.rcParams["font.size"] = 31
    try:
        results, tables = empty_run()
        write_run(results, tmp_path, **tables, plots=True)
        assert matplotlib.rcParams["font.size"] == 31
    finally:
        matplotlib.rcParams["font.size"] = matplotlib.rcParamsDefault["font.size"]
