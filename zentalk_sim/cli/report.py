"""``zsim report``: the pictures and the page of a run, drawn again from its tables."""

from __future__ import annotations

from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim report runs/reconnect_storm/1-3f9a0c")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@version
def command(run: Path) -> None:
    """Redraw the pictures and the report of the run or sweep folder RUN from the tables it holds."""
    from zentalk_sim.report.drawing import Drawers, available_cores
    from zentalk_sim.report.results import RunFolderError, redraw
    from zentalk_sim.report.sweep_html import draw
    from zentalk_sim.report.sweep_results import is_sweep, load_sweep

    # A sweep that is not finished has no summary either, and its own words for that.
    if not (run / "summary.json").is_file() and not is_sweep(run):
        raise InvalidFile(f"{run}: is no run folder (it has no summary.json); `zsim run` prints the folder it writes")
    try:
        with Drawers(available_cores() - 1) as drawers:
            drawers.start(1)
            if is_sweep(run):
                draw(load_sweep(run), run, drawers=drawers)
            else:
                redraw(run, drawers)
    except RunFolderError as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{error.filename or run}: cannot be written: {error.strerror}") from None
    click.echo(str(run))
