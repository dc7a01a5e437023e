"""The folder of a run: made for it, or that of the same experiment before, whose results give way to the new ones.

The law of this file: a run never takes the place of what its own command would not bring back. The same experiment of
other settings, as one has it who tries them out, gives way, and is told; a run of an experiment of another name, a live
one, a sweep, or files of other people's are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from zentalk_sim.experiment import loader, writer
from zentalk_sim.experiment.differences import differences
from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.report.results import clear_earlier
from zentalk_sim.trace.tables import SCHEMAS

EXPERIMENT: Final = "experiment.yaml"
_LIVE: Final = "live.json"
_SWEEP: Final = "sweep.json"
_ONLY_A_RUNS: Final = SCHEMAS[0].file_name
"""There from a run's first instant on."""
_WRITTEN: Final = (
    *("summary.json", "results.json", "manifest.json", "report.html", "trace.jsonl", "plots"),
    *(schema.file_name for schema in SCHEMAS),
)
_KEEPS_RESULTS: Final = ("measure.trace", "plots")
"""What may differ in the same experiment: more is kept or drawn of it, nothing is found that was not."""
_REMEDY: Final = "give another --out, or remove it"
_SHOWN: Final = 6


class OtherRun(Exception):
    """A folder that holds something else than this experiment's run; the text says what, and the remedy."""


def prepare(folder: Path, experiment: Experiment, *, is_live: bool = False) -> list[str]:
    """Make a run's folder and write ``experiment.yaml``, nothing of an earlier run beside it.

    Returns the settings in which an earlier run, whose place it takes, differs. Raises OtherRun, with the folder left
    as it was; OSError.
    """
    text = writer.to_yaml(experiment)
    differing = _differing(folder, experiment, text, is_live=is_live)
    folder.mkdir(parents=True, exist_ok=True)
    clear_earlier(folder)
    (folder / EXPERIMENT).write_text(text, encoding="utf-8")
    return differing


def _differing(folder: Path, experiment: Experiment, text: str, *, is_live: bool) -> list[str]:
    """See ``prepare``; ``text`` is the experiment as YAML."""
    path = folder / EXPERIMENT
    if (folder / _SWEEP).exists():
        raise OtherRun(f"{folder}: holds a sweep, not a run; {_REMEDY}")
    if not path.is_file():
        found = [name for name in _WRITTEN if (folder / name).exists()]
        if found:
            raise OtherRun(f"{folder / found[0]}: is there, but no {EXPERIMENT}, so that it is no run's; {_REMEDY}")
        return []
    if (folder / _LIVE).is_file() and not is_live:
        raise OtherRun(f"{folder}: holds a run that was played live; {_REMEDY}")
    if path.read_text(encoding="utf-8", errors="replace") == text:
        return []
    if not (folder / _ONLY_A_RUNS).is_file():
        raise OtherRun(f"{path}: is there, but no run beside it; {_REMEDY}")
    try:
        before: Any = writer.to_mapping(loader.load(path))
    except FileFaults:
        raise OtherRun(f"{folder}: holds a run of an experiment that this version cannot read; {_REMEDY}") from None
    paths = [path for path, _, _ in differences(before, writer.to_mapping(experiment)) if path not in _KEEPS_RESULTS]
    if paths and (is_live or before["name"] != experiment.name):
        raise OtherRun(f"{folder}: holds a run of another experiment (differs in {_listed(paths)}); {_REMEDY}")
    return paths


def replaced_note(folder: Path, paths: Sequence[str]) -> str:
    """What to say of a run that gave way."""
    return f"{folder}: took the place of a run of this experiment with other settings ({_listed(paths)})"


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
