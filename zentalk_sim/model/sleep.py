"""A device that is off or asleep by the experiment's faults, and what a push notification does about it.

Faults may overlap: a device is back when the last of them has ended. One that is woken meanwhile is on as if none
held it, and goes back to sleep, in the same way, when its user puts it down or another fault strikes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from zentalk_sim.model.rest_calls import RestCalls
from zentalk_sim.protocol.client_state import ClientState

if TYPE_CHECKING:
    from zentalk_sim.model.habits import Habits
    from zentalk_sim.network.path import Direction, Path

ATTEMPT_OVER = (ClientState.FAILED, ClientState.DISCONNECTED)


class Sleeps(RestCalls):
    """What Device does when it sleeps, and when it is woken."""

    __slots__ = ("_sleeps", "_stays", "habits", "lost_us", "woken")

    woken: bool
    """On although faults hold it."""
    habits: Habits | None
    """What its user does besides sending and reading, where the workload has such things."""
    lost_us: int | None
    """Since when it has been without a connection that works; None while it has one, or never had."""

    def begin_awake(self) -> None:
        """The device is on."""
        self.offline = 0
        """Faults that keep it off the network, but 0 while it is woken."""
        self.woken = False
        self._sleeps: dict[int, Path | None] | None = None
        """Fault → the path that went dead with the device, None where it left with a word. Made for the first fault,
        since most devices of a large world meet none."""
        self._stays = 0

    @abstractmethod
    def connect(self) -> None:
        """The application asks for a connection."""

    @abstractmethod
    def cut(self, direction: Direction) -> Path:
        """A partition begins; returns the path it cuts."""

    @abstractmethod
    def heal(self, direction: Direction, path: Path | None = None) -> None:
        """A partition of ``path`` ends."""

    # --- faults ----------------------------------------------------------------------------------------

    def go_offline(self, fault: int, silently: bool) -> None:
        """The device sleeps or is switched off, without a word or with one."""
        if self._sleeps is None:
            self._sleeps = {}
        self._sleeps[fault] = self.cut("both") if silently else None
        if self.woken:
            self._sleep_again(fault)
            return
        self.offline += 1
        if self.offline == 1:
            self._close()

    def come_back(self, fault: int) -> None:
        """That fault has ended; the device is on again unless another holds it."""
        assert self._sleeps is not None
        path = self._sleeps.pop(fault)
        if self.woken:
            # Its path is healed already; with the last fault gone it is simply on.
            self.woken = bool(self._sleeps)
            return
        if path is not None:
            self.heal("both", path)
        self.offline -= 1
        if not self.offline:
            self._be_on()

    # --- pushes ----------------------------------------------------------------------------------------

    def take_push(self, stay_us: int) -> bool:
        """Its user opens the app for a notification, and a sleeping device is on for ``stay_us``.

        False where the device was on, its app on screen and not without hope of a connection.
        """
        if self.offline:
            self.woken = True
            self.offline = 0
            self._stays += 1
            for path in (self._sleeps or {}).values():
                if path is not None:
                    self.heal("both", path)
            self.kernel.timer_at(self.kernel.now + max(1, stay_us), self._stay_over, self._stays)
            self._be_on()
            return True
        habits = self.habits
        acts = habits is not None and habits.background
        if habits is not None and acts:
            habits.come_forward()
        if self.client.state in ATTEMPT_OVER:
            self.connect()
            acts = True
        return acts

    def _stay_over(self, stay: int) -> None:
        if self.woken and stay == self._stays:
            self._sleep_again(None)

    def _sleep_again(self, struck: int | None) -> None:
        """Fall back into what the faults ask; ``struck`` has just cut its path itself."""
        self.woken = False
        sleeps = self._sleeps or {}
        for fault, path in list(sleeps.items()):
            if path is not None and fault != struck:
                sleeps[fault] = self.cut("both")
        self.offline = len(sleeps)
        self._close()

    def _be_on(self) -> None:
        self.connect()
        device: Any = self
        self.world.conduct.came_back(device)

    def _close(self) -> None:
        self.apply(self.client.close(self.now()))
        # Nobody waits for a connection on a device that is off.
        self.lost_us = None
