"""Who writes to whom: as many contacts each, or a heavy tail of popular and sociable users.

With a heavy tail every user draws a weight from a Pareto distribution (least 1, exponent α, mean α/(α−1)). The number
of a user's contacts grows with its own weight, the chance of being picked with the other's, so that few users have
very many contacts and are written to by very many.

Contacts are drawn among all users: with one user more, some that others have are others.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from zentalk_sim.protocol.streams import Stream, Streams

_TRIES_PER_CONTACT = 30
"""Draws that may hit oneself or the same user again, before the rest is taken in order."""


def pick_contacts(stream: Stream, own: int, users: int, count: int) -> tuple[int, ...]:
    """``count`` different users other than ``own``, chosen uniformly; all others where there are fewer."""
    others = users - 1
    if count >= others:
        return tuple(user for user in range(users) if user != own)
    # Floyd's sampling: as many draws as contacts, whatever the population's size.
    chosen: dict[int, None] = {}
    for top in range(others - count, others):
        found = stream.between(0, top)
        chosen[top if found in chosen else found] = None
    return tuple(user + (user >= own) for user in chosen)


class HeavyTail:
    """A heavy-tailed graph over ``users`` users with ``mean`` contacts on average (before what small worlds cut)."""

    def __init__(self, streams: Streams, users: int, mean: int, exponent: float) -> None:
        self._mean = mean
        self._exponent = exponent
        self._weights: list[float] = [
            (1.0 - streams.fresh(f"user/{user}/popularity").uniform()) ** (-1.0 / exponent) for user in range(users)
        ]
        self._reached = list(accumulate(self._weights))

    def degree(self, user: int) -> int:
        """How many contacts a user has."""
        others = len(self._weights) - 1
        if not self._mean:
            return 0
        typical = self._exponent / (self._exponent - 1.0)
        return min(others, max(1, round(self._mean * self._weights[user] / typical)))

    def pick(self, stream: Stream, own: int) -> tuple[int, ...]:
        """The contacts of a user, each user picked in proportion to its weight, nobody twice."""
        users, count = len(self._weights), self.degree(own)
        if count >= users - 1:
            return pick_contacts(stream, own, users, count)
        chosen: dict[int, None] = {}
        total = self._reached[-1]
        for _ in range(_TRIES_PER_CONTACT * count):
            found = min(users - 1, bisect_right(self._reached, stream.uniform() * total))
            if found != own:
                chosen[found] = None
                if len(chosen) == count:
                    break
        for user in range(users):
            if len(chosen) == count:
                break
            if user != own:
                chosen[user] = None
        return tuple(chosen)
