"""A recording's actions lived again: what is lifted, what the client core decides anew, what other settings change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.trace.recorded import Bench, Line, converse
from zentalk_sim.cli import errors
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.experiment import whatif
from zentalk_sim.experiment.runner import run_experiment
from zentalk_sim.files.yaml import FileFaults
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.trace.event_reader import TraceError, read_events
from zentalk_sim.trace.events import Response
from zentalk_sim.trace.lift import Lifted, lift
from zentalk_sim.trace.recording import RecordingError
from zentalk_sim.trace.redact import redact
from zentalk_sim.trace.relay_view import relay_view
from zentalk_sim.trace.replay import replay_file

NOTHING = "{}\n"


def session(path: Path, *, before: int = 0) -> None:
    """Alice and Bob talk; Bob's connection breaks and comes back, Alice sends one message twice and then leaves."""
    bench = Bench()
    alice_address, bob_address = bench.person("alice"), bench.person("bob")
    if before:
        early = bench.connect("alice")
        bench.driver.record(str(path), 1)
        alice = early
    else:
        bench.driver.record(str(path), 1)
        alice = bench.connect("alice")
    bob = bench.connect("bob")
    both = conversation_id(alice_address, bob_address)
    bench.send(bob, "SUBSCRIBE", {"topics": [f"presence:{alice_address}"]})
    bench.send(alice, "TYPING_START", {"conversation_id": both})
    bench.pass_ms(1_000)
    first = bench.message(alice, bob_address, b"x" * 300)
    twice = bench.last_text
    bench.driver.receive_text(alice.conn, twice.encode())
    bench.send(bob, "MESSAGE_RECEIVED", {"message_id": first})
    bench.pass_ms(500)
    bench.send(bob, "MESSAGE_READ", {"message_id": first})
    bench.send(bob, "MESSAGE_READ", {"message_id": first})
    bench.send(alice, "PRESENCE_SET", {"status": "away"})
    bench.send(alice, "PRESENCE_SET", {"status": "away"})
    bench.driver.disconnect(bob.conn, "lost")
    bench.pass_ms(2_000)
    second = bench.message(alice, bob_address, b"y" * 40)
    bob = bench.connect("bob")
    bench.send(bob, "SUBSCRIBE", {"topics": [f"presence:{alice_address}"]})
    bench.rest("bob", "GET", "/api/messages")
    bench.rest("bob", "POST", "/api/messages/ack", json.dumps({"message_ids": [second]}).encode())
    bench.rest("bob", "PUT", "/api/settings", b"{}")
    bench.pass_ms(1_000)
    bench.driver.disconnect(alice.conn, "closed")
    bench.pass_ms(1_000)
    bench.driver.stop()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "talk.jsonl"

    async def body() -> None:
        session(path)

    asyncio.run(body())
    assert replay_file(path).first_difference is None
    return path


@pytest.fixture(scope="module")
def lifted(recording: Path) -> Lifted:
    return lift(recording)


