"""``zsim new``: a commented experiment file to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from zentalk_sim.cli.errors import InvalidFile
from zentalk_sim.cli.options import version


@click.command(epilog="Example: zsim new lunch_break && zsim run lunch_break.yaml")
@click.argument("name")
@click.option("--out", "out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write (NAME.yaml).")
@version
def command(name: str, out: Path | None) -> None:
    """Write a small experiment with every section explained. A file that is there is left alone."""
    import re

    stem = name.removesuffix(".yaml")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", stem):
        raise click.BadParameter(
            "use 1 to 64 letters, digits, `_`, `-` or `.`; give the folder with --out", param_hint="NAME"
        )
    path = out or Path(f"{stem}.yaml")
    text = files("zentalk_sim.experiment").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("NAME", stem))
    except FileExistsError:
        raise InvalidFile(f"{path}: is there already; choose another name or give --out") from None
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be written: {error.strerror}") from None
    click.echo(str(path))
    click.echo(f"next: zsim run {path}", err=True)
