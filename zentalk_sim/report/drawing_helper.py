"""A process that helps to draw: what it is asked for, a line on stdin; the picture it has drawn, a line on stdout.

It loads all that drawing needs before it is asked, and ends with its stdin, or at the first thing that goes wrong:
whom it helps then draws that itself, and tells what is wrong.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import BinaryIO

import msgspec

from zentalk_sim.report.drawing import Album, Asked


def main() -> None:
    """Draw until stdin ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # A stray print anywhere must not get between the replies.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _get_ready()
    try:
        serve(sys.stdin.buffer, replies)
    except Exception:
        if os.environ.get("ZSIM_DEBUG") == "1":
            raise
        sys.exit(1)


def serve(stdin: BinaryIO, replies: BinaryIO) -> None:
    """Draw what each line asks for. Raises what goes wrong."""
    from zentalk_sim.report import style

    album = cache(_album)
    with style.house_style():
        for line in stdin:
            asked = msgspec.json.decode(line, type=Asked)
            picture = album(asked.folder).draw(asked.name)
            replies.write(msgspec.json.encode(picture, enc_hook=str) + b"\n")
            replies.flush()


def _get_ready() -> None:
    import pyarrow.parquet  # noqa: F401

    from zentalk_sim.report import plots as plots
    from zentalk_sim.report import sweep_plots as sweep_plots


def _album(folder: str) -> Album:
    from zentalk_sim.report.plots import RunAlbum
    from zentalk_sim.report.results import read_results
    from zentalk_sim.report.sweep_plots import SweepAlbum
    from zentalk_sim.report.sweep_results import is_sweep, load_sweep

    path = Path(folder)
    return SweepAlbum(load_sweep(path), path) if is_sweep(path) else RunAlbum(read_results(path), path)


if __name__ == "__main__":
    main()
