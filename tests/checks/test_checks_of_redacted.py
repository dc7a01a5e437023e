"""`zsim check` of a redacted trace: what redaction takes away is not judged, and nobody is blamed for it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.checks.recorded_pair import living, storming
from tests.trace.recorded import Bench, converse
from zentalk_sim.checks import run_file
from zentalk_sim.protocol.control import RotateKey
from zentalk_sim.trace.event_reader import read_events
from zentalk_sim.trace.redact import redact

_GROUP = "conv_g"
"""A name so short that its pseudonym is longer."""


def _send(bench: Bench, line: Any, to: str, frame_id: str, nonce: str, size: int = 9, **more: Any) -> None:
    payload = {"to": to, "ciphertext": b64encode(bytes(size)).decode(), "nonce": nonce, "message_type": "text", **more}
    frame = {"type": "MESSAGE_SEND", "id": frame_id, "timestamp": bench.now_ms(), "payload": payload}
    bench.driver.receive_text(line.conn, json.dumps(frame, separators=(",", ":")).encode())


def _keys(bench: Bench, name: str, filling: int) -> bytes:
    secret = bench.people[name][0]
    signed = bytes([filling]) * 32
    bundle = {
        "identityKey": b64encode(bench.crypto.public_key(secret)).decode(),
        "signedPreKey": {"id": 1, "key": b64encode(signed).decode()},
        "signature": b64encode(bench.crypto.sign(secret, signed)).decode(),
        "oneTimePreKeys": [{"id": 7, "key": b64encode(bytes([filling + 1]) * 32).decode()}],
    }
    return json.dumps(bundle).encode()


def keyed(path: Path, *, amid: bool = False) -> None:
    """Conversations named and not, keys published anew and changed, REST in the place of frames, a session resumed.

    ``amid``: the recording begins after the session that is resumed in it.
    """
    bench = Bench()
    alice_address, bob_address = bench.person("alice"), bench.person("bob")
    if not amid:
        bench.driver.record(str(path), 1)
    alice, bob = bench.connect("alice"), bench.connect("bob")
    if amid:
        bench.driver.record(str(path), 1)
    nonce = b64encode(b"n" * 12).decode()
    first = "11111111-1111-4111-8111-111111111111"
    _send(bench, alice, bob_address, first, nonce)
    pushed = [frame for frame in bob.frames if frame["type"] == "MESSAGE_NEW"]
    # The same message, once without the conversation's name and once with it.
    _send(bench, alice, bob_address, first, nonce, conversation_id=pushed[0]["payload"]["conversation_id"])
    # A payload that just fits a text frame, and would not with a pseudonym in the place of its conversation.
    around = {"to": bob_address, "ciphertext": "", "nonce": nonce, "message_type": "text", "conversation_id": _GROUP}
    size = (16_384 - len(json.dumps(around, separators=(",", ":")))) // 4 * 3
    fits = b64encode(b"m" * 12).decode()
    _send(bench, alice, bob_address, first.replace("1111", "2222"), fits, size, conversation_id=_GROUP)
    ids = [first, first.replace("1111", "2222")]
    small = b64encode(b"s" * 12).decode()
    _send(bench, alice, bob_address, first.replace("1111", "4444"), small, conversation_id=_GROUP)
    assert bench.rest("bob", "POST", "/api/messages/ack", json.dumps({"message_ids": ids}).encode()) == 200
    bench.send(bob, "SUBSCRIBE", {"topics": [f"keys:{alice_address}"]})
    for filling in (1, 5):
        assert bench.rest("alice", "POST", "/api/keys", _keys(bench, "alice", filling)) == 200
        assert bench.rest("bob", "GET", f"/api/keys/{alice_address}") == 200
    bench.driver.control(RotateKey(alice_address, b"k" * 32))
    for _ in range(4):
        bench.pass_ms(20_000)
        for line in (alice, bob):
            bench.send(line, "PONG", {"timestamp": bench.now_ms(), "client_time": bench.now_ms()})
    resume_token = bob.frames[1]["payload"]["resume_token"]
    bench.driver.disconnect(bob.conn, "closed")
    bob = bench.connect("bob", resume_token=resume_token)
    assert bob.frames[1]["payload"]["resumed"] is True
    _, tablet, _, _ = bench.people["bob"]
    assert bench.rest("bob", "DELETE", f"/api/devices/{tablet}") in (200, 204)
    _send(bench, alice, bob_address, first.replace("1111", "3333"), b64encode(b"o" * 12).decode())
    bench.send(alice, "MESSAGE_SEND", {"to": bob_address, "ciphertext": "no Base64", "nonce": nonce})
    bench.driver.stop()


def _driven(path: Path, drive: Any) -> None:
    async def session() -> None:
        drive(path)

    asyncio.run(session())


_TRACES: dict[str, Any] = {
    "messages, sessions and tokens, on the wire": lambda path: path.write_bytes(living().recording()),
    "a simulation's frames": lambda path: path.write_bytes(living(wire=False).recording()),
    "storm": lambda path: path.write_bytes(storming().recording()),
    "unruly client": lambda path: _driven(path, lambda path: converse(Bench(), path)),
    "begun amid sessions": lambda path: _driven(path, lambda path: converse(Bench(), path, before=3)),
    "keys and names": lambda path: _driven(path, keyed),
    "keys and names, begun amid sessions": lambda path: _driven(path, lambda path: keyed(path, amid=True)),
}


@pytest.mark.parametrize("make", _TRACES.values(), ids=_TRACES)
def test_a_check_must_never_be_broken_by_a_redacted_trace_alone(make: Any, tmp_path: Path) -> None:
    whole, redacted = tmp_path / "whole.jsonl", tmp_path / "redacted.jsonl.gz"
    make(whole)
    redact(whole, redacted)
    before = {result.id: result for result in run_file(whole).results}
    after = {result.id: result for result in run_file(redacted).results}
    blamed = {i: r.evidence for i, r in after.items() if r.verdict == "broken" and before[i].verdict != "broken"}
    assert blamed == {}
    exercised = [sum(r.verdict != "not_exercised" for r in results.values()) for results in (before, after)]
    assert exercised[1] >= 0.5 * exercised[0], "what redaction leaves is judged still"


def test_what_is_worked_out_of_pseudonyms_is_not_exercised(tmp_path: Path) -> None:
    """docs/checks.md: ids derived, fingerprints and sizes are not judged where redaction has taken them away."""
    whole, redacted = tmp_path / "whole.jsonl", tmp_path / "redacted.jsonl"
    _driven(whole, keyed)
    redact(whole, redacted)
    assert any(event.fault == "payload_requires_binary" for event in read_events(redacted) if hasattr(event, "fault"))
    before = {result.id: result.verdict for result in run_file(whole).results}
    after = {result.id: result.verdict for result in run_file(redacted).results}
    of_sizes = {"client.payload_size", "relay.text_payload"}
    assert {i: before[i] for i in of_sizes} == dict.fromkeys(of_sizes, "held")
    assert {i: after[i] for i in of_sizes} == dict.fromkeys(of_sizes, "not_exercised")
    told = ("relay.key_change_form", "relay.conversation_id", "relay.prekeys_once", "client.resend_same")
    assert {i: (before[i], after[i]) for i in told} == dict.fromkeys(told, ("held", "held"))


def test_a_ciphertext_that_is_no_base64_must_stay_one_that_is_none(tmp_path: Path) -> None:
    """Else a frame that the relay refused as malformed would look well-formed."""
    whole, redacted = tmp_path / "whole.jsonl", tmp_path / "redacted.jsonl"
    _driven(whole, keyed)
    redact(whole, redacted)
    verdicts = [{r.id: r.verdict for r in run_file(path).results} for path in (whole, redacted)]
    assert [found["client.well_formed"] for found in verdicts] == ["broken", "broken"]
    assert b"no Base64" not in redacted.read_bytes()
