"""Clients that are broken in one thing each: what ``mockrelay certify`` must find, and only there."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from mockrelay.certify.reference import ReferenceApp
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import CloseSocket, Effects, Identity
from zentalk_sim.protocol.client_queue import Outbox
from zentalk_sim.protocol.client_signals import Signals
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.client_sync import Inbox
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig
from zentalk_sim.protocol.frames import Frame, MessageNew, Payload, Topics, TypingSignal
from zentalk_sim.protocol.pending import Pending
from zentalk_sim.protocol.streams import Streams


class Loose(Client):
    """A client whose parts can be replaced by broken ones."""

    inbox_type: ClassVar[type[Inbox]] = Inbox
    outbox_type: ClassVar[type[Outbox]] = Outbox
    signals_type: ClassVar[type[Signals]] = Signals

    @property
    def inbox(self) -> Inbox:
        if self._inbox is None:
            self._inbox = self.inbox_type(self)
        return self._inbox

    @property
    def outbox(self) -> Outbox:
        if self._outbox is None:
            self._outbox = self.outbox_type(self)
        return self._outbox

    @property
    def signals(self) -> Signals:
        if self._signals is None:
            self._signals = self.signals_type(self)
        return self._signals


class BrokenApp(ReferenceApp):
    """The reference with another client core, or another configuration."""

    client_type: ClassVar[type[Client]] = Loose

    def make_client(self, identity: Identity, streams: Streams) -> Client:
        return self.client_type(self.config, identity, streams=streams, name="app")


def app(client: type[Client] = Loose, **config: Any) -> type[BrokenApp]:
    """A broken app, of a client core or of settings."""
    settings = msgspec.structs.replace(ClientConfig(), **config)
    return type("App", (BrokenApp,), {"client_type": client, "config": settings})


# --- heartbeat ---------------------------------------------------------------------------------------


class NoPong(Loose):
    """Answers no PING."""

    def _take(self, kind: str, frame: Frame, now: int, out: Effects) -> None:
        if frame.type != "PING":
            super()._take(kind, frame, now, out)


class OwnPong(Loose):
    """Answers a PING with its own time in the place of the PING's."""

    def emit(self, kind: str, payload: Payload, now: int, out: Effects, *more: Any, **options: Any) -> str:
        if kind == "PONG":
            payload = msgspec.structs.replace(payload, timestamp=payload.timestamp + 1)
        return super().emit(kind, payload, now, out, *more, **options)


# --- sending -----------------------------------------------------------------------------------------


class NewIdOutbox(Outbox):
    """Gives a message another id when it is sent again."""

    def _transmit(self, entry: Pending, now: int, out: Effects) -> None:
        if entry.first_attempt is not None:
            self.sent.pop(entry.message_id, None)
            entry.message_id = self._host._next_id()  # type: ignore[attr-defined]
        super()._transmit(entry, now, out)


class NewIds(Loose):
    """Sends again under another id."""

    outbox_type = NewIdOutbox


class ImpatientOutbox(Outbox):
    """Gives up a message at the first ERROR, whatever it says, and never waits for retry_after."""

    def refused(self, message_id: str, code: str, pause_us: int, now: int, out: Effects) -> bool:
        return super().refused(message_id, "RATE_LIMITED", 1_000_000, now, out)


class StubbornSender(Loose):
    """Takes every ERROR for a limit of one second."""

    outbox_type = ImpatientOutbox


class OldestFirstOutbox(Outbox):
    """Drains its queue from the wrong end."""

    def add(self, entry: Pending, now: int, out: Effects) -> None:
        waiting = len(self.queue)
        super().add(entry, now, out)
        if len(self.queue) > waiting:
            self.queue.insert(0, self.queue.pop())


class OldestFirst(Loose):
    """Sends what was written offline oldest first."""

    outbox_type = OldestFirstOutbox


# --- receiving ---------------------------------------------------------------------------------------


class TwiceInbox(Inbox):
    """Remembers no message."""

    def remember(self, sender: str, message_id: str) -> bool:
        super().remember(sender, message_id)
        return True


class ShowsTwice(Loose):
    """Shows every copy of a message."""

    inbox_type = TwiceInbox


class OnceInbox(Inbox):
    """Confirms a message once and its other copies never."""

    def pushed(self, message_id: str, payload: MessageNew, now: int, out: Effects) -> None:
        if (payload.sender.lower(), message_id) not in self._shown:
            super().pushed(message_id, payload, now, out)

    def _take_page(self, page: list[tuple[str, MessageNew]], now: int, out: Effects) -> None:
        fresh = [(one, payload) for one, payload in page if (payload.sender.lower(), one) not in self._shown]
        if fresh:
            super()._take_page(fresh, now, out)
        else:
            self._finish(now, out)


class ConfirmsOnce(Loose):
    """Does not confirm a duplicate."""

    inbox_type = OnceInbox


# --- signals -----------------------------------------------------------------------------------------


class EveryKeySignals(Signals):
    """Sends TYPING_START at every key."""

    def start_typing(self, conversation_id: str, now: int, out: Effects) -> None:
        if self._may_send("TYPING_START", now):
            self._host.emit("TYPING_START", TypingSignal(conversation_id), now, out)


class TypesFast(Loose):
    """Does not throttle its typing."""

    signals_type = EveryKeySignals


class Hasty(Loose):
    """Takes any retry_after for one second."""

    def _take(self, kind: str, frame: Frame, now: int, out: Effects) -> None:
        if frame.type == "ERROR" and "retry_after" in frame.payload.details:
            payload = msgspec.structs.replace(frame.payload, details={"retry_after": 1})
            frame = msgspec.structs.replace(frame, payload=payload)
        super()._take(kind, frame, now, out)


