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
