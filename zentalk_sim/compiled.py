"""Hot modules compiled to C by mypyc: an option that changes nothing but speed.

What is compiled of which packages is a ``CompiledForm``: the simulator's is in ``model.compiled``, the mock relay's in
``mockrelay.compiled``. ``build`` translates, which needs mypy, setuptools and a C compiler and takes some minutes, into
a folder of the user's cache that is named after a fingerprint of all sources: machine code of other sources is never
found. ``activate`` has it imported in place of the sources from then on, in this process; ``ZSIM_COMPILED=0`` in the
environment switches that off. The same sources run either way.

A folder is moved into its place whole and never written into again: a process that runs from a file that is written
over, as by ``cp -r`` of one cache onto another, calls what lies there for a moment, and crashes.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

SWITCH: Final = "ZSIM_COMPILED"
"""Environment variable; ``0``: run from sources."""
_COMPLETE: Final = "complete"
_SOURCES: Final = frozenset((".py", ".pyi", ".c", ".h"))
_SETUP: Final = """\
from setuptools import Extension, setup

files, natives, extensions, headers = {files!r}, {natives!r}, [], []
for module, source, _, functions in natives:
    extensions.append(Extension(module, [source + ".c"], extra_compile_args=["-O2"]))
    if functions:
        headers += ["-include", source + ".h"]
if files and headers:
    from mypyc.ir.ops import ERR_MAGIC
    from mypyc.ir.rtypes import bool_rprimitive, int_rprimitive, object_rprimitive
    from mypyc.primitives.registry import function_op

    # mypyc calls these functions as it calls those of its own library, with its own ints.
    kinds = {{"bool": bool_rprimitive, "int": int_rprimitive, "object": object_rprimitive}}
    for module, _, prefix, functions in natives:
        for name, arguments, result in functions:
            function_op(
                name=f"{{module}}.{{name}}",
                arg_types=[kinds[argument] for argument in arguments],
                return_type=kinds[result],
                c_function_name=f"{{prefix}}_{{name}}",
                error_kind=ERR_MAGIC,
            )
if files:
    from mypyc.build import mypycify

    # Of all that mypyc writes half is for errors. Told which functions those are, the compiler puts the way to them
    # apart from the rest, and with calls that need not go through the linker's table more of it fits the caches.
    with open("cold.h", "w") as header:
        # The files that only make modules of the one library do not find its header.
        for line in ("define PY_SSIZE_T_CLEAN", "include <Python.h>", "if __has_include(<CPy.h>)", "include <CPy.h>"):
            print("#" + line, file=header)
        for name in ("AddTraceback", "AttributeError", "TypeError", "TypeErrorTraceback"):
            print(f"extern __typeof__(CPy_{{name}}) CPy_{{name}} __attribute__((cold));", file=header)
        print("#endif", file=header)
    compiled = mypycify(files, opt_level="2")
    for extension in compiled:
        extension.extra_compile_args += [*headers, "-include", "cold.h", "-fvisibility=hidden"]
    extensions += compiled
setup(name="compiled", packages=[], ext_modules=extensions)
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


def cache() -> Path:
    """Where compiled forms are kept: ``zentalk-sim`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zentalk-sim"


class NativeModule(NamedTuple):
    """An extension module of our own in C."""

    name: str
    """Dotted."""
    source: Path
    """Its sources' common path, to which ``.c``, ``.h`` and ``.pyi`` are added."""
    prefix: str
    """Of the header's C functions: ``prefix_push`` is what the module calls ``push``."""
    functions: tuple[tuple[str, tuple[str, ...], str], ...]
    """Those that compiled code calls directly: name, kinds of its arguments, kind of its result. With none, there is no
    header either, and all code calls it as Python does."""


BLOCKS: Final = NativeModule(
    "zentalk_sim.protocol._blocks", Path(__file__).resolve().parent / "protocol" / "_blocks", "zentalk_blocks", ()
)
"""Blocks of random streams and modelled MACs, of use to whatever runs the protocol's core."""
SHA256: Final = NativeModule(
    "zentalk_sim.protocol._sha256", Path(__file__).resolve().parent / "protocol" / "_sha256", "zentalk_sha256", ()
)
"""Hashes and MACs, of use to whatever speaks with real clients."""


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


