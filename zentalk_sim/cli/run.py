"""``zsim run``: one experiment, its results as a table and a folder."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld, reading
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim run experiments/reconnect_storm.yaml -S population.devices=500 --seed 7")
@click.argument("file", metavar="FILE")
@click.option("--seed", type=click.IntRange(min=0, max=(1 << 63) - 1), help="Seed of every random draw.")
@click.option("-S", "settings", metavar="PATH=VALUE", multiple=True, help="Set one key of the file; repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder (runs/NAME/SEED-HASH).")
@click.option("--trace", type=click.Choice(["none", "sample", "full"]), help="Events to keep in trace.jsonl.")
@click.option(
    "--fidelity", type=click.Choice(["frames", "wire"]), help="Frame objects, or real bytes and cryptography."
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json in place of the table.")
@click.option("--no-plots", is_flag=True, help="Draw no pictures.")
@version
def command(
    file: str,
    seed: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    trace: str | None,
    fidelity: str | None,
    as_json: bool,
    no_plots: bool,
) -> None:
    """Run the experiment in FILE and keep its results in a folder.

    Ends with 0 if every threshold and check held, with 99 if one did not, with 2 if the file cannot be run.
    """
    from zentalk_sim.experiment.loader import load

    given = {"seed": ("--seed", seed), "measure.trace": ("--trace", trace), "fidelity": ("--fidelity", fidelity)}
    options = {path: (f"{option} {value}", value) for path, (option, value) in given.items() if value is not None}
    experiment = reading(partial(load, file, settings, options=options))

    from zentalk_sim.experiment.runner import run_experiment

    try:
        outcome = run_experiment(
            experiment,
            out=out,
            trace=experiment.measure.trace,
            plots=experiment.plots and not no_plots,
            progress=sys.stderr.isatty(),
        )
    except OSError as error:
        raise InvalidFile(f"{error.filename or out or 'runs'}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(outcome.summary, indent=2, ensure_ascii=False))
    else:
        from zentalk_sim.report.summary import results_table

        click.echo(results_table(outcome.summary))
        report = outcome.folder / "report.html"
        if report.exists():
            click.echo(f"report:     {report}")
        picture = outcome.folder / "plots" / "overview.png"
        if picture.exists():
            click.echo(f"picture:    {picture}")
        click.echo(f"run folder: {outcome.folder}")
    if outcome.failed_thresholds or any(not check["held"] for check in outcome.summary.get("checks", ())):
        raise NotHeld
