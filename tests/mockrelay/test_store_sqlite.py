"""The durable store: what was committed is what is loaded; what is no store of a relay is refused in words."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from mockrelay.store import SqliteStore, StoreError, open_store
from tests.mockrelay.store_support import as_killed, durable_part
from tests.trace.recorded import Bench, Line
from zentalk_sim.protocol.control import (
    AddDevice,
    CloseConn,
    MakeContacts,
    RemoveDevice,
    RotateKey,
    Suspend,
)
from zentalk_sim.protocol.store import MemoryStore

NAMES = ("alice", "bob", "carol", "dave")
DAY_MS = 86_400_000


class Walk:
    """A session of random steps over everything that a relay keeps."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        self.random = random.Random(seed)
        limits = {"send_message": {"limit": 30, "window_s": 60, "burst": 10}, "connection_rate": "off"}
        self.bench = Bench(store=store, limits=limits)
        self.addresses = {name: self.bench.person(name) for name in NAMES}
        self.lines: dict[str, Line] = {}
        self.sent: list[str] = []

    def step(self) -> None:
        """Do one thing, and let the effects out as at the end of a turn."""
        name, other = self.random.choice(NAMES), self.random.choice(NAMES)
        often = [self.message, self.message, self.message, self.received, self.read, self.subscribe, self.presence]
        steps = [*often, self.typing, self.toggle, self.keys, self.settings, self.device, self.operator, self.wait]
        self.random.choice(steps)(name, other)
        self.bench.driver.queue.flush()

    def line(self, name: str) -> Line:
        line = self.lines.get(name)
        if line is None or line.ended is not None:
            line = self.lines[name] = self.bench.connect(name)
        return line

    def message(self, name: str, other: str) -> None:
        if self.random.random() < 0.3:
            self.bench.binary_message(self.line(name), self.addresses[other], b"b" * 13_000)
        else:
            self.sent.append(self.bench.message(self.line(name), self.addresses[other]))

    def received(self, name: str, other: str) -> None:
        if self.sent:
            self.bench.send(self.line(name), "MESSAGE_RECEIVED", {"message_id": self.random.choice(self.sent)})

    def read(self, name: str, other: str) -> None:
        if self.sent:
            self.bench.send(self.line(name), "MESSAGE_READ", {"message_id": self.random.choice(self.sent)})

    def subscribe(self, name: str, other: str) -> None:
        kind = self.random.choice(("SUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"))
        topics = [f"presence:{self.addresses[other]}", f"keys:{self.addresses[name]}"]
        self.bench.send(self.line(name), kind, {"topics": topics})

    def typing(self, name: str, other: str) -> None:
        self.bench.send(self.line(name), "TYPING_START", {"conversation_id": "conv_0000000000000000"})

    def presence(self, name: str, other: str) -> None:
        status = self.random.choice(("online", "away", "invisible"))
        self.bench.send(self.line(name), "PRESENCE_SET", {"status": status})

    def toggle(self, name: str, other: str) -> None:
        line = self.line(name)
        self.bench.driver.disconnect(line.conn, "lost")
        line.ended = "lost"

    def keys(self, name: str, other: str) -> None:
        key = self.bench.crypto.public_key(self.bench.people[name][0])
        signed = self.random.randbytes(32)
        one_time = [{"id": i, "key": b64encode(self.random.randbytes(32)).decode()} for i in range(3)]
        body = {
            "identityKey": b64encode(key).decode(),
            "signedPreKey": {"id": 1, "key": b64encode(signed).decode()},
            "signature": b64encode(self.bench.crypto.sign(self.bench.people[name][0], signed)).decode(),
            "oneTimePreKeys": one_time,
        }
        assert self.bench.rest(name, "POST", "/api/keys", json.dumps(body).encode()) == 200
        assert self.bench.rest(name, "GET", f"/api/keys/{self.addresses[name]}") == 200

    def settings(self, name: str, other: str) -> None:
        body = {"share_presence": self.random.random() < 0.5, "typing_disabled_for": [self.addresses[other]]}
        self.bench.rest(name, "PUT", "/api/settings", json.dumps(body).encode())

    def device(self, name: str, other: str) -> None:
        control, address = self.bench.driver.control, self.addresses[name]
        own = self.bench.people[name][1]
        if own in self.bench.driver.relay.store.users[address].devices and self.random.random() < 0.5:
            # It is registered again when it next connects, and messages wait for that meanwhile.
            control(RemoveDevice(address, own))
            return
        extra = f"00000000-0000-4000-8000-{self.random.randrange(3):012}"
        if extra in self.bench.driver.relay.store.users[address].devices:
            control(RemoveDevice(address, extra))
        else:
            control(AddDevice(address, extra, push_token="push" if self.random.random() < 0.5 else None))

    def operator(self, name: str, other: str) -> None:
        control, address = self.bench.driver.control, self.addresses[name]
        match self.random.randrange(4):
            case 0:
                control(Suspend(address))
                control(Suspend(address, False))
            case 1:
                control(MakeContacts(address, self.addresses[other]))
            case 2:
                control(CloseConn(self.line(name).conn, self.random.choice((1000, 4003, None))))
            case _:
                key = self.bench.crypto.public_key(self.bench.people[name][0])
                control(RotateKey(address, key))

    def wait(self, name: str, other: str) -> None:
        self.bench.pass_ms(self.random.choice((10, 1_000, 4_000, 4_000, 90_000, DAY_MS)))
        if self.bench.now_ms() > self.renewed_ms + 12 * 3_600_000:
            self.renew()

    renewed_ms = 0

    def renew(self) -> None:
        """New connection tokens: days pass."""
        self.renewed_ms = self.bench.now_ms()
        for name in NAMES:
            self.bench.renew(name)


