"""``zsim replay``: a recorded session fed to a fresh relay core, or its clients' actions lived again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld, reading
from zentalk_sim.cli.options import version
from zentalk_sim.cli.traces import trace_at


@click.command(
    epilog="Example: mockrelay serve --user alice --record session.jsonl, then: zsim replay session.jsonl; "
    "or: zsim replay session.jsonl --what-if slow.yaml"
)
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path))
@click.option(
    "--what-if", metavar="FILE", type=click.Path(), help="Live it again with these settings, in the simulator."
)
@click.option("-S", "settings", metavar="PATH=VALUE", multiple=True, help="With --what-if: set one key; repeatable.")
@click.option("--seed", type=click.IntRange(min=0, max=(1 << 63) - 1), help="With --what-if: seed of every draw.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="With --what-if: run folder.")
@click.option("--no-plots", is_flag=True, help="With --what-if: draw no pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@version
def command(
    recording: Path,
    what_if: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    no_plots: bool,
    as_json: bool,
) -> None:
    """Feed the session recorded in RECORDING to a fresh relay core and require the same bytes out.

    Ends with 0 if every output byte is equal, with 99 at the first difference, which is printed. RECORDING may be
    compressed (gzip, zstd); a live run's folder stands for the recording in it.

    With --what-if the relay's part of the recording is set aside: what the applications did (connecting, sending,
    reading, typing, presence) is lived again in the simulator, over the network, limits, client policies and faults
    that FILE says, a fragment of an experiment. The run is kept in a folder like any other.
    """
    recording = trace_at(recording)
    if what_if is not None:
        _live_again(recording, what_if, settings, seed, out, plots=not no_plots, as_json=as_json)
        return
    if settings or seed is not None or out is not None or no_plots:
        raise click.UsageError("-S, --seed, --out and --no-plots go with --what-if FILE")
    from zentalk_sim.trace.recording import RecordingError
    from zentalk_sim.trace.replay import replay_file

    try:
        result = replay_file(recording)
    except RecordingError as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{recording}: cannot be read: {error.strerror}") from None
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
        if result.first_difference is not None:
            raise NotHeld
        return
    difference = result.first_difference
    if difference is not None:
        from zentalk_sim.trace.difference import described

        click.echo(f"{result.events} events replayed, {result.outputs} outputs equal; the next one differs")
        click.echo(described(difference, str(recording)), nl=False)
        raise NotHeld
    click.echo(f"{result.events} events replayed, {result.outputs} outputs: every output byte equal")


def _live_again(
    recording: Path,
    what_if: str,
    settings: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    *,
    plots: bool,
    as_json: bool,
) -> None:
    """The actions of the recording in the simulator, and both sessions side by side."""
    from zentalk_sim.trace.event_reader import TraceError, read_events
    from zentalk_sim.trace.lift import lift
    from zentalk_sim.trace.relay_view import relay_view

    try:
        lifted = lift(recording)
        recorded = relay_view(read_events(recording))
    except TraceError as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{recording}: cannot be read: {error.strerror or error}") from None
    from zentalk_sim.experiment import whatif
    from zentalk_sim.experiment.run_folder import OtherRun
    from zentalk_sim.experiment.runner import run_experiment
    from zentalk_sim.report.relived import as_data, as_text

    options = {"seed": (f"--seed {seed}", seed)} if seed is not None else {}
    experiment = reading(lambda: whatif.experiment_of(lifted, str(recording), what_if, settings, options))
    made: list[whatif.RelivedWorld] = []
    try:
        outcome = run_experiment(
            experiment,
            out=out,
            trace="full",
            plots=experiment.plots and plots,
            progress=sys.stderr.isatty(),
            world_of=whatif.world_of(lifted, made.append),
        )
        lived = relay_view(read_events(outcome.folder / "trace.jsonl"))
        data = as_data(recorded, lived, lifted.left_out, made[0].skipped, lifted.waiting.count)
        (outcome.folder / "side_by_side.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OtherRun as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{error.filename or out or 'runs'}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps({"summary": outcome.summary, "side_by_side": data}, indent=2, ensure_ascii=False))
    else:
        from zentalk_sim.report.summary import results_table

        click.echo(results_table(outcome.summary))
        click.echo(as_text(recorded, lived, lifted.left_out, made[0].skipped, lifted.waiting.count))
        click.echo(f"report:     {outcome.folder / 'report.html'}")
        click.echo(f"run folder: {outcome.folder}")
    if outcome.failed_thresholds or any(not check["held"] for check in outcome.summary.get("checks", ())):
        raise NotHeld
