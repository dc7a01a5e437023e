"""What fault rules answer over HTTP, at an upgrade or at a REST call: as the simulator's do."""

from __future__ import annotations

from zentalk_sim.faults.http_answers import Refusal as Refusal
from zentalk_sim.faults.http_answers import refusal_of as refusal_of
