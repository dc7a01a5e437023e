"""``python -m zentalk_sim.cli`` is ``zsim``."""

from __future__ import annotations

from zentalk_sim.cli import main

main()
