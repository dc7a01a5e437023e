"""The walls of the house: who may import whom, and what the core must never touch."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BANNED_NAMES = """
import datetime, os, random, secrets, socket, time, uuid

CORE = tuple(sys.argv[1:])

def banned(name, original):
    def call(*args, **kwargs):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith(CORE):
            raise AssertionError(f"{caller} calls {name}")
        return original(*args, **kwargs)
    return call

for module, name in (
    (time, "time"), (time, "time_ns"), (time, "monotonic"), (time, "monotonic_ns"), (time, "perf_counter"),
    (time, "sleep"), (os, "urandom"), (uuid, "uuid1"), (uuid, "uuid4"), (random, "random"), (random, "randint"),
    (random, "choice"), (random, "shuffle"), (random, "uniform"), (secrets, "token_bytes"), (secrets, "token_hex"),
    (secrets, "randbelow"),
):
    setattr(module, name, banned(f"{module.__name__}.{name}", getattr(module, name)))

class NoClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith(CORE):
            raise AssertionError(f"{caller} calls datetime.now")
        return super().now(tz)

class NoSocket(socket.socket):
    def __init__(self, *args, **kwargs):
        raise AssertionError("a socket was opened")

datetime.datetime = NoClock
socket.socket = NoSocket
"""
"""Makes the banned names raise where a core module calls them; libraries' own use is theirs."""


def run_banned(body: str, *core: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``body`` in a fresh interpreter in which the modules that start with ``core`` may not use banned names.

    ``before`` runs ahead of the ban, for libraries whose compiled parts look at datetime's layout.
    """
    code = f"import sys\n{before}\n{BANNED_NAMES}\n{body}\n"
    return subprocess.run([sys.executable, "-c", code, *core], capture_output=True, text=True, cwd=ROOT, check=False)


def test_who_may_import_whom_is_kept() -> None:
    """The import contracts of pyproject.toml must hold."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_stands_under_a_contract() -> None:
    """A new package of zentalk_sim must be named in a contract before it is merged."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    governed = {module for contract in contracts for module in contract["source_modules"]}
    rooms = {f"zentalk_sim.{path.parent.name}" for path in (ROOT / "zentalk_sim").glob("*/__init__.py")}
    # The command line may import all of the simulator; it is loaded by nothing.
    assert rooms - {"zentalk_sim.cli"} <= governed


def test_the_package_itself_imports_nothing() -> None:
    """A relay must start without loading the simulator."""
    code = "import sys; before = set(sys.modules); import zentalk_sim; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "['zentalk_sim']"


def test_every_core_module_imports_without_clock_randomness_or_socket() -> None:
    body = """
import importlib, pkgutil
import zentalk_sim.protocol as core
names = [module.name for module in pkgutil.iter_modules(core.__path__, "zentalk_sim.protocol.")]
assert len(names) > 10
for name in names:
    importlib.import_module(name)
for name in ("simpy", "asyncio", "websockets", "numpy", "ruamel.yaml"):
    assert name not in sys.modules, name
print("imported", len(names))
"""
    done = run_banned(body, "zentalk_sim.protocol")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported")


@pytest.mark.parametrize("fidelity", ["frames", "wire"])
def test_relays_and_clients_converse_without_clock_randomness_or_socket(fidelity: str) -> None:
    """A storm in small: messages, reads, a crash, reconnections, the mailbox and its fetch."""
    body = f"""
from zentalk_sim.experiment import run
summary = run({{
    "name": "small", "fidelity": "{fidelity}", "duration": "3m",
    "relay": {{"nodes": 2}}, "population": {{"devices": 8, "contacts": 3, "networks": {{"lan": 1}}}},
    "workload": {{
        "start": {{"ramp": "1s"}}, "messages": {{"rate_per_device": "10/min"}}, "reads": {{"probability": 0.5}},
    }},
    "faults": [{{"at": "40s", "do": "crash_node", "node": 0, "for": "10s"}}],
}}).summary
counts = summary["counts"]
assert counts["messages.shown"] > 50 and counts["messages.read"] > 20, counts
assert counts["connections.authenticated"] > 8, counts
print("conversed")
"""
    core = ("zentalk_sim.protocol", "zentalk_sim.model", "zentalk_sim.network")
    done = run_banned(body, *core, before="import pandas, pyarrow.parquet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "conversed"


@pytest.mark.parametrize(
    "call",
    ["time.time()", "os.urandom(1)", "uuid.uuid4()", "random.random()", "datetime.datetime.now()", "socket.socket()"],
)
def test_the_ban_is_real(call: str) -> None:
    """The guard itself must raise, else the tests above could not fail."""
    done = run_banned(f"__name__ = 'zentalk_sim.protocol.fake'\n{call}", "zentalk_sim.protocol")
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_the_command_line_starts_without_anything_heavy() -> None:
    """`zsim --help` must load neither the model nor a library but click."""
    code = """
import sys
from zentalk_sim.cli import errors, zsim
assert errors.run(zsim, ["--help"], "zsim") == 0
heavy = {"numpy", "pandas", "pyarrow", "matplotlib", "simpy", "msgspec", "ruamel.yaml", "asyncio", "cryptography"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"
