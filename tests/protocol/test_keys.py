"""KEY_CHANGE: to whom it goes, and fingerprints (R-7.5)."""

from __future__ import annotations

from hashlib import sha512

import pytest
from relay_support import loose
from relay_world import RelayWorld, b64

from zentalk_sim.protocol.control import AddDevice, RotateKey
from zentalk_sim.protocol.errors import ProtocolError
from zentalk_sim.protocol.identity import fingerprint

NEW_KEY = b"k" * 32


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-7.5")
def test_a_fingerprint_must_be_six_groups_of_five_digits() -> None:
    key = bytes(range(32))
    groups = fingerprint(key).split(" ")
    digest = sha512(key).digest()
    assert [len(group) for group in groups] == [5] * 6
    for number, group in enumerate(groups):
        value = 0
        for byte in digest[5 * number : 5 * number + 5]:
            value = value * 256 + byte
        assert int(group) == value % 100_000
    padded = next(
        k for k in (n.to_bytes(32, "big") for n in range(10_000)) if int.from_bytes(sha512(k).digest()[:5]) % 10**5 < 10
    )
    assert fingerprint(padded).startswith("0000"), "padded with zeros"


@pytest.mark.requirement("R-7.5", "table:Key Change Notifications/key_rotation")
@pytest.mark.parametrize("reason", ["key_rotation", "reinstall", "unknown", "device_added"])
def test_contacts_must_be_told_of_a_rotation_on_every_device(world: RelayWorld, reason: str) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob", devices=2), world.person("carol")
    alice.connect().message(bob)
    lines, c = [bob.connect(0), bob.connect(1)], carol.connect()
    world.control(RotateKey(alice.address, NEW_KEY, reason))
    for line in lines:
        assert line.last("KEY_CHANGE") == {
            "user_id": alice.address,
            "new_key": b64(NEW_KEY),
            "old_key_fingerprint": fingerprint(alice.key),
            "new_key_fingerprint": fingerprint(NEW_KEY),
            "reason": reason,
            "verified": False,
        }
    assert c.of("KEY_CHANGE") == [], "neither a contact nor a subscriber"


@pytest.mark.requirement("R-7.5")
def test_subscribers_must_be_told_once_whether_contacts_or_not(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, b, c = alice.connect(), bob.connect(), carol.connect()
    a.message(bob)
    for line in (a, b, c):
        line.send("SUBSCRIBE", {"topics": [f"keys:{alice.address}"]})
    world.control(RotateKey(alice.address, NEW_KEY))
    assert [len(line.of("KEY_CHANGE")) for line in (a, b, c)] == [1, 1, 1], "herself among them, if she subscribes"
    c.lose()
    world.control(RotateKey(alice.address, b"l" * 32))
    assert carol.connect().of("KEY_CHANGE") == [], "kept for contacts only"


@pytest.mark.requirement("R-7.5", "R-9.3")
def test_sessions_must_go_on_and_the_new_key_authenticate(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    secret = b"s" * 32
    world.control(RotateKey(alice.address, world.crypto.public_key(secret)))
    a.message(bob)
    assert a.last("MESSAGE_ACK")["status"] == "queued"
    old = alice.open()
    old.authenticate()
    assert old.close_code == 4000
    alice.secret, alice.key = secret, world.crypto.public_key(secret)
    assert alice.connect().close_code is None


@pytest.mark.requirement("R-7.5")
@pytest.mark.parametrize("way", ["rest", "tools", "authentication"])
def test_another_device_must_be_told_with_the_same_key_as_old_and_new(world: RelayWorld, way: str) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    alice.connect().message(bob)
    b = bob.connect()
    new = world.uuid()
    if way == "rest":
        alice.rest("POST", "/api/devices", {"device_id": new, "device_name": "", "device_type": "web"})
    elif way == "tools":
        world.control(AddDevice(alice.address, new))
        world.control(AddDevice(alice.address, new.upper()))
    else:
        alice.devices.append(new)
        alice.connect(1).lose()
        alice.connect(1)
    (change,) = b.of("KEY_CHANGE")
    assert change["payload"]["reason"] == "device_added"
    assert change["payload"]["new_key"] == b64(alice.key)
    assert change["payload"]["old_key_fingerprint"] == change["payload"]["new_key_fingerprint"]


@pytest.mark.requirement("R-7.5")
def test_the_first_device_must_not_be_told(world: RelayWorld) -> None:
    alice, bob = world.person("alice", devices=0), world.person("bob")
    b = bob.connect()
    b.message(alice)
    alice.devices = [world.uuid()]
    alice.connect()
    assert b.of("KEY_CHANGE") == []


def test_a_key_or_a_reason_of_another_form_must_be_refused(world: RelayWorld) -> None:
    alice = world.person("alice")
    with pytest.raises(ProtocolError, match="32 bytes, not 5"):
        world.control(RotateKey(alice.address, b"short"))
    with pytest.raises(ProtocolError, match="device_added, key_rotation, reinstall, unknown"):
        world.control(RotateKey(alice.address, NEW_KEY, "because"))
    assert world.store.users[alice.address].identity_key == alice.key
