"""What the user of a device does besides sending and reading: typing, presence, and the app's foreground.

Made for a device only where the workload has any of these; each draws from a stream of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zentalk_sim.experiment.workload_schema import Workload
from zentalk_sim.model.kernel import Kernel
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.streams import Streams

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device
    from zentalk_sim.model.population import Person

TYPING_AGAIN_US = 3_000_000
"""How often an application says that its user still types; the client sends no oftener anyway (R-7.4)."""
_MOST_TOPICS = 1_000
"""A session's topics (R-7.2)."""


def has_habits(workload: Workload) -> bool:
    """Whether devices do anything of what stands here."""
    presence = workload.presence
    return bool(
        workload.typing.probability
        or workload.foreground is not None
        or presence.subscribe != "none"
        or presence.set_every is not None
    )


class Habits:
    """The habits of one device's user."""

    __slots__ = (
        "_away",
        "_device",
        "_foreground",
        "_kernel",
        "_presence",
        "_turns",
        "_typing",
        "_workload",
        "background",
    )

    def __init__(self, device: Device, workload: Workload, kernel: Kernel, streams: Streams) -> None:
        name = f"device/{device.member.index}"
        self._device = device
        self._workload = workload
        self._kernel = kernel
        self._typing = streams.fresh(f"{name}/typing")
        self._presence = streams.fresh(f"{name}/presence")
        self._foreground = streams.fresh(f"{name}/foreground")
        self._away = False
        self._turns = 0
        self.background = False
        """Whether the app is off screen."""

    def begin(self, contacts: list[Person]) -> None:
        """The device has its first connection."""
        device = self._device
        if self._workload.presence.subscribe == "contacts" and contacts:
            topics = [f"presence:{person.address}" for person in contacts[:_MOST_TOPICS]]
            device.apply(device.client.subscribe(topics, device.now()))
        self._next_presence()
        self._next_foreground()

    # --- typing --------------------------------------------------------------------------------------

    def typing_us(self) -> int:
        """How long the next message is typed; 0 where it is not."""
        typing = self._workload.typing
        if not typing.probability:
            return 0
        chance, length = self._typing.uniform(), self._typing.uniform()
        return typing.duration.quantile(length) if chance < typing.probability else 0

    def type_to(self, to: Person, until_us: int) -> None:
        """The user types to someone until an instant at which the message is sent."""
        device = self._device
        if not device.offline and not self.background:
            device.apply(device.client.start_typing(self._conversation(to), device.now()))
            again_us = self._kernel.now + TYPING_AGAIN_US
            if again_us < until_us:
                self._kernel.call_at(again_us, self.type_to, to, until_us)

    def typed(self, to: Person) -> None:
        """The message is written."""
        device = self._device
        if not device.offline and not self.background:
            device.apply(device.client.stop_typing(self._conversation(to), device.now()))

    def _conversation(self, to: Person) -> str:
        return conversation_id(self._device.member.person.address, to.address)

    # --- presence ------------------------------------------------------------------------------------

    def _next_presence(self) -> None:
        every = self._workload.presence.set_every
        if every is not None:
            gap_us = max(1, every.quantile(self._presence.uniform()))
            self._kernel.call_at(self._kernel.now + gap_us, self._set_presence)

    def _set_presence(self) -> None:
        device = self._device
        if not device.offline and not self.background:
            self._away = not self._away
            device.apply(device.client.set_presence("away" if self._away else "online", device.now()))
        self._next_presence()

    # --- the foreground ------------------------------------------------------------------------------

    def _next_foreground(self) -> None:
        cycle = self._workload.foreground
        if cycle is not None:
            length = cycle.off if self.background else cycle.on
            gap_us = max(1, length.quantile(self._foreground.uniform()))
            self._kernel.call_at(self._kernel.now + gap_us, self._turn, self._turns)

    def come_forward(self) -> None:
        """The user opens the app, out of its turn; its cycle goes on from here."""
        if self.background:
            self._turn(self._turns)

    def _turn(self, turn: int) -> None:
        if turn != self._turns:
            return
        self._turns += 1
        device = self._device
        self.background = not self.background
        if not device.offline:
            device.apply(device.client.foreground(not self.background, device.now()))
            if not self.background:
                device.world.conduct.came_back(device)
        self._next_foreground()
