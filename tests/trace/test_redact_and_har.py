"""Redacted traces and HAR files: nothing secret in them, and what they are for still readable."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64decode, b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.trace.recorded import Bench, converse
from zentalk_sim.cli import errors
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.trace.event_reader import TraceError, read_events
from zentalk_sim.trace.har import to_har
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.redact import redact
from zentalk_sim.trace.replay import replay_file


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A session and every secret in it, as bytes that may appear nowhere."""
    path = tmp_path_factory.mktemp("secret") / "r.jsonl"
    secrets: list[bytes] = []

    async def body() -> None:
        bench = Bench()
        converse(bench, path)
        for secret, _, token, address in bench.people.values():
            public = bench.crypto.public_key(secret)
            secrets.extend((token.encode(), address.encode(), b64encode(secret), b64encode(public)))
        secrets.append(b64encode(bench.driver.relay.store.signing_seed))
        for message in bench.driver.relay.store.messages.values():
            secrets.append(message.conversation_id.encode())
            if message.body is not None:
                secrets.extend((b64encode(message.body.ciphertext), b64encode(message.body.nonce)))

    asyncio.run(body())
    whole = path.read_bytes()
    assert sum(secret in whole for secret in secrets) > 10
    for line in whole.splitlines()[1:]:
        event = json.loads(line)
        if event["e"] == "send":
            payload = json.loads(event["data"])["payload"]
            names = ("session_token", "resume_token", "challenge", "ciphertext")
            secrets.extend(payload[name].encode() for name in names if name in payload)
    return path, secrets


