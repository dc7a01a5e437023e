"""Bots: somebody to talk to, each a client core of its own on a connection in memory (``bot_line``).

They never decrypt: to a bot a ciphertext is bytes, which it sends back, keeps, or hands to a webhook as they came. A
bot keeps to the protocol as any client does (limits, receipts, re-sends, reconnection), by its space's clock, and its
frames are in the journal and meet the fault rules. It never answers another bot of its space, so that no two of them
talk for ever. The kinds and what each does are in ``bot_kinds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import msgspec

from mockrelay.bot_kinds import KINDS, Kind
from mockrelay.bot_line import Line
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import (
    AbortSocket,
    ClientEffect,
    CloseSocket,
    Connect,
    Count,
    Deliver,
    Effects,
    Fetch,
    Identity,
    NeedToken,
    SendFrame,
    StateChanged,
)
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.frames import MessageType
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.upgrade import parse_target

if TYPE_CHECKING:
    from mockrelay.people import Person
    from mockrelay.space import Space

MAX_BOTS: Final = 100
_NEVER_MS: Final = 10 * 366 * 86_400_000
_CONFIG: Final = ClientConfig(silence_timeout_ms=_NEVER_MS)
"""A line in memory does not die unnoticed, and a day may pass on it without a PING (R-13.2)."""


class BotError(Exception):
    """A bot that cannot be made; ``field`` is what was wrong."""

    def __init__(self, message: str, field: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.is_missing = is_missing
        """It names what there is not."""


class Bot:
    """One bot, from its making to ``stop``."""

    def __init__(self, bots: Bots, number: int, kind: str, person: Person, device_id: str, url: str | None) -> None:
        assert person.identity_secret is not None
        self.id = f"bot_{number}"
        self.kind = kind
        self.url = url
        self.space = bots.space
        self.person = person
        self.device_id = device_id
        self.counters: dict[str, int] = {}
        self.is_stopped = False
        self._bots = bots
        # TEST-NET-1 (RFC 5737), so that bots take nothing of the limits by IP of apps on this machine.
        self._ip = f"192.0.2.{1 + (number - 1) % 254}"
        identity = Identity(person.address, person.identity_secret, device_id, person.tokens[device_id])
        self.client = Client(_CONFIG, identity, streams=Streams(self.space.draw_secret(), 0), name=self.id)
        self._line: Line | None = None
        self._timer: int | None = None
        self._timer_at_us = 0
        self._waiting: list[ClientEffect] = []
        self._is_applying = False
        self._behaviour: Kind = KINDS[kind](self)

    @property
    def now_us(self) -> int:
        """The space's time."""
        return self.space.clock.now_us()

    def described(self) -> dict[str, Any]:
        """As the control API answers."""
        url = {} if self.url is None else {"url": self.url}
        return {
            "id": self.id,
            "kind": self.kind,
            "user": self.person.name,
            "address": self.person.address,
            "device_id": self.device_id,
            "state": self.client.state.value,
            "counters": dict(sorted(self.counters.items())),
            "decrypts": False,
            **url,
        }

    def count(self, name: str, count: int = 1) -> None:
        """Count a fact."""
        self.counters[name] = self.counters.get(name, 0) + count

    # --- what a kind may do --------------------------------------------------------------------------

    def send(self, to: str, ciphertext: bytes, message_type: MessageType, conversation_id: str) -> None:
        """Send a message."""
        self.count("sent")
        self.do(self.client.send(to, ciphertext, message_type, self.now_us, conversation_id=conversation_id))

    def answer(self, message: Deliver) -> None:
        """Send a message back as it came."""
        payload = message.payload
        self.send(message.sender, payload.ciphertext, payload.message_type, message.conversation_id)

    def mark_read(self, message: Deliver) -> None:
        """MESSAGE_READ."""
        self.do(self.client.mark_read(message.message_id, self.now_us))

    def lose_connection(self) -> None:
        """Cut the line, as a broken network would; the client core comes back by its backoff."""
        line, self._line = self._line, None
        if line is not None:
            line.drop()
            self.count("lost")
            self.do(self.client.closed(1006, self.now_us))

    # --- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect."""
        self.do(self.client.connect(self.now_us))

    def stop(self) -> None:
        """Close with 1000 and be no more."""
        if self.is_stopped:
            return
        line, self._line = self._line, None
        self._die()
        if line is not None:
            line.hang_up(1000, "")

    def bury(self) -> None:
        """Be no more where the space has ended, or was reset."""
        if not self.is_stopped and self._is_orphan():
            self._die()

    def _die(self) -> None:
        self.is_stopped = True
        self._behaviour.stop()
        if self._timer is not None:
            self.space.timers.cancel(self._timer)
            self._timer = None
        line, self._line = self._line, None
        if line is not None:
            line.drop()
        self._bots.forget(self)

    def _is_orphan(self) -> bool:
        """The space has ended, or was reset and knows nothing of this bot."""
        return self.space.faults.closed.is_set() or self.space.people.find(self.person.address) is not self.person

    # --- effects -------------------------------------------------------------------------------------

    def do(self, effects: Effects) -> None:
        """Apply effects in order; those that come up meanwhile after them."""
        self._waiting.extend(effects)
        if self._is_applying:
            return
        self._is_applying = True
        try:
            while self._waiting and not self.is_stopped:
                self._apply(self._waiting.pop(0))
        finally:
            self._is_applying = False
        self._arm()

    def _apply(self, effect: ClientEffect) -> None:
        if isinstance(effect, SendFrame):
            data = codec.encode(effect.frame)
            if self._line is not None:
                self._line.send(data.encode()) if isinstance(data, str) else self._line.send_binary(data)
        elif isinstance(effect, Connect):
            self._connect(effect.query)
        elif isinstance(effect, CloseSocket):
            if self._line is not None:
                self._line.hang_up(effect.code, effect.reason)
        elif isinstance(effect, AbortSocket):
            line, self._line = self._line, None
            if line is not None:
                line.drop()
        elif isinstance(effect, Fetch):
            self.space.loop.call_soon(self._fetch, effect)
        elif isinstance(effect, NeedToken):
            self._renew()
        elif isinstance(effect, Deliver):
            self._deliver(effect)
        elif isinstance(effect, Count):
            self.count(effect.name, effect.count)
        elif isinstance(effect, StateChanged) and effect.new is ClientState.DISCONNECTED:
            # A close that a client stops on: suspended, replaced, removed.
            self.count(f"ended.{effect.cause}")

    def _connect(self, query: dict[str, str]) -> None:
        self.bury()
        if self.is_stopped:
            return
        self._line = Line(self, self.space, urlencode(query), self._ip)
        self.space.loop.call_soon(self._open, self._line)

    def _open(self, line: Line) -> None:
        if self._line is line:
            line.open()

    def _renew(self) -> None:
        self.bury()
        if self.is_stopped:
            return
        token = self.space.issue_token(self.person.address, self.device_id)[0]
        self.do(self.client.renew_token(token, self.now_us))

    def _fetch(self, fetch: Fetch) -> None:
        if self.is_stopped:
            return
        path, query = parse_target(fetch.path)
        asked = Request(fetch.method, path, query, self.client.token, fetch.body, self._ip)
        answer = self.space.driver.request(asked)
        body = b"" if answer.body is None else msgspec.json.encode(answer.body)
        self.do(self.client.receive_response(fetch.fetch, answer.status, body, self.now_us))

    def _deliver(self, message: Deliver) -> None:
        self.count("received")
        if self._bots.is_bot(message.sender):
            self.mark_read(message)
        else:
            self._behaviour.on_message(message)

    # --- the line ------------------------------------------------------------------------------------

    def line_opened(self) -> None:
        """See LineOwner."""
        self.do(self.client.connected(self.now_us))

    def line_refused(self, status: int | None) -> None:
        """See LineOwner."""
        self._line = None
        self.do(self.client.connect_failed(self.now_us, status))

    def line_data(self, data: str | bytes) -> None:
        """See LineOwner."""
        self.do(self.client.receive_data(data, self.now_us))

    def line_closed(self, code: int) -> None:
        """See LineOwner."""
        self._line = None
        self.do(self.client.closed(code, self.now_us))
        self.bury()

    # --- time ----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = None if self.is_stopped else self.client.next_timeout()
        if self._timer is not None:
            if due == self._timer_at_us:
                return
            self.space.timers.cancel(self._timer)
            self._timer = None
        if due is not None:
            self._timer_at_us = due
            self._timer = self.space.timers.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self.is_stopped:
            self.do(self.client.handle_timeout(self.now_us))


