"""Settings for every test: how many examples Hypothesis tries, and what a machine must have beside Python.

`ci` (the default) is deterministic and quick; HYPOTHESIS_PROFILE=soak tries many more, at random.

Coverage is that of `zentalk_sim/protocol` by the rooms whose subject it is: elsewhere its tracer is paused, since it
more than doubles the cost of whatever runs a relay.

A test marked `needs("node")` or `needs("chromium")` is left out where that program is missing, and the closing lines
say so; with ZENTALK_TESTS_NEED_ALL set, as `.ci/run` sets it, it stays in and fails.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

# Where a shell started the tests in the background SIGINT is ignored, and so it would be in every program they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Modules that a developer compiled must not stand in for the sources under test.
os.environ.setdefault("ZSIM_COMPILED", "0")

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", deadline=None, max_examples=5_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_TESTS = Path(__file__).parent
_MEASURED = {"protocol", "conformance"}
"""Rooms whose tests count for coverage."""
_paused: list[Coverage] = []

_PACKAGES = {"node": "nodejs", "chromium": "chromium"}
"""Program → Debian's package."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run, unless it must."""
    if os.environ.get("ZENTALK_TESTS_NEED_ALL"):
        return
    deselected = [
        item for item in items if any(shutil.which(mark.args[0]) is None for mark in item.iter_markers("needs"))
    ]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage where it counts. A worker of xdist has two tracers, and stopping one sets the other going."""
    if item.path.relative_to(_TESTS).parts[0] in _MEASURED:
        while _paused:
            _paused.pop().start()
    else:
        while (current := Coverage.current()) is not None:
            current.stop()
            _paused.append(current)
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if os.environ.get("ZENTALK_TESTS_NEED_ALL"):
        return
    for program, package in _PACKAGES.items():
        if shutil.which(program) is None:
            terminalreporter.write_line(
                f"left out: tests that need {program}, which is missing (Debian: apt install {package})",
                yellow=True,
            )
