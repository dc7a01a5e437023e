"""Whether a folder may take a sweep: one that is new or empty, or that holds this very sweep, finished or not.

What makes it the same sweep is its identity (``Plan.identity``): the experiment, what is fixed and which paths vary,
whatever the seeds and values. Whatever else a folder holds is not written over, and not written beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from zentalk_sim.experiment.differences import differences, value_words
from zentalk_sim.report.sweep_results import META

CELLS = "cells"
EXPERIMENT = "experiment.yaml"

_BEGUN = (CELLS, EXPERIMENT, f"{META}.part")
"""What a sweep writes before its ``META``: one that was killed there goes on all the same."""
_SHOWN = 6


class OtherSweep(Exception):
    """A folder that is no place for a sweep; the text says what it holds or what differs, and the remedy."""


def is_begun(folder: Path, identity: Any) -> bool:
    """Whether ``folder`` holds the sweep of this identity already. Raises OtherSweep where it holds anything else."""
    path = folder / META
    try:
        before = msgspec.json.decode(path.read_bytes())
        if not isinstance(before, dict):
            raise ValueError("not what a sweep writes")
    except FileNotFoundError:
        _refuse_other_things(folder)
        return False
    except (ValueError, OSError) as error:
        raise OtherSweep(f"{path}: cannot be read: {error}; remove the folder or give another --out") from None
    if before.get("identity") != identity:
        told = "; ".join(_differences(before.get("identity"), identity))
        raise OtherSweep(f"{folder}: holds a sweep of another experiment ({told}); give another --out, or remove it")
    return True


def _refuse_other_things(folder: Path) -> None:
    """Refuse a folder with anything in it that no sweep has begun there; hidden files do not count."""
    if (folder / "summary.json").is_file():
        raise OtherSweep(f"{folder}: holds a run, not a sweep; give another --out")
    if not folder.is_dir():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name not in _BEGUN and not path.name.startswith("."))
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        remedy = f"give a new or empty folder, such as --out {folder / 'sweep'}"
        raise OtherSweep(f"{folder}: holds other things than a sweep ({', '.join(others[:3])}{more}); {remedy}")


def _differences(before: Any, now: Any) -> list[str]:
    """What differs between two identities, a clause each."""
    mine, theirs = _by_path(before), _by_path(now)
    found = [
        f"{path}: {value_words(there)} there, {value_words(here)} here"
        for path, there, here in differences(mine, theirs)
    ]
    return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else found


def _by_path(identity: Any) -> dict[str, Any]:
    """An identity in a reader's terms: settings by their paths, as the file or as ``-S`` has them, and what varies."""
    if not isinstance(identity, dict):
        return {}
    experiment = identity.get("experiment")
    found = dict(experiment) if isinstance(experiment, dict) else {}
    for text in identity.get("settings") or ():
        path, _, value = str(text).partition("=")
        found[f"-S {path}"] = value
    found["what varies"] = ", ".join(map(str, identity.get("varies") or ())) or "nothing"
    return found