@pytest.mark.requirement("R-12.1")
@pytest.mark.parametrize("seed", range(6))
def test_what_is_loaded_must_be_what_was_committed(tmp_path: Path, seed: int) -> None:
    async def body() -> None:
        store = SqliteStore(str(tmp_path / "relay.db"))
        walk = Walk(store, seed)
        for number in range(300):
            walk.step()
            if number % 60 == 59:
                loaded = SqliteStore(str(as_killed(store, tmp_path / str(number))))
                assert durable_part(loaded) == durable_part(store)
                assert loaded.counters.boot == store.counters.boot + 1
                assert {m.id: m.copies for m in loaded.messages.values()} == {
                    m.id: m.copies for m in store.messages.values()
                }
                loaded.close()
        assert store.messages
        assert store.notices or store.nonces
        walk.bench.driver.stop()

    asyncio.run(body())


def test_a_restart_of_either_store_must_find_the_same(tmp_path: Path) -> None:
    async def body() -> None:
        store = SqliteStore(str(tmp_path / "relay.db"))
        walk = Walk(store, 99)
        for _ in range(200):
            walk.step()
        in_memory = MemoryStore.of_image(MemoryStore.restored(store.snapshot()).image()).restarted()
        from_file = store.restarted()
        assert durable_part(in_memory) == durable_part(from_file)
        assert in_memory.counters == from_file.counters
        assert in_memory.shown_status == from_file.shown_status == {}
        from_file.close()

    asyncio.run(body())


def test_what_was_not_committed_must_not_be_there(tmp_path: Path) -> None:
    async def body() -> None:
        store = SqliteStore(str(tmp_path / "relay.db"))
        bench = Bench(store=store)
        bench.person("alice")
        line = bench.connect("alice")
        before = durable_part(store)
        bench.message(line, bench.people["alice"][3])
        killed = SqliteStore(str(as_killed(store, tmp_path / "killed")))
        assert durable_part(killed) == before
        killed.close()
        bench.driver.stop()

    asyncio.run(body())


def test_the_seed_and_the_signing_key_must_be_kept_and_the_boot_number_counted_up(tmp_path: Path) -> None:
    path = str(tmp_path / "relay.db")
    first = SqliteStore(path)
    assert (first.counters.boot, first.seed, first.signing_seed) == (0, b"", b"")
    first.keep_seed(b"s" * 32)
    first.signing_seed = b"k" * 32
    first.commit()
    first.close()
    for boot in (1, 2):
        again = SqliteStore(path)
        assert (again.counters.boot, again.seed, again.signing_seed) == (boot, b"s" * 32, b"k" * 32)
        again.close()


