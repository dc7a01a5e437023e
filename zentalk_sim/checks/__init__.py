"""Checks: what the specification requires, looked for in a trace; of the client's behaviour and of the relay's.

``run_checks(events)`` feeds every check event by event and returns a Report; memory does not grow with the trace.
"""

from zentalk_sim.checks.engine import Report, run_checks, run_file
from zentalk_sim.checks.registry import Check, Result, catalogue

__all__ = ["Check", "Report", "Result", "catalogue", "run_checks", "run_file"]
