"""What a case sees: its space, the app's drive, the log of what happened, and what it found.

The law of this file: a case waits for something to happen, for at most its patience, and patience is counted in the
time that the loop had to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from mockrelay.certify.drive import Drive, Json
from mockrelay.certify.verdicts import Finding, Part, Verdict
from zentalk_sim.protocol.control import AddDevice, CloseConn
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.events import Upgrade

if TYPE_CHECKING:
    from mockrelay.certify.case import Case
    from mockrelay.journal import Entry
    from mockrelay.people import Person
    from mockrelay.space import Space

T = TypeVar("T")
ENDS: Final = ("closed", "lost")
_LOOK_S: Final = 0.1
"""How often to look whether patience is over."""
_BUSY_S: Final = 0.02
"""A loop that wakes so much too late has more to do than to look."""
_MAX_SETTLES: Final = {True: 100, False: 3}
"""How often to look where time stands still meanwhile, and where it does not."""


class Over(Exception):
    """The case cannot go on; its findings say why."""


@dataclass(frozen=True)
class Settings:
    """How patient a run is."""

    patience_s: float = 3.0
    """How long to wait for what an app does at once, in real time."""
    settle_s: float = 0.06
    """After so long without anything new nothing more comes."""
    limit_s: float = 60.0
    """What a case may take beside the app's own time, in real time."""
    slack_ms: int = 1_000
    """How much later than it should an app's own timer may be, where its clock is real."""
    rewrite: Callable[[str], str] = str
    """Makes of a URL of the relay's one that the app can reach."""
    ca_file: str | None = None


