"""``zsim run``: one experiment, its results as a table and a folder."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld, reading
from zentalk_sim.cli.options import version

if TYPE_CHECKING:
    from zentalk_sim.experiment.runner import RunOutcome
    from zentalk_sim.experiment.schema import Experiment
    from zentalk_sim.live.run import Target
    from zentalk_sim.report.drawing import Drawers


@click.command(epilog="Example: zsim run experiments/reconnect_storm.yaml -S population.devices=500 --seed 7")
@click.argument("file", metavar="FILE")
@click.option("--seed", type=click.IntRange(min=0, max=(1 << 63) - 1), help="Seed of every random draw.")
@click.option(
    "--with",
    "fragments",
    metavar="FRAGMENT",
    multiple=True,
    help="Lay this file over FILE, such as one of `calibrate`.",
)
@click.option("-S", "settings", metavar="PATH=VALUE", multiple=True, help="Set one key of the file; repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder (runs/NAME/SEED-HASH).")
@click.option("--trace", type=click.Choice(["none", "sample", "full"]), help="Events to keep in trace.jsonl.")
@click.option(
    "--fidelity", type=click.Choice(["frames", "wire"]), help="Frame objects, or real bytes and cryptography."
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json in place of the table.")
@click.option("--no-plots", is_flag=True, help="Draw no pictures.")
@click.option("--live", metavar="WS_URL", help="In real time against the relay at this ws:// or wss:// URL.")
@click.option(
    "--admin-token", envvar="MOCKRELAY_ADMIN_TOKEN", help="Live: the relay's control API ($MOCKRELAY_ADMIN_TOKEN)."
)
@click.option(
    "--http-url", help="Live: the relay's REST and control URL (from WS_URL: port 8765 → 8766, else the same)."
)
@click.option(
    "--users", "users_file", type=click.Path(path_type=Path, dir_okay=False), help="Live: users to be, as JSON."
)
@click.option(
    "--network", type=click.Choice(["shaped", "real"]), help="Live: lay the file's networks over the real one (shaped)."
)
@version
def command(
    file: str,
    seed: int | None,
    fragments: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path | None,
    trace: str | None,
    fidelity: str | None,
    as_json: bool,
    no_plots: bool,
    live: str | None,
    admin_token: str | None,
    http_url: str | None,
    users_file: Path | None,
    network: str | None,
) -> None:
    """Run the experiment in FILE and keep its results in a folder.

    With --live its devices are real clients over real sockets, in real time; users are made through the control API
    in a space of their own, or given by --users. Ends with 0 if every threshold and check held, with 99 if one did
    not, with 2 if the file cannot be run.
    """
    live_options = {"--http-url": http_url, "--users": users_file, "--network": network}
    if live is None and (named := [name for name, value in live_options.items() if value is not None]):
        raise click.UsageError(f"{', '.join(named)}: only with --live WS_URL")
    given = {"seed": ("--seed", seed), "measure.trace": ("--trace", trace), "fidelity": ("--fidelity", fidelity)}
    options = {path: (f"{option} {value}", value) for path, (option, value) in given.items() if value is not None}
    set_aside: list[str] = []
    from zentalk_sim.model import compiled

    if live is None:
        # First of all: a module that was imported from sources stays so.
        compiled.activate()
    experiment = reading(partial(_loaded, file, fragments, settings, options, set_aside))
    for section in set_aside:
        click.echo(f"{file}: `{section}` is left aside; `zsim {section} {file}` runs it", err=True)

    from zentalk_sim.experiment.doubts import doubts

    for doubt in doubts(experiment):
        click.echo(f"note: {doubt}", err=True)
    interrupted = False
    try:
        if live is None:
            outcome = _simulated(experiment, out, plots=experiment.plots and not no_plots)
        else:
            target = live_target(live, admin_token, http_url, users_file, network)
            outcome, interrupted = _play(file, experiment, target, out, plots=experiment.plots and not no_plots)
    except OSError as error:
        raise InvalidFile(f"{error.filename or out or 'runs'}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo((outcome.folder / "summary.json").read_bytes(), nl=False)
    else:
        _print(outcome, is_live=live is not None)
    if interrupted:
        click.echo("what was found until then is kept", err=True)
        raise click.Abort
    if outcome.failed_thresholds or any(not check["held"] for check in outcome.summary.get("checks", ())):
        raise NotHeld


def _simulated(experiment: Experiment, out: Path | None, *, plots: bool) -> RunOutcome:
    """The experiment in simulated time. Raises InvalidFile, OSError."""
    from zentalk_sim.model import compiled

    # Before anything of the simulator is imported.
    if compiled.needs_sources(experiment.measure.trace, experiment.checks):
        compiled.withdraw()
    compiled.large_pages(experiment.population.devices)
    from zentalk_sim.experiment.run_folder import OtherRun, replaced_note
    from zentalk_sim.experiment.runner import run_experiment

    try:
        with _collector_off(), _drawers(experiment, plots=plots) as drawers:
            outcome = run_experiment(
                experiment,
                out=out,
                trace=experiment.measure.trace,
                plots=plots,
                progress=sys.stderr.isatty(),
                drawers=drawers,
            )
    except OtherRun as error:
        raise InvalidFile(str(error)) from None
    if outcome.replaced:
        click.echo(f"note: {replaced_note(outcome.folder, outcome.replaced)}", err=True)
    return outcome


@contextmanager
def _collector_off() -> Iterator[None]:
    """No cyclic collector; after Ctrl-C none to the end of the process, which is near.

    To switch it on again has it walk all that the run made, which of a large one takes a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    interrupted = False
    try:
        yield
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        if was_enabled and not interrupted:
            gc.enable()


