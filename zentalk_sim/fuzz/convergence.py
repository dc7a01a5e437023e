"""Peace: what must have come to rest once faults are over, and what an application does to help.

All devices connected and authenticated, by the clients' word and by the store's; nothing queued, unacknowledged or
half fetched; every mailbox empty; and every acknowledged message shown by each device it was for, or dropped with
its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zentalk_sim.model.device import Device
from zentalk_sim.model.population import issue_token
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.world import World
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.errors import CloseCode
from zentalk_sim.protocol.timers import NEVER

if TYPE_CHECKING:
    from zentalk_sim.fuzz.acts import Acts

ASK_EVERY_US: Final = 30_000_000
"""How often the application of a device without a connection asks for one."""
LONG_COOL_DOWN_US: Final = 120_000_000
"""A user does not sit out a longer one. After a 4002 the last RATE_LIMITED tells how long to wait (R-11.3), and where
that was a limit by the hour a client rightly waits for longer than peace lasts."""


class Convergence:
    """What is still open in a world at peace."""

    def __init__(self, world: World, recorder: Recorder, acts: Acts) -> None:
        self._world = world
        self._recorder = recorder
        self._acts = acts
        self._asked_us = 0

    def ask_again(self) -> None:
        """Applications whose client has stopped, or given up, ask for a connection."""
        now = self._world.kernel.now
        if now - self._asked_us < ASK_EVERY_US:
            return
        self._asked_us = now
        for device in self._world.devices:
            client = device.client
            stopped = client.state in (ClientState.DISCONNECTED, ClientState.FAILED)
            waits = client.next_timeout() is not None
            if stopped and waits and client._cool_until_us - device.now() > LONG_COOL_DOWN_US:
                waits = False
            if stopped and not waits and not device.offline:
                if self._cannot_sign_in(device):
                    token = issue_token(device.member, self._world.tokens, self._world.protocol.token, now)
                    device.apply(client.renew_token(token, device.now()))
                if client.state in (ClientState.DISCONNECTED, ClientState.FAILED):
                    device.connect()
            elif client.state is ClientState.CONNECTED and self._gave_up_confirming(device):
                device.apply(client.close(device.now()))

    def _cannot_sign_in(self, device: Device) -> bool:
        """Whether a client cannot come back by itself, so that its user signs in anew, with a token from the relay's
        tools: it was closed with 4000 (R-11.3), or it needs a token while its clock is off, and no AUTH_CHALLENGE has
        told it so yet (R-3.3, R-11.8)."""
        if device.socket is not None and device.socket.close_code == CloseCode.AUTH_FAILED:
            return True
        off_us = abs(device.client.session.time_ms(device.now()) * 1000 - self._world.kernel.now)
        return device._token_asked and off_us > self._world.protocol.auth.time_window_ms * 1000

    def _gave_up_confirming(self, device: Device) -> bool:
        """Whether copies wait that a client has stopped to confirm, as it may: they are offered at the next connect."""
        counts = self._recorder.counts
        if not any(counts.get(name) for name in ("receipts.dropped", "receipts.refused", "sync.abandoned")):
            return False
        member = device.member
        return bool(self._world.store.mailbox(member.person.address, member.device_id))

    def open_points(self) -> list[str]:
        """What is not yet as it must be, each with the name of what it concerns; empty at peace."""
        found: list[str] = []
        rogues = {rogue.address for rogue in self._acts.rogues}
        for device in self._world.devices:
            found.extend(self._of_device(device))
        for (address, device_id), box in self._world.store.mailboxes.items():
            if box and address not in rogues:
                found.append(f"mailboxes: {len(box)} copies wait for device {device_id or 'none'}")
        if not found:
            found.extend(self._not_shown())
        return found

    def _of_device(self, device: Device) -> list[str]:
        name, client = f"device {device.member.index}", device.client
        if client.state is not ClientState.CONNECTED:
            return [f"connected: {name} is {client.state.value}"]
        place = self._world.store.connected(device.member.person.address).get(device.member.device_id)
        if place is None or device.socket is None or place.conn != device.socket.conn:
            return [f"connected: {name} is connected, and the store does not know it"]
        if client.unacked:
            return [f"queues: {name} has {client.unacked} messages without an answer"]
        inbox, receipts = client._inbox, client._receipts
        if inbox is not None and (inbox.syncing or inbox._held):
            return [f"queues: {name} still fetches"]
        if receipts is not None and receipts.waiting:
            return [f"queues: {name} has {len(receipts.waiting)} receipts to send"]
        return []

    def _not_shown(self) -> list[str]:
        found = []
        removed = self._acts.removed
        for message in self._recorder.messages_sent():
            if message.outcome != "acked":
                continue
            for device_id, copy in message.copies.items():
                if copy.shown_us == NEVER and copy.dropped is None and device_id not in removed:
                    found.append(f"shown: {message.id} was acknowledged, and device {device_id} never showed it")
        return found