def test_nothing_secret_must_be_left(recorded: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    path, secrets = recorded
    count = redact(path, tmp_path / "out.jsonl")
    out = (tmp_path / "out.jsonl").read_bytes()
    assert len(out.splitlines()) == count + 1 == len(path.read_bytes().splitlines())
    har = json.dumps(to_har(path)).encode()
    for secret in secrets:
        assert secret not in out
        assert secret not in har
    for line in out.splitlines():
        data = json.loads(line).get("data", "")
        if isinstance(data, str) and not data.startswith(("{", "<")):
            assert not any(secret in b64decode(data) for secret in secrets), "nor in a binary frame"


def test_a_redacted_trace_must_keep_its_events_its_sizes_and_who_is_who(
    recorded: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    redact(recorded[0], tmp_path / "out.jsonl")
    before = [json.loads(line) for line in recorded[0].read_bytes().splitlines()]
    after = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert after[0]["redacted"] is True
    assert (after[0]["snapshot"], after[0]["seed"]) == ("", 0)
    assert [(e["e"], e["t"], e.get("c")) for e in after[1:]] == [(e["e"], e["t"], e.get("c")) for e in before[1:]]

    def payloads(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        texts = [e["data"] for e in events[1:] if e["e"] in ("text", "send") and e["data"].startswith("{")]
        return [frame["payload"] for frame in map(json.loads, texts) if "payload" in frame]

    pairs = list(zip(payloads(before), payloads(after), strict=True))
    assert len(pairs) > 15
    names: dict[str, str] = {}
    for old, new in pairs:
        assert set(old) == set(new)
        for field in ("to", "from", "read_by", "address"):
            if field in old:
                assert names.setdefault(old[field], new[field]) == new[field], "one pseudonym for one address"
        if "ciphertext" in old:
            assert len(new["ciphertext"]) == len(old["ciphertext"])
    assert len(names) == len(set(names.values())) >= 2


def test_a_redacted_trace_must_not_replay(recorded: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    redact(recorded[0], tmp_path / "out.jsonl")
    with pytest.raises(RecordingError, match="redacted: it serves checks and reading, not replay"):
        replay_file(tmp_path / "out.jsonl")


def test_a_trace_must_not_be_redacted_in_its_place(recorded: tuple[Path, list[bytes]]) -> None:
    before = recorded[0].read_bytes()
    with pytest.raises(ValueError, match="in its place"):
        redact(recorded[0], recorded[0])
    assert recorded[0].read_bytes() == before


# HAR 1.2, what it requires (http://www.softwareishard.com/blog/har-12-spec), as the JSON Schemas of har-schema have it.
TEXT, NUMBER = str, (int, float)
PAIRS = [{"name": TEXT, "value": TEXT}]
ENTRY: Any = {
    "startedDateTime": TEXT,
    "time": NUMBER,
    "request": {
        **dict.fromkeys(("method", "url", "httpVersion"), TEXT),
        "cookies": PAIRS,
        "headers": PAIRS,
        "queryString": PAIRS,
        "headersSize": int,
        "bodySize": int,
    },
    "response": {
        "status": int,
        **dict.fromkeys(("statusText", "httpVersion", "redirectURL"), TEXT),
        "cookies": PAIRS,
        "headers": PAIRS,
        "content": {"size": int, "mimeType": TEXT},
        "headersSize": int,
        "bodySize": int,
    },
    "cache": {},
    "timings": {"send": NUMBER, "wait": NUMBER, "receive": NUMBER},
}
SOCKET_MESSAGE: Any = {"type": TEXT, "time": float, "opcode": int, "data": TEXT}
"""One of ``_webSocketMessages`` as Chrome writes them: these fields and no other, ``time`` in seconds."""


def misfits(found: Any, wanted: Any, path: str = "") -> list[str]:
    """What of ``wanted`` is not there, or of another type."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{path}: no object"]
        missing = [f"{path}.{name}: missing" for name in wanted if name not in found]
        return missing + [
            fault for name in wanted if name in found for fault in misfits(found[name], wanted[name], f"{path}.{name}")
        ]
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return [f"{path}: no array"]
        return [fault for number, item in enumerate(found) for fault in misfits(item, wanted[0], f"{path}[{number}]")]
    return [] if isinstance(found, wanted) and not isinstance(found, bool) else [f"{path}: {found!r}"]


def test_a_har_file_must_keep_the_rules_of_its_schema(recorded: tuple[Path, list[bytes]]) -> None:
    log = json.loads(json.dumps(to_har(recorded[0])))["log"]
    assert misfits(log, {"version": TEXT, "creator": {"name": TEXT, "version": TEXT}, "entries": [ENTRY]}) == []
    for entry in log["entries"]:
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
        assert entry["time"] == sum(entry["timings"].values()) >= 0
        if "postData" in entry["request"]:
            assert misfits(entry["request"]["postData"], {"mimeType": TEXT, "text": TEXT}) == []
        messages = entry.get("_webSocketMessages", [])
        assert misfits(messages, [SOCKET_MESSAGE]) == []
        assert all(set(message) == set(SOCKET_MESSAGE) for message in messages)
        assert {message["type"] for message in messages} <= {"send", "receive"}
        began_s = datetime.fromisoformat(entry["startedDateTime"]).timestamp()
        assert all(message["time"] - began_s > -0.002 for message in messages)
        for message in messages:
            assert message["opcode"] == 1 or b64decode(message["data"], validate=True)


def test_a_har_file_must_have_what_the_format_asks_for(recorded: tuple[Path, list[bytes]]) -> None:
    """HAR 1.2; ``_webSocketMessages`` as Chrome exports and imports them."""
    log = json.loads(json.dumps(to_har(recorded[0])))["log"]
    assert log["version"] == "1.2"
    assert set(log["creator"]) == {"name", "version"}
    for entry in log["entries"]:
        assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= set(entry)
        assert {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"} <= set(
            entry["request"]
        )
        assert {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL"} <= set(
            entry["response"]
        )
        assert set(entry["timings"]) == {"send", "wait", "receive"}
    sockets = [entry for entry in log["entries"] if entry["_resourceType"] == "websocket"]
    assert [entry["response"]["status"] for entry in sockets] == [101, 101, 404, 101]
    types = [json.loads(message["data"]).get("type") for message in sockets[0]["_webSocketMessages"][:3]]
    assert types == ["AUTH_CHALLENGE", "AUTH_RESPONSE", "AUTH_SUCCESS"]
    assert {message["opcode"] for message in sockets[0]["_webSocketMessages"]} == {1, 2}
    assert [message["type"] for message in sockets[0]["_webSocketMessages"][:2]] == ["receive", "send"]
    rest = [entry for entry in log["entries"] if entry["_resourceType"] == "fetch"]
    assert [entry["response"]["status"] for entry in rest] == [200, 400, 200]


@pytest.mark.parametrize(
    ("header", "socket", "older", "call"),
    [
        ({}, "ws://app.localhost/ws/v1?device_id=d", "ws://relay/ws/v1", "http://relay/api/keys?limit=1"),
        (
            {"ws_url": "wss://127.0.0.1:8765/ws/v1", "http_url": "https://127.0.0.1:8766"},
            "wss://app.localhost/ws/v1?device_id=d",
            "wss://127.0.0.1:8765/ws/v1",
            "https://127.0.0.1:8766/api/keys?limit=1",
        ),
        (
            {"ws_url": "ws://[::1]:1/spaces/sp_1/ws/v1", "http_url": "http://[::1]:2/spaces/sp_1"},
            "ws://app.localhost/spaces/sp_1/ws/v1?device_id=d",
            "ws://[::1]:1/spaces/sp_1/ws/v1",
            "http://[::1]:2/spaces/sp_1/api/keys?limit=1",
        ),
    ],
    ids=["of no place", "by TLS", "of a space"],
)
def test_a_har_file_must_name_urls_as_the_client_did(
    tmp_path: Path, header: dict[str, str], socket: str, older: str, call: str
) -> None:
    """``older``: of a connection that was there before the recording began, so that its Host is not known."""
    upgrade = {"path": "/ws/v1", "query": {"device_id": "d"}, "headers": {"host": "app.localhost"}, "ip": "::1"}
    asked = {"method": "GET", "path": "/api/keys", "query": {"limit": "1"}, "bearer": None, "ip": "::1"}
    events = [
        {"zentalk_trace": 1, **header},
        {"e": "upgrade", "t": 1, "c": 2, **upgrade},
        {"e": "lost", "t": 1, "c": 1, "cause": "closed"},
        {"e": "request", "t": 1, "r": 1, **asked},
    ]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert [entry["request"]["url"] for entry in to_har(path)["log"]["entries"]] == [socket, older, call]


@pytest.mark.parametrize("work", [to_har, lambda path: redact(path, path.with_suffix(".out"))])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: the file is empty"),
        (b"hello\n", ":1: not JSON"),
        (b"[1]\n", ":1: not the header of a recording"),
        (b'{"zentalk_trace":1}\n7\n', ":2: not an event"),
        (b'{"zentalk_trace":1}\n{"zentalk_trace":1}\n', ":2: not an event"),
        (b'{"zentalk_trace":1}\n{"e":"end"', ":2: the last line is cut off"),
    ],
)
def test_what_is_no_trace_must_be_refused_with_file_and_line(
    tmp_path: Path, work: Any, content: bytes, message: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        work(path)
    assert list(tmp_path.iterdir()) == [path], "no half-written file is left"


@pytest.mark.parametrize(
    "event",
    [b'{"e":"send","t":1}', b'{"t":1}', b'{"e":"accept","t":1e300,"c":1}', b'{"e":"upgrade","t":1,"headers":7}'],
)
def test_a_hostile_event_must_be_refused_by_har_in_words(tmp_path: Path, event: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"zentalk_trace":1}\n' + event + b"\n")
    with pytest.raises(RecordingError, match=":2: not an event of a recording"):
        to_har(path)


# --- the command --------------------------------------------------------------------------------------


def importable(entry: dict[str, Any]) -> bool:
    """What Chrome's importer asks of a WebSocket message before it shows it."""
    return all(
        set(message) == {"type", "time", "opcode", "data"}
        and message["type"] in ("send", "receive")
        and isinstance(message["time"], float)
        and isinstance(message["opcode"], int)
        and isinstance(message["data"], str)
        for message in entry["_webSocketMessages"]
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_export_must_write_both_forms_and_a_redacted_file_serve_checks_only(
    recorded: tuple[Path, list[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    har, shareable = tmp_path / f"s.har{suffix}", tmp_path / f"s.jsonl{suffix}"
    asked = ["export", str(recorded[0]), "--har", str(har), "--redact", str(shareable)]
    assert errors.run(command_line, asked, "zsim") == 0
    told = capsys.readouterr().err
    assert f"wrote {har}: " in told
    data = har.read_bytes()
    log = json.loads(gzip.decompress(data) if suffix else data)["log"]
    sockets = [entry for entry in log["entries"] if entry["_resourceType"] == "websocket"]
    assert sockets
    assert all(importable(entry) for entry in sockets)
    assert errors.run(command_line, ["check", str(shareable)], "zsim") in (0, 99)
    assert errors.run(command_line, ["replay", str(shareable)], "zsim") == 2
    assert "redacted: it serves checks and reading, not replay" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([har.name, shareable.name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{r}"], "say what to write: --har F, --redact F, or both"),
        (["nowhere.jsonl", "--har", "{t}/x.har"], "nowhere.jsonl: no such file"),
        (["{r}", "--har", "{t}/no/x.har"], "No such file or directory"),
        (["{r}", "--redact", "{r}"], "cannot be redacted in its place"),
        (["{r}", "--har", "{r}"], "cannot be written over with its HAR"),
        (["{t}/bad", "--har", "{t}/x.har"], "bad:1: not JSON"),
    ],
)
def test_export_must_refuse_what_it_cannot_do_in_a_line(
    recorded: tuple[Path, list[bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "bad").write_text("hello\n")
    before = recorded[0].read_bytes()
    given = [text.replace("{r}", str(recorded[0])).replace("{t}", str(tmp_path)) for text in arguments]
    assert errors.run(command_line, ["export", *given], "zsim") == 2
    assert message in capsys.readouterr().err
    assert recorded[0].read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_recording_compressed_with_zstd_must_be_read_like_any_other(
    recorded: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    import pyarrow as pa

    path = tmp_path / "r.jsonl.zst"
    with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as file:
        file.write(recorded[0].read_bytes())
    assert replay_file(path) == replay_file(recorded[0])
    assert list(read_events(path)) == list(read_events(recorded[0]))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordingError, match=r"r\.jsonl\.zst:\d+: the compressed data are damaged"):
        replay_file(path)
    with pytest.raises(TraceError, match=r"r\.jsonl\.zst:\d+: the compressed file is damaged or cut off"):
        list(read_events(path))
