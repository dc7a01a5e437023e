"""One cell of a sweep: a resolved experiment with its seed, what it is known by, and what running it gives.

A cell's key is a hash of all that determines its results; with the code's fingerprint it tells whether a kept result
still answers for it. This is all that a worker loads, wherever it runs: it takes plain data and gives plain data, so
that every engine gives the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

FORMAT: Final = 1

_CODE: Final = ("checks", "experiment", "faults", "files", "model", "network", "protocol", "report", "trace")
"""The rooms whose code a run's results depend on."""
_NOT_CODE: Final = (
    *("sweep", "compare", "agreement", "relived", "run.py", "__init__"),
    *("plots", "plot_data", "cause_plots", "cdf_plots", "time_plots", "detail_", "html", "narrative", "style"),
    "drawing",
)
"""Beginnings of the names of files in them that no result depends on."""
_LIBRARIES: Final = ("msgspec", "numpy", "rbloom", "simpy")
"""Those that a run's results are computed with."""


class Cell(Struct, frozen=True):
    """One run to do. ``combination`` counts the choices of parameters from 0."""

    key: str
    combination: int
    seed: int


class CellResult(Struct, frozen=True, kw_only=True):
    """What a cell gave: ``summary`` is what ``summary.json`` of `zsim run` holds."""

    key: str
    code: str
    """Fingerprint of the code that ran."""
    summary: dict[str, Any]
    wall_s: float = 0.0
    """How long the run took, where it ran."""
    events: int = 0


class CellError(Struct, frozen=True):
    """Why a cell gave nothing."""

    message: str


def cell_key(mapping: Mapping[str, Any]) -> str:
    """What a resolved experiment, its seed included, is known by: 16 hexadecimal digits."""
    return blake2b(msgspec.json.encode(mapping, order="deterministic"), digest_size=8).hexdigest()


@cache
def code_fingerprint() -> str:
    """What decides a run's results beside its experiment: version and hash of our code, versions of what it runs on.

    Results of another are not mixed with ours.
    """
    import platform
    from importlib.metadata import version

    import zentalk_sim

    root = Path(zentalk_sim.__file__).parent
    found = blake2b(digest_size=4)
    for room in _CODE:
        for path in sorted((root / room).glob("*.py")):
            if not path.name.startswith(_NOT_CODE):
                found.update(f"{room}/{path.name}".encode() + b"\0" + path.read_bytes())
    # Of Python the minor version: its patches change no result.
    language = platform.python_implementation().lower() + "-" + ".".join(platform.python_version_tuple()[:2])
    libraries = " ".join(f"{name}-{version(name)}" for name in _LIBRARIES)
    return f"{zentalk_sim.__version__}+{found.hexdigest()} {language} {libraries}"


def get_ready() -> None:
    """Load what ``run_cell`` needs and have the schema of experiments worked out, so that children of this process
    find it done.
    """
    from zentalk_sim.experiment import runner as runner
    from zentalk_sim.experiment.loader import from_mapping
    from zentalk_sim.report import summary as summary
    from zentalk_sim.trace import tables as tables

    from_mapping({"name": "ready"})
    code_fingerprint()


def run_cell(mapping: Mapping[str, Any]) -> CellResult:
    """Run a resolved experiment in this process, without tables or folder. Whatever it raises is a fault of ours."""
    from zentalk_sim.experiment.loader import from_mapping
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.report.summary import summarise
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    class Discarded(TableWriter):
        """A table nobody will read: the digest has seen its rows already."""

        __slots__ = ()

        def append(self, row: tuple[Any, ...]) -> None:
            pass

    tables: dict[str, TableWriter] = {schema.name: Discarded(schema, None) for schema in SCHEMAS}
    results = simulate(from_mapping(mapping), tables)
    return CellResult(
        key=cell_key(mapping),
        code=code_fingerprint(),
        summary=summarise(results),
        wall_s=round(results.wall_s, 3),
        events=results.events,
    )


def write_cell(folder: Path, result: CellResult) -> None:
    """Keep a result under its key: the file is whole or not there, whatever happens meanwhile."""
    path = folder / f"{result.key}.json"
    part = folder / f".{result.key}.{os.getpid()}.part"
    try:
        part.write_bytes(msgspec.json.encode({"zentalk_cell": FORMAT} | msgspec.structs.asdict(result)) + b"\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_cell(folder: Path, key: str) -> CellResult | None:
    """The result kept under a key; None where there is none, or a damaged one, which is then run again."""
    try:
        data = msgspec.json.decode((folder / f"{key}.json").read_bytes())
        result = msgspec.convert(data, CellResult)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return result if data.get("zentalk_cell") == FORMAT and result.key == key else None
