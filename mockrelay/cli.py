"""The ``mockrelay`` command. Heavy modules are imported by the subcommand that needs them, so that help is quick."""

from __future__ import annotations

import sys

import click

from mockrelay.announce import deviations
from mockrelay.ca_cli import ca
from mockrelay.certify_cli import certify
from mockrelay.connect_cli import connect
from mockrelay.documents_cli import asyncapi, openapi
from mockrelay.serve_cli import serve
from mockrelay.token_cli import token
from mockrelay.version_option import version_option

__all__ = ["cli", "deviations", "main", "serve"]

_EXAMPLES = """\b
Example:
  mockrelay serve --user alice --user bob
"""


class _ServeByDefault(click.Group):
    """A group where flags without a command are those of ``serve``: ``mockrelay --port 0 --json``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ServeByDefault, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """A mock relay for the Zentalk WebSocket API. Flags without a command are those of `serve`."""


cli.add_command(asyncapi)
cli.add_command(ca)
cli.add_command(certify)
cli.add_command(connect)
cli.add_command(openapi)
cli.add_command(serve)
cli.add_command(token)


def main() -> None:
    """The entry point of the ``mockrelay`` command: ends the process with the exit code of the contract."""
    try:
        code = cli.main(prog_name="mockrelay", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:  # Ctrl-C while modules are still being loaded, or at a prompt
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":  # `python -m mockrelay.cli`, as `python -m zentalk_sim.cli`
    main()
