"""Which message ids may have been seen: a Bloom filter of two generations before the exact index.

Specification, "Server-Side Deduplication"; R-5.6. A generation lasts 24 h, so that an id is remembered for 24
to 48 h. An overfull filter only says "maybe" more often, which costs a look-up. The filter vouches for "never
seen" only over the time its generations cover: where the index holds older ids, an id that the filter does not
know is looked up there too.
"""

from __future__ import annotations

from typing import Any

from rbloom import Bloom

from zentalk_sim.protocol.config import DedupConfig
from zentalk_sim.protocol.timers import NEVER


class SeenIds:
    """The two generations."""

    def __init__(self, config: DedupConfig) -> None:
        self._config = config
        self._window_us = config.window_s * 1_000_000
        self._current: Any = self._make()
        self._previous: Any = None
        self._began_us: int | None = None
        self.oldest_covered_us: int | None = None
        """The instant since which every id added is in a generation that stands."""

    def _make(self) -> Any:
        # By Python's hash, which a text keeps once it was asked for it. It differs from process to process: so does
        # which new ids cost a look-up in the index, and nothing else.
        return Bloom(self._config.bloom_capacity, self._config.bloom_error)

    def _turn(self, now_us: int) -> None:
        if self._began_us is None:
            self._began_us = self.oldest_covered_us = now_us
            return
        window_us = self._window_us
        while now_us - self._began_us >= window_us:
            if now_us - self._began_us >= 2 * window_us:
                # Nothing was added for a whole generation: both are out of date.
                self._previous, self._began_us = None, now_us
                self.oldest_covered_us = now_us
            else:
                self._previous, self.oldest_covered_us = self._current, self._began_us
                self._began_us += window_us
            self._current = self._make()

    def add(self, message_id: str, now_us: int) -> None:
        """Remember an id accepted at ``now_us``."""
        self._turn(now_us)
        self._current.add(message_id)

    def may_hold(self, message_id: str, oldest_indexed_us: int) -> bool:
        """False only where the id is surely new.

        ``oldest_indexed_us``: acceptance of the index's oldest entry, NEVER where that is empty.
        """
        if message_id in self._current or (self._previous is not None and message_id in self._previous):
            return True
        if oldest_indexed_us == NEVER:
            return False
        return self.oldest_covered_us is None or oldest_indexed_us < self.oldest_covered_us
