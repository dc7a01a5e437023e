"""``zsim compare``: runs and sweeps beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim compare runs/reconnect_storm/sweep-1f0c33aa runs/reconnect_storm/sweep-88d1c2e0")
@click.argument("runs", metavar="RUN RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--agreement", is_flag=True, help="Lay distributions side by side: the last run against those before.")
@click.option("--tolerance", default=0.1, show_default=True, type=click.FloatRange(0, 10), help="With --agreement.")
@click.option("--html", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to F.")
@version
def command(runs: tuple[Path, ...], as_json: bool, agreement: bool, tolerance: float, html: Path | None) -> None:
    """Compare runs or sweeps with the first: medians over the seeds, intervals, ratio and verdict.

    Run folders of one experiment with several seeds count as one set. A sweep alone is compared within itself, each
    combination with its first. A difference is called one only where chance does not explain it.

    With --agreement the distributions themselves are compared, such as those of a simulated run and of one made with
    `zsim run --live`: quantile ratios and the Kolmogorov-Smirnov distance. The last run stands against all before it,
    pooled. Ends with 99 where a figure differs by more than chance and more than the tolerance.
    """
    given = click.get_current_context().get_parameter_source("tolerance")
    if not agreement and given is not None and given.name != "DEFAULT":
        raise click.UsageError("--tolerance goes with --agreement")
    if agreement:
        _agree(runs, as_json, tolerance, html)
        return
    if html is not None:
        raise click.UsageError("--html goes with --agreement")
    from zentalk_sim.experiment.compare import compare
    from zentalk_sim.experiment.compare_sets import CompareError
    from zentalk_sim.report import RunFolderError
    from zentalk_sim.report.compare_table import comparison_json, comparison_table

    try:
        found = compare(runs)
    except (CompareError, RunFolderError) as error:
        raise InvalidFile(str(error)) from None
    if as_json:
        click.echo(json.dumps(comparison_json(found.pairs, found.unmatched), indent=2, ensure_ascii=False))
    else:
        click.echo(comparison_table(found.pairs, found.unmatched), nl=False)


def _agree(folders: tuple[Path, ...], as_json: bool, tolerance: float, html: Path | None) -> None:
    """The last run's distributions against those of the runs before it."""
    if len(folders) < 2:
        raise click.UsageError("--agreement needs two runs: zsim compare SIMULATED LIVE --agreement")
    from zentalk_sim.experiment.agreement import agree
    from zentalk_sim.report import RunFolderError, load
    from zentalk_sim.report.agreement_page import as_data, as_html, as_text
    from zentalk_sim.report.run import Run

    try:
        runs = [load(folder) for folder in folders]
        for folder, run in zip(folders, runs, strict=True):
            if not isinstance(run, Run):
                raise InvalidFile(f"{folder}: a sweep; --agreement compares single runs")
        report = agree(runs[:-1], runs[-1:], tolerance)  # type: ignore[arg-type]
    except RunFolderError as error:
        raise InvalidFile(str(error)) from None
    if html is not None:
        try:
            html.write_text(as_html(report), encoding="utf-8")
        except OSError as error:
            raise InvalidFile(f"{html}: cannot be written: {error.strerror}") from None
        click.echo(f"wrote {html}", err=True)
    click.echo(json.dumps(as_data(report), indent=2) if as_json else as_text(report), nl=as_json)
    if report.differs:
        raise NotHeld
