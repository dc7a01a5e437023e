"""The simulator's hot modules compiled to C by mypyc: an option that changes nothing but speed.

``python -m zentalk_sim.model.compiled`` translates them, which needs mypy, setuptools and a C compiler and takes some
minutes, into a folder of the user's cache that is named after a fingerprint of all sources: machine code of other
sources is never found. ``activate`` has it imported in place of the sources from then on, in this process;
``ZSIM_COMPILED=0`` in the environment switches that off. The same sources run either way, so that the digest of a run
is the same; what a full trace writes goes through an object that compiled code would refuse, so it runs from sources.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Final

SWITCH: Final = "ZSIM_COMPILED"
"""Environment variable; ``0``: run from sources."""
PACKAGE: Final = Path(__file__).resolve().parent.parent
_ROOMS: Final = {
    "protocol": (
        "timers streams heartbeat pipeline node authentication relay messages mailbox presence topics "
        "token_refresh client_connection client_core client_session client client_receipts client_signals backoff "
        "crypto store"
    ),
    "network": "tcp flow link path stall",
    "model": (
        "kernel line websocket device sleep outbox relay_node recorder ingress rest_calls rest_line ruled_rest_line "
        "ruled_socket workload balancer bus sampler"
    ),
    "report": "histogram",
}
MODULES: Final = tuple(f"{room}.{name}" for room, names in _ROOMS.items() for name in names.split())
"""What is compiled. Modules that define msgspec Structs are not: mypyc makes other classes of them."""
_COMPLETE: Final = "complete"
_SETUP: Final = """\
from mypyc.build import mypycify
from setuptools import setup

setup(name="zentalk_sim_compiled", packages=[], ext_modules=mypycify({files!r}, opt_level="2"))
"""
_MYPY: Final = """\
[tool.mypy]
strict = true
[[tool.mypy.overrides]]
module = ["simpy.*", "pyarrow.*", "pandas.*", "ruamel.*", "rbloom.*"]
ignore_missing_imports = true
"""


class CannotCompile(Exception):
    """Why there is no compiled form, in a sentence with its remedy."""


def fingerprint() -> str:
    """Of every source of the package, the interpreter and the machine."""
    found = blake2b(digest_size=12)
    found.update(f"{sys.implementation.cache_tag} {platform.system()} {platform.machine()}\n".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        data = path.read_bytes()
        found.update(f"{path.relative_to(PACKAGE).as_posix()} {len(data)}\n".encode())
        found.update(data)
    return found.hexdigest()


def cache() -> Path:
    """Where compiled forms are kept: ``zentalk-sim`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zentalk-sim"


def folder() -> Path:
    """Where the compiled form of the present sources is, or would be."""
    return cache() / f"compiled-{fingerprint()}"


class _Finder:
    """Finds the compiled modules, and the library that they share."""

    def __init__(self, found: Path) -> None:
        self._files = {}
        suffix = EXTENSION_SUFFIXES[0]
        for path in sorted(found.rglob(f"*{suffix}")):
            name = path.relative_to(found).as_posix().removesuffix(suffix).replace("/", ".")
            self._files[name] = str(path)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        file = self._files.get(name)
        return None if file is None else spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


def activate() -> bool:
    """Have the compiled modules imported from now on; whether they will be.

    False where the switch is off, nothing was compiled from these very sources, or one of the modules is imported
    already, since compiled and interpreted classes must not be mixed.
    """
    if os.environ.get(SWITCH) == "0" or not any(cache().glob("compiled-*")):
        return False
    if any(f"zentalk_sim.{name}" in sys.modules for name in MODULES):
        return False
    found = folder()
    if not (found / _COMPLETE).exists():
        return False
    sys.meta_path.insert(0, _Finder(found))
    return True


def build() -> Path:
    """Compile the present sources; the folder. Raises CannotCompile."""
    for needed in ("mypyc", "setuptools"):
        if find_spec(needed) is None:
            raise CannotCompile(f"{needed} is not installed; `pip install mypy setuptools` brings what is needed")
    if shutil.which(os.environ.get("CC", "cc")) is None:
        raise CannotCompile("no C compiler; on Debian and Ubuntu: apt install gcc python3-dev; or name one in $CC")
    target = folder()
    if (target / _COMPLETE).exists():
        return target
    with TemporaryDirectory(prefix="zsim-compile-") as work:
        shutil.copytree(PACKAGE, Path(work) / "zentalk_sim", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        files = [f"zentalk_sim/{name.replace('.', '/')}.py" for name in MODULES]
        (Path(work) / "setup.py").write_text(_SETUP.format(files=files), encoding="utf-8")
        (Path(work) / "pyproject.toml").write_text(_MYPY, encoding="utf-8")
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", "made"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
            raise CannotCompile(f"the compiler gave up; sources run as they are. Its last words:\n{last}")
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copytree(Path(work) / "made", part)
        (part / _COMPLETE).touch()
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
    return target


def main() -> None:
    """Compile, and say where to."""
    try:
        print(f"compiled into {build()}")
    except CannotCompile as error:
        raise SystemExit(f"not compiled: {error}") from None


if __name__ == "__main__":
    main()
