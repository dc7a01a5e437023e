"""``zsim``: one module a command, loaded only when that command is used, so that ``zsim --help`` is quick."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from zentalk_sim.cli import errors
from zentalk_sim.cli.options import version

COMMANDS = {
    "new": "Write a commented experiment file to start from.",
    "validate": "Check an experiment file and name every fault in it.",
    "run": "Run one experiment and keep its results in a folder.",
    "sweep": "Run every combination of parameters with every seed.",
    "compare": "Compare runs or sweeps: medians, intervals, ratio, verdict.",
    "report": "Redraw the pictures and report of a run from its tables.",
    "replay": "Feed a recorded session to a fresh relay and compare every byte.",
    "check": "Check a recording or a trace against the specification.",
    "export": "Write a recording as HAR, or a copy without its secrets.",
    "calibrate": "Measure a live relay and print an experiment fragment.",
    "fuzz": "Search for what breaks a requirement: random experiments under faults.",
    "metrics": "List every metric and count with unit and definition.",
    "schema": "Print the JSON Schema of experiment files, for editors.",
}
"""Command → its line in ``zsim --help``; its module in this package has the same name and a ``command``."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"zentalk_sim.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from zentalk_sim.files.names import suggestion

            raise click.UsageError(f"no command `{args[0]}`{suggestion(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: zsim run experiments/reconnect_storm.yaml",
)
@version
def zsim() -> None:
    """Simulate Zentalk relays and clients, and see what happens."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``zsim`` command: runs it and ends the process with its exit code."""
    code = int(errors.run(zsim, arguments, "zsim", _leave_at_once))
    # What a large run made goes with the process; the collector would take minutes to find that nobody needs it.
    gc.freeze()
    sys.exit(code)


def _leave_at_once(code: int) -> None:
    """End the process: files are closed by now, and what is in memory the system frees quicker than we do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