class Bots:
    """The bots of one space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._bots: dict[str, Bot] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._bots)

    def __iter__(self) -> Iterator[Bot]:
        """Oldest first."""
        self._bury()
        return iter(list(self._bots.values()))

    def find(self, bot_id: str) -> Bot | None:
        """A bot by its id."""
        self._bury()
        return self._bots.get(bot_id)

    def is_bot(self, address: str) -> bool:
        """Whether a user of this address is a bot."""
        return any(bot.person.address == address for bot in self._bots.values())

    def forget(self, bot: Bot) -> None:
        """A bot is no more."""
        self._bots.pop(bot.id, None)

    def add(self, kind: str, *, user: str | None = None, url: str | None = None) -> Bot:
        """Make a bot and let it connect. Raises BotError, or ProtocolError where the core refuses."""
        self._bury()
        if kind == "webhook" and url is None:
            raise BotError("a webhook needs the url that it posts to", "url")
        if kind != "webhook" and url is not None:
            raise BotError(f"only a webhook has a url, not {kind}", "url")
        if len(self._bots) >= MAX_BOTS:
            raise BotError(f"a space has at most {MAX_BOTS} bots; delete one", "kind")
        person = self._person(kind, user)
        device_id = self._device_of(person)
        self._made += 1
        bot = Bot(self, self._made, kind, person, device_id, url)
        self._bots[bot.id] = bot
        bot.start()
        return bot

    def _bury(self) -> None:
        for bot in list(self._bots.values()):
            bot.bury()

    def _person(self, kind: str, user: str | None) -> Person:
        people = self.space.people
        if user is None:
            number = 1
            while people.has_name(f"{kind}-{number}"):
                number += 1
            return self.space.add_person(f"{kind}-{number}")
        person = people.find(user)
        if person is None:
            if user.lower().startswith("0x"):
                raise BotError(f"no user {user[:100]} that the relay's tools made", "user", is_missing=True)
            return self.space.add_person(user)
        if person.identity_secret is None:
            raise BotError(f"the relay does not hold {person.name}'s identity secret: it cannot speak as it", "user")
        return person

    def _device_of(self, person: Person) -> str:
        """The user's first device on which nobody is, or a new one."""
        taken = {bot.device_id for bot in self._bots.values() if bot.person is person}
        taken |= {conn.device_id for conn in self.space.driver.relay.connections.values()}
        free = [device_id for device_id in person.tokens if device_id not in taken]
        if free:
            return free[0]
        device_id = self.space.draw_uuid()
        person.tokens[device_id] = self.space.issue_token(person.address, device_id)[0]
        return device_id


_BOTS: WeakKeyDictionary[Space, Bots] = WeakKeyDictionary()


def bots_of(space: Space) -> Bots:
    """The bots of a space; a space that never had one keeps nothing."""
    bots = _BOTS.get(space)
    if bots is None:
        bots = _BOTS[space] = Bots(space)
    return bots
