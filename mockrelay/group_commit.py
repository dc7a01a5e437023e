"""Group commit: one first-in-first-out queue of effect batches; a batch is applied only after the commit covering it.

Where the store is durable, the inputs of one turn of the event loop are committed together at the turn's end, and then
their effects are applied in order. Nothing that a peer may see, an ACK above all, goes out before the store holds what
it tells of. Where the store is in memory, a batch is applied at once. In both cases a batch that comes up while
another is being applied waits for it: no effect overtakes another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from mockrelay.store.errors import StoreError
from zentalk_sim.protocol.store import MemoryStore
from zentalk_sim.trace.recording import Output

BEFORE_COMMIT: Final = "before_commit"
AFTER_COMMIT: Final = "after_commit"
AMID_EFFECTS: Final = "amid_effects"
CRASH_POINTS: Final = (BEFORE_COMMIT, AFTER_COMMIT, AMID_EFFECTS)
"""Where a process may die: inputs processed and nothing written; written and nothing told; something told.
``amid_effects`` is passed after each effect but the last of a batch."""

Batch = tuple[int, Sequence[Output]]


class GroupCommit:
    """The queue of one relay."""

    def __init__(
        self,
        store: MemoryStore,
        loop: asyncio.AbstractEventLoop,
        apply: Callable[[int, Output], None],
        failed: Callable[[StoreError], None],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """``apply`` carries out one effect; ``failed`` is told of a commit that failed, the queue being empty then.

        ``begin`` is told that the batches of a turn are about to be applied.
        """
        self.store = store
        self.commits = 0
        self.on_crash_point: Callable[[str], None] | None = None
        """Called with the name of each crash point that is passed; for tests, which end the process in it."""
        self._loop = loop
        self._apply = apply
        self._failed = failed
        self._begin = begin
        self._pending: list[Batch] = []
        self.waiting: deque[Batch] = deque()
        """Committed, and not applied yet."""
        self.is_applying = False
        """A batch is being applied: those that come up meanwhile wait for it."""
        self._turn: asyncio.Handle | None = None

    @property
    def is_free(self) -> bool:
        """Whether a batch may be applied by whoever has it, at once: nothing is to be committed, and nothing waits.

        Meanwhile ``is_applying`` is to be set; ``go_on`` is then to be called where anything is ``waiting``.
        """
        return not (self.is_applying or self.waiting or self.on_crash_point is not None or self.store.is_durable)

    def go_on(self) -> None:
        """Apply what has come up while a batch was applied."""
        self._apply_all()

    def add(self, now: int, outputs: Sequence[Output]) -> None:
        """Take the effects of one input."""
        if self.store.is_durable:
            self._pending.append((now, outputs))
            if self._turn is None:
                # Run after every callback that is ready now: the sockets and timers of this turn.
                self._turn = self._loop.call_soon(self._end_turn)
        else:
            self.waiting.append((now, outputs))
            if not self.is_applying:
                self._apply_all()

    def _end_turn(self) -> None:
        self._begin()
        self.flush()

    def flush(self) -> None:
        """Commit what waits and apply it, now. Within an effect that is being applied, only commit."""
        self.commit()
        if not self.is_applying:
            self._apply_all()

    def commit(self) -> None:
        """Commit what waits; its effects are applied after those committed before."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if not self._pending:
            return
        self._pass(BEFORE_COMMIT)
        try:
            self.store.commit()
        except StoreError as error:
            self.drop()
            self._failed(error)
            return
        self.commits += 1
        self.waiting.extend(self._pending)
        self._pending.clear()
        self._pass(AFTER_COMMIT)

    def drop(self) -> None:
        """Forget all that waits, committed or not: nobody is there for it any more."""
        self._pending.clear()
        self.waiting.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _apply_all(self) -> None:
        self.is_applying = True
        try:
            while self.waiting:
                now, outputs = self.waiting.popleft()
                if self.on_crash_point is None:
                    for output in outputs:
                        self._apply(now, output)
                else:
                    self._apply_watched(now, outputs)
        finally:
            self.is_applying = False

    def _apply_watched(self, now: int, outputs: Sequence[Output]) -> None:
        for number, output in enumerate(outputs, 1):
            self._apply(now, output)
            if number < len(outputs):
                self._pass(AMID_EFFECTS)

    def _pass(self, point: str) -> None:
        if self.on_crash_point is not None:
            self.on_crash_point(point)
