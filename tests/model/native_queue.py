"""The forms of the calendar that this machine can run: the sources', and with a compiler that on the queue in C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from zentalk_sim.compiled import NativeModule
from zentalk_sim.model.calendar import Calendar
from zentalk_sim.model.compiled import QUEUE
from zentalk_sim.model.kernel import Kernel

_HEADERS = Path(sysconfig.get_path("include"))
Form = Callable[[int], Calendar]


def built(native: NativeModule) -> ModuleType | None:
    """A module of ours in C, built for this process and not imported; None without a C compiler or Python's headers."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not (_HEADERS / "Python.h").exists():
        return None
    name = native.name.rpartition(".")[2]
    with TemporaryDirectory(prefix="zsim-native-") as folder:
        made = Path(folder) / f"{name}{EXTENSION_SUFFIXES[0]}"
        flags = ["-O0", "-shared", "-fPIC", "-Wall", "-Werror", f"-I{_HEADERS}"]
        if sys.platform == "darwin":
            flags += ["-undefined", "dynamic_lookup"]
        subprocess.run([compiler, *flags, f"{native.source}.c", "-o", str(made)], check=True)
        spec = spec_from_file_location(native.name, made, loader=ExtensionFileLoader(native.name, str(made)))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@cache
def native_calendar() -> Form | None:
    """The class, on a queue built for this process; None where it cannot be built."""
    queue = built(QUEUE)
    if queue is None:
        return None
    sys.modules[QUEUE.name] = queue
    try:
        from zentalk_sim.model.native_calendar import NativeCalendar
    finally:
        # Kernels of other tests shall be the sources'.
        del sys.modules[QUEUE.name]
    return NativeCalendar


def forms() -> list[Form]:
    """The definition first."""
    native = native_calendar()
    return [Calendar] if native is None else [Calendar, native]


def kernel_on(form: Form, start_us: int) -> Kernel:
    """A kernel with a calendar of that form."""
    kernel = Kernel(start_us)
    kernel.calendar = form(start_us)
    return kernel