class CompiledForm:
    """Some modules of some packages, and where their machine code is."""

    def __init__(
        self, name: str, packages: tuple[Path, ...], modules: tuple[str, ...], natives: tuple[NativeModule, ...] = ()
    ) -> None:
        """``name`` begins its folders' names; ``packages``: folders of all sources that it depends on, or files.

        ``modules`` are dotted names; with none, it is ``natives`` alone, for which mypyc is not needed. Modules that
        define msgspec Structs cannot be among them: mypyc makes other classes of these.
        """
        self.name = name
        self.packages = packages
        self.modules = modules
        self.natives = natives
        self._finder: _Finder | None = None

    def fingerprint(self) -> str:
        """Of every source of the packages, the interpreter and the machine."""
        found = blake2b(digest_size=12)
        found.update(f"{sys.implementation.cache_tag} {platform.system()} {platform.machine()}\n".encode())
        for package in self.packages:
            found_in = [package] if package.is_file() else package.rglob("*")
            for path in sorted(path for path in found_in if path.suffix in _SOURCES):
                data = path.read_bytes()
                found.update(f"{path.relative_to(package.parent).as_posix()} {len(data)}\n".encode())
                found.update(data)
        return found.hexdigest()

    def folder(self) -> Path:
        """Where the compiled form of the present sources is, or would be."""
        return cache() / f"{self.name}-{self.fingerprint()}"

    def is_built(self) -> bool:
        """Whether the present sources were compiled."""
        return (self.folder() / _COMPLETE).exists()

    def activate(self) -> bool:
        """Have the compiled modules imported from now on; whether they will be.

        False where the switch is off, nothing was compiled from these very sources, or one of the modules is imported
        already, since compiled and interpreted classes must not be mixed.
        """
        if os.environ.get(SWITCH) == "0" or not any(cache().glob(f"{self.name}-*")):
            return False
        if any(name in sys.modules for name in (*self.modules, *(native.name for native in self.natives))):
            return False
        if not self.is_built():
            return False
        self._finder = _Finder(self.folder())
        sys.meta_path.insert(0, self._finder)
        return True

    def withdraw(self) -> None:
        """Have sources imported again, of what is not imported yet.

        What is may stay: sources can use compiled classes. It is compiled code that refuses the classes of sources.
        """
        if self._finder is not None:
            sys.meta_path.remove(self._finder)
            self._finder = None

    def build(self) -> Path:
        """Compile the present sources; the folder. Raises CannotCompile."""
        # Imported here: whoever only looks for a compiled form starts sooner.
        import shutil
        from tempfile import TemporaryDirectory

        for needed in ("mypyc", "setuptools") if self.modules else ("setuptools",):
            if find_spec(needed) is None:
                raise CannotCompile(f"{needed} is not installed; `pip install mypy setuptools` brings what is needed")
        if shutil.which(os.environ.get("CC", "cc")) is None:
            raise CannotCompile("no C compiler; on Debian and Ubuntu: apt install gcc python3-dev; or name one in $CC")
        target = self.folder()
        if self.is_built():
            return target
        with TemporaryDirectory(prefix="zsim-compile-") as work:
            self._compile(Path(work))
            part = target.with_name(f"{target.name}.{os.getpid()}.part")
            shutil.copytree(Path(work) / "made", part)
            (part / _COMPLETE).touch()
            if self.is_built():
                # Another process was sooner, and one may run from it by now, whose next import must find its file.
                shutil.rmtree(part)
                return target
            shutil.rmtree(target, ignore_errors=True)
            part.replace(target)
        return target

    def _compile(self, work: Path) -> None:
        import shutil
        import subprocess

        for package in self.packages if self.modules else ():
            shutil.copytree(package, work / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        files = [f"{name.replace('.', '/')}.py" for name in self.modules]
        parts = [(native.name, str(native.source), native.prefix, native.functions) for native in self.natives]
        (work / "setup.py").write_text(_SETUP.format(files=files, natives=parts), encoding="utf-8")
        (work / "pyproject.toml").write_text(_MYPY, encoding="utf-8")
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", "made"]
        # A fused multiply-add rounds once where the interpreter rounds twice: digests would depend on the processor.
        environment = {**os.environ, "CFLAGS": f"{os.environ.get('CFLAGS', '')} -ffp-contract=off".strip()}
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
            raise CannotCompile(f"the compiler gave up; sources run as they are. Its last words:\n{last}")

    def main(self) -> None:
        """Compile, and say where to."""
        try:
            print(f"compiled into {self.build()}")
        except CannotCompile as error:
            raise SystemExit(f"not compiled: {error}") from None
