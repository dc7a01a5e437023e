"""What the user of a device does: sends to contacts at random intervals, and reads some of what is shown.

Each device draws from two streams of its own, one for sending and one for reading, so that what one does never
moves another's draws. Ciphertexts are zeros: the relay never looks into one, and its size is what counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from zentalk_sim.experiment.schema import Workload
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.model.population import Person
from zentalk_sim.protocol.streams import Streams

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device


@lru_cache(maxsize=4096)
def ciphertext(size: int) -> bytes:
    """A ciphertext of ``size`` bytes."""
    return bytes(size)


class Conduct:
    """The conduct of all users, as the experiment's ``workload`` states it."""

    def __init__(self, workload: Workload, kernel: Kernel, people: list[Person], streams: Streams) -> None:
        self._kernel = kernel
        self._people = people
        self._streams = streams
        self._gap = workload.messages.gap
        self._size = workload.messages.size
        self._read_probability = workload.reads.probability
        self._read_delay = workload.reads.delay
        self._ramp_us = workload.start.ramp_us

    def begin(self, device: Device) -> None:
        """Have a device connect for the first time, at an instant uniform over the ramp."""
        draw = self._streams.fresh(f"device/{device.member.index}/start").uniform()
        self._kernel.call_at(self._kernel.now + int(draw * self._ramp_us), device.connect)

    def first_connected(self, device: Device) -> None:
        """A device has its first connection: from now on it sends."""
        if self._gap is None or not device.member.person.contacts:
            return
        device.sending = self._streams.fresh(f"device/{device.member.index}/sending")
        self._next(device)

    def _next(self, device: Device) -> None:
        assert device.sending is not None
        assert self._gap is not None
        # A gap of zero would stop the clock; one microsecond is the least that time can go on.
        gap_us = max(1, self._gap.quantile(device.sending.uniform()))
        self._kernel.call_at(self._kernel.now + gap_us, self._send, device)

    def _send(self, device: Device) -> None:
        assert device.sending is not None
        contacts = device.member.person.contacts
        to = self._people[contacts[device.sending.between(0, len(contacts) - 1)]]
        size = self._size.quantile(device.sending.uniform())
        device.send(to, ciphertext(size))
        self._next(device)

    def shown(self, device: Device, message_id: str) -> None:
        """A device showed a message: its user may read it."""
        if self._read_probability == 0:
            return
        if device.reading is None:
            device.reading = self._streams.fresh(f"device/{device.member.index}/reading")
        if device.reading.uniform() < self._read_probability:
            delay_us = self._read_delay.quantile(device.reading.uniform())
            self._kernel.call_at(self._kernel.now + delay_us, device.read, message_id)
