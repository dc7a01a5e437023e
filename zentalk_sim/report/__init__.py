"""Results of runs: histograms, the run folder, tables, pictures, and the report page.

>>> from zentalk_sim.report import load
>>> run = load("runs/reconnect_storm/1-5f0c")    # doctest: +SKIP
>>> run.summary["metrics"]["reconnect_time_s"]["p99"]    # doctest: +SKIP
"""

from __future__ import annotations

from zentalk_sim.report.results import RunFolderError, redraw
from zentalk_sim.report.run import Run, load

__all__ = ["Run", "RunFolderError", "load", "redraw"]
