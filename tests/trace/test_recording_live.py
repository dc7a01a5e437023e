"""What a live relay does besides frames replays too: clock, settings, restarts, compressed files, changed frames."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mockrelay.store import SqliteStore
from tests.trace.recorded import Bench, converse
from zentalk_sim.protocol.control import AddUser, AdvanceClock, CloseConn, RotateKey, SendFrame, Suspend
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.trace.lines import MAX_LINE_BYTES, TraceLines
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.replay import replay_file


def operate(bench: Bench, path: Path) -> None:
    """Operator's commands of every kind, a clock that jumps, new settings, restarts, and a recording begun amid it."""
    alice_address, bob_address = bench.person("alice"), bench.person("bob")
    alice, bob = bench.connect("alice"), bench.connect("bob")
    bench.message(alice, bob_address)
    bench.driver.record(str(path), 1)
    control = bench.driver.control
    control(AdvanceClock(bench.clock.now_us() + 3_600_000_000))
    bench.pass_ms(3_600_000)
    bench.message(alice, bob_address)
    bench.driver.configure(bench.settings(limits={"send_message": "off"}, heartbeat={"interval_ms": 5_000}))
    for _ in range(12):
        bench.message(alice, bob_address)
    bench.pass_ms(6_000)
    bench.rest("bob", "GET", "/api/messages")
    bench.rest("bob", "PUT", "/api/settings", b'{"send_read_receipts":false}')
    control(SendFrame(bob.conn, "TYPING_START", {"conversation_id": "c", "user": alice_address}))
    control(RotateKey(alice_address, b"\x07" * 32, "reinstall"))
    with pytest.raises(ProtocolError):
        control(Suspend("0x" + "0" * 40))
    control(CloseConn(bob.conn, 4002, "busy"))
    bench.driver.disconnect(bob.conn, "closed")
    bench.driver.restart()
    control(AddUser(b"\x08" * 32))
    bob = bench.connect("bob")
    bench.driver.queue.flush()
    bench.pass_ms(40_000)
    control(Suspend(bob_address))
    bench.driver.restart()
    bench.driver.stop()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_whatever_the_relay_was_told_must_replay_equal(tmp_path: Path, store: str) -> None:
    path = tmp_path / "r.jsonl"

    async def body() -> None:
        operate(Bench(store=SqliteStore(str(tmp_path / "relay.db")) if store == "sqlite" else None), path)

    asyncio.run(body())
    result = replay_file(path)
    assert result.first_difference is None
    kinds = {json.loads(line).get("e") for line in path.read_bytes().splitlines()}
    assert {"control", "config", "restart", "timer", "request"} <= kinds
    assert result.outputs > 50


def test_a_recording_on_a_durable_store_must_be_that_on_memory(tmp_path: Path) -> None:
    """Commits come between input and effect, and change nothing of what is said."""

    def lines(name: str, durable: bool) -> list[bytes]:
        path = tmp_path / f"{name}.jsonl"

        async def body() -> None:
            bench = Bench(
                store=SqliteStore(str(tmp_path / "relay.db")) if durable else None, at_us=1_795_000_000_000_000
            )
            converse(bench, path)

        asyncio.run(body())
        found = [json.loads(line) for line in path.read_bytes().splitlines()[1:]]
        return [json.dumps({key: value for key, value in line.items() if key != "real"}).encode() for line in found]

    memory, durable = lines("memory", False), lines("durable", True)
    assert memory == durable


# --- compressed --------------------------------------------------------------------------------------


def test_a_recording_named_gz_must_be_compressed_and_replay(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"

    async def body() -> None:
        converse(Bench(), path)

    asyncio.run(body())
    whole = gzip.decompress(path.read_bytes())
    assert len(path.read_bytes()) < len(whole) / 2
    result = replay_file(path)
    assert result.first_difference is None
    assert result.outputs > 30


def test_a_compressed_recording_must_hold_every_input_before_it_takes_effect(tmp_path: Path) -> None:
    """A killed process leaves no trailer; what was processed is in the file all the same."""
    path = tmp_path / "r.jsonl.gz"

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bench.driver.record(str(path), 1)
        bench.connect("alice")
        killed = tmp_path / "killed.gz"
        killed.write_bytes(path.read_bytes())
        result = replay_file(killed)
        assert result.first_difference is None
        assert result.events == 2
        (tmp_path / "cut.gz").write_bytes(path.read_bytes()[:-9])
        with pytest.raises(RecordingError, match="cut off"):
            replay_file(tmp_path / "cut.gz")
        bench.driver.stop()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b", ":1: the file is empty"),
        (b"\x1f\x8bgarbage of all kinds", ":1: the compressed data are damaged"),
        (gzip.compress(b""), ":1: the file is empty"),
        (gzip.compress(b'{"zentalk_trace":2}\n'), ":1: format 2 is not known"),
        (gzip.compress(b"x" * 100_000_000), "longer than|not a recording|cut off"),
    ],
    ids=["magic", "garbage", "nothing", "format", "bomb"],
)
def test_a_hostile_compressed_file_must_be_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.gz"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        replay_file(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_lines_must_be_bounded_but_for_snapshots(tmp_path: Path, compressed: bool) -> None:
    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1) if compressed else content)
        return path

    long = b" " * MAX_LINE_BYTES
    with TraceLines(written("a", b"one\n" + long + b"\n")) as lines:
        assert lines.read() == b"one\n"
        with pytest.raises(RecordingError, match=r":2: this line is longer than \d+ bytes"):
            lines.read()
    with TraceLines(written("b", b'{"e":"restart",' + long + b"\nnext\n")) as lines:
        assert len(lines.read()) == 15 + MAX_LINE_BYTES + 1
        assert lines.read() == b"next\n"
        assert lines.read() == b""


