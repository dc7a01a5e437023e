"""Options that every command has."""

from __future__ import annotations

import click

from zentalk_sim import __version__

version = click.version_option(__version__, prog_name="zsim", message="%(prog)s %(version)s")
