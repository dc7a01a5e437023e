"""A mock relay for tests, whatever runs them: a server in a thread, and spaces of it as plain synchronous objects.

The server has a thread and an event loop of its own, and a test's thread never has one of ours: tests may be
synchronous or run in any event loop. Everything goes through the control API, so that a test can do no more and no
less than a suite in another language. ``mockrelay.pytest_plugin`` wraps this as the fixture ``mock_relay``.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal
from urllib.parse import urlencode

from mockrelay.control_client import ControlClient, ControlError
from mockrelay.testing_journal import Journal, VerificationFailed
from mockrelay.testing_text import journal_text

__all__ = ["Bot", "ControlError", "RelayServer", "RelaySpace", "RelayUser", "VerificationFailed"]

Json = dict[str, Any]
_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class RelayUser:
    """A user of a space, with what a client needs to connect as one."""

    name: str
    address: str
    device_id: str
    """The first device's."""
    token: str = field(repr=False)
    """A connection token for it (R-3.3)."""
    identity_key: bytes = field(repr=False)
    identity_secret: bytes = field(repr=False)
    """The 32-byte Ed25519 seed."""
    url: str = field(repr=False)
    """A ready-made WebSocket URL that connects as this user."""
    devices: tuple[tuple[str, str], ...] = field(repr=False)
    """Every device's id and token."""


class RelayServer:
    """One relay in a thread, on free ports of 127.0.0.1; its spaces are the tests' relays."""

    def __init__(self) -> None:
        self.ws_url = self.http_url = self.admin_token = ""
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="mockrelay", daemon=True)

    def start(self) -> None:
        """Serve. Raises what kept the relay from starting."""
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise RuntimeError(f"the mock relay did not start within {_START_TIMEOUT_S:g} s")
        if self._failure is not None:
            raise RuntimeError(f"the mock relay did not start: {self._failure}") from self._failure

    def stop(self) -> None:
        """An orderly stop: 1001 to every connection."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._failure is not None:
            raise RuntimeError(f"the mock relay failed: {self._failure}") from self._failure

    def space(
        self,
        *,
        clock: Literal["real", "frozen"] = "real",
        config: Json | None = None,
        seed: int | None = None,
        users: Sequence[str] = (),
    ) -> RelaySpace:
        """A relay of its own: keys, users, clock, rules and journal. ``config`` as for ``PATCH /admin/config``.

        Raises ControlError, which names an unknown setting with the nearest right one.
        """
        control = ControlClient(self.http_url, self.admin_token)
        asked: Json = {"clock": clock, "config": config or {}, "users": list(users)}
        if seed is not None:
            asked["seed"] = seed
        return RelaySpace(control, self.admin_token, control.call("POST", "/admin/spaces", asked))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        import msgspec

        from mockrelay.server import MockRelay, Options
        from zentalk_sim.protocol.config import RelayConfig

        config = msgspec.convert({"upgrade": {"profile": "dev"}}, RelayConfig)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with MockRelay(Options(config=config, port=0, http_port=0)) as relay:
            self.ws_url, self.http_url, self.admin_token = relay.ws_url, relay.http_url, relay.admin_token
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> RelayServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RelaySpace:
    """One isolated relay, as a test sees it. Every method may be called from any thread."""

    def __init__(self, parent: ControlClient, admin_token: str, made: Json) -> None:
        self.id: str = made["id"]
        self.ws_url: str = made["ws_url"]
        self.http_url: str = made["http_url"]
        self.admin_token = admin_token
        self._parent = parent
        self._control = ControlClient(self.http_url, admin_token)
        self._users: dict[str, RelayUser] = {}
        self.clock = Clock(self._control)
        self.rules = Rules(self._control)
        self.journal = Journal(self._control)
        self.bots = Bots(self._control)
        for user in made.get("users", ()):
            self._take(user)

    def user(self, name: str, *, devices: list[Json] | None = None) -> RelayUser:
        """The user of this name, registered at its first mention.

        ``devices`` (of a new user alone) as in ``POST /admin/users``; without it there is one ``web`` device.
        """
        if name in self._users:
            return self._users[name]
        asked: Json = {"name": name}
        if devices is not None:
            asked["devices"] = devices
        return self._take(self._control.call("POST", "/admin/users", asked))

    def _take(self, made: Json) -> RelayUser:
        devices = tuple((device["device_id"], device["token"]) for device in made.get("devices", ()))
        device_id, token = devices[0] if devices else ("", "")
        query = urlencode({"token": token, "device_id": device_id, "protocol_version": "1"})
        user = RelayUser(
            made["name"],
            made["address"],
            device_id,
            token,
            base64.b64decode(made["identity_key"]),
            base64.b64decode(made.get("identity_secret", "")),
            f"{self.ws_url}?{query}",
            devices,
        )
        self._users[user.name] = user
        return user

    def connections(self) -> list[Json]:
        """Who is connected: ``{id, user, device, state, rtt_ms, queued}``, oldest first."""
        found: list[Json] = self._control.call("GET", "/admin/connections")
        return found

    def verify(self, match: Json | None = None, count: int = 1, **fields: Any) -> None:
        """See ``Journal.verify``."""
        self.journal.verify(match, count, **fields)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Anything else of the control API, such as ``control("POST", "/admin/restart")``. Raises ControlError."""
        return self._control.call(method, path, body)

    def journal_text(self, last: int = 30) -> str:
        """The newest entries, a line each, for people."""
        users = self._control.call("GET", "/admin/users")
        names = {user["address"]: user["name"] for user in users if user["name"] is not None}
        return journal_text(self.journal.entries(), names, last)

    def close(self) -> None:
        """End it: 1001 to its connections."""
        self._parent.call("DELETE", f"/admin/spaces/{self.id}", accept=(404,))


