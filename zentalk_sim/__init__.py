"""zentalk-sim: a deterministic simulator of the Zentalk relay, and the protocol core it shares with ``mockrelay``.

This module imports nothing, so that a mock relay starts without loading the simulator.
"""

__version__ = "0.1.0"