# --- what a fault rule did ---------------------------------------------------------------------------


def test_a_frame_that_a_rule_changed_must_be_kept_both_ways_and_replay(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    core: list[bytes] = []

    async def body() -> None:
        bench = Bench()
        bob = bench.person("bob")
        bench.person("alice")
        bench.driver.record(str(path), 1)
        bench.driver.observers.append(lambda now, output: core.append(getattr(output, "payload", b"")))
        alice = bench.connect("alice")
        note = bench.driver.note_wire
        note(alice.conn, "out", "r1", "drop", core[-2], None, False)
        note(alice.conn, "out", "flip a bit", "corrupt", core[-2], b"\xff{", False)
        note(alice.conn, "in", "r3", "replace", b"{}", b"\x02\x01", True)
        note(alice.conn, "out", "r4", "inject", None, '{"é":1}'.encode(), False)
        bench.message(alice, bob)
        bench.driver.stop()
        note(alice.conn, "out", "r1", "drop", b"", None, False)

    asyncio.run(body())
    wires = [json.loads(line) for line in path.read_bytes().splitlines() if b'"e":"wire"' in line]
    assert [(w["dir"], w["rule"], w["did"]) for w in wires] == [
        ("out", "r1", "drop"),
        ("out", "flip a bit", "corrupt"),
        ("in", "r3", "replace"),
        ("out", "r4", "inject"),
    ]
    sends = [json.loads(line)["data"] for line in path.read_bytes().splitlines() if b'"e":"send"' in line]
    assert wires[0]["of"] in {sha256(data.encode()).hexdigest()[:16] for data in sends}
    assert "data" not in wires[0]
    assert b64decode(wires[1]["data64"]) == b"\xff{"
    assert (b64decode(wires[2]["data64"]), wires[2]["binary"]) == (b"\x02\x01", True)
    assert wires[3]["data"] == '{"é":1}'
    assert "of" not in wires[3]
    assert replay_file(path).first_difference is None


# --- differences -------------------------------------------------------------------------------------


def test_a_difference_must_come_with_its_input_and_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    async def body() -> None:
        converse(Bench(), path)

    asyncio.run(body())
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b"MESSAGE_ACK" in line)
    path.write_bytes(b"".join([*lines[:at], lines[at].replace(b"queued", b"qeueud"), *lines[at + 1 :]]))
    difference = replay_file(path).first_difference
    assert difference is not None
    assert difference.line == at + 1
    assert difference.recorded is not None
    assert difference.replayed is not None
    assert "qeueud" in difference.recorded
    assert "queued" in difference.replayed
    assert len(difference.context) == 8
    assert [text[:60] for text in difference.context] == [line.decode().rstrip()[:60] for line in lines[at - 8 : at]]
    assert difference.event is not None
    assert b'"e":"text"' in lines[difference.event - 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snapshot": "AAAA"}, "restart: the snapshot cannot be restored"),
        ({"snapshot": 7}, "not an event: Expected `bytes`"),
        ({"config": {"dedup": {"bloom_capacity": 10**15}}}, "restart: config.dedup.bloom_capacity is above"),
        ({"config": {"limit": 1}}, "not an event: .*limit"),
    ],
)
def test_a_restart_that_was_tampered_with_must_be_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "r.jsonl"

    async def body() -> None:
        bench = Bench()
        bench.driver.record(str(path), 1)
        bench.driver.restart()
        bench.driver.stop()

    asyncio.run(body())
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith(b'{"e":"restart"'))
    lines[at] = json.dumps({**json.loads(lines[at]), **changes}).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(RecordingError, match=rf":{at + 1}: {message}"):
        replay_file(path)
