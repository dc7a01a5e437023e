"""What the relay says of a run, read from its own recording once the run is over, and given to the recorder.

The recording has every fact a relay counts with its instant, message and device: the very notes that a simulated
node hands the recorder. Its instants are turned into this side's time by how far the relay's clock was ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Final

from zentalk_sim.experiment.real_time import LiveRecorder
from zentalk_sim.protocol import effects
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.events import FrameOut, Note, Refuse, Upgrade

_SIGNALS: Final = {
    "PRESENCE_UPDATE": "signals.presence",
    "TYPING_START": "signals.typing",
    "TYPING_STOP": "signals.typing",
    "KEY_CHANGE": "signals.keys",
}


class RelayFacts:
    """Reads one recording into a recorder."""

    def __init__(self, recorder: LiveRecorder, ahead_us: int, interval_us: int) -> None:
        self._recorder = recorder
        self._ahead_us = ahead_us
        self._interval_us = interval_us
        self._devices: dict[int, str] = {}
        self.pending: list[tuple[int, int]] = []
        """The copies in the mailboxes, at each step of the time series at which that changed."""
        self._next_us = 0

    def read(self, path: str | PathLike[str]) -> None:
        """Take in a recording. Raises TraceError for one that cannot be read on."""
        recorder = self._recorder
        for event in read_events(path):
            now = event.t - self._ahead_us
            if type(event) is Note:
                self._step(now)
                note = effects.Note(
                    event.name, event.count, event.c, event.user, event.device, event.message_id, event.value_us
                )
                recorder.note(note, now)
            elif type(event) is FrameOut:
                if event.type == "MESSAGE_NEW":
                    recorder.pushed(event.id, self._devices.get(event.c, ""), now)
                elif event.type in _SIGNALS:
                    recorder.count(_SIGNALS[event.type])
            elif type(event) is Upgrade:
                self._devices[event.c] = event.query.get("device_id", "").lower()
            elif type(event) is Refuse:
                recorder.count(f"connections.refused.{event.status}")
        self.pending.append((self._next_us, recorder.copies_pending))

    def _step(self, now: int) -> None:
        if not self._next_us:
            self._next_us = now
        if now >= self._next_us:
            self.pending.append((self._next_us, self._recorder.copies_pending))
            self._next_us = now - (now - self._next_us) % self._interval_us + self._interval_us

    def pending_at(self) -> Callable[[int], int]:
        """A function from an instant to the copies in the mailboxes; ask it in rising order."""
        steps = iter(self.pending)
        state = [0, next(steps, None)]

        def at(now: int) -> int:
            while state[1] is not None and state[1][0] <= now:  # type: ignore[index]
                state[0] = state[1][1]  # type: ignore[index]
                state[1] = next(steps, None)
            return state[0]  # type: ignore[return-value]

        return at
