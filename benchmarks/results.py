"""What ``make bench`` keeps: all lines with all their rounds, and on what machine, of which sources they were taken.

Each run has a file of its own, ``runs/bench-<date>-<commit>.json``, and ``runs/bench.json`` is the newest. Read them
with ``python -m benchmarks compare OLD [NEW]``.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.lines import BenchmarkError, Line
from mockrelay.compiled import FORM as RELAY_FORM
from zentalk_sim.compiled import SWITCH
from zentalk_sim.model import compiled

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = Path("runs")
NEWEST: Final = FOLDER / "bench.json"
LIBRARIES: Final = (
    *("simpy", "msgspec", "numpy", "pyarrow", "rbloom", "click"),
    *("websockets", "uvloop", "h11", "starlette", "uvicorn", "cryptography", "pynacl", "pyjwt", "mypy"),
)
"""Those whose version can show in a line."""


def _git(*arguments: str) -> str:
    """What git says; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    """The processor's name."""
    try:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def provenance(date: datetime) -> dict[str, Any]:
    """Where figures of this moment come from; ``date`` in UTC."""
    return {
        "date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "changed_since_commit": bool(_git("status", "--porcelain")),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": _versions(),
        "switch": f"{SWITCH}={os.environ.get(SWITCH, 'unset')}",
        "compiled": {
            "simulator": compiled.FORM.is_built(),
            "queue": compiled.QUEUE_FORM.is_built() or compiled.FORM.is_built(),
            "relay": RELAY_FORM.is_built(),
        },
    }


def keep(stem: str, found: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write ``<stem>-<date>-<commit>.json`` and the same as ``<stem>.json``; the former's path.

    ``found`` has ``machine``, which is a ``provenance``.
    """
    machine = found["machine"]
    date = machine["date"].replace("-", "").replace(":", "")
    mark = "-changed" if machine["changed_since_commit"] else ""
    path = folder / f"{stem}-{date}-{machine['commit'][:10]}{mark}.json"
    data = msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    for target in (path, folder / f"{stem}.json"):
        target.write_bytes(data)
    return path


_COMPARABLE: Final = "name a bench-*.json, bench_growth-*.json or bench_storm_growth-*.json in runs/"


class Kept(msgspec.Struct):
    """A file read again."""

    machine: dict[str, Any]
    lines: list[dict[str, Any]]
    failed: list[str] = []


def _line(entry: dict[str, Any]) -> Line:
    # Files of before rounds were kept have one value each.
    rounds = entry.get("rounds", {"ours": [entry["ours"]], "baseline": [entry["baseline"]]})
    return Line(entry["name"], entry["unit"], entry["against"], tuple(rounds["ours"]), tuple(rounds["baseline"]))


def read(path: Path) -> tuple[dict[str, Any], list[Line]]:
    """The provenance and the lines of a file that ``keep`` wrote. Raises BenchmarkError."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        return kept.machine, [_line(entry) for entry in kept.lines]
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"{path} has no lines to compare ({error}); {_COMPARABLE}") from None
