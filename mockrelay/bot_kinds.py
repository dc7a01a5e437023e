"""The kinds of bots, one class each: what a bot does when a message is shown to it.

``echo`` reads and sends the same bytes back. ``reader`` reads, and says nothing. ``typist`` reads, shows typing for
4 s of the space's time, then sends the bytes back. ``flaky`` is an echo whose connection breaks at every second
message, before it answers. ``webhook`` posts the envelope to its URL and sends back what is returned.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from zentalk_sim.live.http import HttpError, request
from zentalk_sim.protocol.client_effects import Deliver
from zentalk_sim.protocol.frames import MessageType

if TYPE_CHECKING:
    from mockrelay.bots import Bot

TYPING_US: Final = 4_000_000
_TYPING_AGAIN_US: Final = 3_000_000
"""R-7.4: sooner would be ignored, and 5 s later the relay would stop it."""
WEBHOOK_TIMEOUT_S: Final = 10.0
"""Of real time: the other end knows no other."""
MAX_WEBHOOK_BYTES: Final = 1 << 20
MAX_WAITING: Final = 100
"""Messages that wait for a webhook; more are counted and dropped."""
MAX_ANSWERS: Final = 10


class Kind(Protocol):
    """What makes a bot."""

    def __init__(self, bot: Bot) -> None: ...

    def on_message(self, message: Deliver) -> None:
        """A message is shown; never one of another bot."""
        ...

    def stop(self) -> None:
        """The bot is no more."""
        ...


class _Plain:
    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    def stop(self) -> None:
        """Nothing is under way."""


class Reader(_Plain):
    """Reads, and says nothing."""

    def on_message(self, message: Deliver) -> None:
        """See Kind."""
        self.bot.mark_read(message)


class Echo(_Plain):
    """Reads, and sends the same bytes back."""

    def on_message(self, message: Deliver) -> None:
        """See Kind."""
        self.bot.mark_read(message)
        self.bot.answer(message)


class Flaky(_Plain):
    """An echo whose connection breaks at every second message, before it answers."""

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot)
        self._seen = 0

    def on_message(self, message: Deliver) -> None:
        """See Kind."""
        self._seen += 1
        if self._seen % 2 == 0:
            self.bot.lose_connection()
        self.bot.mark_read(message)
        self.bot.answer(message)


class Typist:
    """Reads, shows typing for a while, then sends the bytes back; one message after the other."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._waiting: list[Deliver] = []
        self._timers: list[int] = []

    def on_message(self, message: Deliver) -> None:
        """See Kind."""
        self._bot.mark_read(message)
        if len(self._waiting) >= MAX_WAITING:
            self._bot.count("dropped")
            return
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self._begin()

    def stop(self) -> None:
        """See Kind."""
        self._cancel()
        self._waiting.clear()

    def _begin(self) -> None:
        bot = self._bot
        self._type()
        now, timers = bot.now_us, bot.space.timers
        self._timers = [
            timers.call_at(now + _TYPING_AGAIN_US, self._type),
            timers.call_at(now + TYPING_US, self._finish),
        ]

    def _type(self) -> None:
        if self._waiting:
            self._bot.do(self._bot.client.start_typing(self._waiting[0].conversation_id, self._bot.now_us))

    def _finish(self) -> None:
        self._cancel()
        message = self._waiting.pop(0)
        self._bot.do(self._bot.client.stop_typing(message.conversation_id, self._bot.now_us))
        self._bot.answer(message)
        if self._waiting:
            self._begin()

    def _cancel(self) -> None:
        for number in self._timers:
            self._bot.space.timers.cancel(number)
        self._timers = []


class _Message(Struct):
    """What a webhook may return; an envelope with a ``payload`` of this form stands for it."""

    ciphertext: bytes
    message_type: MessageType = "text"


class Webhook:
    """Posts each envelope to the URL, one at a time, and sends back what is returned.

    A 2xx answer holds nothing (or 204), ``{"ciphertext", "message_type"?}`` with the ciphertext in base64, an
    envelope with such a ``payload``, or a list of up to 10 of these. No redirect is followed and nothing but the
    given URL is asked. What fails is counted and in the journal.
    """

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._waiting: list[Deliver] = []
        self._task: asyncio.Task[None] | None = None

    def on_message(self, message: Deliver) -> None:
        """See Kind."""
        self._bot.mark_read(message)
        if len(self._waiting) >= MAX_WAITING:
            self._failed("too many messages wait for it")
            return
        self._waiting.append(message)
        if self._task is None:
            self._task = self._bot.space.loop.create_task(self._work())

    def stop(self) -> None:
        """See Kind."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._post(self._waiting.pop(0))
        finally:
            self._task = None

    async def _post(self, message: Deliver) -> None:
        assert self._bot.url is not None
        envelope = {
            "type": "MESSAGE_NEW",
            "id": message.message_id,
            "timestamp": message.payload.timestamp,
            "payload": message.payload,
        }
        body = msgspec.json.encode(envelope)
        self._bot.count("posted")
        try:
            status, answer = await request(
                self._bot.url, "POST", body=body, timeout_s=WEBHOOK_TIMEOUT_S, max_body_bytes=MAX_WEBHOOK_BYTES
            )
            if not 200 <= status < 300:
                self._failed(f"answered {status}")
                return
            answers = _answers(answer)
        except HttpError as error:
            self._failed(str(error))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._failed(f"its answer is no message: {error}")
        else:
            for one in answers:
                self._bot.send(message.sender, one.ciphertext, one.message_type, message.conversation_id)

    def _failed(self, reason: str) -> None:
        self._bot.count("webhook_failed")
        self._bot.space.journal.control("webhook_failed", bot=self._bot.id, reason=reason[:200])


def _answers(body: bytes) -> list[_Message]:
    """The messages to send. Raises ValueError or MsgspecError where it is none."""
    if not body.strip():
        return []
    data: Any = msgspec.json.decode(body)
    entries = data if isinstance(data, list) else [data]
    if len(entries) > MAX_ANSWERS:
        raise ValueError(f"at most {MAX_ANSWERS} messages at once")
    return [msgspec.convert(_payload(entry), _Message) for entry in entries if entry is not None]


def _payload(entry: Any) -> Any:
    return entry["payload"] if isinstance(entry, dict) and "payload" in entry else entry


KINDS: Final[dict[str, type[Kind]]] = {
    "echo": Echo,
    "reader": Reader,
    "typist": Typist,
    "flaky": Flaky,
    "webhook": Webhook,
}
