"""``--version``, the same for every command of ``mockrelay``."""

from __future__ import annotations

import click


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from zentalk_sim import __version__

        click.echo(f"mockrelay {__version__}")
        ctx.exit()


version_option = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version and exit."
)
