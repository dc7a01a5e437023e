"""The clients' own actions, lifted from a recording: what applications did, without what the protocol made of it.

Lifted, at the instant the relay saw it: a device's first connection, and one after its application had closed; a close
with a handshake that the relay did not begin, or a loss after which the device never came back; every message once,
by its id, whether it came as a frame or over REST, with its recipient, kind and size; reads, typing, presence where it
changes, topics where they are new. What waited in the mailboxes when the recording began is lifted whole. Left to the
client core, which decides anew: reconnection, resumption, resending, confirmations, fetches, tokens. Everything else a
recording may hold is counted in ``left_out``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, AdvanceClock, IssueToken, NodeLost, Stop
from zentalk_sim.protocol.records import Message, Notice, Settings, StoreImage
from zentalk_sim.trace.event_reader import TraceError, read_events
from zentalk_sim.trace.events import (
    Abort,
    Accept,
    AnyEvent,
    Begin,
    Close,
    Control,
    FrameIn,
    Lost,
    Refuse,
    Request,
    Restart,
    Upgrade,
)

Kind = Literal[
    "connect", "close", "send", "read", "typing_start", "typing_stop", "presence", "subscribe", "unsubscribe"
]
_BY_CLIENT: Final = ("closed", "client_closed")
_OWN_REST: Final = (
    ("GET", "/api/messages"),
    ("POST", "/api/messages/ack"),
    ("POST", "/api/token"),
    ("GET", "/api/keys"),
)
"""Requests a client core makes by itself."""
_GONE_US: Final = 60_000_000
_FROM_START: Final = (AddUser, AddDevice, IssueToken, AdvanceClock, NodeLost, Stop)
"""Commands that only say who there is, that time passes, or that belong to a restart."""


class Action(Struct, frozen=True):
    """One thing an application did, ``at_us`` after the recording's beginning."""

    at_us: int
    device: str
    kind: Kind
    id: str = ""
    """Of a message: the recorded one."""
    to: str = ""
    """An address; of typing a conversation."""
    size: int = 0
    """Of the ciphertext, in bytes."""
    message_type: str = "text"
    texts: tuple[str, ...] = ()
    """Topics, or a status."""


class LiftedUser(Struct):
    """A user of the recording, with its devices in order of appearance."""

    address: str
    devices: list[str] = []
    contacts: dict[str, None] = {}
    settings: Settings = field(default_factory=Settings)
    names: dict[str, str] = {}


class Waiting(Struct):
    """What waited in the mailboxes when the recording began, at ``began_us``."""

    began_us: int
    messages: list[Message] = []
    """Those of which a copy waited, in the order of their acceptance."""
    copies: dict[str, list[str]] = {}
    """Message → the devices that had not confirmed it."""
    notices: list[tuple[str, str, Notice]] = []
    """User, device, and a receipt or key change kept for it, in order."""

    @property
    def count(self) -> int:
        """How many copies waited."""
        return sum(map(len, self.copies.values()))


class Lifted(Struct):
    """All that was lifted."""

    config: RelayConfig
    users: dict[str, LiftedUser]
    """By address, those with a device that was ever connected first."""
    actions: list[Action]
    lasted_us: int
    left_out: dict[str, int]
    """What was not lifted → how often."""
    waiting: Waiting


def lift(path: str | PathLike[str]) -> Lifted:
    """The actions of a recording.

    Raises TraceError (``file:line: message``) for what is no recording, is redacted or holds nothing to live again,
    OSError where it cannot be read.
    """
    events = iter(read_events(path))
    begin = next(events)
    assert isinstance(begin, Begin)
    name = fspath(path)
    if begin.redacted:
        raise TraceError(f"{name}:1: this recording is redacted: it serves checks and reading, not replay")
    if begin.source != "recording":
        raise TraceError(f"{name}:1: the trace of a simulation; run its experiment again with other settings instead")
    if begin.image is None:
        raise TraceError(f"{name}:1: the header has no snapshot, so its users are not known")
    lifter = _Lifter(begin)
    for event in events:
        lifter.take(event)
    found = lifter.lifted()
    if not any(action.kind == "connect" for action in found.actions):
        raise TraceError(f"{name}: no device was ever connected, so there is nothing to live again")
    return found


