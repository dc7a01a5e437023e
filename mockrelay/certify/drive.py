"""How an app under test is told to act: actions asked one after another, answered, and events it reports by itself.

The law of this file: whatever a drive program does (dies, hangs, prints garbage), ``act`` ends within its time, with an
answer or with one of the exceptions here, whose text says what happened and what was expected.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

Json = dict[str, Any]
ACTIONS: Final = (
    "hello",
    "connect",
    "close",
    "send",
    "mark_read",
    "typing",
    "presence",
    "subscribe",
    "foreground",
    "background",
    "network_changed",
    "renew_token",
    "advance",
    "reset",
)
EVENTS: Final = ("shown", "failed", "rejected", "gave_up", "acked", "state", "log")
"""What an app may report of itself; others are kept and not looked at."""


class DriveError(Exception):
    """The drive program failed; the text is for the report."""


class Quit(BaseException):
    """The person at the terminal has had enough."""


class Unsupported(Exception):
    """The app cannot be told to do this."""

    def __init__(self, action: str, why: str = "") -> None:
        super().__init__(f"the app cannot be told to {action}" + (f": {why}" if why else ""))
        self.action = action


class Drive(ABC):
    """One app under test, for one case or for many."""

    by_hand = False
    """Whether a person acts, who needs longer than a program."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        """What the app reported, in order."""
        self.woken: Callable[[], None] = lambda: None
        """Called whenever there is something new."""
        self.unsupported: set[str] = set()
        """Actions that the app said it cannot do."""

    @abstractmethod
    async def start(self, case_id: str) -> None:
        """Make ready for a case. Raises DriveError."""

    @abstractmethod
    async def ask(self, request: Json) -> Json:
        """Have one request answered. Raises DriveError."""

    @abstractmethod
    async def stop(self) -> None:
        """The case is over, however it ended."""

    async def still(self) -> bool:
        """Return True once nothing is under way between app and relay; False, at once, where that cannot be known."""
        return False

    async def act(self, action: str, **params: Any) -> Json:
        """Have the app do something; what it says of it. Raises Unsupported, DriveError."""
        if action in self.unsupported:
            raise Unsupported(action)
        answer = await self.ask({"action": action, **params})
        if "done" in answer:
            done = answer["done"]
            return done if isinstance(done, dict) else {}
        if "unsupported" in answer:
            self.unsupported.add(action)
            why = answer["unsupported"]
            raise Unsupported(action, why[:300] if isinstance(why, str) else "")
        if "error" in answer:
            raise DriveError(f"the app says that {action} failed: {str(answer['error'])[:300]}")
        raise DriveError(f"the answer to {action} has neither done, unsupported nor error: {str(answer)[:200]}")

    def report(self, event: Json) -> None:
        """Take in an event of the app's."""
        self.events.append(event)
        self.woken()


class LocalDrive(Drive):
    """An app in this process: ``handle`` answers requests, and calls ``report`` for its events."""

    def __init__(self, make: Callable[[Callable[[Json], None]], Any], timeout_s: float = 10.0) -> None:
        """``make(report)`` gives an object with ``async handle(request)`` and ``async stop()``."""
        super().__init__()
        self._make = make
        self._timeout_s = timeout_s
        self._app: Any = None

    async def start(self, case_id: str) -> None:
        """See Drive."""
        self._app = self._make(self.report)

    async def ask(self, request: Json) -> Json:
        """See Drive."""
        answer: Awaitable[Json] = self._app.handle(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            raise DriveError(f"no answer to {request['action']} within {self._timeout_s:g} s") from None

    async def stop(self) -> None:
        """See Drive."""
        if self._app is not None:
            await self._app.stop()
