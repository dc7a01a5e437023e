"""``zsim schema``: the JSON Schema of experiment files."""

from __future__ import annotations

import json

import click

from zentalk_sim.cli.options import version


@click.command(
    epilog="Example: zsim schema > experiment.schema.json, and in an experiment file on line 1: "
    "# yaml-language-server: $schema=experiment.schema.json"
)
@version
def command() -> None:
    """Print the JSON Schema (draft-07) of experiment files, for editors that complete and check YAML."""
    from zentalk_sim.experiment.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
