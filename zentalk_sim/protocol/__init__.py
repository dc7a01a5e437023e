"""The sans-IO protocol core: all that a Zentalk relay and a Zentalk client *decide*.

Nothing below this package does I/O, reads a clock or draws randomness of its own.
The caller passes ``now`` (Unix time in integer microseconds) in, gets effects back
and arms one timer at ``next_timeout()``.
"""
