"""Everything the live face can do, over sockets and the control API, replays byte for byte."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mockrelay.admin_support import Admin, connected_to, controlling
from tests.mockrelay.live_support import Peer, connected, frozen, run, serving, user_of
from zentalk_sim.cli import errors
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.live.http import request
from zentalk_sim.trace.har import to_har
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.redact import redact
from zentalk_sim.trace.replay import ReplayResult, replay_file


def kinds(path: Path) -> set[str]:
    return {str(json.loads(line).get("e")) for line in path.read_bytes().splitlines()[1:]}


def commands(path: Path) -> set[str]:
    lines = map(json.loads, path.read_bytes().splitlines()[1:])
    return {line["command"]["command"] for line in lines if line["e"] == "control"}


async def rest(relay: Any, name: str, method: str, path: str, body: Any = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    status, _ = await request(f"{relay.http_url}{path}", method, bearer=user_of(relay, name).token, body=data)
    return status


async def everything(relay: Any, admin: Admin, alice: Peer) -> None:
    """Control calls, faults, clocks, REST and settings, one after the other."""
    bob = user_of(relay, "bob").address
    await admin.post(
        "/rules", {"match": {"event": "frame_out", "type": "MESSAGE_ACK"}, "action": {"do": "drop"}, "times": 1}
    )
    await admin.post("/rules", {"match": {"event": "frame_in", "type": "TYPING_START"}, "action": {"do": "duplicate"}})
    await alice.message(user_of(relay, "bob"))
    await alice.send("PRESENCE_SET", {"status": "away"})
    await admin.post("/clock", {"action": "advance", "ms": 31_000})
    await admin.post("/clock", {"action": "advance", "ms": 60_000, "heartbeat": "skip"})
    await admin.patch("/config", {"limits": {"typing": {"limit": 1, "window_s": 60, "burst": 1}}})
    dave = await admin.post("/users", {"name": "dave", "devices": [{"device_name": "phone", "push_token": "apns-1"}]})
    await admin.post(f"/users/{bob}/contacts", {"address": dave["address"]})
    await admin.patch(f"/users/{bob}", {"settings": {"send_read_receipts": False}})
    await admin.post(f"/users/{bob}/rotate-key", {"reason": "reinstall"})
    await admin.post(f"/users/{bob}/token", {"device_id": user_of(relay, "bob").device_id, "lifetime_s": 60})
    await admin.post("/messages", {"from": "bob", "to": "dave", "payload": {"ciphertext": "aGk="}})
    assert await rest(relay, "alice", "GET", "/api/messages") == 200
    assert await rest(relay, "alice", "PUT", "/api/settings", {"share_presence": False}) == 200
    assert await rest(relay, "alice", "POST", "/api/messages/ack", {"message_ids": []}) == 200
    assert await rest(relay, "alice", "POST", "/api/messages", {"id": "x"}) == 400
    connection = (await admin.get("/connections"))[0]["id"]
    await admin.post(f"/connections/{connection}/send", {"text": "{not json"})
    await admin.patch("/users/dave", {"suspended": True})


def settled(path: Path) -> ReplayResult:
    result = replay_file(path)
    assert result.first_difference is None, result.first_difference
    return result


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "sqlite"])
def test_faults_clocks_rest_control_and_restarts_must_replay(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "all.jsonl"
    options: dict[str, Any] = {"store": f"sqlite:{tmp_path / 'relay.db'}"} if durable else {}

    async def body() -> None:
        async with (
            serving("alice", "bob", record=str(path), clock=frozen(), **options) as relay,
            controlling(relay) as admin,
        ):
            async with connected(relay, "alice") as alice:
                await everything(relay, admin, alice)
                await admin.post("/restart")
                await alice.ws.wait_closed()
            async with connected(relay, "alice") as again:
                await again.message(user_of(relay, "bob"))
                await again.until("MESSAGE_ACK")
                await admin.delete("/connections/" + str((await admin.get("/connections"))[0]["id"]), {"how": "abort"})
            await admin.post("/reset")

    run(body())
    result = settled(path)
    assert result.outputs > 20
    assert {"upgrade", "text", "timer", "request", "control", "config", "restart", "wire", "lost", "push"} <= kinds(
        path
    )
    assert {"AddUser", "AddDevice", "IssueToken", "Suspend", "RotateKey", "MakeContacts"} <= commands(path)
    assert {"ChangeSettings", "AdvanceClock"} <= commands(path)


def test_a_space_recorded_from_amid_a_session_must_replay(tmp_path: Path) -> None:
    """The recording is asked for through the space's own control API, with its connections open."""
    path = tmp_path / "space.jsonl"

    async def body() -> None:
        async with serving("alice") as relay, controlling(relay) as outer:
            space = await outer.post("/spaces", {"seed": 5, "clock": "frozen", "users": ["alice", "bob"]})
            admin = outer.within(space)
            one, two = space["users"]
            async with connected_to(space["ws_url"], one) as alice, connected_to(space["ws_url"], two) as bob:
                await alice.message(bob.user)
                started = await admin.post("/recordings", {"action": "start"})
                await bob.until("MESSAGE_NEW")
                await alice.message(bob.user)
                await admin.post("/clock", {"action": "advance", "ms": 45_000})
                await bob.send("SUBSCRIBE", {"topics": [f"presence:{alice.user.address}"]})
                await admin.post("/restart")
                await bob.ws.wait_closed()
            await admin.post("/recordings", {"action": "stop"})
            answer = await admin.client.get(f"{admin.base}/admin/recordings/{started['id']}")
            path.write_bytes(answer.content)

    run(body())
    assert settled(path).outputs > 5
    lines = path.read_bytes().splitlines()
    assert b'"upgrade"' not in lines[1], "the connections are older than the recording"
    assert len(to_har(path)["log"]["entries"]) == 2


