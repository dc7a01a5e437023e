"""``zsim check``: what the specification requires of client and relay, looked for in a recording or a trace."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile, NotHeld
from zentalk_sim.cli.options import version
from zentalk_sim.cli.traces import trace_at


@click.command(epilog="Example: mockrelay serve --user alice --record session.jsonl, then: zsim check session.jsonl")
@click.argument("trace", metavar="TRACE", type=click.Path(path_type=Path))
@click.option("--side", type=click.Choice(["client", "relay"]), help="Check one side only.")
@click.option("--all", "everything", is_flag=True, help="List the checks that were not exercised, too.")
@click.option("--strict", is_flag=True, help="Let a warning end with 99 as well.")
@click.option("--junit", metavar="F", type=click.Path(path_type=Path), help="Write a JUnit report to F.")
@click.option("--html", metavar="F", type=click.Path(path_type=Path), help="Write a page to F.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@version
def command(
    trace: Path,
    side: str | None,
    everything: bool,
    strict: bool,
    junit: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Check the recording, or the trace of a simulation, in TRACE against the specification.

    TRACE may be compressed with gzip; a run's folder stands for the trace in it, a live run's for its recording.
    Ends with 0 if every requirement that the trace puts to the test held, with 99 if one was broken.
    """
    path = trace_at(trace)
    from zentalk_sim.checks import catalogue, run_checks
    from zentalk_sim.checks.html import as_html
    from zentalk_sim.checks.render import as_data, as_junit, as_text
    from zentalk_sim.trace.event_reader import TraceError, read_events

    try:
        report = run_checks(read_events(path), [c for c in catalogue() if side in (None, c.side)])
    except TraceError as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read: {error.strerror or error}") from None
    if junit is not None:
        _write(junit, as_junit(report, path.name))
    if html is not None:
        _write(html, as_html(report, path.name).encode())
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(as_data(report)), indent=2).decode())
    else:
        click.echo(as_text(report, everything=everything), nl=False)
    if not report.held or (strict and report.count("broken")):
        raise NotHeld


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be written: {error.strerror}") from None
    print(f"wrote {path}", file=sys.stderr)
