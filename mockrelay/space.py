"""A space: an isolated relay with its key, seed, clock, users, rules, journal, media, recordings and counters.

Nothing is shared between two spaces but the process: not the signing key, not a store, not a limit.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from mockrelay import logs
from mockrelay.bounds import Bounds
from mockrelay.clock import ClockTimers, MovableClock
from mockrelay.driver import Driver
from mockrelay.fault_engine import FaultEngine
from mockrelay.journal import Journal
from mockrelay.media import MediaStore
from mockrelay.people import People, Person
from mockrelay.recordings import Recordings
from mockrelay.store import SqliteStore, open_store
from zentalk_sim.faults import Ruleset
from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.control import AddDevice, AddUser, AdvanceClock, IssueToken, Stop
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.effects import ClearPush, Note, Push
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER
from zentalk_sim.protocol.tokens import CAPABILITIES
from zentalk_sim.protocol.upgrade import PATH
from zentalk_sim.trace.recording import Output

MAX_PUSHES: Final = 10_000
PONG_PATIENCE_S: Final = 1.0
"""How long ``advance`` with ``wait`` stops at a PING, in real time (R-13.2)."""
_BUSY_S: Final = 0.01
PREFIX: Final = "/spaces/"

Heartbeat = Literal["skip", "wait"]


class Space:
    """One isolated relay."""

    def __init__(
        self,
        config: RelayConfig,
        *,
        space_id: str = "",
        seed: int | None = None,
        clock: MovableClock | None = None,
        store: str = "memory",
        ttl_s: float | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """``seed`` None draws 32 bytes from the system; ``store`` as ``--store`` has it."""
        self.id = space_id
        self.seed = seed
        self.clock = clock or MovableClock()
        self.loop = asyncio.get_running_loop()
        self.initial_config = config
        self.bounds = bounds = bounds or Bounds()
        self.people = People()
        self.pushes: deque[dict[str, Any]] = deque(maxlen=MAX_PUSHES)
        self.ttl_s = ttl_s
        self.http_url = self.ws_url = ""
        """Where it is reached; known once the relay listens."""
        self._store_spec = store
        opened = self._opened_store(config)
        self._key: int | bytes = _kept_key(opened) if seed is None else seed
        self.driver = Driver(self._new_relay(config, opened), self.clock, self.loop)
        self.timers = ClockTimers(self.clock, self.loop)
        names = self.people.names
        self.journal = Journal(
            self.driver.instant_us,
            names=names,
            max_entries=bounds.journal_entries,
            max_bytes=bounds.journal_bytes,
            max_wait_ms=bounds.wait_timeout_ms,
            count=self.driver.count,
        )
        self.faults = FaultEngine(self.driver, self.journal, Streams(self._key), self.timers, names)
        self.driver.listen(self.journal.observe, self.journal.wants)
        self.driver.listen(self._observe, _concerns_heartbeats)
        logs.follow(self)
        self.media = MediaStore(self.draw_uuid, bounds.media_bytes, self.driver.count)
        self.recordings = Recordings(self)
        self._used_s = self.loop.time()
        self._advancing = asyncio.Lock()
        self._answered: asyncio.Event | None = None
        self._pinged = False
        self._is_ending = False
        self._initial_rules: list[Any] = []
        self._drawn = 0
        self._initial_people: list[tuple[str, bytes | None, list[AddDevice] | None]] = []

    def _opened_store(self, config: RelayConfig) -> MemoryStore:
        if self._store_spec == "memory":
            return MemoryStore(dedup=config.dedup)
        store = open_store(self._store_spec, config.dedup)
        store.drop_future(self.clock.now_us())
        return store

    def _new_relay(self, config: RelayConfig, store: MemoryStore) -> Relay:
        return Relay(config, streams=Streams(self._key, store.counters.boot), store=store)

    @property
    def store(self) -> MemoryStore:
        """What the core keeps; another object after a restart."""
        return self.driver.relay.store

    # --- what it is ----------------------------------------------------------------------------------

    @property
    def seed_text(self) -> int | str:
        """What a recording's header says: the number given, or the bytes drawn in base64."""
        if isinstance(self._key, int):
            return self._key
        return msgspec.json.encode(self._key).decode().strip('"')

    @property
    def config(self) -> RelayConfig:
        """The settings in force."""
        return self.driver.relay.config

    @property
    def path(self) -> str:
        """What stands before every path of this space."""
        return f"{PREFIX}{self.id}" if self.id else ""

    def locate(self, ws_base: str, http_base: str) -> None:
        """Tell where the relay is reached (``ws://host:port``, ``http://host:port``)."""
        self.ws_url = f"{ws_base}{self.path}{PATH}"
        self.http_url = f"{http_base}{self.path}"

    def record(self, path: str) -> None:
        """Begin to record to a file. Raises OSError where it cannot be written."""
        self.driver.record(path, self.seed_text, self.ws_url, self.http_url)

    def touch(self) -> None:
        """Somebody has used it."""
        self._used_s = self.loop.time()

    def idle_s(self) -> float:
        """For how much real time nobody has used it; 0 while anybody is connected."""
        return 0.0 if self.driver.relay.connections else self.loop.time() - self._used_s

    # --- users ---------------------------------------------------------------------------------------

    def draw_secret(self) -> bytes:
        """A 32-byte Ed25519 seed that was not drawn before."""
        self._drawn += 1
        return Streams(self._key, self.store.counters.boot).fresh(f"secret/{self._drawn}").bytes(32)

    def draw_uuid(self) -> str:
        """A UUID that was not drawn before."""
        self._drawn += 1
        return Streams(self._key, self.store.counters.boot).fresh(f"uuid/{self._drawn}").uuid4()

    def add_person(
        self,
        name: str | None = None,
        identity_key: bytes | None = None,
        devices: list[AddDevice] | None = None,
        *,
        is_initial: bool = False,
    ) -> Person:
        """Register a user with devices and a token for each; None gives one ``web`` device, an empty list none.

        An initial one is there again after ``reset``. Devices come with an empty ``address``, and an empty
        ``device_id`` where one is to be made. Raises
        ProtocolError where the core refuses.
        """
        name = name if name is not None else self.people.free_name()
        stream = Streams(self._key).fresh(f"user/{name}")
        secret = stream.bytes(32)
        key = identity_key if identity_key is not None else Ed25519().public_key(secret)
        address: str = self.driver.control(AddUser(key))
        person = Person(name, address, key, secret if identity_key is None else None, {})
        for device in [AddDevice("", "", name)] if devices is None else devices:
            device_id = device.device_id or stream.uuid4()
            added: str = self.driver.control(
                msgspec.structs.replace(device, address=address, device_id=device_id, name=device.name or name)
            )
            person.tokens[added] = self.issue_token(address, added)[0]
        self.people.add(person)
        if is_initial:
            self._initial_people.append((name, identity_key, devices))
        return person

    def issue_token(
        self,
        address: str,
        device_id: str,
        lifetime_s: int | None = None,
        capabilities: tuple[str, ...] = CAPABILITIES,
    ) -> tuple[str, int]:
        """A connection token and when it expires, in ms. Raises ProtocolError for an unknown user."""
        token, expires_at = self.driver.control(IssueToken(address, device_id, lifetime_s, capabilities))
        return token, expires_at

    # --- time ----------------------------------------------------------------------------------------

    def next_due_us(self) -> int | None:
        """The next instant at which anything of this space is due."""
        # A core whose store is away runs no timers until it is there again.
        core = None if self.driver.away is not None else self.driver.relay.next_timeout()
        dues = [due for due in (core, self.timers.next_us()) if due is not None]
        return min(dues, default=None)

    def clock_changed(self) -> None:
        """The clock was moved, frozen, resumed or scaled.

        What a rule has kept back comes in before the core's timers of the same instant run (R-13.1).
        """
        self.driver.clock_moved()
        self.timers.clock_changed()
        self.driver.clock_changed()

    async def advance(self, us: int, heartbeat: Heartbeat = "skip") -> None:
        """Move the clock forward; every timer due runs at its own instant and in order (R-13.2).

        Returns when all have run. The loop is let go on every few milliseconds, so that other spaces are served.
        Raises ValueError for a negative amount.
        """
        if us < 0:
            raise ValueError("time moves forward only")
        async with self._advancing:
            end_us = self.clock.now_us() + us
            try:
                self.driver.control(AdvanceClock(end_us, heartbeat))
            except ProtocolError:
                if self.driver.away is not None or self.clock.now_us() <= end_us:
                    raise
                # A clock that runs has gone past so near an end by itself; its timers ran in their order.
                self.clock_changed()
                return
            resumed_s = self.loop.time()
            while not self._is_ending and (due := self.next_due_us()) is not None and due <= end_us:
                self._pinged = False
                self.clock.advance_to(due)
                self.clock_changed()
                if heartbeat == "wait" and self._pinged:
                    await self._pongs()
                elif self.loop.time() - resumed_s > _BUSY_S:
                    await asyncio.sleep(0)
                    resumed_s = self.loop.time()
            self.clock.advance_to(end_us)
            self.clock_changed()

    async def _pongs(self) -> None:
        """Wait until every PING that is outstanding is answered or its connection gone, or time is up."""
        end_s = self.loop.time() + PONG_PATIENCE_S
        try:
            while any(conn.pong_due_us != NEVER for conn in self.driver.relay.connections.values()):
                self._answered = asyncio.Event()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), end_s - self.loop.time())
                if self.loop.time() >= end_s:
                    return
        finally:
            self._answered = None

    def _observe(self, now: int, output: Output) -> None:
        if isinstance(output, Push):
            self.pushes.append(
                {
                    "t_ms": now // 1000,
                    "event": "push",
                    "user": output.user,
                    "device": output.device_id,
                    "push_token": output.push_token,
                    "pending": output.pending,
                }
            )
        elif isinstance(output, ClearPush):
            self.pushes.append({"t_ms": now // 1000, "event": "clear", "user": output.user, "device": output.device_id})
        elif isinstance(output, Note):
            if output.name == "heartbeats.sent":
                self._pinged = True
            elif self._answered is not None and output.name.startswith(("rtt", "connections.lost")):
                self._answered.set()

    # --- life ----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """1001 to all, then a fresh core on what the store holds (R-12.1); clock, rules and journal go on."""
        self.driver.restart()

    def reset(self) -> None:
        """Begin anew with the settings and the users there were at the start; the clock goes on.

        The signing key stays, so that the tokens of these users stay good. Raises ProtocolError where the store is
        away, StoreError where its file cannot be made anew.
        """
        self.driver.control(Stop())
        old = self.store
        old.close()
        if isinstance(old, SqliteStore):
            for name in (old.path, f"{old.path}-wal", f"{old.path}-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(name)
        new = self._opened_store(self.initial_config)
        new.signing_seed, new.counters.boot = old.signing_seed, old.counters.boot + 1
        if isinstance(new, SqliteStore) and isinstance(self._key, bytes):
            new.keep_seed(self._key)
        self.faults.rules = Ruleset()
        self.faults.add_rules(self._initial_rules)
        self.journal.clear()
        self.people.clear()
        self.pushes.clear()
        self.media.close()
        self.driver.counters.clear()
        self.driver.replace(self._new_relay(self.initial_config, new))
        for name, key, devices in self._initial_people:
            self.add_person(name, key, devices)

    def keep_rules(self, rules: list[Any]) -> None:
        """Fault rules that are there from the start, and again after ``reset``. Raises RuleFaults."""
        self.faults.add_rules(rules)
        self._initial_rules = rules

    def say_goodbye(self) -> None:
        """1001 to every connection, once; nothing is stalled and no stream of events goes on."""
        if not self._is_ending:
            self._is_ending = True
            if self.driver.away is None:
                self.driver.control(Stop())
            self.faults.stop()

    def close(self) -> None:
        """1001 to every connection; then nothing runs any more, and its files are gone."""
        self.say_goodbye()
        self.driver.stop()
        self.media.close()
        self.recordings.close()


def _concerns_heartbeats(name: str) -> bool:
    """Whether ``advance`` may wait for notes of this name."""
    return name == "heartbeats.sent" or name.startswith(("rtt", "connections.lost"))


def _kept_key(store: MemoryStore) -> bytes:
    """The key that a durable store has kept for a relay without a seed, or a new one."""
    if not isinstance(store, SqliteStore):
        return os.urandom(32)
    key = store.seed or os.urandom(32)
    store.keep_seed(key)
    return key
