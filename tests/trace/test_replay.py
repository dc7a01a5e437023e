"""Replay: equal where nothing was touched, the first difference where something was, a clear error otherwise."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mockrelay.live_support import connected, run, serving
from tests.trace.recorded import Bench, converse
from zentalk_sim.live.http import request
from zentalk_sim.trace.recording import OUTPUT_KINDS, RecordingError
from zentalk_sim.trace.replay import replay_file


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("recorded") / "r.jsonl"
    return lines_of(path)


def lines_of(path: Path, **options: Any) -> list[bytes]:
    async def body() -> None:
        converse(Bench(), path, **options)

    asyncio.run(body())
    return path.read_bytes().splitlines(keepends=True)


def written(folder: Path, lines: list[bytes]) -> Path:
    path = folder / "r.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def kind(line: bytes) -> str:
    return str(json.loads(line).get("e"))


def test_an_untouched_recording_must_replay_equal(session: list[bytes], tmp_path: Path) -> None:
    result = replay_file(written(tmp_path, session))
    assert result.first_difference is None
    outputs = sum(kind(line) in OUTPUT_KINDS for line in session)
    assert (result.events, result.outputs) == (len(session) - 1 - outputs, outputs)
    assert outputs >= 30


def test_a_recording_begun_amid_a_session_must_replay_equal(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "late.jsonl", before=3)
    assert b'"upgrade"' not in b"".join(lines[1:4]), "the connections are older than the recording"
    result = replay_file(tmp_path / "late.jsonl")
    assert result.first_difference is None
    assert result.outputs > 20


def test_a_session_over_sockets_must_replay_equal(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"

    async def body() -> None:
        async with serving("alice", "bob", record=str(path), seed=None) as relay:
            async with connected(relay, "alice") as alice, connected(relay, "bob") as bob:
                for text in (b"one", b"two", b"x" * 9_000):
                    await alice.message(bob.user, text)
                    new = await bob.until("MESSAGE_NEW")
                    await bob.send("MESSAGE_RECEIVED", {"message_id": new["id"]})
                    await alice.until("MESSAGE_DELIVERED")
                bob.ws.transport.abort()
            await request(f"{relay.http_url}/api/settings", "GET", bearer=relay.users[0].token)

    run(body())
    result = replay_file(path)
    assert result.first_difference is None
    assert result.outputs > 15
    header = json.loads(path.read_bytes().splitlines()[0])
    assert len(base64.b64decode(header["seed"])) == 32


def test_every_changed_output_must_be_found_at_its_line(session: list[bytes], tmp_path: Path) -> None:
    for number, line in enumerate(session[1:], 2):
        if kind(line) not in OUTPUT_KINDS:
            continue
        changed = line.replace(b'"t":', b'"t": ', 1)
        result = replay_file(written(tmp_path, [*session[: number - 1], changed, *session[number:]]))
        assert result.first_difference is not None
        assert result.first_difference.line == number
        assert result.first_difference.replayed == line.decode().rstrip("\n")


@pytest.mark.parametrize("wanted", ["send", "close", "respond", "note", "refuse", "accept"])
def test_a_missing_and_an_additional_output_must_be_differences(
    session: list[bytes], tmp_path: Path, wanted: str
) -> None:
    at = next(index for index, line in enumerate(session) if kind(line) == wanted)
    missing = replay_file(written(tmp_path, [*session[:at], *session[at + 1 :]])).first_difference
    assert missing is not None
    assert missing.line == at + 1
    doubled = replay_file(written(tmp_path, [*session[: at + 1], session[at], *session[at + 1 :]])).first_difference
    assert doubled is not None
    assert doubled.line in (at + 2, at + 3)


def test_a_recording_without_an_end_must_replay(session: list[bytes], tmp_path: Path) -> None:
    assert replay_file(written(tmp_path, session[:-1])).first_difference is None
    assert replay_file(written(tmp_path, session[:1])).events == 0


def test_a_recording_that_ends_before_an_output_must_say_so(session: list[bytes], tmp_path: Path) -> None:
    last = max(index for index, line in enumerate(session) if kind(line) in OUTPUT_KINDS)
    difference = replay_file(written(tmp_path, session[:last])).first_difference
    assert difference is not None
    assert difference.recorded is None


def test_a_core_that_raised_must_raise_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R-12.2: the input is kept for the record, followed by what the relay did about it."""

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bench.driver.record(str(tmp_path / "r.jsonl"), 1)
        bench.connect("alice")
        core = bench.driver.relay
        line = bench.connect("alice")

        def breaks(*_args: Any) -> Any:
            raise AssertionError("broken")

        vars(core)["receive_text"] = breaks
        bench.driver.receive_text(line.conn, b"{}")
        bench.driver.stop()

    asyncio.run(body())
    assert "broken" in caplog.text
    lines = (tmp_path / "r.jsonl").read_bytes().splitlines(keepends=True)
    assert [kind(line) for line in lines if kind(line) in ("crash", "close")][-2:] == ["crash", "close"]
    difference = replay_file(tmp_path / "r.jsonl").first_difference
    assert difference is not None, "a whole core does not raise, and that is a difference"


