"""``zsim sweep``: all combinations of parameters with all seeds, on local processes or a Dask cluster."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld, reading
from zentalk_sim.cli.options import version

if TYPE_CHECKING:
    from types import FrameType

    from zentalk_sim.experiment.sweep import Outcome, Plan
    from zentalk_sim.experiment.sweep_cell import CellError
    from zentalk_sim.report.drawing import Drawers


@click.command(
    epilog="Example: zsim sweep experiments/reconnect_storm.yaml --seeds 1-10 -S relay.nodes=3,4,6 "
    "-S population.devices=500"
)
@click.argument("file", metavar="FILE")
@click.option("--seeds", metavar="A-B", help="Seeds of every combination: 1-20, or 1,2,7-9.")
@click.option("-S", "settings", metavar="PATH=VALUE,...", multiple=True, help="Values of one key; repeatable.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Local processes (one per core).")
@click.option("--scheduler", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, tcp://HOST:PORT.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder (runs/NAME/sweep-HASH).")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json in place of the table.")
@click.option("--no-plots", is_flag=True, help="Draw no pictures.")
@version
def command(
    file: str,
    seeds: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    as_json: bool,
    no_plots: bool,
) -> None:
    """Run the experiment in FILE once for every seed and every combination of values.

    A sweep that was stopped goes on where it was: the same command again runs only what is not done. Ends with 0 if
    every threshold and check held in every run, with 99 if one did not.
    """
    if scheduler is not None and workers is not None:
        raise click.UsageError("--workers are local processes; a --scheduler has its own")
    from zentalk_sim.experiment.sweep import plan

    laid: Plan = reading(partial(plan, file, seeds=seeds, settings=settings))
    folder = out or laid.folder
    from zentalk_sim.report.drawing import Drawers, available_cores

    count = workers or available_cores()
    with Drawers(0 if no_plots else count - 1) as drawers:
        outcome = _run(laid, folder, count, scheduler, drawers)
        from zentalk_sim.report.sweep_html import draw

        try:
            draw(outcome.sweep, folder, plots=not no_plots, drawers=drawers)
        except OSError as error:
            raise InvalidFile(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo((folder / "summary.json").read_bytes(), nl=False)
    else:
        click.echo(str(outcome.sweep))
        click.echo(f"sweep folder: {folder}")
    if not outcome.sweep.meta.held:
        raise NotHeld


def _run(laid: Plan, folder: Path, workers: int, scheduler: str | None, drawers: Drawers) -> Outcome:
    from zentalk_sim.experiment import sweep
    from zentalk_sim.experiment.sweep_engines import DaskCluster, Engine, EngineError, LocalProcesses
    from zentalk_sim.experiment.sweep_folder import OtherSweep

    progress = Progress(sys.stderr.isatty())

    def tell(done: int, total: int) -> None:
        progress.show(done, total)
        # In place of each worker that has nothing more to do, one gets ready that will help with the pictures.
        drawers.start(workers - (total - done))

    try:
        engine: Engine = LocalProcesses(workers) if scheduler is None else DaskCluster(scheduler, progress.note)
        with _terminable():
            return sweep.run_plan(laid, engine, folder=folder, progress=tell, note=progress.note)
    except KeyboardInterrupt:
        progress.note(_kept(progress.done, laid, folder))
        raise
    except EngineError as error:
        # Where the cluster went away amid the sweep, what is done is not lost.
        kept = f"\n{_kept(progress.done, laid, folder)}" if progress.done else ""
        raise InvalidFile(f"{error}{kept}") from None
    except OtherSweep as error:
        raise InvalidFile(str(error)) from None
    except sweep.SweepFailed as error:
        progress.clear()
        _tell(error.failures)
        raise RuntimeError(f"{len(error.failures)} of {laid.runs} cells failed; the others are kept") from None
    except OSError as error:
        raise InvalidFile(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    finally:
        progress.clear()


@contextmanager
def _terminable() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C is taken: what is done is kept and told, and no worker is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _kept(done: int, laid: Plan, folder: Path) -> str:
    from zentalk_sim.experiment.sweep import cells_are

    return f"{cells_are(done, laid.runs)} kept in {folder}; the same command goes on from there"


def _tell(failures: list[tuple[str, CellError]]) -> None:
    """A line for each thing that went wrong, with a cell it went wrong in."""
    cells: dict[str, list[str]] = {}
    for where, why in failures:
        cells.setdefault(why.message, []).append(where)
    for message, found in list(cells.items())[:20]:
        others = f" and {len(found) - 1} others" if len(found) > 1 else ""
        click.echo(f"cell {found[0]}{others}: {message}", err=True)


class Progress:
    """One line on a terminal's stderr: cells done, and how long the rest will take. Elsewhere notes only."""

    def __init__(self, is_terminal: bool) -> None:
        self.done = 0
        self._is_terminal = is_terminal
        self._began_s = 0.0
        self._first = 0
        self._width = 0

    def show(self, done: int, total: int) -> None:
        if not self._began_s:
            self._began_s, self._first = time.perf_counter(), done
        self.done = done
        if not self._is_terminal:
            return
        line = f"{done} of {total} cells"
        fresh = done - self._first
        if fresh and done < total:
            left_s = (time.perf_counter() - self._began_s) / fresh * (total - done)
            line += f" · about {left_s:,.0f} s left"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        self.clear()
        click.echo(text, err=True)

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
