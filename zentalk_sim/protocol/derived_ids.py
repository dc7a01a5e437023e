"""Whose derived conversation an id is (R-6.4), found without hashing all users again at every look.

An id is a hash: only trying tells which two users it is of. A user's contacts are tried first, then the others, and
what a search found is remembered, as is up to which user it found nothing: users are only ever added, so that the next
search goes on from there. All of this can be worked out anew, so it is no part of a store's snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from zentalk_sim.protocol.identity import conversation_id
from zentalk_sim.protocol.records import User

MOST_REMEMBERED: Final = 20_000
"""Searches whose result is kept, of each kind; the oldest is forgotten first."""


class DerivedIds:
    """The searches of one store."""

    __slots__ = ("_others", "_pairs")

    def __init__(self) -> None:
        self._others: dict[tuple[str, str], str | int] = {}
        """(user, id) → the other user, or how many users were tried in vain."""
        self._pairs: dict[str, int] = {}
        """Id → of how many users all pairs were tried in vain; -1 where a pair was found."""

    def other_of(self, users: Mapping[str, User], user: User, conversation: str) -> str | None:
        """The user with whom ``user`` has this derived id, oneself included; None where there is none."""
        key = (user.address, conversation)
        known = self._others.get(key, 0)
        if isinstance(known, str):
            return known
        found = self._search(users, user, conversation, known if known <= len(users) else 0)
        _remember(self._others, key, len(users) if found is None else found)
        return found

    @staticmethod
    def _search(users: Mapping[str, User], user: User, conversation: str, tried: int) -> str | None:
        for other in (*user.contacts, user.address) if not tried else ():
            if other in users and conversation_id(user.address, other) == conversation:
                return other
        for other in islice(users, tried, None):
            if conversation_id(user.address, other) == conversation:
                return other
        return None

    def is_of_some(self, users: Mapping[str, User], conversation: str) -> bool:
        """Whether an id is the derived one of any two users; the cost of the first look grows with their square."""
        tried = self._pairs.get(conversation, 0)
        if tried < 0:
            return True
        addresses = list(users)
        if tried > len(addresses):
            tried = 0
        found = any(
            conversation_id(addresses[i], addresses[j]) == conversation
            for j in range(tried, len(addresses))
            for i in range(j + 1)
        )
        _remember(self._pairs, conversation, -1 if found else len(addresses))
        return found


def _remember(memory: dict, key: object, value: object) -> None:  # type: ignore[type-arg]
    memory[key] = value
    if len(memory) > MOST_REMEMBERED:
        del memory[next(iter(memory))]
