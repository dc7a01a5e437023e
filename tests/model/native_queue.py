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

from zentalk_sim.model.calendar import Calendar
from zentalk_sim.model.compiled import QUEUE
from zentalk_sim.model.kernel import Kernel

_HEADERS = Path(sysconfig.get_path("include"))
Form = Callable[[int], Calendar]


@cache
def native_calendar() -> Form | None:
    """The class, on a queue built for this process; None without a C compiler or Python's headers."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not (_HEADERS / "Python.h").exists():
        return None
    with TemporaryDirectory(prefix="zsim-queue-") as folder:
        made = Path(folder) / f"_queue{EXTENSION_SUFFIXES[0]}"
        flags = ["-O0", "-shared", "-fPIC", "-Wall", "-Werror", f"-I{_HEADERS}"]
        if sys.platform == "darwin":
            flags += ["-undefined", "dynamic_lookup"]
        subprocess.run([compiler, *flags, f"{QUEUE.source}.c", "-o", str(made)], check=True)
        spec = spec_from_file_location(QUEUE.name, made, loader=ExtensionFileLoader(QUEUE.name, str(made)))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[QUEUE.name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[QUEUE.name])
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
    return Kernel(start_us, form=form)
