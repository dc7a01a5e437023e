"""``zsim compare``: runs and sweeps beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim compare runs/reconnect_storm/sweep-1f0c33aa runs/reconnect_storm/sweep-88d1c2e0")
@click.argument("runs", metavar="RUN RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@version
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare runs or sweeps with the first: medians over the seeds, intervals, ratio and verdict.

    Run folders of one experiment with several seeds count as one set. A sweep alone is compared within itself, each
    combination with its first. A difference is called one only where chance does not explain it.
    """
    from zentalk_sim.experiment.compare import CompareError, compare
    from zentalk_sim.report import RunFolderError
    from zentalk_sim.report.compare_table import comparison_json, comparison_table

    try:
        pairs = compare(runs)
    except (CompareError, RunFolderError) as error:
        raise InvalidFile(str(error)) from None
    if as_json:
        click.echo(json.dumps(comparison_json(pairs), indent=2, ensure_ascii=False))
    else:
        click.echo(comparison_table(pairs), nl=False)
