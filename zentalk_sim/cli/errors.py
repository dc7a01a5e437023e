"""How a command ends: the exit codes of the contract, and one place that turns exceptions into them.

0 done and all held · 1 internal error · 2 bad usage or invalid file · 99 ran, but a threshold, check or
verification failed · 130 interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import click


class Exit(IntEnum):
    """What a command's exit code means."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    FAILED = 99
    INTERRUPTED = 130


class InvalidFile(click.ClickException):
    """An input that cannot be taken; the message is printed as it is, a line per fault."""

    exit_code = Exit.USAGE

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file, err=file is None)


class NotHeld(Exception):
    """The command did its work, and a threshold, check or verification failed; what failed has been printed."""


def run(
    command: click.Command,
    arguments: Sequence[str] | None,
    name: str,
    leave: Callable[[int], object] | None = None,
) -> int:
    """Run ``command`` and return its exit code, its messages having gone to stderr.

    ``leave`` is called with the exit code of an interrupted command while all it made still stands: to end the process
    there and then, since to free the objects of a large run takes seconds.
    """
    try:
        result = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except NotHeld:
        return Exit.FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        if leave is not None:
            leave(Exit.INTERRUPTED)
        return Exit.INTERRUPTED
    except SystemExit:
        # click's answer to a reader that has gone (`zsim metrics | head`), which is no error of the command's.
        return Exit.DONE
    except Exception as error:
        _show_internal(error)
        return Exit.INTERNAL
    return result if isinstance(result, int) else Exit.DONE


def _show_internal(error: Exception) -> None:
    if os.environ.get("ZSIM_DEBUG") == "1":
        import traceback

        traceback.print_exc()
        return
    text = " ".join(str(error).split())
    click.echo(f"internal error: {type(error).__name__}{f': {text}' if text else ''}", err=True)
    click.echo("set ZSIM_DEBUG=1 to see where, and please report it", err=True)


def reading(load: Callable[[], Any]) -> Any:
    """What ``load`` returns; its FileFaults become InvalidFile."""
    from zentalk_sim.files.yaml import FileFaults

    try:
        return load()
    except FileFaults as faults:
        raise InvalidFile(str(faults)) from None
