"""The command line of ``mockrelay connect``; what it does is imported only when it runs, so that help is quick."""

from __future__ import annotations

import sys

import click

from mockrelay.version_option import version_option


@click.command(
    epilog="""\b
Examples:
  mockrelay connect ws://127.0.0.1:8765/ws/v1 --user carol
  echo 'to dave hello' | mockrelay connect ws://127.0.0.1:8765/ws/v1 --user carol
"""
)
@version_option
@click.argument("ws_url", metavar="WS_URL")
@click.option("--user", required=True, metavar="NAME", help="Who to be; registered where the relay allows it.")
@click.option("--http-url", metavar="URL", help="REST of the relay (default: the port after WS_URL's).")
@click.option(
    "--admin-token",
    envvar="MOCKRELAY_ADMIN_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="Use the names of the relay's own users, and be one of them.",
)
@click.option(
    "--identity-secret",
    envvar="MOCKRELAY_IDENTITY_SECRET",
    show_envvar=True,
    metavar="BASE64",
    help="The user's Ed25519 seed (default: derived from the name).",
)
@click.option("--ca", "ca_file", type=click.Path(dir_okay=False), help="Certificate to trust for wss, in PEM.")
def connect(
    ws_url: str,
    user: str,
    http_url: str | None,
    admin_token: str | None,
    identity_secret: str | None,
    ca_file: str | None,
) -> None:
    """Be a user of a relay, in a terminal: send lines, see what comes.

    Nothing is encrypted: what the protocol calls ciphertext is plain UTF-8 text here. The line `help` lists what can
    be typed. Input may be a pipe; at its end what was sent is waited for. Exit code 99: a message did
    not get through, or a piped line meant nothing.
    """
    from mockrelay.connect import run

    sys.exit(
        run(
            ws_url,
            user,
            http_url=http_url,
            admin_token=admin_token,
            identity_secret=identity_secret,
            ca_file=ca_file,
        )
    )
