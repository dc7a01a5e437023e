"""The journal of a space: everything that happened on its wires, in order, bounded.

The law of this file: an entry is written once, where the thing happens, and never changes; ``n`` counts from 1 without
a gap, so that what went over a bound is known to be gone. A frame is kept as its bytes and decoded only for whoever
looks, since most are never looked at.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from mockrelay.journal_entries import ENTRY_BYTES, JOURNAL_EVENTS, NOBODY, Entry, Party, firing_as_json
from zentalk_sim.faults.matching import Difference, Matcher, nearest_misses, ordinal_difference
from zentalk_sim.faults.rules import Match
from zentalk_sim.faults.ruleset import Firing
from zentalk_sim.protocol.effects import ClearPush, Note, Push
from zentalk_sim.trace.recording import Output

MAX_ENTRIES: Final = 100_000
MAX_BYTES: Final = 64 << 20
MAX_WAIT_MS: Final = 60_000
NEAREST: Final = 3
"""How many near misses a failed verification names."""
_SLACK: Final = 128
"""Of what a bound admits, one part in so many is freed at once."""

_Misses = list[tuple[Entry, tuple[Difference, ...]]]
"""Entries that do not match, nearest first, and why."""


class Found:
    """What a search of the journal came to."""

    __slots__ = ("entries", "found", "held", "misses", "truncated")

    def __init__(
        self,
        held: bool,
        found: int,
        entries: list[Entry],
        misses: _Misses,
        truncated: bool = False,
    ) -> None:
        self.held = held
        self.found = found
        self.entries = entries
        """The entries that match, as far as they were kept: the first of them."""
        self.misses = misses
        self.truncated = truncated
        """Entries that would have been needed are gone."""

    def as_json(self) -> dict[str, Any]:
        """The answer of wait and verify, without the status."""
        shown: dict[str, Any] = {"held": self.held, "found": self.found}
        if self.held:
            shown["entries"] = [entry.as_json() for entry in self.entries]
        else:
            shown["nearest"] = [
                {"entry": entry.as_json(), "differences": [msgspec.to_builtins(one) for one in differences]}
                for entry, differences in self.misses
            ]
        if self.truncated:
            shown["journal_truncated"] = True
        return shown


_SHOWN_ENTRIES: Final = 20
_MANY_ENTRIES: Final = 10_000
"""Of more, the nearest misses are looked for among the newest."""


def _is_kind(entry: Entry, match: Match) -> bool:
    """Whether an entry can match at all; cheap, since it looks at most at the frame's type."""
    if match.event is not None and entry.event != match.event:
        return False
    return match.type is None or entry.type() == match.type


class _Waiter:
    """A wait under way."""

    __slots__ = ("count", "entries", "found", "future", "match", "matched", "matcher", "with_payload")

    def __init__(self, match: Match, count: int) -> None:
        self.match = match
        self.matcher = Matcher(match)
        self.with_payload = bool(match.payload)
        self.count = count
        self.matched = 0
        self.found = 0
        self.entries: list[Entry] = []
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, entry: Entry, names: Mapping[str, str]) -> None:
        if not _is_kind(entry, self.match) or not self.matcher.holds(entry.fault_event(names, self.with_payload)):
            return
        self.matched += 1
        if ordinal_difference(self.match, self.matched) is not None:
            return
        self.found += 1
        if len(self.entries) < _SHOWN_ENTRIES:
            self.entries.append(entry)
        if self.found >= self.count and not self.future.done():
            self.future.set_result(None)


