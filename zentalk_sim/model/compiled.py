"""The simulator's hot modules compiled to C: an option that changes nothing but speed; see ``zentalk_sim.compiled``.

``python -m zentalk_sim.model.compiled`` translates them; with ``queue`` behind it, it makes no more than the queue and
the streams' blocks in C, which sources take too. The same sources run either way, so that the digest of a run is the
same; what a full trace writes goes through an object that compiled code would refuse, so it runs from sources.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from zentalk_sim.compiled import BLOCKS, CompiledForm, NativeModule
from zentalk_sim.compiled import SWITCH as SWITCH
from zentalk_sim.compiled import CannotCompile as CannotCompile
from zentalk_sim.compiled import cache as cache

PACKAGE: Final = Path(__file__).resolve().parent.parent
_ROOMS: Final = {
    "protocol": (
        "frame_sizes dedup client_host pending "
        "timers streams connection heartbeat pipeline node authentication relay messages mailbox presence topics "
        "token_refresh client_connection client_core client_session client client_receipts client_signals backoff "
        "client_queue client_sync crypto store tokens upgrade ratelimit identity close_policy"
    ),
    "network": "tcp flow link path stall samplers losing",
    "model": (
        "sent "
        "calendar native_calendar kernel line websocket device sleep outbox node_effects relay_node recorder ingress "
        "rest_calls rest_line ruled_rest_line rule_edge ruled_socket workload balancer bus sampler population"
    ),
    "report": "histogram",
    "experiment": "quantiles",
}
MODULES: Final = tuple(f"{room}.{name}" for room, names in _ROOMS.items() for name in names.split())
"""What is compiled. Modules that define msgspec Structs are not: mypyc makes other classes of them.

A class in them states no type for an attribute that one it extends has stated: the cyclic collector would be told of
it twice, count one reference too many, and never free what it holds.
"""
QUEUE: Final = NativeModule(
    "zentalk_sim.model._queue",
    PACKAGE / "model" / "_queue",
    "zentalk_queue",
    (
        ("push", ("object", "int", "int", "int", "object", "object"), "bool"),
        ("take", ("object", "int"), "bool"),
        ("taken_us", ("object",), "int"),
        ("taken_kind", ("object",), "int"),
        ("taken_by", ("object",), "object"),
        ("taken_argument", ("object",), "object"),
    ),
)
FORM: Final = CompiledForm("compiled", (PACKAGE,), tuple(f"zentalk_sim.{name}" for name in MODULES), (QUEUE, BLOCKS))
LARGE_DEVICES: Final = 10_000
"""From so many devices on a world is far larger than what a processor finds in its table of pages."""
QUEUE_FORM: Final = CompiledForm(
    "queue",
    (
        *(PACKAGE / "model" / name for name in ("_queue.c", "_queue.h", "_pages.h", "native_calendar.py")),
        PACKAGE / "protocol" / "_blocks.c",
    ),
    (),
    (QUEUE, BLOCKS),
)
"""What is C by itself, under a world that runs from sources: two seconds to build, and of no other source's age."""


def folder() -> Path:
    """Where the compiled form of the present sources is, or would be."""
    return FORM.folder()


def activate() -> bool:
    """See ``CompiledForm.activate``. Where sources will run, they take what is C by itself if it is built."""
    if FORM.activate():
        return True
    if "zentalk_sim.model.kernel" not in sys.modules:
        QUEUE_FORM.activate()
    return False


def needs_sources(trace: str, checks: Collection[str]) -> bool:
    """Whether a run with this ``measure.trace`` and these ``checks`` writes a full trace, which sources alone can."""
    return trace == "full" or "requirements" in checks


def large_pages(devices: int) -> bool:
    """Have a world of so many devices lie in huge pages, where the queue in C is active; whether it will.

    For the process of one run: it changes where Python's memory comes from, for good. Small worlds gain nothing.
    """
    if devices < LARGE_DEVICES:
        return False
    try:
        from zentalk_sim.model import _queue
    except ImportError:
        return False
    return _queue.large_pages()


def withdraw() -> None:
    """See ``CompiledForm.withdraw``."""
    FORM.withdraw()
    QUEUE_FORM.withdraw()


def build() -> Path:
    """Compile the present sources; the folder. Raises CannotCompile."""
    return FORM.build()


if __name__ == "__main__":
    QUEUE_FORM.main()
    if sys.argv[1:] != ["queue"]:
        FORM.main()
