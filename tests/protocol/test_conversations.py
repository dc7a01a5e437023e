"""Conversation ids, derived and named, and their members (R-6.4)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from relay_support import loose
from relay_world import RelayWorld

from zentalk_sim.protocol.control import AddUser, MakeContacts
from zentalk_sim.protocol.identity import address_of, conversation_id
from zentalk_sim.protocol.streams import Streams


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(loose())


@pytest.mark.requirement("R-6.4")
def test_an_absent_id_must_be_derived_from_the_two_addresses(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob)
    b.message(alice)
    expected = "conv_" + sha256("".join(sorted((alice.address, bob.address))).encode("ascii")).hexdigest()[:16]
    assert b.last("MESSAGE_NEW")["conversation_id"] == expected
    assert a.last("MESSAGE_NEW")["conversation_id"] == expected
    assert conversation_id(alice.address.upper().replace("0X", "0x"), bob.address) == expected


@pytest.mark.requirement("R-6.4")
def test_the_derived_id_may_be_named(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob, conversation_id=conversation_id(alice.address, bob.address))
    assert b.last("MESSAGE_NEW")["conversation_id"] == conversation_id(alice.address, bob.address)


@pytest.mark.requirement("R-6.4")
def test_the_first_message_must_fix_the_two_members_of_a_named_conversation(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    a, b, c = alice.connect(), bob.connect(), carol.connect()
    a.message(bob, conversation_id="conv_xyz789")
    b.message(alice, conversation_id="conv_xyz789")
    assert b.last("MESSAGE_ACK")["status"] == "queued"
    c.message(bob, conversation_id="conv_xyz789")
    assert c.error()["error_code"] == "FORBIDDEN", "the sender is no member"
    a.message(carol, conversation_id="conv_xyz789")
    assert a.error()["error_code"] == "FORBIDDEN", "to is no member"
    assert c.of("MESSAGE_NEW") == []


@pytest.mark.requirement("R-6.4")
def test_the_derived_id_of_two_registered_users_must_be_theirs_before_any_message(world: RelayWorld) -> None:
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    c = carol.connect()
    c.message(bob, conversation_id=conversation_id(alice.address, bob.address))
    assert c.error()["error_code"] == "FORBIDDEN"
    c.message(bob, conversation_id=conversation_id(carol.address, alice.address))
    assert c.error()["error_code"] == "FORBIDDEN", "bob is no member of carol's conversation with alice"


@pytest.mark.requirement("R-6.4")
def test_a_name_that_only_looks_derived_must_be_free(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    a.message(bob, conversation_id="conv_0123456789abcdef")
    assert a.last("MESSAGE_ACK")["status"] == "queued"


@pytest.mark.requirement("R-6.4")
def test_a_derived_id_taken_before_its_users_registered_must_become_theirs(world: RelayWorld) -> None:
    alice, mallory, carol = world.person("alice"), world.person("mallory"), world.person("carol")
    secret = Streams("people 1").stream("secret/bob").bytes(32)
    stolen = conversation_id(alice.address, address_of(world.crypto.public_key(secret)))
    m = mallory.connect()
    m.message(carol, conversation_id=stolen)
    assert m.last("MESSAGE_ACK")["status"] == "queued"
    bob = world.person("bob")
    a, b = alice.connect(), bob.connect()
    a.send("TYPING_START", {"conversation_id": stolen})
    assert b.last("TYPING_START")["user_id"] == alice.address, "known as theirs, though others named it"
    a.message(bob)
    m.message(carol, conversation_id=stolen)
    assert m.error()["error_code"] == "FORBIDDEN"
    m.send("TYPING_START", {"conversation_id": stolen})
    assert m.error()["error_code"] == "FORBIDDEN"


@pytest.mark.requirement("R-6.4")
def test_among_many_users_the_ids_in_use_must_still_be_kept_apart(world: RelayWorld) -> None:
    """The derived id of two who never wrote is then not known as theirs to a third: too many pairs to hash."""
    alice, bob, carol = world.person("alice"), world.person("bob"), world.person("carol")
    for number in range(300):
        world.control(AddUser(number.to_bytes(32, "big")))
    a, c = alice.connect(), carol.connect()
    a.message(bob)
    c.message(bob, conversation_id=conversation_id(alice.address, bob.address))
    assert c.error()["error_code"] == "FORBIDDEN"
    a.send("TYPING_STOP", {"conversation_id": conversation_id(alice.address, carol.address)})
    assert not a.of("TYPING_STOP")
    assert len(c.of("TYPING_STOP")) == 1, "one's own derived ids are always known"
    c.send("TYPING_STOP", {"conversation_id": conversation_id(alice.address, alice.address)})
    assert c.error()["error_code"] == "NOT_FOUND"


@pytest.mark.requirement("R-7.2")
def test_contacts_must_be_mutual_and_another_than_oneself(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, alice.address))
    assert world.store.users[alice.address].contacts == {}
    alice.connect().message(bob)
    assert list(world.store.users[bob.address].contacts) == [alice.address]
    assert list(world.store.users[alice.address].contacts) == [bob.address]
