"""A device of the population in real time: the live driver under the conduct of the experiment's users.

It stands where the simulation's device stands: it has what ``Conduct`` and ``Habits`` ask of one, and tells the
recorder the same facts at the same points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zentalk_sim.experiment.metrics import closed_count
from zentalk_sim.experiment.real_time import Member, Person, draw_clock
from zentalk_sim.live.device import Device
from zentalk_sim.live.shaped_socket import ShapedSocket
from zentalk_sim.live.shaping import DeviceLink
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import LinkProfile
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    Acked,
    ClientEffect,
    Connect,
    Count,
    Deliver,
    Effects,
    Failed,
    GaveUp,
    Identity,
    Rejected,
    SendFrame,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState

if TYPE_CHECKING:
    from zentalk_sim.live.world import LiveWorld

_ATTEMPT_OVER = (ClientState.FAILED, ClientState.DISCONNECTED)


class Participant:
    """One device."""

    def __init__(self, world: LiveWorld, member: Member, token: str, link: DeviceLink) -> None:
        self.world = world
        self.member = member
        self.link = link
        identity = Identity(member.person.address, member.person.secret, member.device_id, token)
        experiment = world.experiment
        self.client = Client(
            experiment.client, identity, streams=world.streams, name=f"device/{member.index}", wire=True
        )
        skew = experiment.population.clock_skew
        stream = world.streams.fresh(f"device/{member.index}/clock")
        clock = None if skew.is_true else draw_clock(skew, stream, world.time.start_us)
        real_us = world.time.real_us
        self.now: Callable[[], int] = real_us if clock is None else lambda: clock.local(real_us())
        """The time as the device has it."""
        self.device = Device(self.client, "", "", watch=self._watch, clock=self.now, transport=link)
        self.offline = 0
        """Faults that keep it off the network; they may overlap."""
        self.sending: Any = None
        self.reading: Any = None
        self.habits: Any = None
        self.attempts = 0
        self.lost_us: int | None = None
        """Since when it has been without a connection; None while it has one, or never had."""
        self._socket: ShapedSocket | None = None
        self._was_connected = False
        self._severed = False
        """The relay has died, and the client has not noticed: it is without a connection all the same."""
        self._session_id: str | None = None

    # --- the application -----------------------------------------------------------------------------

    def connect(self) -> None:
        """The application asks for a connection, unless the device is off."""
        if not self.offline:
            self.device.connect()

    def send(self, to: Person, ciphertext: bytes) -> None:
        """The application sends a message."""
        effects = self.client.send(to.address, ciphertext, "text", self.now())
        own, now = self.member.person, self.world.time.real_us()
        self.world.recorder.sent(self.client.last_id, own.address, to.address, to.device_ids, len(ciphertext), now)
        self.apply(effects)

    def read(self, message_id: str) -> None:
        """The user has read a message."""
        self.device.mark_read(message_id)

    def apply(self, effects: Effects) -> None:
        """Do what the client core asks."""
        self.device.apply(effects)

    def go_offline(self, silently: bool) -> Path | None:
        """The device sleeps or is switched off; returns the path that went dead with it, if it went without a word."""
        self.offline += 1
        path = self.link.cut("both") if silently else None
        if self.offline == 1:
            self.device.close()
            self.lost_us = None
        return path

    def come_back(self, path: Path | None) -> None:
        """The device is on again, unless another fault still holds it."""
        if path is not None:
            self.link.heal("both", path)
        self.offline -= 1
        if not self.offline:
            self.connect()
            self.world.conduct.came_back(self)  # type: ignore[arg-type]

    def relay_died(self) -> None:
        """The relay has died: the device is without a connection from now on, whenever it notices."""
        if not self._severed and self.client.state is ClientState.CONNECTED:
            self._severed = True
            self.lost_us = self.world.time.real_us()
            self.world.connected -= 1

    def hand_over(self, profile: LinkProfile, ip: str | None) -> None:
        """Change to another network."""
        self.link.hand_over(profile, ip)
        self.device.network_changed()

    # --- what happens --------------------------------------------------------------------------------

    def _watch(self, effect: ClientEffect) -> None:
        try:
            self._note(effect)
        except Exception as error:
            self.world.time.fail(error)

    def _note(self, effect: ClientEffect) -> None:
        world = self.world
        recorder, now = world.recorder, world.time.real_us()
        if isinstance(effect, SendFrame):
            if effect.frame.type == "MESSAGE_SEND":
                recorder.transmitted(effect.frame.id)
        elif isinstance(effect, Connect):
            self.attempts += 1
            recorder.count("connections.attempted")
            self._socket = self.link.socket
        elif isinstance(effect, StateChanged):
            self._state_changed(effect, now)
        elif isinstance(effect, Deliver):
            recorder.shown(effect.message_id, self.member.device_id, effect.via, now)
            world.conduct.shown(self, effect.message_id)  # type: ignore[arg-type]
        elif isinstance(effect, Acked):
            recorder.acked(effect.message_id, now)
        elif isinstance(effect, Rejected):
            recorder.settled(effect.message_id, "rejected", effect.reason)
        elif isinstance(effect, Failed):
            recorder.settled(effect.message_id, "failed")
        elif isinstance(effect, GaveUp):
            recorder.count("clients.gave_up")
            policy = world.experiment.population.on_failed
            if policy != "never":
                world.time.call_at(now + policy.retry_after_us, self.connect)
        elif isinstance(effect, Count):
            recorder.client_count(effect.name, effect.count)

    def _state_changed(self, effect: StateChanged, now: int) -> None:
        world = self.world
        if effect.old is ClientState.CONNECTED:
            if self._severed:
                self._severed = False
            else:
                world.connected -= 1
                if effect.new is not ClientState.CLOSING:
                    self.lost_us = now
        if effect.new is ClientState.CONNECTED:
            world.connected += 1
            world.authenticated += 1
            socket = self._socket
            assert socket is not None
            socket.auth_us = now
            session_id = self.client.session.session_id
            socket.resumed = session_id is not None and session_id == self._session_id
            self._session_id = session_id
            if self.lost_us is not None:
                world.recorder.observe("reconnect_time_s", now - self.lost_us, self.lost_us)
                self.lost_us = None
            if not self._was_connected:
                self._was_connected = True
                world.conduct.first_connected(self)  # type: ignore[arg-type]
        elif effect.new in _ATTEMPT_OVER:
            self.end_attempt(now, effect.cause)

    def end_attempt(self, end_us: int | None, cause: str | None) -> None:
        """Write the row of the attempt under way, if there is one; ``end_us`` is None at the end of the run."""
        socket = self._socket
        if socket is None or socket.ended:
            return
        socket.ended = True
        code = socket.close_code
        if end_us is not None and socket.upgraded_us is not None:
            code = 1006 if code is None else code
            self.world.recorder.count(closed_count(code))
        self.world.recorder.connection(
            (
                self.member.device_id,
                None,
                self.attempts,
                socket.start_us,
                socket.tcp_us,
                socket.tls_us,
                socket.upgraded_us,
                socket.auth_us,
                end_us,
                code,
                cause,
                socket.resumed,
            )
        )