def test_what_the_applications_did_must_be_lifted_and_nothing_else(lifted: Lifted) -> None:
    owners = {device: address for address, user in lifted.users.items() for device in user.devices}
    alice, bob = lifted.users
    said = [
        (action.at_us // 1000, "alice" if owners[action.device] == alice else "bob", action.kind)
        for action in lifted.actions
    ]
    assert said == [
        (0, "alice", "connect"),
        (0, "bob", "connect"),
        (0, "bob", "subscribe"),
        (0, "alice", "typing_start"),
        (1_000, "alice", "send"),
        (1_500, "bob", "read"),
        (1_500, "alice", "presence"),
        (3_500, "alice", "send"),
        (4_500, "alice", "close"),
    ]
    sends = [action for action in lifted.actions if action.kind == "send"]
    assert [(action.to, action.size) for action in sends] == [(bob, 300), (bob, 40)]
    assert lifted.actions[5].id == sends[0].id
    assert lifted.left_out == {"PUT /api/settings": 1}


def relive(lifted: Lifted, folder: Path, fragment: str = NOTHING, **options: Any) -> Any:
    path = folder / "what_if.yaml"
    path.write_text(fragment)
    experiment = whatif.experiment_of(lifted, "talk.jsonl", str(path), **options)
    return run_experiment(experiment, out=folder / "run", trace="full", plots=False, world_of=whatif.world_of(lifted))


def test_the_same_actions_must_come_to_the_same_where_nothing_is_changed(lifted: Lifted, tmp_path: Path) -> None:
    counts = relive(lifted, tmp_path).summary["counts"]
    assert (counts["messages.sent"], counts["messages.shown"], counts["messages.read"]) == (2, 2, 1)
    assert counts["connections.attempted"] == 2, "Bob's loss was the network's, which is not lifted"
    assert counts["connections.closed.1000"] == 1
    view = relay_view(read_events(tmp_path / "run" / "trace.jsonl"))
    assert view.counts["messages.arrived"] == 2
    assert view.counts.get("messages.arrived_again", 0) == 0


def test_sizes_must_be_kept_and_the_run_be_the_same_each_time(lifted: Lifted, tmp_path: Path) -> None:
    from zentalk_sim.report.run import load

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = relive(lifted, tmp_path / "a"), relive(lifted, tmp_path / "b")
    assert one.summary["digest"] == two.summary["digest"]
    assert load(one.folder).messages["bytes"].tolist() == [300, 40]


def test_another_network_must_show_in_the_latencies(lifted: Lifted, tmp_path: Path) -> None:
    far = "network: {far: {latency: {dist: constant, delay: 300ms}, tls_round_trips: 1}}\n"
    slow = "population: {networks: {far: 1}}\n" + far
    outcome = relive(lifted, tmp_path, slow)
    assert outcome.summary["metrics"]["delivery_latency_ms"]["p50"] >= 600
    view = relay_view(read_events(tmp_path / "run" / "trace.jsonl"))
    assert min(view.delivery_us) >= 600_000, "down to Bob and his confirmation back up"


def test_a_fault_must_have_the_client_core_decide_anew(lifted: Lifted, tmp_path: Path) -> None:
    outcome = relive(lifted, tmp_path, "faults: [{at: 2s, do: reset_connections}]\n")
    counts = outcome.summary["counts"]
    assert counts["connections.closed.1006"] == 2
    assert counts["connections.authenticated"] == 4
    assert counts["messages.shown"] == 2


def test_a_limit_must_be_taken_from_the_fragment(lifted: Lifted, tmp_path: Path) -> None:
    tight = "relay: {limits: {send_message: {limit: 1, window: 1h, burst: 1}}}\n"
    outcome = relive(lifted, tmp_path, tight)
    assert outcome.summary["counts"]["rate_limited.send_message"] >= 1


def test_settings_must_come_from_the_recording_where_the_fragment_is_silent(recording: Path, tmp_path: Path) -> None:
    lines = recording.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0])
    header["config"]["heartbeat"] = {"interval_ms": 7_000}
    path = tmp_path / "r.jsonl"
    path.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(lines[1:]))
    found = whatif.experiment_of(lift(path), str(path), None)
    assert found.relay.heartbeat.interval_ms == 7_000
    assert found.name == "r-again"
    assert found.population.devices == 2


def test_a_recording_begun_amid_a_session_must_have_its_devices_connected_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "late.jsonl"

    async def body() -> None:
        session(path, before=1)

    asyncio.run(body())
    found = lift(path)
    assert (found.actions[0].kind, found.actions[0].at_us) == ("connect", 0)
    assert relive(found, tmp_path).summary["counts"]["messages.shown"] == 2


def test_what_waited_when_the_recording_began_must_wait_again(tmp_path: Path) -> None:
    """Bob was away while Alice wrote: he fetches what waited for him, reads it, and Alice's receipts come."""
    path = tmp_path / "waiting.jsonl"

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bob_address = bench.person("bob")
        line = bench.connect("alice")
        ids = [bench.message(line, bob_address, b"w" * size) for size in (10, 20)]
        bench.pass_ms(60_000)
        bench.driver.record(str(path), 1)
        bob = bench.connect("bob")
        bench.rest("bob", "GET", "/api/messages")
        for message_id in ids:
            bench.send(bob, "MESSAGE_RECEIVED", {"message_id": message_id})
        bench.send(bob, "MESSAGE_READ", {"message_id": ids[0]})
        bench.pass_ms(1_000)
        bench.driver.stop()

    asyncio.run(body())
    found = lift(path)
    assert found.left_out == {}
    assert found.waiting.count == 2
    outcome = relive(found, tmp_path)
    assert outcome.summary["checks"] == [{"id": "ledgers", "held": True, "value": None}]
    counts = outcome.summary["counts"]
    assert (counts["copies.carried_over"], counts["copies.confirmed"], counts["messages.shown"]) == (2, 2, 2)
    assert counts["messages.read"] == 1
    views = [relay_view(read_events(at)) for at in (path, tmp_path / "run" / "trace.jsonl")]
    for name in ("copies.confirmed", "messages.delivered", "messages.read"):
        assert views[0].counts[name] == views[1].counts[name], name
    accepted_ms = [message.body.timestamp for message in found.waiting.messages if message.body is not None]
    fetched = [e.body for e in read_events(tmp_path / "run" / "trace.jsonl") if type(e) is Response and e.status == 200]
    (first, *_) = [body["messages"] for body in fetched if "messages" in body]
    listed = [message["timestamp"] for message in first]
    later_ms = listed[0] - accepted_ms[0]
    assert listed == [accepted + later_ms for accepted in accepted_ms]
    begins_ms = next(iter(read_events(tmp_path / "run" / "trace.jsonl"))).t // 1000
    assert begins_ms - listed[0] == 60_000, "as long ago as it was"


