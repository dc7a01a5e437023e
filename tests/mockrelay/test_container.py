"""The container's packages: what the relay imports must be in requirements.relay.lock, and the simulator's must not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_IMPORT_ALL = """
import importlib, importlib.metadata, json, pkgutil, sys
import mockrelay
# The pytest plugin is loaded by pytest alone, and `python -m mockrelay` runs.
left_out = ("mockrelay.__main__", "mockrelay.pytest_plugin")
for module in pkgutil.walk_packages(mockrelay.__path__, "mockrelay."):
    if module.name not in left_out:
        importlib.import_module(module.name)
owners = importlib.metadata.packages_distributions()
names = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted({owner for name in names for owner in owners.get(name, ())})))
"""


def distributions() -> set[str]:
    found = subprocess.run([sys.executable, "-c", _IMPORT_ALL], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    return {re.sub(r"[-_.]+", "-", name).lower() for name in json.loads(found.stdout)}


def locked(name: str) -> dict[str, str]:
    """Package → version of a lock file."""
    lines = (ROOT / name).read_text().splitlines()
    pins = [re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line) for line in lines]
    return {pin[1].lower(): pin[2] for pin in pins if pin is not None}


def test_what_the_relay_imports_must_be_in_the_containers_lock_and_the_simulators_must_not() -> None:
    relay = locked("requirements.relay.lock")
    assert distributions() - {"zentalk-sim", "setuptools", "pip"} <= set(relay)
    assert not {"simpy", "matplotlib", "numpy", "pandas", "pyarrow", "pytest"} & set(relay)


def test_both_locks_must_name_the_same_versions() -> None:
    whole = locked("requirements.lock")
    assert {name: whole.get(name) for name in locked("requirements.relay.lock")} == locked("requirements.relay.lock")


def test_the_container_must_copy_nothing_that_its_ignore_file_leaves_out() -> None:
    """A name that podman and docker both read; docker knows no ``.containerignore``, and would send all there is."""
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for line in copied for name in line.split()} == admitted