def _drawers(experiment: Experiment, *, plots: bool) -> Drawers:
    """Who will draw: beside a short run a second core gets ready to. A large run's tables need no two readers."""
    from zentalk_sim.model.compiled import LARGE_DEVICES
    from zentalk_sim.report.drawing import Drawers, available_cores

    is_short = experiment.population.devices < LARGE_DEVICES
    drawers = Drawers(available_cores() - 1 if plots and is_short else 0)
    drawers.start(1)
    return drawers


def _print(outcome: RunOutcome, is_live: bool) -> None:
    """The table of results, and where the rest of them lies."""
    from zentalk_sim.report.summary import results_table

    table = results_table(outcome.summary)
    click.echo(table.replace(" s simulated", " s in real time", 1) if is_live else table)
    for what, path in (("report:    ", "report.html"), ("picture:   ", "plots/overview.png")):
        if (outcome.folder / path).exists():
            click.echo(f"{what} {outcome.folder / path}")
    click.echo(f"run folder: {outcome.folder}")


def _loaded(
    file: str,
    fragments: tuple[str, ...],
    settings: tuple[str, ...],
    options: dict[str, tuple[str, Any]],
    set_aside: list[str],
) -> Experiment:
    """The experiment with its fragments laid over it. Raises FileFaults."""
    from zentalk_sim.experiment.loader import load, read

    if not fragments:
        return load(file, settings, options=options, set_aside=set_aside)
    from zentalk_sim.experiment.fragment import overlaid
    from zentalk_sim.files import yaml

    tree = yaml.load(file)
    for fragment in fragments:
        tree = overlaid(tree, yaml.load(fragment))
    return read(tree, settings, options=options, set_aside=set_aside)


def live_target(
    ws_url: str,
    admin_token: str | None,
    http_url: str | None,
    users_file: Path | None,
    network: str | None,
    what: str = "--live",
) -> Target:
    """Where to play, checked. Raises UsageError, InvalidFile."""
    from zentalk_sim.live.run import Target
    from zentalk_sim.live.urls import UrlError, http_url_of, ws_url_of
    from zentalk_sim.live.users import UsersError, read_users

    if users_file:
        # Whoever names users wants these, whatever token happens to stand in the environment.
        admin_token = None
    try:
        urls = ws_url_of(ws_url), http_url_of(ws_url, http_url)
        if not admin_token and not users_file:
            raise click.UsageError(
                f"{what} needs somebody to be: --admin-token (or $MOCKRELAY_ADMIN_TOKEN) to make users, or --users FILE"
            )
        return Target(
            ws_url=urls[0],
            http_url=urls[1],
            admin_token=admin_token,
            users=read_users(users_file) if users_file else None,
            shaped=network != "real",
        )
    except UrlError as error:
        raise click.UsageError(str(error)) from None
    except UsersError as error:
        raise InvalidFile(str(error)) from None


def _play(
    file: str, experiment: Experiment, target: Target, out: Path | None, *, plots: bool
) -> tuple[RunOutcome, bool]:
    """The experiment in real time; and whether it was interrupted."""
    from zentalk_sim.experiment.run_folder import OtherRun
    from zentalk_sim.live.run import LiveError, Refused, not_applied, run_live

    for note in not_applied(experiment, target):
        click.echo(f"note: {note}", err=True)
    try:
        return run_live(experiment, target, out=out, plots=plots, progress=sys.stderr.isatty())
    except Refused as error:
        raise InvalidFile("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None
    except (LiveError, OtherRun) as error:
        raise InvalidFile(str(error)) from None
