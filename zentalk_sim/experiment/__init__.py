"""Experiments: what a file may say (`schema`), how it is read (`loader`), and what must hold of its results.

`schema` holds the resolved form, which the model runs; the other modules turn text into it and back. Importing this
package loads nothing: a relay or ``zsim --help`` must not wait for the simulator.

>>> from zentalk_sim.experiment import run
>>> run({"name": "chat", "population": {"devices": 10}, "duration": "30s"}).summary["counts"]    # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zentalk_sim.report.run import Run

__all__ = ["run"]


def run(experiment: str | PathLike[str] | Mapping[str, Any], *, seed: int | None = None) -> Run:
    """Run an experiment, given as a file's path or as a mapping with a file's keys, in this process and in memory.

    ``seed`` takes the place of the experiment's own. Nothing is written. Raises ``files.yaml.FileFaults`` with every
    fault of the experiment.
    """
    from pathlib import Path

    import msgspec

    from zentalk_sim.experiment.loader import from_mapping, load
    from zentalk_sim.experiment.runner import simulate
    from zentalk_sim.report.run import Run
    from zentalk_sim.trace.tables import SCHEMAS, TableWriter

    built = from_mapping(experiment) if isinstance(experiment, Mapping) else load(Path(experiment))
    if seed is not None:
        built = msgspec.structs.replace(built, seed=seed)
    tables = {schema.name: TableWriter(schema, None) for schema in SCHEMAS}
    results = simulate(built, tables)
    for table in tables.values():
        table.close()
    return Run(results, None, tables)
