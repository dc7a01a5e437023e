"""Devices, keys, settings and tokens over REST, and how every request is refused (R-3.3, R-6.8, R-7.1, R-7.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from relay_support import bundle, key_of, loose
from relay_world import Person, RelayWorld, b64

from zentalk_sim.protocol.config import DeviceConfig, UpgradeConfig
from zentalk_sim.protocol.control import RotateKey, Suspend
from zentalk_sim.protocol.effects import Respond
from zentalk_sim.protocol.identity import address_of, token_signed_data

PHONE = {"device_name": "phone", "device_type": "mobile"}


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


# --- every request -----------------------------------------------------------------------------------------


@pytest.mark.requirement("table:Error Codes/NOT_FOUND")
def test_an_unknown_path_must_be_404(world: RelayWorld) -> None:
    alice = world.person("alice")
    for path in ("/api", "/api/message", "/api/messages/", "/api/keys/a/b", "/" + "x" * 10_000):
        answer = alice.rest("GET", path)
        assert (answer.status, answer.body["error_code"]) == (404, "NOT_FOUND")
        assert len(answer.body["message"]) < 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/messages", "GET, POST"),
        ("GET", "/api/messages/ack", "POST"),
        ("POST", "/api/settings", "PUT, GET"),
        ("GET", "/api/token", "POST"),
        ("get", "/api/devices", "POST, GET"),
    ],
)
def test_another_method_must_be_405_and_name_those_allowed(
    world: RelayWorld, method: str, path: str, allowed: str
) -> None:
    """RFC 9110 §15.5.6; methods are case-sensitive (§9.1)."""
    answer = world.person("alice").rest(method, path)
    assert answer.status == 405
    assert answer.headers == (("Allow", allowed),)
    assert ", ".join(answer.body["details"]["allowed"]) == allowed
    assert method in answer.body["message"]


@pytest.mark.requirement("R-3.3")
def test_a_bearer_token_must_be_one_of_this_relay(world: RelayWorld) -> None:
    alice = world.person("alice")
    good = alice.token()
    other = RelayWorld(loose(), seed=2)
    foreign = other.person("alice").token()
    for bearer, says in ((None, "missing"), ("x", "token:"), (good[:-4] + "AAAA", "token:"), (foreign, "token:")):
        answer = alice.rest("GET", "/api/devices", bearer=bearer)
        assert (answer.status, answer.body["error_code"]) == (401, "UNAUTHORIZED")
        assert says in answer.body["message"]
        assert answer.headers == (("WWW-Authenticate", "Bearer"),)
        assert good not in answer.body["message"]


@pytest.mark.requirement("R-3.3", "R-9.1")
def test_either_kind_of_token_must_serve_until_its_grace_is_over(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.connect()
    session_token = line.session["session_token"]
    short = alice.token(lifetime_s=60)
    line.lose()
    assert alice.rest("GET", "/api/devices", bearer=session_token).status == 200
    world.advance(60 + 300)
    assert alice.rest("GET", "/api/devices", bearer=short).status == 200
    world.advance_us(1)
    answer = alice.rest("GET", "/api/devices", bearer=short)
    assert (answer.status, answer.body["details"]) == (401, {"expired_at": world.now_ms - 300_000})


@pytest.mark.requirement("R-3.2")
def test_a_suspended_account_must_be_403_and_admitted_again_when_it_is_lifted(world: RelayWorld) -> None:
    alice = world.person("alice")
    world.control(Suspend(alice.address))
    answer = alice.rest("GET", "/api/messages")
    assert (answer.status, answer.body["error_code"]) == (403, "FORBIDDEN")
    assert "suspended" in answer.body["message"]
    world.control(Suspend(alice.address, False))
    assert alice.rest("GET", "/api/messages").status == 200


def test_a_token_of_one_who_is_not_registered_must_be_401(world: RelayWorld) -> None:
    alice = world.person("alice")
    token = alice.token()
    del world.store.users[alice.address]
    assert alice.rest("GET", "/api/messages", bearer=token).status == 401


# --- devices -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-7.1")
def test_a_device_must_be_registered_listed_changed_and_removed(world: RelayWorld) -> None:
    alice = world.person("alice", devices=0)
    alice.devices = [world.uuid()]
    new = {"device_id": alice.devices[0].upper(), **PHONE, "push_token": "p1"}
    answer = alice.rest("POST", "/api/devices", new)
    assert answer.status == 201
    assert answer.body == {
        "device_id": alice.devices[0],
        "device_name": "phone",
        "device_type": "mobile",
        "push_token": "p1",
        "registered_at": world.now_ms,
        "last_active": None,
    }
    world.advance(1)
    again = alice.rest("POST", "/api/devices", {**new, "device_name": "ф" * 64, "push_token": None})
    assert (again.status, again.body["device_name"]) == (200, "ф" * 64)
    assert again.body["registered_at"] == world.now_ms - 1000, "changed, not made anew"
    assert again.body["push_token"] == "p1", "a push token not given is kept"
    alice.connect()
    listed = alice.rest("GET", "/api/devices").body
    assert listed == [again.body | {"last_active": world.now_ms}]
    assert alice.rest("DELETE", f"/api/devices/{alice.devices[0].upper()}").status == 204
    assert alice.rest("GET", "/api/devices").body == []


@pytest.mark.requirement("R-7.1")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device_id": "phone"}, "device_id"),
        ({"device_name": "x" * 65}, "device_name"),
        ({"device_name": 5}, "device_name"),
        ({"device_type": "watch"}, "device_type"),
        ({"push_token": 1}, "push_token"),
    ],
)
def test_a_device_of_another_form_must_be_refused_by_field(
    world: RelayWorld, change: dict[str, Any], field: str
) -> None:
    alice = world.person("alice")
    answer = alice.rest("POST", "/api/devices", {"device_id": world.uuid(), **PHONE} | change)
    assert answer.status == 400
    assert answer.body["details"] == {"reason": "malformed", "field": field}
    assert len(world.store.users[alice.address].devices) == 1


@pytest.mark.requirement("R-7.1")
def test_the_longest_name_must_be_a_setting() -> None:
    world = RelayWorld(loose(devices=DeviceConfig(max_name_characters=4)))
    alice = world.person("alice")
    assert alice.rest("POST", "/api/devices", {"device_id": world.uuid(), **PHONE}).status == 400


@pytest.mark.requirement("R-7.1")
def test_removing_what_there_is_not_must_be_404(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    for device in ("nonsense", world.uuid(), bob.devices[0]):
        assert alice.rest("DELETE", f"/api/devices/{device}").status == 404
    assert bob.devices[0] in world.store.users[bob.address].devices


# --- keys --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-6.8")
def test_each_one_time_pre_key_must_be_handed_out_once_then_null(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    assert bob.rest("POST", "/api/keys", bundle(bob, (5, 3))).body == {"oneTimePreKeys": 2}
    got = [alice.rest("GET", f"/api/keys/{bob.address.upper().replace('0X', '0x')}").body for _ in range(3)]
    assert [keys["oneTimePreKey"] for keys in got] == [
        {"id": 5, "key": key_of(5)},
        {"id": 3, "key": key_of(3)},
        None,
    ]
    assert got[0] | {"oneTimePreKey": None} == got[2]
    as_json = msgspec.json.decode(msgspec.json.encode(got[2]))
    assert as_json == {
        "identityKey": b64(bob.key),
        "signedPreKey": {"id": 7, "key": b64(key_of(200))},
        "signature": bundle(bob)["signature"],
        "oneTimePreKey": None,
    }


@pytest.mark.requirement("R-6.8")
def test_a_second_publication_must_add_and_not_revive_what_was_handed_out(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    bob.rest("POST", "/api/keys", bundle(bob, (1, 2)))
    alice.rest("GET", f"/api/keys/{bob.address}")
    assert bob.rest("POST", "/api/keys", bundle(bob, (1, 3))).body == {"oneTimePreKeys": 2}
    ids = [alice.rest("GET", f"/api/keys/{bob.address}").body["oneTimePreKey"] for _ in range(3)]
    assert [key and key["id"] for key in ids] == [2, 3, None]
    new = {"id": 1, "key": b64(key_of(99))}
    bob.rest("POST", "/api/keys", bundle(bob, oneTimePreKeys=[new]))
    assert alice.rest("GET", f"/api/keys/{bob.address}").body["oneTimePreKey"] == {"id": 1, "key": key_of(99)}


@pytest.mark.requirement("R-6.8")
def test_at_most_200_pre_keys_must_be_kept(world: RelayWorld) -> None:
    bob = world.person("bob")
    assert bob.rest("POST", "/api/keys", bundle(bob, tuple(range(201)))).status == 403
    assert bob.rest("POST", "/api/keys", bundle(bob, tuple(range(200)))).status == 200
    answer = bob.rest("POST", "/api/keys", bundle(bob, (200,)))
    assert (answer.status, answer.body["details"]) == (403, {"kept": 201})
    assert len(world.store.users[bob.address].prekeys.one_time) == 200  # type: ignore[union-attr]


@pytest.mark.requirement("R-6.8")
def test_pre_keys_given_away_and_never_used_must_make_room_for_new_ones(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    bob.rest("POST", "/api/keys", bundle(bob, tuple(range(200))))
    for _ in range(3):
        alice.rest("GET", f"/api/keys/{bob.address}")
    assert bob.rest("POST", "/api/keys", bundle(bob, (200, 201))).body == {"oneTimePreKeys": 199}
    kept = world.store.users[bob.address].prekeys
    assert kept is not None
    # The oldest two of the three are forgotten; the third may still be named by a message.
    assert (len(kept.one_time), list(kept.handed_out)) == (200, [2])
    assert bob.rest("POST", "/api/keys", bundle(bob, (202, 203))).status == 403


@pytest.mark.requirement("R-6.8")
def test_the_bound_must_grow_with_the_users_devices(world: RelayWorld) -> None:
    bob = world.person("bob", devices=2)
    assert bob.rest("POST", "/api/keys", bundle(bob, tuple(range(400)))).status == 200
    assert bob.rest("POST", "/api/keys", bundle(bob, (400,))).status == 403


@pytest.mark.requirement("R-6.8")
def test_keys_that_are_not_there_must_be_404(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    for address in (bob.address, "0x" + "00" * 20, "bob"):
        assert alice.rest("GET", f"/api/keys/{address}").status == 404


@pytest.mark.requirement("R-6.8")
def test_a_bundle_must_be_the_callers_own_signed_and_of_the_right_form(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    assert alice.rest("POST", "/api/keys", bundle(bob)).status == 403
    forged = bundle(alice) | {"signature": bundle(bob)["signature"]}
    assert alice.rest("POST", "/api/keys", forged).status == 401
    short = bundle(alice) | {"oneTimePreKeys": [{"id": 1, "key": b64(b"short")}]}
    answer = alice.rest("POST", "/api/keys", short)
    assert (answer.status, answer.body["details"]["field"]) == (400, "oneTimePreKeys[0].key")
    missing = bundle(alice)
    del missing["signedPreKey"]["id"]
    assert alice.rest("POST", "/api/keys", missing).body["details"]["field"] == "signedPreKey.id"


@pytest.mark.requirement("R-6.8", "R-7.5")
def test_a_rotated_key_must_take_the_old_bundle_with_it(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    bob.rest("POST", "/api/keys", bundle(bob))
    world.control(RotateKey(bob.address, b"k" * 32))
    assert alice.rest("GET", f"/api/keys/{bob.address}").status == 404


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-7.3")
def test_settings_must_have_their_defaults_and_merge(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    defaults = {
        "share_presence": True,
        "show_last_seen": True,
        "send_read_receipts": True,
        "typing_disabled_for": [],
    }
    first = alice.rest("GET", "/api/settings").body
    assert msgspec.to_builtins(first) == defaults
    change = {"send_read_receipts": False, "unknown": 1}
    assert msgspec.to_builtins(alice.rest("PUT", "/api/settings", change).body) == defaults | {
        "send_read_receipts": False
    }
    shout = "0x" + bob.address[2:].upper()
    answer = alice.rest("PUT", "/api/settings", {"typing_disabled_for": [shout]})
    assert msgspec.to_builtins(answer.body)["typing_disabled_for"] == [bob.address]
    assert msgspec.to_builtins(first) == defaults, "an answer does not change afterwards"
    assert msgspec.to_builtins(bob.rest("GET", "/api/settings").body) == defaults


@pytest.mark.requirement("R-7.3")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"share_presence": "no"}, "share_presence"),
        ({"typing_disabled_for": ["bob"]}, "typing_disabled_for[0]"),
        ({"show_last_seen": None}, "show_last_seen"),
    ],
)
def test_settings_of_another_form_must_be_refused_whole(world: RelayWorld, body: dict[str, Any], field: str) -> None:
    alice = world.person("alice")
    answer = alice.rest("PUT", "/api/settings", {"send_read_receipts": False} | body)
    assert (answer.status, answer.body["details"]["field"]) == (400, field)
    assert alice.rest("GET", "/api/settings").body.send_read_receipts is True


# --- tokens ------------------------------------------------------------------------------------------------


def ask_token(person: Person, secret: bytes | None = None, **changes: Any) -> Respond:
    world = person.world
    device_id = changes.get("device_id", person.devices[0])
    timestamp = changes.get("timestamp", world.now_ms)
    signature = world.crypto.sign(secret or person.secret, token_signed_data(device_id, timestamp))
    body = {
        "identity_key": b64(person.key),
        "device_id": device_id,
        "timestamp": timestamp,
        "signature": b64(signature),
    }
    return person.rest("POST", "/api/token", body | changes, bearer=None)


@pytest.mark.requirement("R-3.3", "table:Token Refresh/Token lifetime")
def test_a_token_must_be_issued_for_24_h_to_whoever_proves_her_key(world: RelayWorld) -> None:
    alice = world.person("alice")
    answer = ask_token(alice)
    assert answer.status == 200
    assert answer.body["expires_at"] == world.now_ms + 86_400_000
    alice.connect(token=answer.body["token"])
    assert alice.rest("GET", "/api/devices", bearer=answer.body["token"]).status == 200


@pytest.mark.requirement("R-3.3")
def test_a_wrong_signature_or_an_unknown_identity_must_be_401_and_a_stale_time_400(world: RelayWorld) -> None:
    alice = world.person("alice")
    stranger = Person(world, "mallory", "", b"m" * 32, world.crypto.public_key(b"m" * 32), [world.uuid()])
    for answer in (ask_token(alice, secret=b"m" * 32), ask_token(stranger)):
        assert (answer.status, answer.body["error_code"]) == (401, "UNAUTHORIZED")
    assert ask_token(alice, timestamp=world.now_ms - 300_000).status == 200
    for timestamp in (world.now_ms - 300_001, world.now_ms + 300_001):
        answer = ask_token(alice, timestamp=timestamp)
        assert (answer.status, answer.body["details"]["reason"]) == (400, "timestamp_out_of_window")
        assert answer.body["details"]["server_time"] == world.now_ms
    assert ask_token(alice, identity_key="AAAA").body["details"]["field"] == "identity_key"
    world.control(Suspend(alice.address))
    assert ask_token(alice).status == 403


@pytest.mark.requirement("R-3.5")
def test_profile_dev_must_register_an_unknown_identity_but_not_an_outdated_key() -> None:
    world = RelayWorld(loose(upgrade=UpgradeConfig(profile="dev")))
    key = world.crypto.public_key(b"m" * 32)
    stranger = Person(world, "mallory", address_of(key), b"m" * 32, key, [world.uuid()])
    answer = ask_token(stranger)
    assert answer.status == 200
    line = stranger.connect(token=answer.body["token"])
    assert stranger.rest("GET", "/api/devices").body[0]["device_type"] == "web"
    line.lose()
    world.control(RotateKey(stranger.address, b"k" * 32))
    assert ask_token(stranger).status == 401, "a rotated key must not take its old address back"
    assert world.store.users[stranger.address].identity_key == b"k" * 32