class _Lifter:
    """One pass over a recording."""

    def __init__(self, begin: Begin) -> None:
        self._config = begin.config
        self._start_us = begin.t
        self._last_us = begin.t
        self._actions: list[Action] = []
        self._users: dict[str, LiftedUser] = {}
        self._owner: dict[str, str] = {}
        """Device → address."""
        self._devices: dict[int, str] = {}
        """Connection → device."""
        self._upgrades: dict[int, tuple[str, str]] = {}
        self._wants: dict[str, bool] = {}
        """Device → whether its application wants a connection."""
        self._ended_by_relay: dict[int, None] = {}
        self._last_loss: dict[str, int] = {}
        self._sent: dict[str, None] = {}
        self._read: dict[tuple[str, str], None] = {}
        self._status: dict[str, str] = {}
        self._topics: dict[str, dict[str, None]] = {}
        self._left_out: dict[str, int] = {}
        image = begin.image
        assert image is not None
        for user in image.store.users.values():
            known = self._user(user.address)
            known.contacts = dict(user.contacts)
            known.settings = user.settings
            for device in user.devices.values():
                self._device(user.address, device.device_id)
        for conn in image.connections:
            self._device(conn.user, conn.device_id)
            self._devices[conn.id] = conn.device_id
            self._connects(conn.device_id, 0)
        self._waiting = self._what_waited(image.store)
        self._take: dict[type, Callable[[Any], None]] = {
            Upgrade: self._upgrade,
            Accept: self._accept,
            Refuse: self._refuse,
            Close: lambda e: self._ended_by_relay.setdefault(e.c),
            Abort: lambda e: self._ended_by_relay.setdefault(e.c),
            Lost: self._lost,
            FrameIn: self._frame,
            Request: self._request,
            Control: self._control,
            Restart: self._restart,
        }

    def take(self, event: AnyEvent) -> None:
        """One event."""
        self._last_us = max(self._last_us, event.t)
        handler = self._take.get(type(event))
        if handler is not None:
            handler(event)

    def lifted(self) -> Lifted:
        """What came of it."""
        for device, at_us in self._last_loss.items():
            # Lost and not back for longer than any backoff takes: whoever held the device had done with it.
            if self._last_us - self._start_us - at_us > _GONE_US:
                self._actions.append(Action(at_us, device, "close"))
        self._actions.sort(key=lambda action: action.at_us)
        seen = {action.device for action in self._actions if action.kind == "connect"}
        actions = [action for action in self._actions if action.device in seen]
        users = {address: user for address, user in self._users.items() if user.devices}
        return Lifted(self._config, users, actions, self._last_us - self._start_us, self._left_out, self._waiting)

    def _what_waited(self, store: StoreImage) -> Waiting:
        """The copies in the snapshot's mailboxes, and the notices kept."""
        found = Waiting(self._start_us)
        known = {message.id: message for message in store.messages}
        wanted: dict[str, list[str]] = {}
        for address, device, ids in store.mailboxes:
            for message_id in ids:
                message = known.get(message_id)
                if message is None or message.body is None:
                    self._leave("copies whose message the snapshot does not hold")
                elif not device:
                    self._leave(f"copies for {address}, who had no device")
                else:
                    wanted.setdefault(message_id, []).append(device)
        found.messages = sorted((known[key] for key in wanted), key=lambda message: message.order)
        found.copies = {message.id: wanted[message.id] for message in found.messages}
        found.notices = [(address, device, notice) for address, device, kept in store.notices for notice in kept]
        return found

    # --- who there is --------------------------------------------------------------------------------

    def _user(self, address: str) -> LiftedUser:
        address = address.lower()
        return self._users.setdefault(address, LiftedUser(address))

    def _device(self, address: str, device: str) -> None:
        user = self._user(address)
        if device not in self._owner:
            self._owner[device] = user.address
            user.devices.append(device)

    def _control(self, event: Control) -> None:
        command = event.command
        if isinstance(command, AddDevice):
            self._device(command.address, command.device_id.lower())
        elif not isinstance(command, _FROM_START):
            self._leave(f"command {type(command).__name__}")

    # --- connections ---------------------------------------------------------------------------------

    def _upgrade(self, event: Upgrade) -> None:
        device = event.query.get("device_id", "").lower()
        self._upgrades[event.c] = (device, subject_of(event.query.get("token", "")))

    def _accept(self, event: Accept) -> None:
        device, address = self._upgrades.get(event.c, ("", ""))
        if device and address:
            self._devices[event.c] = device
            self._device(address, device)
            if not self._wants.get(device):
                self._connects(device, event.t - self._start_us)
            self._last_loss.pop(device, None)

    def _refuse(self, event: Refuse) -> None:
        device, address = self._upgrades.pop(event.c, ("", ""))
        if device and address and not self._wants.get(device) and event.status in (429, 503):
            # It would have connected, had there been room.
            self._device(address, device)
            self._connects(device, event.t - self._start_us)
        elif not self._wants.get(device):
            self._leave(f"upgrades refused with {event.status}")

    def _connects(self, device: str, at_us: int) -> None:
        self._wants[device] = True
        self._actions.append(Action(at_us, device, "connect"))

    def _lost(self, event: Lost) -> None:
        device = self._devices.pop(event.c, None)
        by_relay = event.c in self._ended_by_relay
        self._ended_by_relay.pop(event.c, None)
        if device is None or device in self._devices.values():
            return
        at_us = event.t - self._start_us
        if event.cause in _BY_CLIENT and not by_relay:
            self._wants[device] = False
            self._actions.append(Action(at_us, device, "close"))
        else:
            self._last_loss[device] = at_us

    def _restart(self, event: Restart) -> None:
        """Every connection is gone without a word; its application still wants one."""
        self._leave("restarts of the relay")
        for device in self._devices.values():
            self._last_loss[device] = event.t - self._start_us
        self._devices.clear()

    # --- what was done -------------------------------------------------------------------------------

    def _frame(self, event: FrameIn) -> None:
        device = self._devices.get(event.c)
        if device is None:
            return
        if event.payload is None:
            if event.fault is not None:
                self._leave(f"frames that are {event.fault}")
            return
        at_us, payload = event.t - self._start_us, event.payload
        match event.type:
            case "MESSAGE_SEND":
                self._send(at_us, device, event.id, payload.to, len(payload.ciphertext), payload.message_type)
            case "MESSAGE_READ":
                if (device, payload.message_id) not in self._read:
                    self._read[(device, payload.message_id)] = None
                    self._actions.append(Action(at_us, device, "read", id=payload.message_id.lower()))
            case "TYPING_START" | "TYPING_STOP":
                kind: Kind = "typing_start" if event.type == "TYPING_START" else "typing_stop"
                self._actions.append(Action(at_us, device, kind, to=payload.conversation_id))
            case "PRESENCE_SET":
                if self._status.get(device) != payload.status:
                    self._status[device] = payload.status
                    self._actions.append(Action(at_us, device, "presence", texts=(payload.status,)))
            case "SUBSCRIBE" | "UNSUBSCRIBE":
                self._topic(at_us, device, event.type, payload.topics)

    def _topic(self, at_us: int, device: str, kind: str, topics: Iterable[str]) -> None:
        known = self._topics.setdefault(device, {})
        adds = kind == "SUBSCRIBE"
        changed = tuple(topic for topic in topics if (topic in known) is not adds)
        if changed:
            for topic in changed:
                known[topic] = None
                if not adds:
                    del known[topic]
            self._actions.append(Action(at_us, device, "subscribe" if adds else "unsubscribe", texts=changed))

    def _send(self, at_us: int, device: str, message_id: str, to: str, size: int, kind: str) -> None:
        message_id = message_id.lower()
        if message_id not in self._sent:
            self._sent[message_id] = None
            self._actions.append(
                Action(at_us, device, "send", id=message_id, to=to.lower(), size=size, message_type=kind)
            )

    def _request(self, event: Request) -> None:
        if (event.method, event.path) == ("POST", "/api/messages"):
            address, body = subject_of(event.bearer or ""), _json(event.body)
            user = self._users.get(address)
            if user is not None and user.devices and isinstance(body, dict):
                to, data = body.get("to"), body.get("ciphertext")
                if isinstance(to, str) and isinstance(data, str) and isinstance(body.get("id"), str):
                    kind = str(body.get("message_type", "text"))
                    device = _device_of(event.bearer or "") or user.devices[0]
                    self._send(event.t - self._start_us, device, body["id"], to, 3 * len(data) // 4, kind)
                    return
        if not any(event.method == method and event.path.startswith(path) for method, path in _OWN_REST):
            self._leave(f"{event.method} {'/'.join(event.path.split('/')[:3])}")

    def _leave(self, what: str, count: int = 1) -> None:
        self._left_out[what] = self._left_out.get(what, 0) + count


def _claims(token: str) -> dict[str, Any]:
    """A token's claims, unchecked: the recording says what the relay made of it."""
    parts = token.split(".")
    if len(parts) == 3:
        found = _json(_decoded(parts[1]))
        if isinstance(found, dict):
            return found
    return {}


def subject_of(token: str) -> str:
    """Whose token it is; empty where it is none."""
    found = _claims(token).get("sub")
    return found.lower() if isinstance(found, str) else ""


def _device_of(token: str) -> str:
    found = _claims(token).get("device_id")
    return found.lower() if isinstance(found, str) else ""


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _json(data: bytes | None) -> Any:
    try:
        return msgspec.json.decode(data or b"")
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
