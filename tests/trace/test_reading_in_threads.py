"""Traces are read in several threads of one program, also when it reads the first of its life."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading
from zentalk_sim.checks.engine import run_checks
from zentalk_sim.checks.registry import catalogue
from zentalk_sim.trace.event_reader import read_events

sys.setswitchinterval(1e-6)
gate, done = threading.Barrier(4), []

def read():
    gate.wait()
    done.append(run_checks(read_events(sys.argv[1]), catalogue()).results)

threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 4 and done.count(done[0]) == 4
"""


def test_the_first_traces_that_a_program_reads_may_be_read_in_threads_at_once(tmp_path: Path) -> None:
    """Met for the first time by two threads at once, a type once ended the program with a segmentation fault."""
    from zentalk_sim.fuzz.plan import Plan
    from zentalk_sim.fuzz.trial import Trial

    settings = {"name": "small", "seed": 7, "duration": "5s", "population": {"devices": 2, "networks": {"lan": 1}}}
    Trial(Plan(settings, []), trace=tmp_path / "trace.jsonl").run()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "trace.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
