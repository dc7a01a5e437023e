"""The push service: a notification reaches its device after a while, and may have its user open the app (R-6.7).

Each notification is answered by a draw of its own. One that the relay takes away before it has arrived (R-6.6) does
nothing, and while one is on its way to be answered another changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zentalk_sim.protocol.streams import Stream

if TYPE_CHECKING:
    from zentalk_sim.model.device import Device
    from zentalk_sim.model.world import World


class Pushes:
    """The push service of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.experiment.workload.push
        self._devices: dict[str, Device] = {}
        self._streams: dict[str, Stream] = {}
        self._coming: dict[str, int] = {}
        """Device → the notification on its way that will be answered."""
        self._sent = 0

    def send(self, device_id: str) -> None:
        """The relay hands over a notification for a device."""
        settings = self._settings
        if not settings.wake_probability:
            return
        device = self._device(device_id)
        stream = self._streams.get(device_id)
        if stream is None:
            stream = self._streams[device_id] = self._world.streams.fresh(f"device/{device.member.index}/push")
        chance, delay, stay = stream.uniform(), stream.uniform(), stream.uniform()
        if chance >= settings.wake_probability or device_id in self._coming:
            return
        self._sent += 1
        self._coming[device_id] = self._sent
        kernel = self._world.kernel
        at_us = kernel.now + settings.delay.quantile(delay)
        kernel.call_at(at_us, self._arrive, device, self._sent, settings.stay.quantile(stay))

    def clear(self, device_id: str) -> None:
        """The relay takes a device's notifications away."""
        self._coming.pop(device_id, None)

    def _arrive(self, device: Device, number: int, stay_us: int) -> None:
        device_id = device.member.device_id
        if self._coming.get(device_id) == number:
            del self._coming[device_id]
            if device.take_push(stay_us):
                self._world.recorder.count("push.woke")

    def _device(self, device_id: str) -> Device:
        if not self._devices:
            self._devices = {device.member.device_id: device for device in self._world.devices}
        return self._devices[device_id]
