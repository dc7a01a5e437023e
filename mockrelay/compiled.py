"""The mock relay's hot modules compiled to C: an option that changes nothing but speed; see ``zentalk_sim.compiled``.

``python -m mockrelay.compiled`` translates them; ``mockrelay serve`` takes them where that was done. Whoever embeds a
relay in a program of their own runs it from sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from zentalk_sim import compiled

_HERE: Final = Path(__file__).resolve().parent
_CORE: Final = (
    "timers streams connection heartbeat pipeline node authentication relay messages mailbox presence topics "
    "token_refresh typing_indicators crypto hmac_sha256 codec identity dedup store tokens upgrade ratelimit"
)
_FACE: Final = (
    "turns wire group_commit clock sink core_host driver journal gate fault_engine fault_lane frame_reader outlet "
    "upgrade_request handshake websocket store.sqlite"
)
MODULES: Final = (
    *(f"zentalk_sim.protocol.{name}" for name in _CORE.split()),
    *(f"mockrelay.{name}" for name in _FACE.split()),
)
"""What is compiled. A class that extends one of these must be among them too."""
_NATIVES: Final = (compiled.BLOCKS, compiled.SHA256)
FORM: Final = compiled.CompiledForm("relay", (Path(compiled.__file__).resolve().parent, _HERE), MODULES, _NATIVES)


def activate() -> bool:
    """See ``CompiledForm.activate``."""
    return FORM.activate()


if __name__ == "__main__":
    FORM.main()
