"""Duplicate ids: same content, other content, over time and restarts; the Bloom filter asked first (R-5.6)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_support import DAY_S, header, leave, loose, outlive, pending
from relay_world import Json, Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import DedupConfig, Limit, Limits
from zentalk_sim.protocol.dedup import SeenIds
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.timers import NEVER

NONCE = b64(bytes(range(12)))


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


def sent(line: Line, to: Person | str, **fields: Any) -> Json:
    """Send with the one nonce; the answer to it."""
    line.clear()
    line.message(to, **{"nonce": NONCE, **fields})
    answer: Json = next(f for f in line.frames if f["type"] in ("MESSAGE_ACK", "ERROR"))["payload"]
    return answer


@pytest.mark.requirement("R-5.6", "table:Replay Attack Prevention/Message ID")
def test_the_same_content_again_must_be_acknowledged_as_first_and_delivered_once(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob", devices=2)
    a, b = alice.connect(), bob.connect()
    message_id = world.uuid()
    first = sent(a, bob, id=message_id)
    world.advance(3)
    bob.rest("DELETE", f"/api/devices/{bob.devices[1]}")
    again = sent(a, bob, id=message_id.upper())
    assert again == first | {"status": "duplicate"}
    assert again["recipient_devices"] == 2, "as first answered"
    assert len(b.of("MESSAGE_NEW")) == 1
    assert world.count("messages.duplicate") == 1
    assert pending(world) == 1


@pytest.mark.requirement("R-5.6")
def test_a_duplicate_must_be_known_as_such_whatever_spelling_and_framing(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    message_id = world.uuid()
    sent(a, bob, id=message_id, x3dh_header=header(alice))
    derived = conversation_id(alice.address, bob.address)
    shout = "0x" + bob.address[2:].upper()
    for fields in ({}, {"conversation_id": derived}, {"unknown_field": 1}):
        head = header(alice) | {"one_time_key_id": None}
        assert sent(a, shout, id=message_id, x3dh_header=head, **fields)["status"] == "duplicate"
    payload = (
        f'{{"nonce":"{NONCE}","x3dh_header":{{"ephemeral_key":"{header(alice)["ephemeral_key"]}","identity_key":'
        f'"{header(alice)["identity_key"]}"}},"message_type":"text","ciphertext":"{b64(b"hello")}","to":"{shout}"}}'
    ).encode()
    head_bytes = bytes([2]) + bytes.fromhex(message_id.replace("-", "")) + world.now_ms.to_bytes(8, "big")
    a.clear()
    a.raw(head_bytes + len(payload).to_bytes(4, "big") + payload)
    assert a.last("MESSAGE_ACK")["status"] == "duplicate"
    assert world.count("copies.stored") == 1


@pytest.mark.requirement("R-5.6")
@pytest.mark.parametrize(
    "change",
    [
        {"ciphertext": b64(b"other")},
        {"nonce": b64(bytes(12))},
        {"message_type": "image"},
        {"conversation_id": "conv_other"},
        {"x3dh_header": "hers"},
        {"to": "carol"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_content_under_the_id_must_be_refused(world: RelayWorld, change: dict[str, Any]) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a = alice.connect()
    message_id = world.uuid()
    sent(a, bob, id=message_id)
    if "x3dh_header" in change:
        change = {"x3dh_header": header(alice)}
    answer = sent(a, carol if "to" in change else bob, id=message_id, **{k: v for k, v in change.items() if k != "to"})
    assert (answer["error_code"], answer["details"]["reason"]) == ("INVALID_MESSAGE", "duplicate_id")
    assert world.count("copies.stored") == 1


@pytest.mark.requirement("R-1.2")
def test_an_id_that_another_sender_holds_must_be_refused(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, c = alice.connect(), carol.connect()
    message_id = world.uuid()
    sent(a, bob, id=message_id)
    assert sent(c, bob, id=message_id)["details"]["reason"] == "duplicate_id"


@pytest.mark.requirement("R-5.6", "R-1.8")
def test_a_duplicate_must_consume_no_limit_and_pass_where_the_limit_is_spent() -> None:
    world = RelayWorld(loose(limits=Limits(send_message=Limit(limit=2, window_s=60))))
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    message_id = world.uuid()
    sent(a, bob, id=message_id)
    for _ in range(5):
        assert sent(a, bob, id=message_id)["status"] == "duplicate"
    a.message(bob)
    a.message(bob)
    assert a.error()["details"]["current_count"] == 2
    assert sent(a, bob, id=message_id)["status"] == "duplicate"


@pytest.mark.requirement("R-5.6")
@pytest.mark.parametrize("hours", [1, 24, 49, 29 * 24])
@pytest.mark.parametrize("restart", [False, True], ids=["same_relay", "restarted"])
def test_a_duplicate_must_be_known_as_long_as_the_index_holds_it(world: RelayWorld, hours: int, restart: bool) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a = alice.connect()
    message_id = world.uuid()
    first = sent(a, bob, id=message_id)
    leave(a)
    for _ in range(hours // 8):
        # Others write meanwhile, so that the filter's generations turn.
        outlive(world, 8 * 3600)
        line = carol.connect()
        line.message(bob)
        leave(line)
    outlive(world, hours % 8 * 3600)
    if restart:
        world.relays[0] = Relay.restored(world.relay.snapshot(), world.config)
        world.store = world.relay.store
    a = alice.connect()
    assert sent(a, bob, id=message_id) == first | {"status": "duplicate"}
    assert sent(a, bob, id=message_id, ciphertext="")["details"]["reason"] == "duplicate_id"


@pytest.mark.requirement("R-5.6", "R-6.5")
def test_an_id_that_the_index_has_forgotten_must_be_new_again(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    message_id = world.uuid()
    sent(a, bob, id=message_id)
    leave(a)
    outlive(world, 30 * DAY_S)
    assert sent(alice.connect(), bob, id=message_id)["status"] == "queued"


# --- the filter ------------------------------------------------------------------------------------------


def uuid(number: int) -> str:
    text = f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@pytest.mark.requirement("R-5.6")
def test_the_filter_must_answer_for_new_ids_without_the_index() -> None:
    seen = SeenIds(DedupConfig())
    for number in range(1000):
        seen.add(uuid(number), number)
    assert all(seen.may_hold(uuid(number), 0) for number in range(1000))
    assert sum(seen.may_hold(uuid(number), 0) for number in range(1000, 11_000)) <= 10


@pytest.mark.requirement("R-5.6")
def test_the_index_must_be_asked_only_where_the_filter_may_hold_the_id(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    first = a.message(bob)
    asked: list[str] = []

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    world.store.messages = Watched(world.store.messages)
    new = a.message(bob)
    assert asked == []
    a.message(bob, id=first)
    assert asked == [first]
    assert new in world.store.messages


@pytest.mark.requirement("R-5.6")
def test_the_filter_must_remember_between_24_and_48_h_and_then_leave_it_to_the_index() -> None:
    day = DAY_S * 1_000_000
    seen = SeenIds(DedupConfig())
    seen.add(uuid(1), 0)
    seen.add(uuid(2), day - 1)
    seen.add(uuid(3), day)
    assert seen.oldest_covered_us == 0, "the first generation still stands"
    seen.add(uuid(4), 2 * day)
    assert seen.oldest_covered_us == day
    assert not seen.may_hold(uuid(1), day), "gone from the filter, and the index holds nothing older"
    assert seen.may_hold(uuid(1), day - 1), "the index holds older ids, so it is to be asked"
    assert seen.may_hold(uuid(3), day)
    assert not seen.may_hold(uuid(9), NEVER), "an empty index holds nothing"


@pytest.mark.requirement("R-5.6")
def test_a_long_silence_must_outdate_both_generations() -> None:
    day = DAY_S * 1_000_000
    seen = SeenIds(DedupConfig())
    assert seen.may_hold(uuid(1), 5), "a filter that was told nothing vouches for nothing"
    seen.add(uuid(1), 0)
    seen.add(uuid(2), 5 * day)
    assert seen.oldest_covered_us == 5 * day
    assert not seen.may_hold(uuid(1), 5 * day)


def test_ids_with_every_top_bit_must_fit_the_filters_hash() -> None:
    seen = SeenIds(DedupConfig())
    for text in ("00000000", "7fffffff", "80000000", "ffffffff"):
        message_id = f"{text}-ffff-ffff-ffff-ffffffffffff"
        seen.add(message_id, 0)
        assert seen.may_hold(message_id, 0)
