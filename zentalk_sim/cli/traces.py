"""Where a command is given a trace: the file itself, or the run's folder in which it lies."""

from __future__ import annotations

from pathlib import Path

from zentalk_sim.cli.errors import InvalidFile

NAMES = ("trace.jsonl", "recording.jsonl")
"""What a simulation's trace is called in its run folder, and what a live run's recording is."""


def trace_at(path: Path) -> Path:
    """The trace that ``path`` is or holds. Raises InvalidFile where there is none."""
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return path / name
        raise InvalidFile(
            f"{path / NAMES[0]}: no such file, nor {NAMES[1]} beside it; run it again with --trace full, "
            "a live run with its control API"
        )
    if not path.is_file():
        raise InvalidFile(f"{path}: no such file")
    return path
