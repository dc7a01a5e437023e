"""Pictures and page of a sweep."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import sweep
from zentalk_sim.report.sweep_results import Sweep


def test_report_redraws_a_sweep(study: Sweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import shutil

    from zentalk_sim.cli import errors, zsim

    assert study.folder is not None
    shutil.copytree(study.folder, tmp_path / "copy")
    assert errors.run(zsim, ["report", str(tmp_path / "copy")], "zsim") == 0
    page = (tmp_path / "copy" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") >= 4
    assert (tmp_path / "copy" / "plots" / "delivery_latency_ms.png").is_file()
    assert capfd.readouterr().err == ""


def test_pictures_one_per_metric_and_the_same_bytes_every_time(study: Sweep, tmp_path: Path) -> None:
    from zentalk_sim.report.sweep_plots import draw_sweep

    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        pictures = draw_sweep(study, folder)
    assert [picture.name for picture in pictures] == [
        metric for metric in study.metrics if "." not in metric and study.is_any(f"{metric}.count")
    ]
    assert "reconnect_time_s" in [picture.name for picture in pictures]
    for picture in pictures:
        for suffix in ("png", "svg"):
            name = f"plots/{picture.name}.{suffix}"
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert picture.text.startswith(picture.title)


@pytest.mark.parametrize(
    ("settings", "curves"),
    [
        ([], None),
        (["client.backoff.policy=spec,none"], 1),
        (["relay.heartbeat.interval=10s,30s", "client.backoff.policy=spec,none"], 2),
        (["population.devices=4,5,6,7,8,9", "relay.nodes=1,2", "warm_up=0s,1s,2s"], None),
    ],
)
def test_every_shape_of_grid_has_its_picture(settings: list[str], curves: int | None) -> None:
    from zentalk_sim.report import style
    from zentalk_sim.report.sweep_plots import _curves, draw_metric

    result = sweep.run(SMALL, seeds="1", settings=[*settings, "duration=11s"], workers=0)
    found = _curves(result)
    assert (None if found is None else len(found[1])) == curves
    with style.house_style():
        figure, words = draw_metric(result, "delivery_latency_ms")
    assert any("ms" in axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "p50" in words


def test_the_page_has_everything_inside_and_escapes_what_it_is_told(study: Sweep, tmp_path: Path) -> None:
    from zentalk_sim.report.sweep_html import render

    meta = msgspec.structs.replace(study.meta, description="<script>alert(1)</script>", name="<b>x</b>")
    page = render(Sweep(meta, study.columns), {"again": "zsim sweep <x>"}, [])
    assert "<script" not in page
    assert "<b>x" not in page
    assert "&lt;script&gt;" in page
    assert "zsim sweep &lt;x&gt;" in page
    assert "too narrow for a 95 % interval: they hold the true median in 75 % of such sweeps. Run 6 seeds" in page


def test_a_single_seed_is_called_so_and_what_is_fixed_stands_in_the_head() -> None:
    from zentalk_sim.report.sweep_html import render

    bounds = {"connections.attempted": ["<= 20"], "messages.failed": ["== 0"]}
    small = {**SMALL, "thresholds": bounds}
    one = sweep.run(small, seeds="7", settings=["duration=11s", "faults=[]"], workers=0)
    lines = str(one).splitlines()
    assert lines[:2] == ["small · 1 cell: seed 7", "in all: duration=11s, faults=[]"]
    assert "All thresholds and checks held in the one cell" in lines
    assert sum(line.startswith("  seed 7 ") for line in lines) >= 3
    assert repr(one) == "<Sweep small, 1 cell: seed 7>"
    page = render(one, {}, [])
    assert "1 cell: seed 7 · 11 s simulated</p>" in page
    assert "✓ All thresholds and checks held</p>" in page
    assert "seeds" not in str(one)
    assert "all seeds" not in page
    grid = sweep.run(small, seeds="1-2", settings=["duration=11s,12s", "population.devices=10,30"], workers=0)
    assert str(grid).startswith("small · 8 cells: 4 combinations × seeds 1-2\n\n")
    page = render(grid, {}, [])
    assert "8 cells: 4 combinations × seeds 1-2 · 11 s simulated in the first</p>" in page
    assert "✗ 1 of 3 thresholds and checks broken, in 4 of 8 cells</p>" in page


def test_a_picture_says_itself_what_its_bars_are_and_no_bar_hides_a_run(study: Sweep) -> None:
    from zentalk_sim.report import style
    from zentalk_sim.report.sweep_plots import draw_metric

    with style.house_style():
        figure, _ = draw_metric(study, "delivery_latency_ms")
    bars = "median over the seeds; bars: least and greatest of 3 runs, 75 % sure; faint dots: the runs"
    assert [text.get_text() for text in figure.texts] == [f"small · seeds 1-3 · {bars}"]
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_alpha()]
    assert len(dots) == 4
    bar_at = axes.transData.transform((dots[0].get_xdata()[0], 1.0))[0]
    assert dots[0].get_transform().transform((dots[0].get_xdata()[0], 1.0))[0] < bar_at - 5