def changed_header(line: bytes, **changes: Any) -> bytes:
    header = json.loads(line)
    header.update(changes)
    return json.dumps(header).encode() + b"\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: [], ":1: the file is empty"),
        (lambda s: [b"hello\n"], ":1: not a recording"),
        (lambda s: [b'{"log": {}}\n'], ":1: not a recording"),
        (lambda s: [b'{"zentalk_trace": 1\n'], ":1: the header is not JSON"),
        (lambda s: [b'["zentalk_trace"]\n'], ":1: format None"),
        (lambda s: [changed_header(s[0], zentalk_trace=2)], ":1: format 2 is not known"),
        (lambda s: [changed_header(s[0], redacted=True)], ":1: this recording is redacted"),
        (lambda s: [changed_header(s[0], snapshot=7)], r":1: header: Expected `bytes`"),
        (lambda s: [changed_header(s[0], snapshot="AAAA")], ":1: header: the snapshot cannot be restored"),
        (lambda s: [changed_header(s[0], config={"limit": 1})], ":1: header: .*limit"),
        (lambda s: [changed_header(s[0], config={"dedup": {"bloom_capacity": 10**15}})], ":1: header: .*bloom"),
        (lambda s: [*s[:-1], s[-1][:-5]], "the last line is cut off"),
        (lambda s: [*s[:1], b"hello\n"], ":2: not an event"),
        (lambda s: [*s[:1], b"[" * 100_000 + b"\n"], ":2: not an event"),
        (lambda s: [*s[:1], b'{"e":"teleport","t":1}\n'], ":2: not an event"),
        (lambda s: [*s[:1], b'{"e":"timer","t":1}\n'], ":2: t is 1, after"),
        (lambda s: [*s[:1], b'{"e":"timer","t":99999999999999999999}\n'], ":2: t is 9+, after"),
        (lambda s: [*s, b'{"e":"timer","t":9000000000000000}\n'], "more after the recording's end"),
    ],
)
def test_what_is_no_recording_must_be_refused_with_file_and_line(
    session: list[bytes], tmp_path: Path, spoil: Any, message: str
) -> None:
    with pytest.raises(RecordingError, match=rf"^{tmp_path}/r\.jsonl:\d+:") as caught:
        replay_file(written(tmp_path, spoil(session)))
    assert re.search(message, str(caught.value)), caught.value


@given(data=st.data())
def test_no_bytes_must_do_worse_than_be_refused_or_differ(
    session: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = b"".join(session[:60])
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 40))
    put = data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / "spoilt.jsonl"
    path.write_bytes(whole[:at] + put + whole[at + cut :])
    try:
        replay_file(path)
    except RecordingError as error:
        assert str(error).startswith(f"{path}:")
