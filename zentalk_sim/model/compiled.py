"""The simulator's hot modules compiled to C: an option that changes nothing but speed; see ``zentalk_sim.compiled``.

``python -m zentalk_sim.model.compiled`` translates them. The same sources run either way, so that the digest of a run
is the same; what a full trace writes goes through an object that compiled code would refuse, so it runs from sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from zentalk_sim.compiled import SWITCH as SWITCH
from zentalk_sim.compiled import CannotCompile as CannotCompile
from zentalk_sim.compiled import CompiledForm
from zentalk_sim.compiled import cache as cache

PACKAGE: Final = Path(__file__).resolve().parent.parent
_ROOMS: Final = {
    "protocol": (
        "timers streams connection heartbeat pipeline node authentication relay messages mailbox presence topics "
        "token_refresh client_connection client_core client_session client client_receipts client_signals backoff "
        "client_queue client_sync crypto store"
    ),
    "network": "tcp flow link path stall samplers",
    "model": (
        "calendar kernel line websocket device sleep outbox node_effects relay_node recorder ingress "
        "rest_calls rest_line ruled_rest_line ruled_socket workload balancer bus sampler"
    ),
    "report": "histogram",
}
MODULES: Final = tuple(f"{room}.{name}" for room, names in _ROOMS.items() for name in names.split())
"""What is compiled. Modules that define msgspec Structs are not: mypyc makes other classes of them."""
FORM: Final = CompiledForm("compiled", (PACKAGE,), tuple(f"zentalk_sim.{name}" for name in MODULES))


def folder() -> Path:
    """Where the compiled form of the present sources is, or would be."""
    return FORM.folder()


def activate() -> bool:
    """See ``CompiledForm.activate``."""
    return FORM.activate()


def build() -> Path:
    """Compile the present sources; the folder. Raises CannotCompile."""
    return FORM.build()


if __name__ == "__main__":
    FORM.main()
