"""The format of recordings, and what the recorder promises of the file."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mockrelay.recorder import Recorder
from tests.trace.recorded import Bench, converse
from zentalk_sim.protocol.effects import Note, Publish
from zentalk_sim.trace.recording import OUTPUT_KINDS, Sent, output_line


def recorded(path: Path, **options: Any) -> list[dict[str, Any]]:
    async def body() -> None:
        converse(Bench(), path, **options)

    asyncio.run(body())
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_recording_must_be_a_header_and_one_event_a_line(tmp_path: Path) -> None:
    header, *events = recorded(tmp_path / "r.jsonl")
    assert header["zentalk_trace"] == 1
    assert {"seed", "boot", "config", "snapshot", "versions", "started"} <= set(header)
    assert header["config"]["upgrade"]["profile"] == "dev"
    assert events[-1]["e"] == "end"
    assert all(isinstance(event["t"], int) and isinstance(event["e"], str) for event in events)
    times = [event["t"] for event in events]
    assert times == sorted(times)
    inputs = {event["e"] for event in events} - OUTPUT_KINDS
    assert inputs == {
        "upgrade", "text", "bad_text", "binary", "lost", "timer", "request", "control", "oversized", "end",
    }  # fmt: skip
    outputs = {event["e"] for event in events} & OUTPUT_KINDS
    assert outputs == {"accept", "refuse", "send", "send_binary", "close", "respond", "note"}


def test_outputs_must_follow_the_input_that_led_to_them_at_its_instant(tmp_path: Path) -> None:
    _, *events = recorded(tmp_path / "r.jsonl")
    assert [event["e"] for event in events[:3]] == ["upgrade", "accept", "send"]
    assert len({event["t"] for event in events[:3]}) == 1
    assert json.loads(events[2]["data"])["type"] == "AUTH_CHALLENGE"


def test_the_file_must_be_its_owners_alone_even_where_it_was_others_too(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.touch()
    path.chmod(0o644)
    recorded(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_must_never_be_written_over(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("something older")
    with pytest.raises(FileExistsError, match="is there already, and is not written over") as caught:
        recorded(path)
    assert caught.value.filename == str(path)
    assert path.read_text() == "something older"


def test_what_was_processed_must_be_in_the_file_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        path = tmp_path / "r.jsonl"
        bench.driver.record(str(path), 1)
        bench.connect("alice")
        lines = path.read_bytes().splitlines()
        assert json.loads(json.loads(lines[-1]).get("data", "{}")) or json.loads(lines[-1])["e"] == "note"
        assert any(b"AUTH_SUCCESS" in line for line in lines)
        bench.driver.stop()

    asyncio.run(body())


def test_a_disk_that_fails_must_end_the_recording_and_not_the_relay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        closed = False

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self.closed = True

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        recorder: Recorder = bench.driver.record(str(tmp_path / "r.jsonl"), 1)
        recorder._file.close()
        recorder._file = Full()  # type: ignore[assignment]
        line = bench.connect("alice")
        assert line.frames[-1]["type"] == "AUTH_SUCCESS"
        assert recorder.failed is not None
        bench.driver.stop()

    with caplog.at_level(logging.ERROR, "mockrelay"):
        asyncio.run(body())
    assert caplog.text.count("No space left on device") == 1


def test_every_output_must_have_a_line() -> None:
    from zentalk_sim.protocol.effects import Abort, ClearPush, NewCopy, Push

    def line(output: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(output_line(7, output))
        assert found["t"] == 7
        assert found["e"] in OUTPUT_KINDS
        return found

    assert line(Sent(3, '"é"'.encode()))["data"] == '"é"'
    assert line(Sent(3, b"\x84", True))["data"] == "hA=="
    assert line(Abort(3, "heartbeat"))["cause"] == "heartbeat"
    assert line(Push("0x1", "d", "token", 2))["pending"] == 2
    assert line(ClearPush("0x1", "d"))["device"] == "d"
    assert line(Note("n", 2, value_us=5)) == {"e": "note", "t": 7, "name": "n", "count": 2, "value_us": 5}
    assert line(Publish("other", NewCopy(1, "m")))["node"] == "other"
