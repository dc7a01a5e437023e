"""``zsim export``: a recording as HAR for a browser's developer tools, or a copy that may be shown to others."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile
from zentalk_sim.cli.options import version
from zentalk_sim.cli.traces import trace_at


@click.command(epilog="Example: zsim export session.jsonl --har session.har --redact shareable.jsonl.gz")
@click.argument("recording", metavar="RECORDING", type=click.Path(path_type=Path))
@click.option(
    "--har", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write HAR 1.2 to F, redacted."
)
@click.option(
    "--redact", metavar="F", type=click.Path(path_type=Path, dir_okay=False), help="Write a redacted copy to F."
)
@version
def command(recording: Path, har: Path | None, redact: Path | None) -> None:
    """Write RECORDING, or a simulation's trace, in a form that can be passed on.

    Both take out ciphertexts, tokens, keys, push tokens, seed and snapshots, and put pseudonyms for addresses. A
    redacted copy serves reading and `zsim check`; it does not replay. A name that ends in .gz is compressed. Chrome
    opens the HAR file in its developer tools: Network, Import HAR.
    """
    if har is None and redact is None:
        raise click.UsageError("say what to write: --har F, --redact F, or both")
    recording = trace_at(recording)
    from zentalk_sim.trace.har import write_har
    from zentalk_sim.trace.recording import RecordingError
    from zentalk_sim.trace.redact import redact as write_redacted

    for path, write, what in ((redact, write_redacted, "events"), (har, write_har, "entries")):
        if path is None:
            continue
        try:
            count = write(recording, path)
        except (RecordingError, ValueError) as error:
            raise InvalidFile(str(error)) from None
        except OSError as error:
            raise InvalidFile(f"{error.filename or path}: {error.strerror}") from None
        print(f"wrote {path}: {count:,} {what}", file=sys.stderr)