class Journal:
    """The entries of one space."""

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        names: Mapping[str, str] | None = None,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        max_wait_ms: int = MAX_WAIT_MS,
        count: Callable[[str, int], None] | None = None,
    ) -> None:
        """``names``: address → name, looked at as it is when a match is. ``count`` is told of entries that went."""
        self._now_us = now_us
        self._names: Mapping[str, str] = {} if names is None else names
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.max_wait_ms = max_wait_ms
        """The longest that anybody may wait for an entry, in real time."""
        self.is_closed = False
        self._count = count
        self.frames: list[Entry] = []
        """The newest entries, of frames at which no rule fired: nearly all there are."""
        self.frame_bytes = 0
        """How many bytes these frames have; told along with each."""
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._next_n = 1
        self._waiters: list[_Waiter] = []
        self.listeners: list[Callable[[Entry], None]] = []
        """Told of each entry as it is written; for streams of events."""

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for an entry."""
        return bool(self._waiters)

    def __len__(self) -> int:
        self.settle()
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes, roughly, held in memory."""
        self.settle()
        return self._bytes

    @property
    def last_n(self) -> int:
        """The number of the newest entry, 0 before the first."""
        self.settle()
        return self._next_n - 1

    @property
    def first_n(self) -> int:
        """The number of the oldest entry kept."""
        self.settle()
        return self._next_n - len(self._entries)

    @property
    def gone(self) -> int:
        """How many entries went over a bound."""
        return self.first_n - 1

    # --- writing -------------------------------------------------------------------------------------

    def write(
        self,
        event: str,
        party: Party = NOBODY,
        data: bytes | None = None,
        *,
        binary: bool = False,
        firing: Firing | None = None,
        wire: tuple[bytes, ...] | None = None,
        t_us: int | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Append an entry. ``facts`` are its further members: ``close_code``, ``method``, ``path``, …"""
        if self.frames:
            self.settle()
        now_us = self._now_us() if t_us is None else t_us
        fired = None if firing is None else firing_as_json(firing)
        entry = Entry(now_us, event, party, data, binary, fired, wire, facts)
        self._next_n += 1
        self._entries.append(entry)
        self._bytes += entry.size
        self._appended(1)

    def settle(self) -> None:
        """Take ``frames`` in: at the end of each turn, and whenever anything is asked for."""
        frames = self.frames
        if frames:
            count = len(frames)
            self._next_n += count
            self._entries.extend(frames)
            self._bytes += ENTRY_BYTES * count + self.frame_bytes
            frames.clear()
            self.frame_bytes = 0
            self._appended(count)

    def _newest(self, count: int) -> list[Entry]:
        """So many of the newest entries, oldest first, with their numbers."""
        found = list(islice(reversed(self._entries), max(0, count)))
        found.reverse()
        for n, entry in enumerate(found, self._next_n - len(found)):
            entry.n = n
        return found

    def _appended(self, count: int) -> None:
        """So many entries are new."""
        entries = self._entries
        if self._waiters or self.listeners:
            new = self._newest(count)
            self._shrink()
            for entry in new:
                for waiter in self._waiters:
                    waiter.take(entry, self._names)
                for listener in tuple(self.listeners):
                    listener(entry)
        elif self._bytes > self._max_bytes or len(entries) > self._max_entries:
            self._shrink()

    def _shrink(self) -> None:
        """Make room: for some more entries than one, where there are many, so that not each makes its own."""
        entries, held = self._entries, self._bytes
        if held <= self._max_bytes and len(entries) <= self._max_entries:
            return
        most_bytes = self._max_bytes if held <= self._max_bytes else self._max_bytes - self._max_bytes // _SLACK
        most = len(entries) if len(entries) <= self._max_entries else self._max_entries - self._max_entries // _SLACK
        dropped = 0
        while entries and (held > most_bytes or len(entries) > most):
            held -= entries.popleft().size
            dropped += 1
        self._bytes = held
        self.count("journal.dropped", dropped)

    def count(self, name: str, count: int = 1) -> None:
        """Count a fact of the journal."""
        if self._count is not None:
            self._count(name, count)

    def control(self, action: str, **facts: Any) -> None:
        """An action of the control API; ``facts`` must hold no secret."""
        self.write("control", facts={"action": action, **facts})

    @staticmethod
    def wants(name: str) -> bool:
        """Whether ``observe`` makes anything of notes of this name."""
        return name == "rtt" or ".dropped." in name

    def observe(self, now_us: int, output: Output) -> None:
        """What the core says that goes over no wire: drops, pushes, round-trip times. For ``Driver.listen``."""
        kind = type(output)
        if kind is Note:
            assert isinstance(output, Note)
            if output.name == "rtt":
                rtt_ms = (output.value_us or 0) / 1000
                self._about(now_us, "rtt", output.conn, output.user, output.device_id, {"rtt_ms": rtt_ms})
            elif ".dropped." in output.name:
                what, _, cause = output.name.partition(".dropped.")
                facts: dict[str, Any] = {"what": what, "cause": cause, "count": output.count}
                if output.message_id is not None:
                    facts["message_id"] = output.message_id
                self._about(now_us, "drop", output.conn, output.user, output.device_id, facts)
        elif kind is Push:
            assert isinstance(output, Push)
            facts = {"push_token": output.push_token, "pending": output.pending}
            self._about(now_us, "push", None, output.user, output.device_id, facts)
        elif kind is ClearPush:
            assert isinstance(output, ClearPush)
            self._about(now_us, "push_cleared", None, output.user, output.device_id, None)

    def _about(
        self,
        t_us: int,
        event: str,
        conn: int | None,
        user: str | None,
        device: str | None,
        facts: dict[str, Any] | None,
    ) -> None:
        self.write(event, Party(conn, user, device), t_us=t_us, facts=facts)

    def close(self) -> None:
        """Nothing more will be written: who waits is answered with what there is."""
        self.is_closed = True
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_result(None)

    def clear(self) -> None:
        """Forget all entries; their numbers are not given again, and what is gone by this was not lost."""
        self.settle()
        self._entries.clear()
        self._bytes = 0
        self._cleared_n = self.last_n

    _cleared_n = 0

    # --- reading -------------------------------------------------------------------------------------

    def entries(self, after: int = 0) -> list[Entry]:
        """The entries kept whose number is above ``after``, oldest first."""
        return self._newest(self.last_n - after)

    def misses_any(self, after: int = 0) -> bool:
        """Whether an entry above ``after`` has gone over a bound."""
        return self.first_n - 1 > max(after, self._cleared_n)

    def selected(self, after: int = 0, event: str | None = None, connection: int | None = None) -> list[Entry]:
        """As ``entries``, of one event and of one connection where that is said."""
        return [
            entry
            for entry in self.entries(after)
            if (connection is None or entry.party.connection == connection) and (event is None or entry.event == event)
        ]

    async def wait(self, match: Match, count: int, timeout_s: float, after: int = 0) -> Found:
        """Until at least ``count`` entries match, those already there included, or real time runs out."""
        waiter = _Waiter(match, count)
        truncated = self.misses_any(after)
        if truncated and (match.nth is not None or match.every is not None):
            # Which is the nth cannot be known any more.
            return Found(False, 0, [], [], True)
        for entry in self.entries(after):
            waiter.take(entry, self._names)
        if not waiter.future.done() and timeout_s > 0:
            self._waiters.append(waiter)
            try:
                await asyncio.wait((waiter.future,), timeout=timeout_s)
            finally:
                self._waiters.remove(waiter)
        if waiter.found >= count:
            return Found(True, waiter.found, waiter.entries, [])
        return Found(False, waiter.found, [], self._nearest(self.entries(after), match), self.misses_any(after))

    def verify(self, match: Match, count: int, after: int = 0) -> Found:
        """Whether exactly ``count`` entries match. Where entries that would count are gone, it cannot hold."""
        return self.verify_in(self.entries(after), match, count, self.misses_any(after))

    def verify_in(self, entries: list[Entry], match: Match, count: int, truncated: bool) -> Found:
        """As ``verify``, over entries already taken; safe in another thread."""
        with_payload = bool(match.payload)
        matcher = Matcher(match)
        found: list[Entry] = []
        matched = 0
        for entry in entries:
            if _is_kind(entry, match) and matcher.holds(entry.fault_event(self._names, with_payload)):
                matched += 1
                if ordinal_difference(match, matched) is None:
                    found.append(entry)
        if len(found) == count and not truncated:
            return Found(True, len(found), found[:_SHOWN_ENTRIES], [])
        if len(found) > count:
            surplus = found[count : count + NEAREST]
            said: _Misses = [(entry, (Difference("count", count, count + at + 1),)) for at, entry in enumerate(surplus)]
            return Found(False, len(found), [], said, truncated)
        return Found(False, len(found), [], self._nearest(entries, match), truncated)

    def verify_order(self, entries: list[Entry], order: list[Match], truncated: bool) -> tuple[Found, int]:
        """Whether entries match one after the other, others between them passed over; and how many of them do.

        Each match takes the first entry behind the one before it. ``nth`` and ``every`` count from there.
        """
        taken: list[Entry] = []
        at = 0
        for match in order:
            matcher, number = Matcher(match), 0
            begin = at
            while at < len(entries):
                entry = entries[at]
                at += 1
                if _is_kind(entry, match) and matcher.holds(entry.fault_event(self._names, bool(match.payload))):
                    number += 1
                    if ordinal_difference(match, number) is None:
                        taken.append(entry)
                        break
            else:
                return Found(False, len(taken), [], self._nearest(entries[begin:], match), truncated), len(taken)
        return Found(not truncated, len(taken), taken[:_SHOWN_ENTRIES], [], truncated), len(taken)

    def _nearest(self, entries: list[Entry], match: Match) -> _Misses:
        with_payload = bool(match.payload)
        if len(entries) > _MANY_ENTRIES:
            # Those of another kind come near only where there are few of this one.
            same = [entry for entry in entries if _is_kind(entry, match)]
            entries = same if len(same) >= NEAREST else entries
            entries = entries[-_MANY_ENTRIES:]
        events = (entry.fault_event(self._names, with_payload) for entry in entries)
        return [(entries[miss.index], miss.differences) for miss in nearest_misses(events, match, NEAREST)]


__all__ = ["JOURNAL_EVENTS", "Entry", "Found", "Journal", "Party"]