def test_the_file_must_be_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    store = SqliteStore(str(path))
    store.keep_seed(b"s" * 32)
    store.commit()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    store.close()


@pytest.mark.parametrize("mode", ["normal", "full"])
def test_the_synchronous_level_must_be_the_one_asked_for(tmp_path: Path, mode: str) -> None:
    store = open_store(f"sqlite:{tmp_path / 'relay.db'}?synchronous={mode}")
    assert isinstance(store, SqliteStore)
    assert store._database.execute("PRAGMA synchronous").fetchone()[0] == {"normal": 1, "full": 2}[mode]
    assert store._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    again = store.restarted()
    assert isinstance(again, SqliteStore)
    assert again.is_synchronous_full is (mode == "full")
    again.close()


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("disk", "'disk' is no store; use memory, sqlite:PATH"),
        ("SQLITE:x", "is no store"),
        ("sqlite", "is no store"),
        ("sqlite:", "names no file"),
        ("sqlite::memory:", "names no file"),
        ("sqlite:x?sync=off", "unknown option 'sync=off'"),
        ("sqlite:/nowhere/at/all.db", "/nowhere/at/all.db: cannot be opened: No such file or directory"),
        ("sqlite:/", "cannot be opened: Is a directory"),
    ],
)
def test_a_store_that_cannot_be_must_be_refused_in_words(spec: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(spec)
    assert message in str(caught.value)
    assert str(caught.value).startswith("--store")


def test_memory_must_be_a_store_that_is_not_durable() -> None:
    store = open_store("memory")
    assert type(store) is MemoryStore
    assert not store.is_durable


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        SqliteStore(str(path))
    return str(caught.value)


def test_a_file_that_another_relay_has_must_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mockrelay.store.tables._BUSY_TIMEOUT_S", 0.01)
    store = SqliteStore(str(tmp_path / "relay.db"))
    assert "in use by another process; end that one or name another file" in refusal(tmp_path / "relay.db")
    store.close()
    SqliteStore(str(tmp_path / "relay.db")).close()


def test_a_file_that_is_no_database_must_be_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 100)
    assert "not an SQLite database; name another file" in refusal(path)
    assert path.read_text() == "dear diary " * 100


def test_a_database_of_another_program_must_be_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE users (name)")
    other.commit()
    other.close()
    before = path.read_bytes()
    assert "a database of another program; name another file" in refusal(path)
    assert path.read_bytes() == before


def test_a_newer_format_must_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    SqliteStore(str(path)).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 2")
    other.close()
    assert "written in format 2, and this version reads 1" in refusal(path)


def test_damage_must_be_refused(tmp_path: Path) -> None:
    async def body() -> Any:
        store = SqliteStore(str(tmp_path / "relay.db"))
        walk = Walk(store, 5)
        for _ in range(100):
            walk.step()
        walk.bench.driver.stop()

    asyncio.run(body())
    path = tmp_path / "relay.db"
    whole = path.read_bytes()
    for at in range(4096, len(whole) - 4096, len(whole) // 6):
        path.write_bytes(whole[:at] + bytes(4096) + whole[at + 4096 :])
        assert "damaged" in refusal(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(path)
    path.write_bytes(whole)
    SqliteStore(str(path)).close()


def test_a_record_that_cannot_be_read_must_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    store = SqliteStore(str(path))
    store.close()
    other = sqlite3.connect(path)
    other.execute("INSERT INTO users VALUES ('0x1', x'00')")
    other.commit()
    other.close()
    assert "damaged (Expected `object`, got `int`)" in refusal(path)


def test_limits_filled_in_the_future_must_not_hold_up_a_relay_of_today(tmp_path: Path) -> None:
    """A clock that was advanced by a day does not live on in a new process; its limiters would refuse for a day."""

    async def body() -> None:
        store = SqliteStore(str(tmp_path / "relay.db"))
        bench = Bench(store=store)
        bench.person("alice")
        today_us = bench.clock.now_us()
        bench.pass_ms(DAY_MS // 2)
        bench.message(bench.connect("alice"), bench.people["alice"][3])
        bench.driver.stop()
        again = SqliteStore(store.path)
        assert any(again.limits.values())
        again.drop_future(today_us)
        assert not any(again.limits.values())
        again.close()

    asyncio.run(body())