# --- connections -------------------------------------------------------------------------------------


class IgnoresBan(Loose):
    """Takes 4003 for any loss."""

    def closed(self, code: int, now: int) -> Effects:
        return super().closed(1006 if code == 4003 else code, now)


class KeepsToken(Loose):
    """Takes 4001 for any loss."""

    def closed(self, code: int, now: int) -> Effects:
        return super().closed(1006 if code == 4001 else code, now)


class Talkative(Loose):
    """Does not wait for AUTH_SUCCESS once it has answered the challenge."""

    def _take(self, kind: str, frame: Frame, now: int, out: Effects) -> None:
        super()._take(kind, frame, now, out)
        if frame.type == "AUTH_CHALLENGE" and self.state is ClientState.AUTHENTICATING:
            self.emit("SUBSCRIBE", Topics((f"keys:{self.identity.address}",)), now, out)


class Answerer(Loose):
    """Answers every challenge."""

    def _take(self, kind: str, frame: Frame, now: int, out: Effects) -> None:
        if frame.type == "AUTH_CHALLENGE":
            answer = self.session.answer(frame.payload, self.identity, self.crypto, True, now)
            self.emit("AUTH_RESPONSE", answer, now, out)
        else:
            super()._take(kind, frame, now, out)


class Prim(Loose):
    """Closes the connection on anything it does not know."""

    def receive_data(self, data: str | bytes, now: int) -> Effects:
        out = super().receive_data(data, now)
        ignored = any(getattr(effect, "name", "") == "frames.ignored" for effect in out)
        return [*out, CloseSocket(1002, "what is this")] if ignored else out


class Rude(Loose):
    """Closes with a code that says nothing."""

    def close(self, now: int) -> Effects:
        return [
            msgspec.structs.replace(effect, code=3999) if isinstance(effect, CloseSocket) else effect
            for effect in super().close(now)
        ]


_SPEC = BackoffConfig()
Flaw = tuple[type[BrokenApp], tuple[str, ...], tuple[str, ...]]
BROKEN: dict[str, Flaw] = {
    # Name → the app, the cases to run, those that must fail; all others of them must not.
    "no PONG": (app(NoPong), ("5", "10.1", "9.1", "7.10"), ("5.1", "5.2", "5.3", "5.5", "7.10", "9.1", "10.1")),
    "PONG with another time": (app(OwnPong), ("5.1", "5.2", "5.3", "10.1"), ("5.1", "5.2", "10.1")),
    "sent again under a new id": (
        app(NewIds),
        ("6",),
        ("6.4", "6.5", "6.6", "6.7", "6.8", "6.9", "6.10", "6.14", "6.15"),
    ),
    "every ERROR is a limit": (app(StubbornSender), ("6",), ("6.8", "6.11", "6.12", "6.13", "6.14", "6.15")),
    "queue from the wrong end": (app(OldestFirst), ("6",), ("6.16",)),
    "duplicates shown": (app(ShowsTwice), ("7",), ("7.3", "7.4", "7.7")),
    "duplicates not confirmed": (app(ConfirmsOnce), ("7",), ("7.3", "7.4")),
    "typing at every key": (app(TypesFast), ("8",), ("8.4",)),
    "retry_after ignored": (app(Hasty), ("6.8", "8", "3.16"), ("3.16", "6.8", "8.3", "8.8")),
    "comes again after 4003": (app(IgnoresBan), ("3",), ("3.5", "3.18")),
    "keeps its token after 4001": (app(KeepsToken), ("3", "9"), ("3.15", "9.5")),
    "speaks before AUTH_SUCCESS": (app(Talkative), ("2", "1"), ("2.3",)),
    "answers every challenge": (app(Answerer), ("2", "10"), ("2.7",)),
    "closes on the unknown": (app(Prim), ("10.1", "10.2", "10.3", "10.14", "5"), ("10.1", "10.2", "10.3", "10.14")),
    "closes with a code of its own": (app(Rude), ("11", "1.1", "3.1"), ("1.1", "11.1")),
    "backoff too short": (
        app(backoff=msgspec.structs.replace(_SPEC, base_ms=300)),
        ("3.1", "3.8", "4", "1.3"),
        ("1.3", "3.8", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7"),
    ),
    "backoff too long": (
        app(backoff=msgspec.structs.replace(_SPEC, base_ms=1_500)),
        ("3.1", "3.8", "4", "1.3"),
        ("1.3", "3.8", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7"),
    ),
    "counter reset at open": (app(backoff=msgspec.structs.replace(_SPEC, reset_at="open")), ("4",), ("4.3",)),
    "never gives up": (app(backoff=msgspec.structs.replace(_SPEC, max_attempts=1_000)), ("4",), ("4.2",)),
    "token never refreshed": (app(token_refresh="never"), ("9",), ("9.1", "9.2", "9.3", "9.4")),
    "silence not noticed": (app(silence_timeout_ms=3_600_000), ("5",), ("5.4",)),
    "no time-out of the upgrade": (app(connect_timeout_ms=3_600_000), ("1",), ("1.5",)),
}
NON_STRICT: dict[str, Flaw] = {
    # Name → the app, the cases to run, those that must come to non-strict; none may fail.
    "no jitter": (app(backoff=msgspec.structs.replace(_SPEC, jitter=0.0)), ("4",), ("4.5",)),
    "no message_mac": (app(send_mac=False), ("6.1", "6.2", "2.1"), ("6.1",)),
    "no trust in server_time": (app(trust_server_time=False), ("2",), ("2.8",)),
}
