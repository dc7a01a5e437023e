"""Whose derived conversation an id is (R-6.4): the same answer at every look, and little work after the first."""

from __future__ import annotations

import pytest
from relay_support import loose
from relay_world import RelayWorld

from zentalk_sim.protocol import derived_ids
from zentalk_sim.protocol.derived_ids import DerivedIds
from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.records import Settings, User
from zentalk_sim.protocol.store import MemoryStore


def address(number: int) -> str:
    return f"0x{number:040x}"


def crowd(count: int) -> dict[str, User]:
    return {address(n): User(address(n), bytes(32), {}, Settings(), contacts={}) for n in range(count)}


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each id that is hashed."""
    made: list[int] = []

    def counted(one: str, other: str) -> str:
        made.append(1)
        return conversation_id(one, other)

    monkeypatch.setattr(derived_ids, "conversation_id", counted)
    return made


@pytest.mark.requirement("R-6.4")
def test_the_other_is_found_among_all_and_by_itself_afterwards(hashes: list[int]) -> None:
    users, ids = crowd(500), DerivedIds()
    alice = users[address(3)]
    wanted = conversation_id(alice.address, address(400))
    assert ids.other_of(users, alice, wanted) == address(400)
    work = len(hashes)
    for _ in range(50):
        assert ids.other_of(users, alice, wanted) == address(400)
    assert len(hashes) == work
    assert ids.other_of(users, users[address(5)], wanted) is None


@pytest.mark.requirement("R-6.4")
def test_a_contact_is_found_at_the_cost_of_the_contacts(hashes: list[int]) -> None:
    users, ids = crowd(500), DerivedIds()
    alice = users[address(3)]
    alice.contacts.update(dict.fromkeys(map(address, (490, 491, 492))))
    assert ids.other_of(users, alice, conversation_id(alice.address, address(492))) == address(492)
    assert len(hashes) == 3
    assert ids.other_of(users, alice, conversation_id(alice.address, alice.address)) == alice.address


@pytest.mark.requirement("R-6.4")
def test_an_id_of_nobody_is_tried_again_only_on_users_that_came_since(hashes: list[int]) -> None:
    users, ids = crowd(300), DerivedIds()
    alice = users[address(3)]
    late = conversation_id(alice.address, address(300))
    assert ids.other_of(users, alice, late) is None
    hashes.clear()
    assert ids.other_of(users, alice, late) is None
    assert not hashes
    users.update({key: user for key, user in crowd(302).items() if key not in users})
    assert ids.other_of(users, alice, late) == address(300)
    assert len(hashes) == 1


@pytest.mark.requirement("R-6.4")
def test_an_id_of_some_two_is_told_from_one_of_nobody_whoever_comes_later(hashes: list[int]) -> None:
    users, ids = crowd(60), DerivedIds()
    theirs, later = conversation_id(address(10), address(20)), conversation_id(address(5), address(60))
    assert ids.is_of_some(users, theirs)
    assert not ids.is_of_some(users, later)
    hashes.clear()
    assert ids.is_of_some(users, theirs)
    assert not ids.is_of_some(users, later)
    assert not hashes
    users = crowd(61)
    assert ids.is_of_some(users, later)
    assert len(hashes) <= 61, "only the pairs of the one who came"
    assert ids.is_of_some(crowd(2), conversation_id(address(1), address(1))), "and of fewer users than before"


def test_no_more_is_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived_ids, "MOST_REMEMBERED", 10)
    users, ids = crowd(3), DerivedIds()
    for number in range(50):
        assert ids.other_of(users, users[address(0)], f"conv_{number:016x}") is None
        assert not ids.is_of_some(users, f"conv_{number:016x}")
    assert len(ids._others) == len(ids._pairs) == 10


@pytest.mark.requirement("R-7.4")
def test_typing_to_someone_never_written_to_searches_once_however_often_it_is_done(hashes: list[int]) -> None:
    world = RelayWorld(loose())
    alice, bob = world.person("alice"), world.person("bob")
    for number in range(100):
        world.person(f"user {number}")
    a, b = alice.connect(), bob.connect()
    conversation = conversation_id(alice.address, bob.address)
    a.send("TYPING_START", {"conversation_id": conversation})
    assert b.last("TYPING_START")["user_id"] == alice.address
    work = len(hashes)
    for _ in range(20):
        world.advance(10)
        a.send("TYPING_START", {"conversation_id": conversation})
        a.send("TYPING_STOP", {"conversation_id": conversation})
    assert len(hashes) == work


def test_the_index_is_no_part_of_a_snapshot() -> None:
    store = MemoryStore(bytes(32))
    users = crowd(5)
    for user in users.values():
        store.save_user(user)
    before = store.snapshot()
    store.derived_ids.other_of(store.users, users[address(0)], conversation_id(address(0), address(4)))
    assert store.snapshot() == before
