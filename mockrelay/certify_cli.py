"""The command line of ``mockrelay certify``; what it does is imported only when it runs, so that help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mockrelay.version_option import version_option

_PORT = click.IntRange(0, 65535)


@click.command(
    epilog="""\b
Examples:
  mockrelay certify --drive 'node drive.mjs' --app web
  mockrelay certify --drive-each './drive.sh' --app ios --jobs 1 --case 3 --case 4.1
  mockrelay certify --app android --host 0.0.0.0 --advertise 10.0.2.2
  mockrelay certify --merge ci/web --merge ci/ios --out all

\b
Exit codes: 0 no failure, 99 some case failed, 2 usage, 130 interrupted.
"""
)
@version_option
@click.option("--drive", metavar="COMMAND", help="A program that makes the app act: JSON lines on stdin and stdout.")
@click.option("--drive-each", metavar="COMMAND", help="A command that is run once for each action, told by CERTIFY_….")
@click.option("--keep-running", is_flag=True, help="Start the program of --drive once for each job, not for each case.")
@click.option("--app", default="app", show_default=True, metavar="NAME", help="The app's column in the report.")
@click.option(
    "--out",
    default="certify-report",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The report's folder; other apps' reports in it stay.",
)
@click.option("--case", "wanted", multiple=True, metavar="ID", help="Run these only: 3, 3.4 or 3.4-4.2.")
@click.option("--slow", is_flag=True, help="Run what takes minutes of an app's own clock, too.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="Cases at a time (default: 8; by hand or with --keep-running: 1)."
)
@click.option(
    "--timeout",
    "timeout_s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds an action.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0.1, 600),
    help="Seconds to wait for what an app does at once (default: 3; by hand: 10); more on a busy machine.",
)
@click.option(
    "--merge",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the reports of this folder in, too; without a drive, do nothing else.",
)
@click.option("--list", "lists", is_flag=True, help="List the cases and exit.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=_PORT, default=0, help="WebSocket; 0: any free (the default).")
@click.option("--http-port", type=_PORT, default=0, help="REST; 0: any free (the default).")
@click.option("--advertise", metavar="HOST", help="Tell the app this host in its URLs, such as 10.0.2.2.")
@click.option("--tls", is_flag=True, help="Serve wss and https.")
@click.option("--tls-cert", type=click.Path(dir_okay=False), help="Certificate chain in PEM.")
@click.option("--tls-key", type=click.Path(dir_okay=False), help="Its private key in PEM.")
def certify(**flags: Any) -> None:
    """Take an app through every case there is and report what it did.

    The app acts by a program of yours (--drive, --drive-each) or, at a terminal, by your hands. docs/certify.md tells
    what a drive program says and hears.
    """
    if not flags.pop("lists"):
        _check(flags)
    else:
        from mockrelay.certify.case import catalogue
        from mockrelay.certify.command import listing

        click.echo(listing(catalogue()))
        return
    try:
        sys.exit(_run(flags))
    except KeyboardInterrupt:
        sys.exit(130)


def _check(flags: dict[str, Any]) -> None:
    if flags["drive"] is not None and flags["drive_each"] is not None:
        raise click.UsageError("--drive and --drive-each are two ways to the same end; give one")
    if flags["keep_running"] and flags["drive"] is None:
        raise click.UsageError("--keep-running is for the program of --drive")
    if (flags["tls_cert"] is None) != (flags["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    by_hand = flags["drive"] is None and flags["drive_each"] is None
    if by_hand and not flags["merge"] and not sys.stdin.isatty():
        raise click.UsageError("no --drive, and nobody at a terminal to act; docs/certify.md has drive programs")
    if by_hand and (flags["jobs"] or 1) > 1:
        raise click.UsageError("--jobs: by hand cases run one after the other; leave it out")
    flags["jobs"] = flags["jobs"] or (1 if by_hand or flags["keep_running"] else 8)


def _run(flags: dict[str, Any]) -> int:
    from mockrelay.certify.case import chosen
    from mockrelay.certify.command import Wishes, certify, merge
    from mockrelay.certify.report import APP_NAME, ReportError
    from mockrelay.server import PortInUse
    from mockrelay.tls import TlsError

    if not APP_NAME.fullmatch(flags["app"]):
        raise click.BadParameter("a name has up to 64 letters, digits, dots, hyphens", param_hint="--app")
    try:
        cases = chosen(flags.pop("wanted"))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--case") from None
    wishes = Wishes(cases=cases, **flags)
    only_merge = wishes.merge and wishes.drive is None and wishes.drive_each is None
    try:
        return merge(wishes) if only_merge else certify(wishes)
    except (ReportError, PortInUse, TlsError) as error:
        click.echo(f"mockrelay: {error}", err=True)
        return 2
