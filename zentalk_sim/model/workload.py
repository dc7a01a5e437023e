"""What the user of a device does: sends to contacts at random intervals, and reads some of what is shown.

Each device draws from streams of its own, one for sending and one for reading, so that what one does never
moves another's draws. Ciphertexts are zeros: the relay never looks into one, and its size is what counts.
A user whose device is off, or whose app is off screen, writes nothing; what it would read then it reads when back.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, log1p, pi
from typing import TYPE_CHECKING, Final

from zentalk_sim.experiment.workload_schema import Workload
from zentalk_sim.model.habits import Habits, has_habits
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.model.population import Person
from zentalk_sim.protocol.streams import Streams

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device


_MOST_CIPHERTEXTS: Final = 4_096
_LONG_BYTES: Final = 16_384
_ciphertexts: Final[dict[int, bytes]] = {}
"""By size: at most 64 MiB of short ones and, of the longer, the last, since a constant size asks for no more."""
_long_ciphertext: Final[list[bytes]] = []


def ciphertext(size: int) -> bytes:
    """A ciphertext of ``size`` bytes; the same object for many messages."""
    if size > _LONG_BYTES:
        if not _long_ciphertext or len(_long_ciphertext[0]) != size:
            _long_ciphertext[:] = [bytes(size)]
        return _long_ciphertext[0]
    found = _ciphertexts.get(size)
    if found is None:
        if len(_ciphertexts) >= _MOST_CIPHERTEXTS:
            _ciphertexts.clear()
        found = _ciphertexts[size] = bytes(size)
    return found


def geometric(mean: float, u: float) -> int:
    """The quantile at ``u`` in [0, 1) of the geometric distribution on 1, 2, … with that mean, which is above 1."""
    return 1 + int(log1p(-u) / log1p(-1.0 / mean))


class Conduct:
    """The conduct of all users, as the experiment's ``workload`` states it."""

    def __init__(self, workload: Workload, kernel: Kernel, people: list[Person], streams: Streams) -> None:
        self._workload = workload
        self._kernel = kernel
        self._calendar = kernel.calendar
        self._start_us = kernel.now
        self._people = people
        self._streams = streams
        gap = workload.messages.gap
        self._gap = None if gap is None else gap.worked_out()
        self._size = workload.messages.size.worked_out()
        self._read_probability = workload.reads.probability
        self._read_delay = workload.reads.delay.worked_out()
        self._ramp_us = workload.start.ramp_us
        self._diurnal = workload.diurnal if workload.pattern == "diurnal" else None
        self._burst = workload.burst if workload.pattern == "bursty" else None
        self._has_habits = has_habits(workload)
        # Bound once rather than for every entry of the queue.
        self._when_due: Callable[[Device], None] = self._send
        self._when_read: Callable[[tuple[Device, str]], None] = self._read
        self.is_over = False
        """Nobody sends any more; what is under way goes on."""
        self._unread: dict[int, list[str]] = {}
        """Device → what its user reads once back."""

    def begin(self, device: Device) -> None:
        """Have a device connect for the first time, at an instant uniform over the ramp."""
        draw = self._streams.fresh(f"device/{device.member.index}/start").uniform()
        self._kernel.call_at(self._kernel.now + int(draw * self._ramp_us), device.connect)

    def first_connected(self, device: Device) -> None:
        """A device has its first connection: from now on it sends."""
        contacts = device.member.person.contacts
        if self._has_habits:
            device.habits = Habits(device, self._workload, self._kernel, self._streams)
            # Once the effects that report the connection are applied, since these must be applied after them.
            people = [self._people[index] for index in contacts]
            self._kernel.call_at(self._kernel.now, device.habits.begin, people)
        if self._gap is not None and contacts:
            device.sending = self._streams.fresh(f"device/{device.member.index}/sending")
            self._next(device)

    # --- sending -------------------------------------------------------------------------------------

    def _next(self, device: Device) -> None:
        assert device.sending is not None
        assert self._gap is not None
        gap_us = self._gap.at(device.sending.uniform())
        if self._diurnal is not None:
            # As often as at the day's peak; `_is_due` thins it out.
            gap_us = int(gap_us / (1.0 + self._diurnal.depth))
        elif self._burst is not None:
            gap_us = int(gap_us * self._burst.mean_messages)
        # A gap of zero would stop the clock; one microsecond is the least that time can go on.
        calendar = self._calendar
        calendar.call_one(calendar.now + (gap_us if gap_us > 1 else 1), self._when_due, device)

    def _is_due(self, device: Device) -> bool:
        """Whether the day's course has a message sent at this instant (thinning, after Lewis and Shedler)."""
        day = self._diurnal
        if day is None:
            return True
        assert device.sending is not None
        phase = 2 * pi * ((self._kernel.now - self._start_us - day.peak_at_us) % day.period_us) / day.period_us
        return device.sending.uniform() * (1.0 + day.depth) < 1.0 + day.depth * cos(phase)

    def _send(self, device: Device) -> None:
        assert device.sending is not None
        if self.is_over:
            return
        if self._is_due(device):
            contacts = device.member.person.contacts
            to = self._people[contacts[device.sending.between(0, len(contacts) - 1)]]
            size = self._size.at(device.sending.uniform())
            left = 0 if self._burst is None else geometric(self._burst.mean_messages, device.sending.uniform()) - 1
            self._write(device, to, size, left)
        self._next(device)

    def _write(self, device: Device, to: Person, size: int, left: int) -> None:
        """Send a message, typed first where the workload says so, and ``left`` more after it."""
        habits = device.habits
        typing_us = 0 if habits is None else habits.typing_us()
        if typing_us and habits is not None:
            until_us = self._kernel.now + typing_us
            habits.type_to(to, until_us)
            self._kernel.call_at(until_us, self._typed, habits, device, to, size, left)
        else:
            self._hand_over(device, to, size, left)

    def _typed(self, habits: Habits, device: Device, to: Person, size: int, left: int) -> None:
        self._hand_over(device, to, size, left)
        habits.typed(to)

    def _hand_over(self, device: Device, to: Person, size: int, left: int) -> None:
        if self.is_over:
            return
        if not self._is_away(device):
            device.send(to, ciphertext(size))
        if left:
            assert device.sending is not None
            assert self._burst is not None
            gap_us = self._burst.gap.quantile(device.sending.uniform())
            size = self._size.at(device.sending.uniform())
            self._kernel.call_at(self._kernel.now + max(1, gap_us), self._write, device, to, size, left - 1)

    @staticmethod
    def _is_away(device: Device) -> bool:
        """Whether the user does nothing with this device at present."""
        return bool(device.offline) or (device.habits is not None and device.habits.background)

    # --- reading -------------------------------------------------------------------------------------

    def shown(self, device: Device, message_id: str) -> None:
        """A device showed a message: its user may read it."""
        if self._read_probability == 0:
            return
        if device.reading is None:
            device.reading = self._streams.fresh(f"device/{device.member.index}/reading")
        if device.reading.uniform() < self._read_probability:
            delay_us = self._read_delay.at(device.reading.uniform())
            calendar = self._calendar
            calendar.call_one(calendar.now + delay_us, self._when_read, (device, message_id))

    def _read(self, due: tuple[Device, str]) -> None:
        device, message_id = due
        if self._is_away(device):
            self._unread.setdefault(device.member.index, []).append(message_id)
        else:
            device.read(message_id)

    def came_back(self, device: Device) -> None:
        """The user is at the device again: what waited is read now."""
        if not self._is_away(device):
            for message_id in self._unread.pop(device.member.index, ()):
                device.read(message_id)