class Clock:
    """A space's clock (R-13.2). It moves forward only."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control

    def now_ms(self) -> int:
        """The relay's Unix time in ms."""
        found: int = self._control.call("GET", "/admin/clock")["now_ms"]
        return found

    def advance(
        self,
        ms: int = 0,
        *,
        seconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        heartbeat: Literal["skip", "wait"] = "skip",
    ) -> int:
        """Let time pass at once; returns the new time in ms when every timer that fell due has run.

        ``heartbeat="wait"`` stops at each PING for its PONG; an asyncio test then calls this by
        ``asyncio.to_thread``, since its own client has to answer meanwhile.
        """
        total_s = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        return self._move({"action": "advance", "ms": ms + round(1000 * total_s), "heartbeat": heartbeat})

    def freeze(self) -> int:
        """Let time stand still."""
        return self._move({"action": "freeze"})

    def resume(self) -> int:
        """Let time run."""
        return self._move({"action": "resume"})

    def scale(self, factor: float) -> int:
        """Let time run ``factor`` times as fast as real time."""
        return self._move({"action": "scale", "factor": factor})

    def _move(self, body: Json) -> int:
        found: int = self._control.call("POST", "/admin/clock", body)["now_ms"]
        return found


class Rules:
    """A space's fault rules; the first that matches wins."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control

    def add(
        self, match: Json, action: Json | str | None = None, *, times: int | None = None, comment: str | None = None
    ) -> Json:
        """Append a rule; ``action`` may be its bare name (``"drop"``). Returns it with its ``id``.

        Without an ``action``, ``match`` is a whole rule as ``POST /admin/rules`` takes it. Raises ControlError.
        """
        if action is None:
            rule = dict(match)
        else:
            rule = {"match": match, "action": {"do": action} if isinstance(action, str) else action}
        if times is not None:
            rule["times"] = times
        if comment is not None:
            rule["comment"] = comment
        found: Json = self._control.call("POST", "/admin/rules", rule)
        return found

    def list(self) -> list[Json]:
        """The rules in order, with how often each has fired."""
        found: list[Json] = self._control.call("GET", "/admin/rules")
        return found

    def remove(self, rule_id: str) -> None:
        """Take one rule away."""
        self._control.call("DELETE", f"/admin/rules/{rule_id}")

    def clear(self) -> None:
        """Take all rules away."""
        self._control.call("DELETE", "/admin/rules")


@dataclass(frozen=True)
class Bot:
    """Somebody to talk to; it never decrypts."""

    id: str
    kind: str
    user: str
    address: str


class Bots:
    """A space's bots."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control

    def add(
        self,
        kind: Literal["echo", "reader", "typist", "flaky", "webhook"],
        *,
        user: str | None = None,
        url: str | None = None,
    ) -> Bot:
        """A bot, as the user of this name (a new one where there is none); ``url`` is the webhook's."""
        asked = {"kind": kind, "user": user, "url": url}
        made = self._control.call("POST", "/admin/bots", {key: value for key, value in asked.items() if value})
        return Bot(made["id"], made["kind"], made["user"], made["address"])

    def list(self) -> list[Json]:
        """The bots, oldest first."""
        found: list[Json] = self._control.call("GET", "/admin/bots")
        return found

    def remove(self, bot: Bot | str) -> None:
        """End a bot."""
        self._control.call("DELETE", f"/admin/bots/{bot if isinstance(bot, str) else bot.id}")