@dataclass(frozen=True)
class Someone:
    """Who the app is, in all cases of a run: a person at the app need not log in as somebody else each time."""

    identity_secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    device_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Scene:
    """One case under way."""

    def __init__(
        self, case: Case, space: Space, drive: Drive, settings: Settings, who: Someone, *, virtual: bool
    ) -> None:
        """``virtual``: the app's clock is moved with the relay's, which then stands still otherwise."""
        self.case = case
        self.space = space
        self.drive = drive
        self.settings = settings
        self.virtual = virtual
        self.reports: tuple[str, ...] = ()
        """The events that the app says it reports."""
        key = Ed25519().public_key(who.identity_secret)
        self.who = who
        self.app: Person = space.add_person("alice", key, [AddDevice("", who.device_id, "alice")])
        self.bob: Person = space.add_person("bob")
        self.log: list[Json] = []
        """The journal's entries of the app, as ``GET /admin/journal`` shows them."""
        self.findings: list[Finding] = []
        self.close_opened_with: int | None = None
        """The code with which every connection is closed as it opens, before AUTH_SUCCESS."""
        self._news = asyncio.Event()
        self._seen = 1
        """Attempts that are accounted for: the first, and those that were asked to come again."""
        self.clock_offset_ms = 0
        """How far the app's clock is to stand from the relay's, where it can be moved."""
        self.device_id, self.token = next(iter(self.app.tokens.items()))
        space.journal.listeners.append(self._take)
        drive.woken = self._news.set

    def _take(self, entry: Entry) -> None:
        if entry.event == "control":
            return
        if entry.event == "connected" and self.close_opened_with is not None:
            # By command, not by a rule: a recording in which a rule struck shows less of what a client did.
            asyncio.get_running_loop().call_soon(self._close, entry.party.connection)
        found = entry.as_json()
        # An upgrade or a request that names nobody can only be the app's.
        if found.get("user") in (self.app.address, None):
            self.log.append(found)
            self._news.set()

    def _close(self, conn: int | None) -> None:
        if conn is not None and conn in self.space.driver.relay.connections:
            self.space.driver.control(CloseConn(conn, self.close_opened_with, ""))

    # --- findings ------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The relay's time."""
        return self.space.clock.now_us() // 1000

    def find(self, verdict: Verdict, text: str, part: Part = "message") -> None:
        """Note something."""
        self.findings.append(Finding(part, verdict, text, self.now_ms))

    def judge(self, held: Any, text: str, part: Part = "message", otherwise: Verdict = "fail") -> bool:
        """Pass where it held; else ``otherwise``, with what is wrong."""
        if held:
            self.findings.append(Finding(part, "pass", ""))
        else:
            self.find(otherwise, text, part)
        return bool(held)

    def require(self, held: T | None, text: str, part: Part = "message") -> T:
        """As ``judge``, for what the rest of the case stands on. Raises Over."""
        if not held:
            self.find("fail", text, part)
            raise Over
        self.findings.append(Finding(part, "pass", ""))
        return held

    # --- what happened -------------------------------------------------------------------------------

    def frames(
        self, kind: str | None = None, direction: Literal["in", "out"] = "in", after: int = 0, **payload: Any
    ) -> list[Json]:
        """The app's frames (``in``) or those to it, above the entry ``after``, with these members in their payload."""
        found = []
        for entry in self.log:
            if entry["event"] != f"frame_{direction}" or entry["n"] <= after:
                continue
            if kind is not None and entry.get("type") != kind:
                continue
            body = (entry.get("frame") or {}).get("payload")
            if not payload or (isinstance(body, dict) and all(body.get(k) == v for k, v in payload.items())):
                found.append(entry)
        return found

    def attempts(self) -> list[Json]:
        """The app's upgrade requests, answered or met by a rule."""
        return [entry for entry in self.log if entry["event"] == "upgrade"]

    def upgrade_queries(self) -> list[dict[str, str]]:
        """The queries of the app's upgrade requests that reached the core, in order."""
        recorder = self.space.driver.recorder
        assert recorder is not None
        found = (event for event in read_events(recorder.path) if isinstance(event, Upgrade))
        return [event.query for event in found if event.query.get("device_id", "").lower() == self.device_id]

    def ends(self) -> list[Json]:
        """How the app's connections ended, in order."""
        return [entry for entry in self.log if entry["event"] in ENDS]

    def requests(self, method: str, path: str) -> list[Json]:
        """The app's REST calls."""
        return [
            e
            for e in self.log
            if e["event"] == "rest" and e["method"] == method and e["path"].partition("?")[0] == path
        ]

    @property
    def last_n(self) -> int:
        """The number of the newest entry: what comes ``after`` is new."""
        return self.space.journal.last_n

    async def wait(self, ready: Callable[[], T], patience_s: float | None = None) -> T | None:
        """What ``ready`` says once it says something true; None when patience is over, or nothing more can come."""
        if found := ready():
            return found
        if self.virtual and await self.drive.still():
            return ready() or None
        loop = asyncio.get_running_loop()
        left_s = self.settings.patience_s if patience_s is None else patience_s
        while True:
            self._news.clear()
            if found := ready():
                return found
            if left_s <= 0:
                return None
            began_s = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, _LOOK_S)):
                    await self._news.wait()
            # A machine that is busy elsewhere takes from its own time, not from the app's.
            left_s -= min(loop.time() - began_s, _LOOK_S)

    @property
    def at_once_s(self) -> float:
        """How long to wait for an attempt where the app's own clock, if it is real, would bring one in the end."""
        return self.settings.patience_s if self.virtual else 1.0 + self.settings.settle_s

    async def settle(self) -> None:
        """Return once nothing more can come, or nothing new has for a while, as seen by a loop that could look."""
        if self.virtual and await self.drive.still():
            return
        loop = asyncio.get_running_loop()
        await self._begun()
        for _ in range(_MAX_SETTLES[self.virtual]):
            before, began_s = (len(self.log), len(self.drive.events)), loop.time()
            await asyncio.sleep(self.settings.settle_s)
            was_busy = loop.time() - began_s > self.settings.settle_s + _BUSY_S
            if before == (len(self.log), len(self.drive.events)) and not was_busy:
                return

    async def _begun(self) -> None:
        """Let an attempt that the app has begun reach the relay, before any time passes."""
        if "state" in self.reports:
            await self.wait(lambda: self._states("connecting") <= len(self.attempts()), self.settings.patience_s / 3)

    def _states(self, *names: str) -> int:
        return sum(e.get("event") == "state" and e.get("state") in names for e in self.drive.events)
