"""``zsim replay``: a recorded session fed to a fresh relay core, which must say the same bytes again."""

from __future__ import annotations

from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld
from zentalk_sim.cli.options import version


@click.command(epilog="Example: mockrelay serve --user alice --record session.jsonl, then: zsim replay session.jsonl")
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path))
@version
def command(recording: Path) -> None:
    """Feed the session recorded in RECORDING to a fresh relay core and require the same bytes out.

    Ends with 0 if every output byte is equal, with 99 at the first difference, which is printed.
    """
    if not recording.is_file():
        raise InvalidFile(f"{recording}: no such file")
    from zentalk_sim.trace.recording import RecordingError
    from zentalk_sim.trace.replay import replay_file

    try:
        result = replay_file(recording)
    except RecordingError as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{recording}: cannot be read: {error.strerror}") from None
    difference = result.first_difference
    if difference is not None:
        click.echo(
            f"{result.events} events replayed, {result.outputs} outputs equal, then {recording}:{difference.line}:"
        )
        for line in difference.context:
            click.echo(f"    before: {line}")
        click.echo(f"  recorded: {difference.recorded or 'nothing more'}")
        click.echo(f"  replayed: {difference.replayed or 'nothing'}")
        raise NotHeld
    click.echo(f"{result.events} events replayed, {result.outputs} outputs: every output byte equal")