# --- older versions, hostile files --------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "r.jsonl"

    async def body() -> None:
        async with serving("alice", "bob", record=str(path)) as relay, connected(relay, "alice") as alice:
            await alice.message(user_of(relay, "bob"))
            await alice.until("MESSAGE_ACK")

    run(body())
    return path


def doctored(recording: Path, folder: Path, change: Any) -> Path:
    header, *events = recording.read_bytes().splitlines(keepends=True)
    found = json.loads(header)
    change(found)
    path = folder / "old.jsonl"
    path.write_bytes(json.dumps(found).encode() + b"\n" + b"".join(events))
    return path


def test_a_recording_of_an_older_minor_version_must_replay(recording: Path, tmp_path: Path) -> None:
    """Settings that did not exist then have their defaults; names that exist no more are not needed."""

    def older(header: dict[str, Any]) -> None:
        header["versions"]["zentalk_sim"] = "0.1.0"
        del header["config"]["resume"], header["config"]["integrity"]
        header["config"]["limits"].pop("auth_attempts")

    assert settled(doctored(recording, tmp_path, older)).outputs > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(zentalk_trace=2), "format 2 is not known here; this version reads format 1"),
        (lambda h: h["config"].update(teleport=True), "made by zentalk-sim 9.9.9, this is .*: header: .*teleport"),
        (lambda h: h.update(snapshot="AAAA"), "made by zentalk-sim 9.9.9, .*the snapshot cannot be restored"),
    ],
)
def test_what_another_version_wrote_and_this_one_cannot_replay_must_say_precisely_why(
    recording: Path, tmp_path: Path, change: Any, message: str
) -> None:
    def other(header: dict[str, Any]) -> None:
        header["versions"]["zentalk_sim"] = "9.9.9"
        change(header)

    path = doctored(recording, tmp_path, other)
    with pytest.raises(RecordingError, match=rf"^{path}:1: .*{message}"):
        replay_file(path)


def test_a_difference_under_another_version_must_name_both(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(header: dict[str, Any]) -> None:
        header["versions"]["zentalk_sim"] = "0.0.9"

    path = doctored(recording, tmp_path, other)
    path.write_bytes(path.read_bytes().replace(b'\\"status\\":\\"queued\\"', b'\\"status\\":\\"kept\\"'))
    assert errors.run(command_line, ["replay", str(path)], "zsim") == 99
    out = capsys.readouterr().out
    assert "recorded with zentalk-sim 0.0.9" in out
    mark = out.splitlines()[-1]
    assert mark.strip().startswith("^ differs from character")
    recorded, replayed = out.splitlines()[-3:-1]
    column = mark.index("^")
    assert recorded[:column].replace("recorded", "replayed") == replayed[:column]
    assert recorded[column] != replayed[column]
    assert "  > " in out, "the input that led to it is marked"


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@given(data=st.data())
@settings(max_examples=40)
def test_no_damage_must_do_worse_than_a_clear_error(
    recording: Path, tmp_path_factory: pytest.TempPathFactory, packed: bool, data: st.DataObject
) -> None:
    """Whatever was done to a file, every reader ends with a result or with ``file:line:``."""
    whole = gzip.compress(recording.read_bytes(), 1) if packed else recording.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, len(whole) - at))
    put = data.draw(st.binary(max_size=30))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(whole[:at] + put + whole[at + cut :])
    for read in (replay_file, to_har, lambda found: redact(found, f"{found}.out")):
        try:
            read(path)
        except RecordingError as error:
            assert str(error).startswith(f"{path}:")