@pytest.mark.parametrize("before", [0, 3])
def test_a_session_with_everything_in_it_must_be_lived_again(tmp_path: Path, before: int) -> None:
    path = tmp_path / "all.jsonl"

    async def body() -> None:
        converse(Bench(), path, before=before)

    asyncio.run(body())
    outcome = relive(lift(path), tmp_path)
    assert outcome.summary["checks"] == [{"id": "ledgers", "held": True, "value": None}]
    assert outcome.summary["counts"]["messages.sent"] >= 2


def test_a_device_that_never_came_back_must_be_closed_where_it_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bench.person("bob")
        bench.driver.record(str(path), 1)
        line = bench.connect("alice")
        bench.pass_ms(5_000)
        bench.driver.disconnect(line.conn, "lost")
        bench.pass_ms(70_000)
        bench.connect("bob")
        bench.driver.stop()

    asyncio.run(body())
    found = [(action.kind, action.at_us // 1_000_000) for action in lift(path).actions]
    assert found == [("connect", 0), ("close", 5), ("connect", 75)]


def test_a_restart_must_count_as_a_loss_of_all_and_not_as_an_action(tmp_path: Path) -> None:
    path = tmp_path / "restart.jsonl"

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bench.driver.record(str(path), 1)
        bench.connect("alice")
        bench.pass_ms(2_000)
        bench.driver.restart()
        bench.pass_ms(3_000)
        bench.renew("alice")
        line = bench.connect("alice")
        bench.pass_ms(1_000)
        bench.driver.disconnect(line.conn, "closed")
        bench.driver.stop()

    asyncio.run(body())
    found = lift(path)
    assert [(action.kind, action.at_us // 1_000_000) for action in found.actions] == [("connect", 0), ("close", 6)]
    assert found.left_out == {"restarts of the relay": 1}
    view = relay_view(read_events(path))
    assert (view.counts["restarts"], [value // 1_000_000 for value in view.away_us]) == (1, [3])


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("workload: {reads: {probability: 1}}", r":1:1: `workload`: what clients do comes from the recording"),
        ("population: {devices: 9}", r":1:14: `population\.devices`: who takes part comes from the recording"),
        ("population:\n  contacts: 9\n  users: 2", r":2:3: `population\.contacts`"),
        ("- 1", "must be a mapping"),
        ("netwrk: {}", r":1:1: unknown key `netwrk`"),
        ("faults: [{at: 1s, do: explode}]", r":1:23: .*explode"),
    ],
)
def test_a_fragment_that_speaks_of_people_or_of_nothing_known_must_be_refused(
    lifted: Lifted, tmp_path: Path, fragment: str, message: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(fragment)
    with pytest.raises(FileFaults, match=rf"f\.yaml{message}|{message}"):
        whatif.experiment_of(lifted, "talk.jsonl", str(path))


def test_a_setting_that_speaks_of_people_must_be_refused(lifted: Lifted) -> None:
    with pytest.raises(FileFaults, match=r"-S population\.devices=3: who takes part"):
        whatif.experiment_of(lifted, "talk.jsonl", None, ("population.devices=3",))


def test_a_redacted_recording_and_a_simulations_trace_must_be_refused(recording: Path, tmp_path: Path) -> None:
    redact(recording, tmp_path / "red.jsonl")
    with pytest.raises(TraceError, match="redacted: it serves checks and reading, not replay"):
        lift(tmp_path / "red.jsonl")
    simulated = {"zentalk_trace": 1, "extent": "full", "seed": 1}
    (tmp_path / "sim.jsonl").write_text(json.dumps(simulated) + "\n")
    with pytest.raises(TraceError, match="trace of a simulation; run its experiment again"):
        lift(tmp_path / "sim.jsonl")
    with pytest.raises(RecordingError, match="trace of a simulation, not a recording"):
        replay_file(tmp_path / "sim.jsonl")


def test_a_recording_in_which_nobody_connects_must_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    async def body() -> None:
        bench = Bench()
        bench.person("alice")
        bench.driver.record(str(path), 1)
        bench.driver.connect(Line(), bench.upgrade("alice", device_id="nonsense"))
        bench.driver.stop()

    asyncio.run(body())
    with pytest.raises(TraceError, match="no device was ever connected"):
        lift(path)


# --- the command --------------------------------------------------------------------------------------


def test_the_command_must_lay_both_sessions_side_by_side(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fragment = tmp_path / "f.yaml"
    fragment.write_text("faults: [{at: 2s, do: reset_connections}]\n")
    asked = ["replay", str(recording), "--what-if", str(fragment), "--out", str(tmp_path / "run"), "--no-plots"]
    assert errors.run(command_line, asked, "zsim") == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if "messages that reached the relay" in line)
    assert line.split()[-2:] == ["2", "2"]
    assert "Not lifted: 1 PUT /api/settings" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"summary.json", "messages.parquet", "trace.jsonl", "report.html", "side_by_side.json"} <= names
    assert errors.run(command_line, ["check", str(tmp_path / "run")], "zsim") == 0


def test_options_of_what_if_must_be_refused_without_it(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert errors.run(command_line, ["replay", str(recording), "--seed", "3"], "zsim") == 2
    assert "go with --what-if" in capsys.readouterr().err
